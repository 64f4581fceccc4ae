"""A run read by ONNX Runtime gives the codes of its run, or is refused; in 8 bits it has cuts of its own."""

import sys
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from deployments import FOLDS, TEST, TEXTS, finished_run
from toys import TOY, random_probabilities, uids

from narrutils.bundle import bundle
from narrutils.crossfit import exported
from narrutils.crossfit.deployed import Deployed
from narrutils.crossfit.exported import TIE, agreement, export_run, reproducing
from narrutils.crossfit.stored import load_model
from narrutils.data.files import read_json
from narrutils.data.run import Run
from narrutils.data.store import StoredModel
from narrutils.data.study import Study
from narrutils.errors import InputError
from narrutils.models.exported import making, reading
from narrutils.models.settings import Body, Lora
from narrutils.report.say_export import lines
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Recipe

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("hasty")]


@pytest.fixture(scope="module")
def run(thin_bert, tmp_path_factory):
    """A finished run of one encoder with a refit, whose probabilities lie far apart; only read."""
    recipe = Recipe(max_tokens=14, batch_size=2, learning_rate=1e-2, head_learning_rate=0.3)
    learner = NeuralLearner(TOY, Body(thin_bert), Lora(), recipe)
    folder = tmp_path_factory.mktemp("runs") / "encoder"
    return finished_run(folder, {"encoder": learner}, refits=["encoder"])


@pytest.fixture(scope="module")
def rounded(run, tmp_path_factory):
    """Its export in 8 bits, and the readings by which that found its thresholds."""
    seen, found = [], exported._out_of_fold
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exported, "_out_of_fold", lambda *given: seen.append(found(*given)) or seen[-1])
        export = export_run(Deployed.open(run.folder), "int8", tmp_path_factory.mktemp("int8") / "run")
    return export, seen[0]


def test_the_float32_export_gives_the_codes_of_its_run(rounded):
    export, _ = rounded
    found = export.agreements["float32"]
    assert (export.split, export.cases, found.cells) == ("test", len(TEST), TEST.shape[0] * len(TOY.names))
    assert found.differ == 0 and found.largest < 1e-5


def test_what_is_rounded_finds_thresholds_of_its_own(run, rounded):
    """Those under which fewest codes of the run change; all else of its ensemble is kept."""
    export, table = rounded
    made, stored = Deployed.open(export.deployed.run.folder).made, run.read("ensemble.json")
    assert all(made[name] == value for name, value in stored.items() if name != "thresholds")
    codes = TOY.to_labels(StoredModel(run, "encoder").predictions("oof", TOY), stored["thresholds"])
    differ = lambda cuts: (TOY.to_labels(table, cuts) != codes.loc[table.index]).to_numpy().sum()  # noqa: E731
    fewest = min(differ(dict.fromkeys(["Sad", "Note"], cut)) for cut in np.linspace(0, 1, 200))
    assert differ(made["thresholds"]) <= min(fewest, differ(stored["thresholds"]))
    assert export.agreements["the run"].share <= 0.02 and export.anew.changed <= 0.05
    assert abs(export.anew.gain.value - (export.anew.after.value - export.anew.before.value)) < 1e-9


def test_a_fold_is_cut_where_the_others_say(tmp_path):
    """No reading of the fold itself moves it, any of the others may; and each entry keeps its own blend."""
    study = Study(Run(tmp_path), TOY, TEXTS, FOLDS, TEST)
    before, after = ({"a": random_probabilities(TOY, TEXTS.index, seed=n)} for n in (1, 2))
    cuts = {k: {"Sad": 0.3 + k / 10, "Note": 0.4} for k in range(3)}
    by_fold = {str(k): {"weights": {"a": 1.0}, "thresholds": cut} for k, cut in cuts.items()}
    made = {"members": ["a"], "weights": {"a": 1.0}, "thresholds": cuts[0], "by_fold": by_fold}
    found = reproducing(study, made, before, after)["by_fold"]
    other = after["a"].copy()
    other[FOLDS == 1] = before["a"][FOLDS == 1]
    again = reproducing(study, made, before, {"a": other})["by_fold"]
    assert again["1"] == found["1"] and again["0"] != found["0"]
    assert reproducing(study, made, before, before) == made


def test_a_case_is_read_by_the_sibling_that_never_saw_it(run, rounded):
    """Not by the refit, which is what the archive holds and learned from all of them."""
    _, table = rounded
    right = StoredModel(run, "encoder").predictions("oof", TOY, table.index)
    refit = Deployed.open(run.folder).read(TEXTS)
    assert list(table.index) == list(TEXTS.index)
    assert np.abs(table - right).to_numpy().mean() < 0.01
    assert np.abs(table - refit).to_numpy().mean() > 0.06


