"""Two readers in one race; what was measured stands until a model or the machine is another."""

import shutil
import time

import pandas as pd
from deployments import LABELS, TEST, TEXTS
from toys import TOY, word_texts

from narrutils.crossfit import timing
from narrutils.crossfit.deployed import Deployed
from narrutils.data.run import Run
from narrutils.data.study import Study

MANY = word_texts(TOY, 40, seed=1)


def test_each_reader_reads_the_same_rows_and_its_best_go_counts(monkeypatch):
    read = {"quick": [], "slow": []}

    def reader(name, seconds):
        return lambda texts: (read[name].append(len(texts)), time.sleep(seconds * len(texts)))

    monkeypatch.setattr(timing, "LEAST", 0.0)
    monkeypatch.setattr(timing, "SECONDS", 0.06)
    rates, rows = timing.race({"quick": reader("quick", 0.0), "slow": reader("slow", 0.002)}, MANY)
    assert {*read["quick"][2:]} == {*read["slow"][2:]} == {rows} and 16 <= rows < 40
    assert rates["slow"] <= 500 < rates["quick"]


def test_what_was_measured_is_kept_until_a_model_is_another(tfidf_run, tmp_path, monkeypatch):
    raced = []
    monkeypatch.setattr(
        timing, "race", lambda readers, texts: (raced.append(1), ({n: 1.0 for n in readers}, 9))[1]
    )
    run = Run(shutil.copytree(tfidf_run.folder, tmp_path / "run"), "06_test")
    study = Study(run, TOY, TEXTS, None, TEST, LABELS)
    first = timing.measure(study, str(tfidf_run.folder))
    assert [*first["who"]] == ["student", "teacher"] and [*first.columns] == [*timing.NOTHING.columns]
    ready = Deployed.open(tfidf_run.folder)
    assert (first["models"] == len(ready.models)).all() and (first["megabytes"] > 0).all()
    monkeypatch.setattr(timing, "machine", lambda: {"threads": 0, "processor": "as seen without torch"})
    pd.testing.assert_frame_equal(timing.measure(study, str(tfidf_run.folder)), first)
    assert len(raced) == 1
    marker = next(run.folder.glob("models/*/fold0/key.json"))
    marker.write_text(marker.read_text().replace('"key": "', '"key": "x'))
    timing.measure(study, str(tfidf_run.folder))
    assert len(raced) == 2
