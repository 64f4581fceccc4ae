"""A fault in any setting of the six notebooks is one line, before a model loads or a file is touched."""

import shutil
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
from toys import TOY

from narrutils.cli import main
from narrutils.crossfit.phases import Teaching
from narrutils.data.run import Run
from narrutils.errors import InputError
from narrutils.pipeline import machine
from narrutils.pipeline.consistency import check_models, check_settings, check_teachers, publishes
from narrutils.pipeline.preflight import check_data, check_folder, check_inputs, check_shown, preflight
from narrutils.pipeline.profiles import NOTEBOOKS, load_profile


@pytest.fixture
def outputs(tmp_path):
    """Where nothing may come to lie."""
    return tmp_path / "outputs"


def line(capsys, outputs, *pairs, profile="params/demo.yaml"):
    """What the command says of these `-p` pairs; it ends as a mistake of the user does."""
    words = [word for key, value in pairs for word in ("-p", key, value)]
    assert main(["run", profile, "--dry-run", *words, "--outputs", str(outputs)]) == 2
    said = capsys.readouterr()
    assert not outputs.exists() and said.out == "" and said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("threshold_search", "shrnk", ["'shrnk'", "did you mean shrunk?"]),
        ("smoothing", "0.6", ["smoothing is 0.6", "0.5"]),
        ("batch_size", "0", ["batch_size is 0"]),
        ("precision", "flot32", ["'flot32'", "did you mean float32?"]),
        ("learning_rate", "-1", ["learning_rate is -1"]),
        ("truncation", "left", ["truncation is 'left'", "balanced"]),
        ("method", "athor", ["did you mean author?"]),
        ("reader", "tfid", ["did you mean tfidf?"]),
        ("weighting", "fited", ["did you mean fitted?"]),
        ("thresholds_from", "member", ["did you mean members?"]),
        ("backend", "vlm", ["did you mean vllm?"]),
        ("companions", "[nb, laso]", ["did you mean lasso?"]),
        ("budgets", "[{backbone: minilm, max_token: 9}]", ["did you mean max_tokens?"]),
        ("options.r_drp", "0.5", ["r_drp", "did you mean r_drop?"]),
        ("options", "{r_drp: 0.5}", ["r_drp", "did you mean r_drop?"]),
        ("options.head_start", "prob", ["did you mean probe?"]),
        ("teaching", "{gaining: true}", ["did you mean gaining_only?"]),
        ("compute.at_once", "-1", ["at_once is -1"]),
        ("launch", "{num_process: 2}", ["did you mean num_processes?"]),
        ("finals", "[{name: a, lora_rnk: 2}]", ["05_gemma_lora: finals: a", "did you mean lora_rank?"]),
        ("round_pools", "[[gemma3]]", ["05_gemma_lora: round_pools has 1 lists"]),
        ("round_pools", "[[gemma3], [gema3]]", ["05_gemma_lora: round_pools", "did you mean gemma3?"]),
        ("pools", "[{pool: a, backbone: b, rows: 0, seed: 1}]", ["pools: a: rows is 0"]),
        ("weights", "{nb: -1}", ["weights[nb] is -1"]),
        ("mlm_epochs", "-1", ["04_deberta: mlm_epochs is -1"]),
        ("04.finetune_loss", "f1", ["04_deberta: finetune_loss", "finetune_epochs"]),
        ("quantization", "8bit", ["04_deberta", "LoRA rank"]),
        ("teaching.r_drop", "0.1", ["r_drop", "teaching"]),
        ("04.05.epochs", "2", ["epochs", "05"]),
        ("04.r_drop", "1.0", ["04_deberta: r_drop", "dropout"]),
        ("05.inputs", "separate", ["05_gemma_lora: head_start", "inputs"]),
        ("folds", "2", ["folds is 2", "3"]),
        ("flag_share", "1", ["flag_share is 1;", "less than 1"]),
        ("flag_accuracy", "1.5", ["flag_accuracy is 1.5"]),
        (
            "weights",
            "{nbb: 1}",
            ["06_ensemble: weights: no notebook makes a model 'nbb'", "did you mean nb?"],
        ),
        ("weights", "{nb: 0}", ["06_ensemble: ensemble weights", "one of them positive"]),
        ("weights", "{ensemble: 1}", ["06_ensemble: weights: no notebook makes a model 'ensemble'"]),
        ("rounds", "0", ["makes a model 'gemma_round1'", "there will be chars, deberta, frozen, gemma"]),
        ("companions", "[nb, chars, frozen]", ["makes a model 'lasso'"]),
        ("evidence_model", "tfdf", ["06_ensemble: evidence_model is 'tfdf'", "did you mean tfidf?"]),
        (
            "findings",
            "{sources_model: tfdf}",
            ["sources_model is 'tfdf'", "did you mean tfidf?"],
        ),
        ("findings", "{promised: 1.5}", ["promised is 1.5"]),
        ("screening_model", "ensembel", ["02_generation: screening_model", "did you mean ensemble?"]),
        ("teacher", "debreta", ["04_deberta: teacher is 'debreta'", "did you mean deberta?"]),
        ("01.seed", "4294967296", ["01_eda: seed is 4294967296", "less than 4294967296"]),
        ("train_cases", "361", ["01_eda: train_cases is 361", "there are 360 training cases"]),
        ("folds", "361", ["01_eda: folds is 361", "there are 360 training cases"]),
        ("backbone", "minlm", ["01_eda: minlm: no packaged model"]),
        ("04.backbone", "/no/such/folder", ["04_deberta: /no/such/folder"]),
        ("finals", "[{name: a, backbone: gema}]", ["05_gemma_lora: gema"]),
    ],
)
def test_a_fault_is_one_line_and_outputs_are_untouched(capsys, outputs, key, value, told):
    said = line(capsys, outputs, (key, value))
    for part in told:
        assert part in said