def test_all_that_was_found_is_said(rounded):
    export, _ = rounded
    told = "\n".join(lines(export, 1.5, 0.5))
    assert all(who in told for who in ("torch float32", "ONNX Runtime float32", "ONNX Runtime int8"))
    assert "1.5 MB of models become 0.5 MB" in told and "average F1 out of fold" in told
    assert not [uid for uid in (*TEST.index, *TEXTS.index) if uid in told]
    much = replace(export.anew, gain=replace(export.anew.gain, value=-0.006), changed=0.03)
    warned = [line for line in lines(replace(export, anew=much), 1, 1) if line.startswith("warning: ")]
    assert len(warned) == 2 and "0.005" in warned[1]
    assert not [line for line in lines(replace(export, anew=None), 1, 1) if line.startswith("warning")]


def other_pooling(classifier, name):
    classifier = merged(classifier, name)
    classifier.pool = lambda states, mask, parts: states[:, 0]
    return classifier


def shorter(model):
    return replace(model, reading=replace(model.reading, max_tokens=9))


merged, load = making.merged, reading.OnnxModel.load


@pytest.mark.parametrize("broken", ["pooling", "truncation"])
def test_an_export_whose_codes_differ_is_refused(run, tmp_path, monkeypatch, broken):
    if broken == "pooling":
        monkeypatch.setattr(making, "merged", other_pooling)
        monkeypatch.setattr(making, "_known", {})
    else:
        monkeypatch.setattr(reading.OnnxModel, "load", lambda *given: shorter(load(*given)))
    with pytest.raises(InputError, match="the ONNX export reads otherwise than its model: "):
        bundle(run.folder, tmp_path / "a.zip", onnx="float32")
    assert not [*tmp_path.iterdir()]


def test_what_is_no_encoder_is_refused_in_one_line(tfidf_run, deployed_run, tmp_path):
    with pytest.raises(InputError, match="no member reads with torch; bundle it without --onnx$"):
        bundle(tfidf_run.folder, tmp_path / "a.zip", onnx="float32")
    with pytest.raises(InputError, match="^frozen: reads the states of a frozen model"):
        bundle(deployed_run.folder, tmp_path / "a.zip", onnx="float32")


def test_what_is_not_installed_is_named(run, tmp_path, monkeypatch):
    monkeypatch.setattr(exported, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(
        InputError, match="^onnxscript is not installed; pip install 'narrutils\\[export\\]'$"
    ):
        bundle(run.folder, tmp_path / "a.zip", onnx="float32")


def test_who_reads_an_export_without_onnxruntime_is_told(tmp_path, monkeypatch):
    (tmp_path / "model.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "narrutils.models.exported.reading", raising=False)
    with pytest.raises(InputError, match="is read with onnxruntime, which is not installed$"):
        load_model(tmp_path, TOY)


def near(table: pd.DataFrame, column: str, value: float) -> pd.DataFrame:
    table = table.copy()
    table.loc[table.index[0], column] = value
    return table


def test_only_a_difference_at_its_threshold_is_a_near_tie():
    table = random_probabilities(TOY, uids(6)).clip(0.1, 0.9)
    cuts = {"Sad": 0.3, "Note": 0.5}
    compare = lambda a, b: agreement(TOY, near(table, "Sad", a), near(table, "Sad", b), cuts, cuts)  # noqa: E731
    tie, far, same = compare(0.3 - TIE / 2, 0.3 + TIE / 2), compare(0.2, 0.4), compare(0.4, 0.9)
    assert (tie.differ, tie.ties, far.differ, far.ties, same.differ) == (1, 1, 1, 0, 0)
    assert far.largest == pytest.approx(0.2) and far.share == 1 / 24
    one, other = table.copy(), table.copy()
    one.iloc[0, 1:4], other.iloc[0, 1:4] = [0.4, 0.4 - TIE / 2, 0.2], [0.4 - TIE / 2, 0.4, 0.2]
    assert (agreement(TOY, one, other, cuts, cuts).differ, agreement(TOY, one, other, cuts, cuts).ties) == (
        1,
        1,
    )


def test_the_cuts_of_each_arm_are_its_own():
    table = random_probabilities(TOY, uids(6))
    low, high = dict.fromkeys(["Sad", "Note"], 0.0), dict.fromkeys(["Sad", "Note"], 1.0)
    assert agreement(TOY, table, table, low, low).differ == 0
    assert agreement(TOY, table, table, low, high).differ == 12


def test_the_archive_holds_what_was_found(run, tmp_path, capsys):
    """The files of the export, not those of the encoder, and the ensemble of the run."""
    bundle(run.folder, tmp_path / "a.zip", onnx="float32")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        names = [name for name in archive.namelist() if name.startswith("run/models/")]
        archive.extractall(tmp_path / "room")
    kept = {"model.onnx", "onnx.json", "tokenizer.json", "training.json"}
    assert set(names) == {"run/models/encoder/about.json", *(f"run/models/encoder/all/{n}" for n in kept)}
    assert read_json(tmp_path / "room/run/ensemble.json") == run.read("ensemble.json")
    assert "0 of 60 codes" in capsys.readouterr().out
