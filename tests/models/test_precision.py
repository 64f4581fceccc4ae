"""One place decides the precision, a run folder keeps its first one, and no key ignores it."""

import subprocess
import sys
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from deployments import FOLDS, LABELS, TEST, TEXTS
from nbformat.v4 import new_code_cell, new_notebook
from toys import TOY

from narrutils.crossfit.deployed import Deployed
from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels
from narrutils.crossfit.stored import load_model
from narrutils.data.files import read_json, write_json
from narrutils.data.outputs import Outputs
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.errors import InputError
from narrutils.generation.adapters import adapt
from narrutils.generation.engines import Sampling
from narrutils.generation.generate import _key
from narrutils.generation.pools import Adapting, Pool
from narrutils.generation.prompts import Examples
from narrutils.generation.transformers_engine import TransformersBackend
from narrutils.generation.vllm_engine import VllmBackend
from narrutils.models import precision, speed
from narrutils.models.backbones import load_body, resolve
from narrutils.models.frozen import FrozenLearner
from narrutils.models.precision import (
    autocast,
    fastest,
    kept_by,
    precision_of,
    resolved,
    slow,
    suited,
    training_flags,
    weights_dtype,
)
from narrutils.models.settings import Body, Lora
from narrutils.models.speed import Speed
from narrutils.pipeline import runner
from narrutils.pipeline.preflight import forecast, preflight
from narrutils.pipeline.profiles import load_profile
from narrutils.predict import predict
from narrutils.training.callbacks import Watching
from narrutils.training.mlm import start_of
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Pretraining, Recipe

BERT = SimpleNamespace(model_type="bert")
GEMMA, DEBERTA = SimpleNamespace(model_type="gemma3_text"), SimpleNamespace(model_type="deberta-v2")
BOTH = ("float32", "bfloat16")


@pytest.fixture
def processor(monkeypatch):
    """Sets the speeds of a machine without a GPU, in GFLOP/s in float32 and in bfloat16."""

    def of(*speeds: float):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(precision, "measured", lambda: Speed(*speeds))

    of(50.0, 8.0)
    return of


@pytest.fixture
def gpu(monkeypatch):
    """Sets whether this machine's GPU has bfloat16."""

    def of(bfloat16: bool):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bfloat16)

    return of


# What is chosen.


def test_auto_is_what_the_processor_multiplies_faster(processor):
    assert resolved("auto") == "float32"
    processor(50.0, 400.0)
    assert resolved("auto") == "bfloat16"


def test_auto_on_a_gpu_is_bfloat16_where_the_card_has_it(gpu):
    gpu(bfloat16=True)
    assert resolved("auto") == "bfloat16"
    gpu(bfloat16=False)
    assert resolved("auto") == "float16"


def test_auto_follows_the_folder_and_a_name_stands_over_it(processor):
    assert resolved("auto", kept="bfloat16") == "bfloat16"
    assert resolved("float32", kept="bfloat16") == "float32"


def test_float16_trains_with_a_scaler_and_not_what_overflows_in_it(gpu):
    gpu(bfloat16=False)
    assert training_flags("float16", BERT) == {"bf16": False, "fp16": True, "use_cpu": False}
    for config in (GEMMA, DEBERTA):
        assert suited("float16", config) == "float32"
        assert training_flags("float16", config) == {"bf16": False, "fp16": False, "use_cpu": False}
        assert weights_dtype("float16", config) == torch.float32
        assert suited("bfloat16", config) == "bfloat16"
    assert weights_dtype("float16", BERT) == torch.float16


