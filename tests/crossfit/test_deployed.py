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
from narrutils.data.files import read_json, write_json
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.errors import InputError
from narrutils.models import reading


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
    assert PIECE % reading.BLOCK == LARGE_PART % reading.BLOCK == 0
    monkeypatch.setattr(reading, "BLOCK", 6)
    lengths = TEST["First"].str.split().str.len().tolist()
    batches = lambda texts, lengths: [  # noqa: E731
        texts.index[rows].tolist() for rows in reading._batches(texts, lengths, 4)
    ]
    whole = batches(TEST, lengths)
    assert sorted(uid for rows in whole for uid in rows) == list(TEST.index)
    assert whole == [b for n in (0, 6, 12) for b in batches(TEST[n : n + 6], lengths[n : n + 6])]
    assert whole[:2] == batches(TEST[:6][::-1], lengths[:6][::-1])


def test_models_stay_loaded_only_where_all_fit(deployed_run, monkeypatch):
    loaded = []
    load = deployed.load_model
    monkeypatch.setattr(deployed, "load_model", lambda *given: loaded.append(given) or load(*given))
    roomy, tight = Deployed.open(deployed_run.folder), Deployed.open(deployed_run.folder)
    first = roomy.read(TEST)
    same(roomy.read(TEST), first)
    assert len(loaded) == len(roomy.models) == 12
    monkeypatch.setattr(deployed, "_free_bytes", lambda: 10_000)
    assert not tight.all_fit
    same(tight.read(TEST), first)
    tight.read(TEST[:2])
    assert len(loaded) == 3 * 12
    assert not tight._kept


def test_every_copy_of_a_base_counts(deployed_run, monkeypatch):
    ready = Deployed.open(deployed_run.folder)
    sizes = [deployed._bytes(path) for path in ready.models]
    bases = [deployed._bytes(ready.base_folder(name)) for name in ("adapters", "frozen")]
    assert min(bases) > 0
    monkeypatch.setattr(deployed, "_free_bytes", lambda: 2 * (sum(sizes) + 3 * sum(bases)) - 2)
    assert not ready.all_fit


def test_progress_adds_up_to_one(deployed_run):
    shares = []
    Deployed.open(deployed_run.folder).read(TEST, shares.append)
    assert len(shares) == 12
    assert sum(shares) == pytest.approx(1)


def test_folds_of_an_earlier_draw_take_no_part(tfidf_run, tmp_path):
    """A folder of a fold that the run no longer has stays behind; it is not read."""
    run = Run(shutil.copytree(tfidf_run.folder, tmp_path / "run"))
    shutil.copytree(run.path("models/tfidf/fold0"), run.path("models/tfidf/fold3"))
    same(Deployed.open(run.folder).read(TEST), Deployed.open(tfidf_run.folder).read(TEST))


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
    assert "earlier version" in broken(forget)
