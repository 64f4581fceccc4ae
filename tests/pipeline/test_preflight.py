"""A fault in any setting of the six notebooks is one line, before a model loads or a file is touched."""

import pytest

from narrutils.cli import main
from narrutils.errors import InputError
from narrutils.pipeline.consistency import check_settings
from narrutils.pipeline.preflight import preflight
from narrutils.pipeline.profiles import NOTEBOOKS, load_profile


@pytest.fixture
def outputs(tmp_path):
    """Where nothing may come to lie."""
    return tmp_path / "outputs"


def line(capsys, outputs, *pairs, profile="params/demo.yaml"):
    """What the command says of these `-p` pairs; it ends as a mistake of the user does."""
    words = [word for key, value in pairs for word in ("-p", key, value)]
    assert main(["run", profile, *words, "--outputs", str(outputs)]) == 2
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
    ],
)
def test_a_fault_is_one_line_and_outputs_are_untouched(capsys, outputs, key, value, told):
    said = line(capsys, outputs, (key, value))
    for part in told:
        assert part in said


def test_settings_that_exclude_each_other_are_told_of_the_stage_that_has_both(capsys, outputs):
    tuned = [("04.finetune_loss", "f1"), ("04.finetune_epochs", "4")]
    assert "04_deberta: finetune_epochs is 4 of 3 epochs" in line(capsys, outputs, *tuned)


@pytest.mark.parametrize("name", ["smoke", "demo", "osha", "full"])
def test_every_shipped_profile_makes_its_settings(name, outputs, monkeypatch):
    overrides = [("data_dir", ""), ("schema", "params/schemas/nvdrs.yaml"), ("precision", "float32")]
    overrides += [("train_cases", "0")]  # the made corpus has fewer than a profile may ask for
    assert preflight(load_profile(f"params/{name}.yaml", overrides), NOTEBOOKS, outputs).data["embedded"]


def test_a_teacher_must_be_a_model_of_the_previous_run(tmp_path):
    (tmp_path / "predictions").mkdir()
    for name in ("deberta", "ensemble"):
        (tmp_path / f"predictions/{name}_oof.parquet").touch()
    given, previous = [("precision", "float32")], {"04_deberta": tmp_path}
    check_settings(load_profile("params/demo.yaml", [*given, ("teacher", "deberta")]), previous)
    wrong = load_profile("params/demo.yaml", [*given, ("teacher", "debreta")])
    with pytest.raises(InputError, match="04_deberta: teacher is 'debreta'.*did you mean deberta?"):
        check_settings(wrong, previous)