def test_settings_that_exclude_each_other_are_told_of_the_stage_that_has_both(capsys, outputs):
    tuned = [("04.finetune_loss", "f1"), ("04.finetune_epochs", "4"), ("04.epochs", "3")]
    assert "04_deberta: finetune_epochs is 4 of 3 epochs" in line(capsys, outputs, *tuned)


@pytest.mark.parametrize("name", ["smoke", "demo", "osha", "full"])
def test_every_shipped_profile_makes_its_settings(name, outputs, monkeypatch):
    overrides = [("data_dir", ""), ("schema", "params/schemas/nvdrs.yaml"), ("precision", "float32")]
    overrides += [("train_cases", "0")]  # the made corpus has fewer than a profile may ask for
    assert preflight(load_profile(f"params/{name}.yaml", overrides), NOTEBOOKS, outputs).data["embedded"]


def test_more_layers_than_a_backbone_has_are_refused(tiny_bert):
    def check(*pairs):
        given = [("precision", "float32"), ("04.backbone", tiny_bert), ("05.layers", "0"), *pairs]
        check_settings(load_profile("params/demo.yaml", given), {})

    check(("04.top_layers", "1"))
    with pytest.raises(InputError, match="04_deberta: top_layers is 2; of the 2 layers .* 1 to 1"):
        check(("04.top_layers", "2"))
    with pytest.raises(InputError, match="04_deberta: top_layers is 1; of the 1 layers"):
        check(("04.layers", "1"))
    with pytest.raises(InputError, match="04_deberta: layers is 3; .* has 2"):
        check(("04.layers", "3"))
    with pytest.raises(InputError, match="05_gemma_lora: finals: a: top_layers is 9"):
        check(("finals", f"[{{name: a, backbone: {tiny_bert}, top_layers: 9}}]"))


def test_what_only_a_gpu_can_do_is_refused_without_one(monkeypatch):
    monkeypatch.setattr(machine, "has_gpu", lambda: False)
    profile = load_profile("params/demo.yaml", [("05.quantization", "8bit")])
    with pytest.raises(InputError, match="05_gemma_lora: 8-bit base: needs an NVIDIA GPU; leave"):
        check_models(profile.parameters)