def test_float16_is_refused_where_there_is_no_gpu_and_read_in_float32(processor):
    with pytest.raises(InputError, match="only a GPU"):
        resolved("float16")
    assert suited("float16", BERT) == "float32"
    with autocast("float16", BERT, "cpu"):
        assert torch.nn.functional.linear(torch.ones(2, 2), torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.parametrize("name", ["fp32", "", "Float32"])
def test_another_name_is_refused(name):
    with pytest.raises(InputError, match="precision is .*auto"):
        resolved(name)
    with pytest.raises(InputError, match="precision"):
        Recipe(precision=name)


def test_a_recipe_never_holds_auto():
    with pytest.raises(InputError, match="auto"):
        Recipe(precision="auto")


def test_slowness_is_said_of_what_is_slow(processor, gpu):
    assert "6 times" in slow("bfloat16") and not slow("float32")
    assert "in float32" in slow("float16")
    processor(50.0, 400.0)
    assert "8 times" in slow("float32") and not slow("bfloat16")
    processor(50.0, 60.0)
    assert not slow("float32")
    gpu(bfloat16=False)
    assert slow("bfloat16") and slow("float32") and not slow("float16")
    gpu(bfloat16=True)
    assert slow("float32") and not slow("bfloat16") and not slow("float16")


def test_nothing_is_loaded_to_choose_where_torch_has_no_gpu_build(tmp_path, monkeypatch):
    if torch.version.cuda or torch.version.hip:
        pytest.skip("this torch is a build for GPUs, which has to be asked")
    monkeypatch.setenv("NARRUTILS_CACHE", str(tmp_path))
    monkeypatch.setattr(speed, "measure", lambda: Speed(1.0, 2.0))
    speed.measured()
    code = "import sys; from narrutils.models.precision import resolved, slow; "
    code += "print(resolved('auto'), slow('float32'))"
    code += "; assert 'torch' not in sys.modules"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert asked.stdout.startswith("bfloat16 float32, where bfloat16 is 2 times")


# What a run keeps.

CELLS = (
    'run_dir: str = "x"  # the run folder\nprecision: str = "auto"  # of computing',
    "from narrutils.data.run import Run\nfrom narrutils.models.precision import precision_of\n"
    'run = Run(run_dir, stage="01_asks")\n'
    'run.write("asked.json", {"precision": precision_of(run, precision)})',
)


@pytest.fixture
def bench(tmp_path):
    """(run, would): run a profile of one notebook with overrides, and tell why it would run again."""
    parameters, rest = map(new_code_cell, CELLS)
    parameters.metadata["tags"] = ["parameters"]
    (tmp_path / "notebooks").mkdir()
    nbformat.write(new_notebook(cells=[parameters, rest]), tmp_path / "notebooks/01_asks.ipynb")
    (tmp_path / "toy.yaml").write_text("shared: {precision: auto}\n")
    places = (tmp_path / "notebooks", tmp_path)
    profile = lambda *given: load_profile(tmp_path / "toy.yaml", given, places[0])  # noqa: E731
    would = lambda *given: forecast(preflight(profile(*given), *places)).loc[0, "because"]  # noqa: E731
    return SimpleNamespace(
        run=lambda *given: runner.run_profile(profile(*given), *places), would=would, folder=tmp_path / "toy"
    )


@pytest.mark.slow
def test_a_run_folder_keeps_its_first_precision(bench, processor, capsys):
    used = lambda: read_json(bench.folder / "asked.json")["precision"]  # noqa: E731
    written = lambda: read_json(bench.folder / "run.json")["parameters"]["01_asks"]["precision"]  # noqa: E731
    processor(50.0, 400.0)
    bench.run()
    assert used() == written() == "bfloat16"
    assert "faster" not in capsys.readouterr().out
    processor(50.0, 5.0)  # taken to another machine
    assert bench.would() == ""
    bench.run()
    assert "float32 is 10 times as fast here" in capsys.readouterr().out
    assert written() == "bfloat16"
    assert bench.would(("precision", "float32")) == "changed: precision"
    bench.run(("precision", "float32"))
    assert used() == written() == "float32"
    processor(50.0, 400.0)
    assert bench.would() == "" and kept_by(Run(bench.folder)) == "float32"


def test_a_precision_that_is_none_is_refused_before_anything_runs(bench):
    with pytest.raises(InputError, match="fp16"):
        bench.run(("precision", "fp16"))
    assert not bench.folder.exists()


def test_a_notebook_opened_by_hand_follows_the_folder(tmp_path, processor, capsys):
    run = Run(tmp_path / "r", stage="04_x")
    assert precision_of(run, "auto") == "float32"
    write_json(run.path("run.json"), {"parameters": {"03_x": {"precision": "float32"}, "05_x": {"seed": 1}}})
    assert capsys.readouterr().out == ""
    processor(50.0, 400.0)
    assert precision_of(run, "auto") == "float32"
    assert "bfloat16 is 8 times" in capsys.readouterr().out
    assert precision_of(run, "bfloat16") == "bfloat16"
    write_json(run.path("run.json"), {"parameters": {"03_x": {}, "04_x": {"precision": "float16"}}})
    with pytest.raises(InputError, match="float16"):
        precision_of(run, "auto")  # nothing is trained in it without a GPU


# No key ignores it.


def test_a_model_of_another_precision_is_trained_anew(tiny_bert, tiny_gemma_folder, tmp_path):
    """The keys of an encoder, of adapters, of a frozen base alone, and of a frozen member."""
    recipe = Recipe(max_tokens=8, batch_size=8)
    learners = {
        "encoder": lambda p: NeuralLearner(TOY, Body(tiny_bert)).varied(precision=p, max_tokens=8),
        "adapters": lambda p: NeuralLearner(TOY, Body(tiny_gemma_folder), Lora(2, 4)).varied(precision=p),
        "base": lambda p: NeuralLearner(TOY, Body(tiny_gemma_folder, precision=p), Lora(2, 4), recipe),
        "frozen": lambda p: FrozenLearner(TOY, Body(tiny_bert, precision=p), window=4),
    }
    for name, learner_of in learners.items():
        model = CrossFit(Study(Run(tmp_path, "04_x"), TOY, TEXTS, FOLDS, TEST), name, learner_of("float32"))
        keys = set()
        for each in (*BOTH, *BOTH):
            model.learner = learner_of(each)
            ((*_, key),) = model._tasks(given_labels(model.study, 1, labels=LABELS), [(0,)])
            keys.add(key)
        assert len(keys) == 2, name


def test_a_learner_varied_in_precision_is_so_in_all_its_parts(tiny_gemma_folder):
    learner = NeuralLearner(TOY, Body(tiny_gemma_folder), Lora(2, 4)).varied(precision="bfloat16")
    assert learner.body.precision == learner.recipe.precision == "bfloat16"


def test_a_body_pretrained_in_another_precision_is_another(tiny_bert, tmp_path):
    learner, run = NeuralLearner(TOY, Body(tiny_bert)), Run(tmp_path, "04_x")
    starts = [start_of(run, learner, TEXTS, (0,), Pretraining(1, precision=each)) for each in BOTH]
    assert starts[0].key != starts[1].key


def test_a_generators_adapters_are_trained_anew(tiny_gemma_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("narrutils.generation.adapters._train", lambda folder, *rest: [0.0])
    run, examples = Run(tmp_path, "02_x"), Examples(TEXTS, FOLDS, TOY, LABELS)
    keys = []
    for each in BOTH:
        adapt(run, "g", resolve(tiny_gemma_folder), examples, True, Adapting(), each, 7)
        keys.append(read_json(tmp_path / "models/g/on_fold0/key.json")["key"])
    assert keys[0] != keys[1]


@pytest.mark.parametrize("engine", [TransformersBackend, VllmBackend])
def test_generated_rows_of_another_precision_are_made_anew(tiny_gemma_folder, engine):
    asked = Pool("p", "g", 4, 1), Examples(TEXTS, FOLDS, TOY, LABELS), {}
    backends = [engine(resolve(tiny_gemma_folder), Sampling(precision=each)) for each in BOTH]
    assert _key(*asked, backends[0]) != _key(*asked, backends[1])


@pytest.mark.slow
def test_a_stage_of_another_precision_runs_again(bench, processor):
    processor(50.0, 5.0)
    bench.run()
    assert bench.would(("precision", "float32")) == ""
    assert bench.would(("precision", "bfloat16")) == "changed: precision"


# Who asks.


@pytest.mark.parametrize("name", BOTH)
def test_generators_compute_in_it(tiny_gemma_folder, name):
    backbone, sampling = resolve(tiny_gemma_folder), Sampling(precision=name)
    assert TransformersBackend(backbone, sampling).model.dtype == getattr(torch, name)
    assert VllmBackend(backbone, sampling)._options()["dtype"] == name


def test_a_pools_own_type_stands_over_it(tiny_gemma_folder):
    own = Sampling(precision="bfloat16", engine={"dtype": "float32"})
    assert VllmBackend(resolve(tiny_gemma_folder), own)._options()["dtype"] == "float32"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU keeps the dtype")
@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", BOTH)
def test_an_encoder_attends_alike_in_both(tiny_bert, name, weights):
    """Attention in float32 on a CPU changes neither what float32 gives, nor the type of what 16 bits give."""
    own = load_body(resolve(tiny_bert), weights).eval()
    usual = load_body(resolve(tiny_bert), torch.float32).eval()
    usual.set_attn_implementation("sdpa")
    inputs = {"input_ids": torch.randint(5, 20, (3, 12)), "attention_mask": torch.ones(3, 12).long()}
    inputs["attention_mask"][1, 7:] = 0
    real = inputs["attention_mask"].bool()
    with torch.inference_mode():
        expected = usual(**inputs).last_hidden_state[real]
        with autocast(name, own.config, "cpu"):
            found = own(**inputs).last_hidden_state[real]
    exact = name == "float32" and weights == torch.float32
    off = {} if exact else {"atol": 0.05, "rtol": 0.05}
    torch.testing.assert_close(found.float(), expected, **off)


def test_a_step_that_the_scaler_skips_is_no_divergence():
    """Its gradient norm is not finite; a loss that is not a number still ends the training."""
    watching, state = Watching({9: {"phase": 0}}), SimpleNamespace(global_step=1)
    see = lambda fp16, **logs: watching.on_log(SimpleNamespace(fp16=fp16), state, None, logs)  # noqa: E731
    see(True, loss=1.0, grad_norm=float("inf"))
    with pytest.raises(Exception, match="norm"):
        see(False, loss=1.0, grad_norm=float("inf"))
    with pytest.raises(Exception, match="loss"):
        see(True, loss=float("nan"), grad_norm=1.0)


# One trained run, read in both.

NEAR = 0.02  # of a probability, between the two readings of it


@pytest.mark.slow
def test_one_trained_run_is_read_alike_in_both(deployed_run):
    """Probabilities are close; a code differs only where both probabilities lie at its threshold."""
    texts = pd.concat([TEST, TEXTS])
    readings = {each: Deployed.open(deployed_run.folder, each) for each in ("", *BOTH)}
    read = {name: deployed.read(texts) for name, deployed in readings.items()}
    assert readings[""].precisions == {"bfloat16"} and readings["float32"].precisions == {"float32"}
    pd.testing.assert_frame_equal(read[""], read["bfloat16"])
    moved = (read["float32"] - read["bfloat16"]).abs()
    assert 0 < moved.to_numpy().max() < NEAR
    codes = {each: readings[each].decide(read[each]) for each in BOTH}
    ties = near_ties(readings["float32"], read["float32"])
    differing = codes["float32"].ne(codes["bfloat16"]).stack()
    told = [pair for pair in differing.index[differing] if pair not in ties]
    assert not told, f"codes that differ away from their threshold: {told}"


def near_ties(deployed: Deployed, table: pd.DataFrame) -> set[tuple[str, str]]:
    """(uid, variable) of the codes that a change of `NEAR` in probabilities could turn."""
    found = set()
    for variable in TOY.variables:
        values = table[list(variable.columns)].to_numpy()
        if variable.is_binary:
            margin = np.abs(values[:, 0] - deployed.made["thresholds"][variable.name])
        else:
            first, second = np.sort(values, axis=1)[:, [-1, -2]].T
            margin = (first - second) / 2
        found |= {(uid, variable.name) for uid in table.index[margin < NEAR]}
    return found


@pytest.mark.parametrize("member", ["frozen", "encoder", "adapters"])
def test_every_kind_of_model_reads_in_what_is_asked(deployed_run, member):
    """Weights of a frozen base have the type, and what a model gives is another model's to the last bit."""
    read = {}
    for each in BOTH:
        deployed = Deployed.open(deployed_run.folder, each)
        deployed.made = {**deployed.made, "members": [member], "weights": {member: 1.0}}
        read[each] = load_model(deployed.siblings(member)[0], TOY, each).predict(TEST)
    assert not np.array_equal(read["float32"], read["bfloat16"])
    pd.testing.assert_frame_equal(read["float32"], read["bfloat16"], atol=0.05, rtol=0)


@pytest.mark.slow
def test_predict_reads_in_the_runs_own_unless_told(deployed_run, tmp_path, processor, capsys):
    from deployments import features

    given = features(tmp_path, TEST)
    tables = {}
    for name in ("", "auto", *BOTH):
        out = Outputs(tmp_path / "codes.csv", tmp_path / "p.csv", overwrite=True)
        predict(deployed_run.folder, given, out, progress=False, precision=name)
        tables[name] = out.probabilities.read_bytes()
        assert ("6 times as fast" in capsys.readouterr().out) == (name in ("", "bfloat16"))
    assert tables[""] == tables["bfloat16"] != tables["float32"]
    assert tables["auto"] == tables["float32"] and fastest() == "float32"
    with pytest.raises(InputError, match="float16"):
        predict(deployed_run.folder, given, Outputs(tmp_path / "c.csv"), progress=False, precision="float16")
