"""The deployed ensemble reads as the run did when its models were trained, kept loaded or not."""

import shutil

import pandas as pd
import pytest
from deployments import FOLDS, LABELS, TEST, TEXTS
from toys import TOY, HashLearner

from narrutils.crossfit import deployed
from narrutils.crossfit.coding import LARGE_PART, PIECE
from narrutils.crossfit.deployed import Deployed
from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels
from narrutils.crossfit.stored import load_model, load_models, words_known
from narrutils.data.files import read_json, write_json
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.errors import InputError
from narrutils.evaluation.evidence import leave_one_out
from narrutils.models import frozen, text
from narrutils.models.learner import in_groups

pytestmark = pytest.mark.slow


def same(one, other):
    pd.testing.assert_frame_equal(one, other, check_names=False, check_exact=True)


def test_it_reads_the_test_split_as_the_run_did_to_the_last_bit(deployed_run):
    """Every kind of model: stored weights, length, precision and batches are those of the training."""
    ensemble = deployed_run.read_probabilities("predictions/ensemble_test.parquet", TOY)
    same(Deployed.open(deployed_run.folder).read(TEST), ensemble.loc[TEST.index])
    turned = Deployed.open(deployed_run.folder).read(TEST[::-1])
    pd.testing.assert_frame_equal(
        turned[::-1], ensemble.loc[TEST.index], check_names=False, atol=1e-6, rtol=0
    )


class Watched(HashLearner):
    """A learner whose model notes which rows each of its readings holds."""

    def fit(self, phases, label=""):
        model, read = super().fit(phases, label), self.read
        model.predict = lambda texts, predict=model.predict: read.append(list(texts.index)) or predict(texts)
        return model


def test_the_run_reads_its_test_split_by_itself(tmp_path):
    """Batches of low precision depend on the rows they hold: alone, they are those of `predict`."""
    learner = Watched(TOY)
    learner.read = []
    model = CrossFit(Study(Run(tmp_path, "04_test"), TOY, TEXTS, FOLDS, TEST), "m", learner)
    model.fit(given_labels(model.study, labels=LABELS))
    assert learner.read.count(list(TEST.index)) == 3
    assert not [rows for rows in learner.read if set(rows) & set(TEST.index) and rows != list(TEST.index)]


def test_batches_are_the_same_whole_in_pieces_and_in_another_order(monkeypatch):
    assert PIECE % text.BLOCK == LARGE_PART % text.BLOCK == 0
    monkeypatch.setattr(text, "BLOCK", 6)
    lengths = TEST["First"].str.split().str.len().tolist()
    batches = lambda texts, lengths: [  # noqa: E731
        texts.index[rows].tolist() for rows in text.batches(texts, lengths, 4)
    ]
    whole = batches(TEST, lengths)
    assert sorted(uid for rows in whole for uid in rows) == list(TEST.index)
    assert whole == [b for n in (0, 6, 12) for b in batches(TEST[n : n + 6], lengths[n : n + 6])]
    assert whole[:2] == batches(TEST[:6][::-1], lengths[:6][::-1])


def test_models_stay_loaded_only_where_all_fit(deployed_run, monkeypatch):
    loaded = []
    load = deployed.load_models
    monkeypatch.setattr(deployed, "load_models", lambda *given: loaded.append(given[0]) or load(*given))
    roomy, tight = Deployed.open(deployed_run.folder), Deployed.open(deployed_run.folder)
    first = roomy.read(TEST)
    same(roomy.read(TEST), first)
    assert loaded == [roomy.models] and len(roomy.models) == 15
    monkeypatch.setattr(deployed, "_free_bytes", lambda neural: 10_000)
    assert not tight.all_fit
    same(tight.read(TEST), first)
    tight.read(TEST[:2])
    assert loaded[1:] == 2 * [[path] for path in tight.models]
    assert not tight._kept


def test_folds_of_a_member_are_held_together_where_they_fit(deployed_run, monkeypatch):
    """With any memory each model is loaded once, in order, and the readings are the same to the last bit."""
    ready = Deployed.open(deployed_run.folder)
    first, parts = ready.read(TEST), {}
    for free in range(10_000, 3_000_000, 100_000):
        monkeypatch.setattr(deployed, "_free_bytes", lambda neural, free=free: free)
        other = Deployed.open(deployed_run.folder)
        assert sum(other.batches, []) == ready.models
        for name in other.members:
            own = [batch for batch in other.batches if set(batch) & set(other.siblings(name))]
            assert len(own) == 1 or all(len(batch) == 1 for batch in own)
        parts[len(other.batches)] = other
    assert {1, 15} < set(parts)
    for other in parts.values():
        same(other.read(TEST), first)


def test_a_base_counts_once_and_the_largest_only_as_what_it_takes(deployed_run, monkeypatch):
    ready = Deployed.open(deployed_run.folder)
    sizes = [deployed._bytes(path) for path in ready.models]
    *others, largest = sorted(deployed._bytes(ready.base_folder(name)) for name in ready.bases)
    assert len(others) == 2 and min(others) > 0
    needed = largest + 2 * (sum(sizes) + sum(others))
    for free in (needed - 1, needed):
        monkeypatch.setattr(deployed, "_free_bytes", lambda neural, free=free: free)
        assert Deployed.open(deployed_run.folder).all_fit == (free == needed)
    monkeypatch.setattr(deployed, "_free_bytes", lambda neural: 2 * needed - 1)
    assert not Deployed.open(deployed_run.folder, "float32").all_fit  # a base that is stored in 16 bits