def test_a_hub_model_that_is_not_cached_is_refused_where_it_may_not_be_fetched(monkeypatch):
    parameters = {"04_deberta": {"backbone": "someone/never-made"}}
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    check_models(parameters)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="04_deberta: someone/never-made: .*HF_HUB_OFFLINE forbids"):
        check_models(parameters)


def notebook(folder, stage, *cells):
    cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / f"{stage}.ipynb")
    return folder / f"{stage}.ipynb"


def test_the_models_of_a_notebook_are_known_by_their_names_in_it(tmp_path):
    declared = lambda **values: publishes(values, {}, notebook(tmp_path, "07_more", "run = 1"))  # noqa: E731
    assert declared() == set()
    assert declared(companions=["nb"]) == {"tfidf", "nb"}
    assert declared(weights={}) == {"ensemble"}
    made = {Teaching: Teaching(rounds=2, finals=[{"name": "large"}])}
    plain = notebook(tmp_path, "07_more", "model = 1")
    assert publishes({}, made, plain) == {"gemma", "gemma_round1", "gemma_round2", "large"}
    named = notebook(tmp_path, "07_more", 'CrossFit(study, "mine", learner).fit(p).publish(title)')
    assert publishes({}, {}, named) == {"mine"}
    for hidden in (
        "CrossFit(study, name, learner).fit(p).publish(title)",
        "run.write_probabilities(n, t, s)",
    ):
        assert publishes({}, {}, notebook(tmp_path, "07_more", hidden)) is None


def test_a_notebook_of_one_s_own_may_make_a_member(tmp_path):
    """Where its models cannot be told by name, no name is refused."""
    shutil.copytree(NOTEBOOKS, tmp_path, dirs_exist_ok=True)
    given = [("precision", "float32"), ("weights", "{mine: 1}")]
    tell = lambda: check_settings(load_profile("params/demo.yaml", given, tmp_path), {}, tmp_path)  # noqa: E731
    with pytest.raises(InputError, match="a model 'mine'"):
        tell()
    book = nbformat.read(tmp_path / "03_relabeling.ipynb", as_version=4)
    for source in (
        'CrossFit(study, "mine", l).publish(t)',
        "for n in names: CrossFit(study, n, l).publish(t)",
    ):
        cells = [*book.cells, nbformat.v4.new_code_cell(source)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "03_relabeling.ipynb")
        tell()


def test_a_stage_alone_may_weigh_what_its_folder_holds(tmp_path):
    run = Run(tmp_path)
    profile = load_profile("params/demo.yaml", [("precision", "float32"), ("weights", "{older: 1}")])
    run.path("predictions").mkdir()
    run.path("predictions/tfidf_oof.parquet").touch()
    with pytest.raises(InputError, match="06_ensemble: weights: no notebook makes a model 'older'"):
        check_settings(profile, {}, chosen=["06_ensemble"], run=run)
    run.path("predictions/older_oof.parquet").touch()
    check_settings(profile, {}, chosen=["06_ensemble"], run=run)
    with pytest.raises(InputError, match="06_ensemble: weights: no notebook makes a model 'older'"):
        check_settings(profile, {}, run=run)  # where all run, what is there is of before


def made_data(**more):
    return {"embedded": True, "schema": "nvdrs"} | more


def test_a_run_folder_of_other_data_is_refused(tmp_path):
    run = Run(tmp_path / "demo", "01_eda")
    check_data(run, made_data())
    run.write("run.json", {"stages": {}, "data": made_data(cases=450)})
    check_data(run, made_data(cases=90))
    check_data(run, {})
    with pytest.raises(InputError, match="demo: was made of the made corpus .nvdrs., and this is data of"):
        check_data(run, made_data(embedded=False))
    with pytest.raises(InputError, match="-p run NAME"):
        check_data(run, made_data(schema="osha"))
    run.write("run.json", {"stages": {}, "data": made_data(embedded=False)})
    with pytest.raises(InputError, match="demo: was made of data of your own"):
        preflight(load_profile("params/demo.yaml", [("precision", "float32")]), NOTEBOOKS, tmp_path)


def test_a_folder_that_no_run_made_is_refused(capsys, outputs):
    (outputs / "demo").mkdir(parents=True)
    (outputs / "demo/.hidden").touch()
    check_folder(outputs / "demo")
    (outputs / "demo/photographs").mkdir()
    assert main(["run", "params/demo.yaml", "--dry-run", "--outputs", str(outputs)]) == 2
    assert "demo: is no run folder and holds photographs" in capsys.readouterr().err
    for made in ("run.json", ".stages"):
        (outputs / "demo" / made).touch()
        check_folder(outputs / "demo")
        (outputs / "demo" / made).unlink()
    (outputs / "file").touch()
    with pytest.raises(InputError, match="file: is a file"):
        check_folder(outputs / "file")


def test_cases_that_the_command_line_names_are_not_shown_because_a_profile_shows_its_own(tmp_path):
    def check(*pairs):
        check_shown(load_profile("params/demo.yaml", pairs))

    check()
    check(("data_dir", ""))
    for word in ("true", "false"):
        check(("data_dir", str(tmp_path)), ("show_text", word))
    for tell in (lambda profile: preflight(profile, NOTEBOOKS, tmp_path), check_shown):
        with pytest.raises(InputError, match="demo.yaml: sets show_text, .*-p show_text true"):
            tell(load_profile("params/demo.yaml", [("01.data_dir", str(tmp_path))]))


def test_how_files_were_read_is_told_once(tmp_path, capsys, monkeypatch):
    data = SimpleNamespace(train=range(9), test=range(3), hashes={}, notes=["a.csv: read as cp1252"])
    monkeypatch.setattr("narrutils.pipeline.preflight.load_data", lambda folder, schema: data)
    check_inputs(load_profile("params/demo.yaml", [("data_dir", str(tmp_path))]))
    assert capsys.readouterr().out == "a.csv: read as cp1252\n"


def test_a_teacher_must_be_a_model_of_the_previous_run(tmp_path):
    (tmp_path / "predictions").mkdir()
    for name in ("deberta", "ensemble"):
        (tmp_path / f"predictions/{name}_oof.parquet").touch()
    given, previous = [("precision", "float32")], {"04_deberta": tmp_path}
    check_settings(load_profile("params/demo.yaml", [*given, ("teacher", "deberta")]), previous)
    wrong = load_profile("params/demo.yaml", [*given, ("teacher", "debreta")])
    with pytest.raises(InputError, match="04_deberta: teacher is 'debreta'.*did you mean deberta?"):
        check_settings(wrong, previous)


def test_whoever_learns_from_no_teacher_needs_none(tmp_path):
    run, silent = Run(tmp_path, "01_test"), [("04.soft_epochs", "0"), ("04.options", "{refit: true}")]
    run.write("schema.json", TOY.to_dict())
    run.write("folds.parquet", pd.DataFrame({"uid": ["a", "b"], "fold": [0, 1]}))
    run.write("ensemble.json", {"weights": {"bare": 1.0}})
    given, previous = [("precision", "float32"), ("04.teacher", "ensemble")], {"04_deberta": tmp_path}
    with pytest.raises(InputError, match="04_deberta: previous_run: .*bare has no nested teachers"):
        check_teachers(load_profile("params/demo.yaml", given), previous)  # 05 learns from it too
    check_teachers(load_profile("params/demo.yaml", [*given, *silent]), previous)
    with pytest.raises(InputError, match="05_gemma_lora: .*name a previous_run and soft_epochs"):
        both = previous | {"05_gemma_lora": tmp_path}
        run.path("predictions").mkdir()
        run.path("predictions/ensemble_oof.parquet").touch()
        check_settings(load_profile("params/demo.yaml", [*given, *silent]), both)


@pytest.mark.parametrize("text", ["{name: Report}, {name: split}", "{name: pool, title: report}"])
def test_a_schema_with_a_name_of_the_program_is_told_before_anything_runs(capsys, outputs, tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(f"text: [{text}]\nvariables: [{{name: Fall}}]\n")
    name = "split" if "split" in text else "pool"
    told = f"{name} is a name that the program itself uses; give the text column another `name`"
    assert told in line(capsys, outputs, ("schema", str(path)))