def test_a_base_of_unknown_size_is_held_with_nothing_but_its_own_folds(deployed_run, tmp_path, monkeypatch):
    run = Run(shutil.copytree(deployed_run.folder, tmp_path / "run"))
    ready = Deployed.open(run.folder)
    base = ready.base_folder("adapters")
    (base / "config.json").unlink()
    write_json(base / "hub.json", {"id": "someone/tiny", "revision": "abc"})
    monkeypatch.setattr(deployed, "_free_bytes", lambda neural: 10**12)
    alone = ready.siblings("adapters")
    assert not ready.all_fit
    assert ready.batches == [ready.models[:9], alone, ready.models[12:]]


@pytest.mark.parametrize("memory", [10**12, 10_000])
def test_progress_adds_up_to_one(deployed_run, memory, monkeypatch):
    shares = []
    monkeypatch.setattr(deployed, "_free_bytes", lambda neural: memory)
    Deployed.open(deployed_run.folder).read(TEST, shares.append)
    assert len(shares) == (3 if memory > 10_000 else 15)  # one for each class of models that are held
    assert sum(shares) == pytest.approx(1)


def test_together_gives_what_each_model_gives_alone(deployed_run):
    """Every kind of model, whoever stands beside it, to the last bit; twice the same."""
    ready = Deployed.open(deployed_run.folder)
    folders = ready.models[::2] + ready.models[1::2]  # folds of a member stand apart
    models = load_models(folders, TOY)
    read = lambda: in_groups(models, type, lambda some: type(some[0]).predict_together(some, TEST))  # noqa: E731
    for folder, found, again in zip(folders, read(), read(), strict=True):
        same(found, load_model(folder, TOY).predict(TEST))
        same(found, again)


def test_pieces_of_whole_blocks_are_read_as_the_whole(deployed_run, monkeypatch):
    for module in (text, frozen):
        monkeypatch.setattr(module, "BLOCK", 4)
    ready = Deployed.open(deployed_run.folder)
    whole = ready.read(TEST)
    same(pd.concat([ready.read(TEST[n : n + 8]) for n in (0, 8)]), whole)


def test_sentences_that_moved_a_code_are_sought_as_before(deployed_run):
    """`leave_one_out` reads few cases in many calls; each of its readings is one of the whole ensemble."""
    texts = TEST[:3].assign(First="w1 w2. w3 w4. w5 w6.")
    ready, wanted = Deployed.open(deployed_run.folder), pd.DataFrame({"uid": TEST.index[:3], "column": "Sad"})
    found = leave_one_out(ready.read, texts, wanted, TOY)
    uid, column, start, end = found.loc[0, ["uid", "text", "start", "end"]]
    told = texts.loc[[uid]]
    without = told.assign(**{column: told.at[uid, column][:start] + told.at[uid, column][end:]})
    moved = ready.read(told)["Sad"] - ready.read(without)["Sad"]
    assert found.loc[0, "effect"] == pytest.approx(float(moved.iloc[0]), abs=1e-3)


def test_folds_of_an_earlier_draw_take_no_part(tfidf_run, tmp_path):
    """A folder of a fold that the run no longer has stays behind; it is not read."""
    run = Run(shutil.copytree(tfidf_run.folder, tmp_path / "run"))
    shutil.copytree(run.path("models/tfidf/fold0"), run.path("models/tfidf/fold3"))
    same(Deployed.open(run.folder).read(TEST), Deployed.open(tfidf_run.folder).read(TEST))


def test_a_member_with_a_refit_is_read_by_it_alone(refit_run):
    ready = Deployed.open(refit_run.folder)
    names = [f"{path.parent.name} {path.name}" for path in ready.models]
    assert names == [
        "tfidf all",
        "frozen fold0",
        "frozen fold1",
        "frozen fold2",
        "encoder all",
        "student all",
    ]
    shares = []
    ready.read(TEST, shares.append)
    assert sum(shares) == pytest.approx(1)
    assert ready.known == words_known([refit_run.path("models/tfidf/all")])


def test_what_is_missing_is_one_line(tfidf_run, tmp_path):
    def broken(change):
        folder = shutil.copytree(tfidf_run.folder, tmp_path / f"run{len(list(tmp_path.iterdir()))}")
        change(folder)
        with pytest.raises(InputError) as caught:
            Deployed.open(folder)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def forget(folder):
        path = folder / "models/tfidf/about.json"
        write_json(path, {k: v for k, v in read_json(path).items() if k != "folds"})

    assert "no such run folder" in broken(shutil.rmtree)
    assert "schema.json is missing" in broken(lambda folder: (folder / "schema.json").unlink())
    assert "ensemble.json is missing" in broken(lambda folder: (folder / "ensemble.json").unlink())
    assert "fold1 is missing" in broken(lambda folder: shutil.rmtree(folder / "models/tfidf/fold1"))
    refit = {"refit": True, "folds": [0, 1, 2], "base": ""}
    assert "tfidf/all is missing" in broken(
        lambda folder: write_json(folder / "models/tfidf/about.json", refit)
    )
    assert "earlier version" in broken(forget)
