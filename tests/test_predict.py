"""New narratives in, the competition's format out: exact, in pieces, whole or not at all."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest
from deployments import TEST, TEXTS, features
from toys import TOY, word_texts

from narrutils.crossfit import coding as module
from narrutils.crossfit import deployed as deploying
from narrutils.crossfit.coding import inert
from narrutils.crossfit.deployed import Deployed
from narrutils.data.outputs import Outputs
from narrutils.data.parts import Parts
from narrutils.data.run import Run
from narrutils.errors import InputError
from narrutils.evaluation.calibration import Calibration
from narrutils.evaluation.flags import Flagging
from narrutils.predict import predict, predict_format, summary

pytestmark = pytest.mark.slow

SECRET = "zebra crossing at dawn"


def codes_of(path):
    return pd.read_csv(path, dtype={"uid": str}, keep_default_na=False).set_index("uid")


def run_on(run, folder, texts=TEST, **more):
    """The counts, and the outputs, of predicting some cases."""
    outputs = Outputs(folder / "out.csv", overwrite=True, **more)
    return predict(run.folder, features(folder, texts), outputs, progress=False), outputs


def test_the_runs_own_test_split_is_coded_as_the_run_coded_it(deployed_run, tmp_path):
    """File for file the same bytes, in the order of the features."""
    counts, outputs = run_on(deployed_run, tmp_path)
    assert counts["rows"] == 15
    assert outputs.codes.read_bytes() == deployed_run.path("submission.csv").read_bytes()
    run_on(deployed_run, tmp_path, TEST[::-1])
    pd.testing.assert_frame_equal(
        codes_of(outputs.codes)[::-1], codes_of(deployed_run.path("submission.csv"))
    )


def test_what_a_refit_read_of_the_test_is_what_predict_reads(refit_run, tmp_path):
    """Its own test split, to the byte of the submission; the fold models may be gone."""
    folder = shutil.copytree(refit_run.folder, tmp_path / "run")
    for name in ("tfidf", "encoder", "student"):
        for k in range(3):
            shutil.rmtree(folder / f"models/{name}/fold{k}")
    _, outputs = run_on(Run(folder), tmp_path)
    assert outputs.codes.read_bytes() == refit_run.path("submission.csv").read_bytes()
    read = Deployed.open(folder).read(TEST)
    whole = refit_run.read_probabilities("predictions/ensemble_test.parquet", TOY, TEST.index)
    pd.testing.assert_frame_equal(read, whole, check_names=False, check_exact=True)


def test_probabilities_are_the_runs_calibrated(deployed_run, tmp_path):
    counts, outputs = run_on(deployed_run, tmp_path, probabilities=tmp_path / "p.parquet")
    found = pd.read_parquet(outputs.probabilities).set_index("uid")
    assert list(found.columns) == ["flag", "doubt", *TOY.columns]
    ensemble = deployed_run.read_probabilities("predictions/ensemble_test.parquet", TOY, TEST.index)
    calibrated = Calibration.from_dict(deployed_run.read("calibration.json")).apply(ensemble)
    pd.testing.assert_frame_equal(
        found[TOY.columns], calibrated, check_exact=True, check_index_type=False, check_names=False
    )
    cut = deployed_run.read("flags.json")["cut"]
    assert found["flag"].tolist() == (found["doubt"] > cut).astype(int).tolist()
    assert counts["flagged"] == found["flag"].sum()


def test_a_case_without_a_word_is_flagged_whatever_the_models_say(tfidf_run, tmp_path, monkeypatch):
    def none(self, codes, calibrated):
        return pd.DataFrame({"flag": 0, "doubt": 0.0}, codes.index)

    monkeypatch.setattr(Flagging, "of", none)
    texts = TEST.copy()
    texts.iloc[[2, 7]] = ["", " \n"]
    counts, outputs = run_on(tfidf_run, tmp_path, texts, probabilities=tmp_path / "p.csv")
    flags = pd.read_csv(outputs.probabilities)["flag"]
    assert flags.index[flags == 1].tolist() == [2, 7]
    assert (counts["blank"], counts["flagged"]) == (2, 2)
    assert "cases without any text: 2, flagged" in summary(counts, outputs)


def test_codes_that_a_person_should_decide_for_a_promise_are_named(promising_run, tfidf_run, tmp_path):
    """By the rule of the promise, on the codes of a run without any; a case without a word in all of them."""
    texts = TEST.copy()
    texts.iloc[4] = ["", " "]
    counts, outputs = run_on(promising_run, tmp_path, texts, probabilities=tmp_path / "p.parquet")
    found, codes = pd.read_parquet(outputs.probabilities).set_index("uid"), codes_of(outputs.codes)
    assert list(found.columns) == ["flag", "doubt", "review", *TOY.columns]
    named = []
    for uid, row in found.iterrows():
        place = row[f"Place_{codes.at[uid, 'Place']}"]
        wanted = {
            "Sad": codes.at[uid, "Sad"] == 0 and 1 - row["Sad"] <= 0.6,
            "Place": place <= 0.4,
            "Note": codes.at[uid, "Note"] == 1 and row["Note"] <= 0.55,
        }
        named.append([name for name, yes in wanted.items() if yes or uid == texts.index[4]])
    assert found["review"].tolist() == ["; ".join(names) for names in named]
    assert counts["reviewed"] == sum(map(len, named)) > 3 and counts["promised"] == 3
    said = summary(counts, outputs)
    assert f"promises stand for 3 variables if a person decides {counts['reviewed']} of their codes" in said
    before = run_on(tfidf_run, tmp_path, texts, probabilities=tmp_path / "q.parquet")
    assert "promise" not in summary(*before) and "reviewed" not in before[0]
    assert outputs.codes.read_bytes() == before[1].codes.read_bytes()
    assert list(pd.read_parquet(before[1].probabilities)) == ["uid", "flag", "doubt", *TOY.columns]


def test_narratives_that_are_not_like_the_runs_are_told(promising_run, tfidf_run, tmp_path, monkeypatch):
    """By parts as at once; the file's codes are as ever."""
    long = pd.concat([word_texts(TOY, 40, seed=n, words=60) for n in range(3)])
    long = long.set_axis([f"n{n}" for n in range(120)])
    counts, outputs = run_on(promising_run, tmp_path, long)
    assert {"words First", "words Second"} <= {row["number"] for row in counts["differs"]}
    said = summary(counts, outputs).splitlines()[-1]
    assert (
        said.startswith("these narratives are not like those of the run (") and "narrutils estimate" in said
    )
    monkeypatch.setattr(module, "PIECE", 7)
    monkeypatch.setattr(module, "LARGE_PART", 14)
    assert run_on(promising_run, tmp_path, long)[0] == counts
    monkeypatch.setattr(module, "WORDS_ROWS", 9)  # of each part
    by_number = {row["number"]: row["p"] for row in run_on(promising_run, tmp_path, long)[0]["differs"]}
    before = {row["number"]: row["p"] for row in counts["differs"]}
    assert by_number["words First"] > before["words First"] and by_number["doubt"] == before["doubt"]
    alike = pd.concat([TEXTS] * 5).set_axis([f"n{n}" for n in range(120)])
    counts, outputs = run_on(promising_run, tmp_path, alike)
    assert counts["differs"] == [] and "not like" not in summary(counts, outputs)
    assert "differs" not in run_on(tfidf_run, tmp_path, long)[0]


def test_how_a_file_is_read_is_said(tfidf_run, tmp_path, capsys):
    path = tmp_path / "new.tsv"
    TEST.assign(Site="A").rename_axis("uid").to_csv(path, sep="\t", encoding="utf-16")
    outputs = Outputs(tmp_path / "out.csv", overwrite=True)
    predict(tfidf_run.folder, path, outputs, progress=False)
    assert capsys.readouterr().out.splitlines()[:2] == [
        "new.tsv: read as UTF-16",
        "new.tsv: further columns are not read: Site",
    ]
    others = run_on(tfidf_run, tmp_path)[1]
    assert others.codes.read_bytes() == outputs.codes.read_bytes()


def test_pieces_of_any_size_give_one_result(tfidf_run, tmp_path, monkeypatch):
    whole = run_on(tfidf_run, tmp_path, probabilities=tmp_path / "p.csv")
    first = [whole[1].codes.read_bytes(), whole[1].probabilities.read_bytes()]
    monkeypatch.setattr(module, "PIECE", 4)
    pieces = run_on(tfidf_run, tmp_path, probabilities=tmp_path / "p.csv")
    assert pieces[0] == whole[0]
    assert [pieces[1].codes.read_bytes(), pieces[1].probabilities.read_bytes()] == first


def test_only_the_run_folder_is_needed(deployed_run, tmp_path, tiny_bert, tiny_gemma_folder):
    """Moved away from what it was trained with, cases and predictions gone."""
    run = Run(shutil.copytree(deployed_run.folder, tmp_path / "elsewhere"))
    for name in ("cases.parquet", "folds.parquet", "predictions"):
        path = run.path(name)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    hidden = [shutil.move(folder, f"{folder}-hidden") for folder in (tiny_bert, tiny_gemma_folder)]
    try:
        _, outputs = run_on(run, tmp_path)
    finally:
        for folder in hidden:
            shutil.move(folder, folder.removesuffix("-hidden"))
    assert outputs.codes.read_bytes() == deployed_run.path("submission.csv").read_bytes()


ODD = {
    "script": "<script>alert(1)</script> <img src=x onerror=alert(1)>",
    "=cmd|' /C calc'!A0": "=1+1",
    "@SUM(1)": "-2+3\t",
    "long": "w1 w2 " * 10_000,
    "rtl": "\u202eاضطراب في النوم\u202c \u200f",
    "emoji": "😀👩‍👩‍👧 e\u0301",
    "nul": "w1\0w2",
    "empty": "",
    "latex": r"$\input{/etc/passwd}$ \write18{x}",
    "007": "NaN",
    "newlines": "w1\r\nw2\u2028w3\x1b[31m\x07",
}


def test_odd_narratives_pass_unharmed(deployed_run, tmp_path):
    texts = pd.DataFrame({"First": list(ODD.values()), "Second": list(ODD.values())}, index=list(ODD))
    counts, outputs = run_on(deployed_run, tmp_path, texts, probabilities=tmp_path / "p.csv")
    found = codes_of(outputs.codes)
    assert found.index.tolist() == list(ODD)
    assert found.dtypes.eq(np.int64).all()
    assert counts["mended"] == 2
    for path in (outputs.codes, outputs.probabilities):
        text = path.read_text()
        assert not any(mark in text for mark in ("<script>", "1+1", "😀", "passwd", "\x1b", "\0"))
    # Each case is read as it is read alone: no odd neighbour changes it.
    alone = Deployed.open(deployed_run.folder).read(texts[:1])
    together = Deployed.open(deployed_run.folder).read(texts)[:1]
    pd.testing.assert_frame_equal(alone, together, atol=0.02, rtol=0)


def test_lone_surrogates_pass_too(tfidf_run, tmp_path):
    path = tmp_path / "new.csv"
    path.write_bytes(b"uid,First,Second\na,w1 \xed\xa0\xbd w2,w3\n")
    counts = predict(tfidf_run.folder, path, Outputs(tmp_path / "out.csv"), progress=False)
    assert counts["mended"] == 1
    assert codes_of(tmp_path / "out.csv").index.tolist() == ["a"]


def test_nothing_is_written_where_a_row_is_faulty(tfidf_run, tmp_path):
    path = features(tmp_path, TEST)
    path.write_text(path.read_text() + f"t000,{SECRET},x\n")
    before = sorted(os.listdir(tmp_path))
    outputs = Outputs(tmp_path / "out.csv", tmp_path / "p.parquet", tmp_path / "e.csv")
    with pytest.raises(InputError, match="line 17, column uid: t000 is in line 2 already"):
        predict(tfidf_run.folder, path, outputs, progress=False)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.fixture
def small_parts(monkeypatch):
    """15 cases are four parts."""
    monkeypatch.setattr(module, "PIECE", 4)
    monkeypatch.setattr(module, "LARGE_PART", 4)


def stopping(monkeypatch, after: int) -> list:
    """Let a prediction be interrupted at the reading after so many; the list of what was read."""
    read, calls = Deployed.read, []

    def stop(*given):
        if len(calls) == after:
            monkeypatch.setattr(Deployed, "read", read)
            raise KeyboardInterrupt
        calls.append(list(given[1].index))
        return read(*given)

    monkeypatch.setattr(Deployed, "read", stop)
    return calls


def stopped(run, folder, monkeypatch, after: int = 2, **more) -> Outputs:
    """The outputs of a prediction that was interrupted."""
    stopping(monkeypatch, after)
    with pytest.raises(KeyboardInterrupt):
        run_on(run, folder, **more)
    return Outputs(folder / "out.csv", overwrite=True, **more)


def test_an_interrupted_prediction_leaves_old_files_and_goes_on(
    tfidf_run, tmp_path, monkeypatch, small_parts, capsys
):
    """What is done is not read again, and the end is the undisturbed one, file by file."""
    (tmp_path / "whole").mkdir()
    whole = run_on(tfidf_run, tmp_path / "whole", probabilities=tmp_path / "whole" / "p.parquet")
    old = "uid,Sad,Place,Note,Tool\nold,0,1,0,0\n"
    (tmp_path / "out.csv").write_text(old)
    stopped(tfidf_run, tmp_path, monkeypatch, probabilities=tmp_path / "p.parquet")
    assert sorted(os.listdir(tmp_path)) == [".out.csv.parts", "new.csv", "out.csv", "whole"]
    assert (tmp_path / ".out.csv.parts").stat().st_mode & 0o077 == 0
    assert (tmp_path / "out.csv").read_text() == old
    calls = stopping(monkeypatch, 9)
    counts, outputs = run_on(tfidf_run, tmp_path, probabilities=tmp_path / "p.parquet")
    assert calls == [list(TEST.index[8:12]), list(TEST.index[12:])]
    assert "2 of 4 parts are done" in capsys.readouterr().out
    assert counts == whole[0]
    assert sorted(os.listdir(tmp_path)) == ["new.csv", "out.csv", "p.parquet", "whole"]
    for one, other in zip(outputs.files.values(), whole[1].files.values()):
        assert one.read_bytes() == other.read_bytes()


def test_what_changed_since_a_prediction_stopped_is_named(tfidf_run, tmp_path, monkeypatch, small_parts):
    outputs = stopped(tfidf_run, tmp_path, monkeypatch)
    other = Run(shutil.copytree(tfidf_run.folder, tmp_path / "run"), "06_test")
    other.write("ensemble.json", other.read("ensemble.json") | {"thresholds": 0.4})
    again = Outputs(outputs.codes)
    for run, features_changed, wanted, said in (
        (other, False, again, "differs in the run; "),
        (tfidf_run, False, Outputs(outputs.codes, tmp_path / "p.csv"), "differs in --probabilities; "),
        (tfidf_run, False, Outputs(outputs.codes, faults=tmp_path / "f.csv"), "differs in --faults; "),
        (tfidf_run, True, again, "differs in the features new.csv; .* or add --overwrite"),
    ):
        path = features(tmp_path, TEST[::-1] if features_changed else TEST)
        with pytest.raises(InputError, match=said):
            predict(run.folder, path, wanted, progress=False)
    counts = predict(tfidf_run.folder, path, outputs, progress=False)  # given up, and all coded anew
    assert counts["rows"] == 15
    assert codes_of(outputs.codes).index.tolist() == list(TEST.index[::-1])


def test_what_was_left_to_the_machine_is_as_the_first_one_had_it(
    deployed_run, tmp_path, monkeypatch, small_parts
):
    """Threads, and a precision of `auto`: whoever goes on reads as it was begun."""
    path, out = features(tmp_path, TEST), Outputs(tmp_path / "out.csv", tmp_path / "p.parquet")
    monkeypatch.setattr(deploying, "resolved", lambda word: "bfloat16" if word == "auto" else word)
    stopping(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        predict(deployed_run.folder, path, out, progress=False, precision="auto")
    monkeypatch.setattr(deploying, "resolved", lambda word: "float32" if word == "auto" else word)
    with pytest.raises(InputError, match="differs in --precision; "):
        predict(deployed_run.folder, path, out, progress=False, precision="float32")
    predict(deployed_run.folder, path, out, progress=False, precision="auto")
    whole = Outputs(tmp_path / "whole.csv", tmp_path / "w.parquet")
    predict(deployed_run.folder, path, whole, progress=False, precision="bfloat16")
    assert out.probabilities.read_bytes() == whole.probabilities.read_bytes()


def test_the_bytes_do_not_depend_on_the_memory_that_is_free(deployed_run, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PIECE", 4)
    ends = []
    for free in (10**12, 0):
        monkeypatch.setattr(deploying, "_free_bytes", lambda neural, free=free: free)
        _, outputs = run_on(deployed_run, tmp_path, probabilities=tmp_path / "p.parquet")
        ends.append([file.read_bytes() for file in outputs.files.values()])
    assert ends[0] == ends[1]


def test_a_prediction_killed_while_it_cleared_up_leaves_nothing_behind(tfidf_run, tmp_path):
    _, outputs = run_on(tfidf_run, tmp_path)
    (tmp_path / ".out.csv.parts" / "part000000-abc").mkdir(parents=True)
    with pytest.raises(InputError, match="is there already"):
        predict(tfidf_run.folder, tmp_path / "new.csv", Outputs(outputs.codes), progress=False)
    assert sorted(os.listdir(tmp_path)) == ["new.csv", "out.csv"]


def test_a_damaged_part_is_named_with_its_mend(tfidf_run, tmp_path, monkeypatch, small_parts):
    outputs = stopped(tfidf_run, tmp_path, monkeypatch, after=3)
    broken = next((tmp_path / ".out.csv.parts").glob("part000001-*"))
    (broken / "codes.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="part000001-.*: is damaged; remove it and give the same command"):
        predict(tfidf_run.folder, tmp_path / "new.csv", outputs, progress=False)
    shutil.rmtree(broken)
    assert predict(tfidf_run.folder, tmp_path / "new.csv", outputs, progress=False)["rows"] == 15


def test_two_predictions_do_not_work_on_the_same_parts(tfidf_run, tmp_path):
    with (
        Parts.beside(tmp_path / "out.csv").held(),
        pytest.raises(InputError, match="another process is at work there"),
    ):
        run_on(tfidf_run, tmp_path)


def test_a_result_whose_place_was_taken_meanwhile_is_not_put_there(
    tfidf_run, tmp_path, monkeypatch, small_parts
):
    path, out = features(tmp_path, TEST), tmp_path / "out.csv"
    stopping(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        predict(tfidf_run.folder, path, Outputs(out), progress=False)
    out.write_text("uid\nmine\n")
    with pytest.raises(InputError, match="out.csv: is there already"):
        predict(tfidf_run.folder, path, Outputs(out), progress=False)
    assert out.read_text() == "uid\nmine\n"
    out.unlink()
    assert predict(tfidf_run.folder, path, Outputs(out), progress=False)["rows"] == 15


def test_a_folder_of_tables_is_one_table_and_results_may_be_folders(tfidf_run, tmp_path, small_parts):
    whole = run_on(tfidf_run, tmp_path, probabilities=tmp_path / "p.parquet")
    folder = tmp_path / "cases"
    folder.mkdir()
    table = TEST.rename_axis("uid").reset_index()
    table[:5].to_parquet(folder / "1.parquet")
    table[5:6].to_csv(folder / "2.csv", index=False)
    table[6:6].to_csv(folder / "3.csv", index=False)
    table[6:].to_csv(folder / "4.tsv.gz", index=False, sep="\t")
    (folder / "README.md").write_text("of three sites")
    outputs = Outputs(tmp_path / "codes", tmp_path / "probabilities")
    assert predict(tfidf_run.folder, folder, outputs, progress=False) == whole[0]
    assert sorted(os.listdir(outputs.codes)) == [f"part{n:06d}.parquet" for n in range(4)]
    for found, right in zip((outputs.codes, outputs.probabilities), whole[1].files.values()):
        right = pd.read_csv(right) if right.suffix == ".csv" else pd.read_parquet(right)
        pd.testing.assert_frame_equal(pd.read_parquet(found), right, check_dtype=False)
    with pytest.raises(InputError, match="codes: is there already"):
        predict(tfidf_run.folder, folder, outputs, progress=False)
    predict(tfidf_run.folder, folder, Outputs(*outputs.tables.values(), overwrite=True), progress=False)
    (outputs.codes / "mine.txt").write_text("")
    with pytest.raises(InputError, match="codes: is a folder of other files"):
        predict(tfidf_run.folder, folder, Outputs(*outputs.tables.values(), overwrite=True), progress=False)
    with pytest.raises(InputError, match="lies among the features"):
        predict(tfidf_run.folder, folder, Outputs(folder / "codes.csv"), progress=False)


def test_a_faulty_row_costs_itself(tfidf_run, tmp_path, small_parts):
    """The others are coded as in a file without it, byte for byte; each is listed, without text."""
    right = run_on(tfidf_run, tmp_path)[1].codes.read_bytes()
    lines = (tmp_path / "new.csv").read_text().splitlines()
    lines[3:3] = [f"t900,{SECRET}", f" ,{SECRET},x", "t901, ,", f"t000,{SECRET},x", f't902,"{SECRET}"x,y']
    lines[18:18] = [f"t010,{SECRET},x", f"t903,x,y,{SECRET}"]
    (tmp_path / "new.csv").write_text("\n".join(lines))
    outputs = Outputs(tmp_path / "out.csv", overwrite=True, faults=tmp_path / "f.csv")
    counts = predict(tfidf_run.folder, tmp_path / "new.csv", outputs, progress=False)
    listed = pd.read_csv(outputs.faults)
    assert (counts["rows"], counts["faults"]) == (15, 7) and counts["blank"] == 0
    assert listed["line"].tolist() == [4, 5, 6, 7, 8, 19, 20]
    assert set(listed["file"]) == {"new.csv"} and SECRET not in outputs.faults.read_text()
    for reason, said in zip(
        listed["reason"], ("2 fields", "uid is empty", "no narrative", "line 2", "not valid")
    ):
        assert said in reason
    assert outputs.codes.read_bytes() == right
    assert summary(counts, outputs).startswith(f"22 rows: 15 coded: {outputs.codes}, 7 left out")
    with pytest.raises(InputError, match="line 4 has 2 fields"):
        predict(tfidf_run.folder, tmp_path / "new.csv", Outputs(tmp_path / "o.csv"), progress=False)


def test_an_output_that_cannot_be_is_refused_before_anything(tfidf_run, tmp_path):
    path, kept = features(tmp_path, TEST), tmp_path / "folder.csv"
    kept.mkdir()
    (kept / "precious").write_text("")
    for outputs, said in {
        Outputs(kept): "is a folder",
        Outputs(path): "is the features file",
        Outputs(tmp_path / "x.parquet"): "x.parquet: unknown kind of file; name it .csv, or as a folder",
        Outputs(
            tmp_path / "x.csv", tmp_path / "p.txt"
        ): "p.txt: unknown kind of file; name it .csv or .parquet",
        Outputs(tmp_path / "x.csv", tmp_path / "x.csv"): "one file",
    }.items():
        with pytest.raises(InputError, match=said):
            predict(tfidf_run.folder, path, outputs, progress=False)
    assert (kept / "precious").exists()


def test_a_file_that_is_there_is_replaced_only_if_that_is_asked_for(tfidf_run, tmp_path):
    """A person's labels have the header of a result: nothing tells them apart."""
    path, out = features(tmp_path, TEST), tmp_path / "labels.csv"
    labels = b"uid,Sad,Place,Note,Tool\na,0,1,0,0\n"
    out.write_bytes(labels)
    for outputs in (Outputs(out), Outputs(tmp_path / "c.csv", out), Outputs(tmp_path / "c.csv", None, out)):
        with pytest.raises(InputError, match="labels.csv: is there already; .*--overwrite$"):
            predict(tfidf_run.folder, path, outputs, progress=False)
        assert out.read_bytes() == labels and not (tmp_path / "c.csv").exists()
    predict(tfidf_run.folder, path, Outputs(out, overwrite=True), progress=False)
    assert len(codes_of(out)) == len(TEST)
    out.write_bytes(b"")
    predict(tfidf_run.folder, path, Outputs(out), progress=False)


def test_a_run_s_own_submission_is_no_place_for_other_codes(tfidf_run, tmp_path):
    run = Run(shutil.copytree(tfidf_run.folder, tmp_path / "run"))
    with pytest.raises(InputError, match="submission.csv: is there"):
        predict(run.folder, features(tmp_path, TEST[:3]), Outputs(run.path("submission.csv")), progress=False)


def test_a_run_without_flags_codes_all_the_same(tfidf_run, tmp_path):
    run = Run(shutil.copytree(tfidf_run.folder, tmp_path / "run"))
    run.path("flags.json").unlink()
    counts, outputs = run_on(run, tmp_path)
    assert "flagged" not in counts
    assert outputs.codes.read_bytes() == tfidf_run.path("submission.csv").read_bytes()
    with pytest.raises(InputError, match="no calibration and flags; run its 06"):
        run_on(run, tmp_path, probabilities=tmp_path / "p.csv")


def test_evidence_holds_places_and_no_text(tfidf_run, tmp_path):
    texts = word_texts(TOY, 8, seed=5).map(lambda t: f"{t}. {SECRET} w1 w2. =w3 w4.")
    _, outputs = run_on(tfidf_run, tmp_path, texts, evidence=tmp_path / "e.csv")
    assert "zebra" not in outputs.evidence.read_text()
    found, codes = pd.read_csv(outputs.evidence), codes_of(outputs.codes)
    assert list(found.columns) == ["uid", "variable", "text", "start", "end", "effect"]
    positive = {(uid, v.name) for v in TOY.binary for uid in codes.index[codes[v.name] == 1]}
    assert set(zip(found["uid"], found["variable"])) == positive
    assert found.groupby(["uid", "variable"]).size().max() <= module.SENTENCES
    shown = run_on(tfidf_run, tmp_path, texts, evidence=tmp_path / "e.csv", show_text=True)[1].evidence
    quotes = pd.read_csv(shown)
    for row in quotes.itertuples():
        assert inert(texts.at[row.uid, row.text][row.start : row.end]) == row.sentence
    assert not quotes["sentence"].str.startswith("=").any()
    assert shown.stat().st_mode & 0o077 == 0


def test_no_positive_code_is_no_evidence(tfidf_run, tmp_path, monkeypatch):
    monkeypatch.setattr(Deployed, "decide", lambda self, p: self.schema.to_labels(p, 1.0))
    _, outputs = run_on(tfidf_run, tmp_path, evidence=tmp_path / "e.csv")
    assert len(pd.read_csv(outputs.evidence)) == 0


def test_a_format_is_filled_by_uid_in_its_own_order(tfidf_run, tmp_path):
    path, form = features(tmp_path, TEST), tmp_path / "format.csv"
    wanted = ["t007", "t001", "t014"]
    pd.DataFrame({"uid": wanted, "Note": 0, "Sad": 0, "Place": 1, "Tool": 0}).to_csv(form, index=False)
    predict_format(tfidf_run.folder, path, form, tmp_path / "out.csv")
    found = codes_of(tmp_path / "out.csv")
    assert list(found.columns) == ["Note", "Sad", "Place", "Tool"]
    right = codes_of(tfidf_run.path("submission.csv")).loc[wanted]
    pd.testing.assert_frame_equal(found, right[found.columns])
    form.write_text(form.read_text() + "t099,0,0,1,0\n")
    with pytest.raises(InputError, match="new.csv: no row for uid t099"):
        predict_format(tfidf_run.folder, path, form, tmp_path / "out.csv")


def test_the_uid_column_keeps_the_name_that_the_schema_gives_it(tfidf_run, tmp_path):
    run = Run(shutil.copytree(tfidf_run.folder, tmp_path / "run"), "06_test")
    run.write("schema.json", TOY.to_dict() | {"uid": "case_id"})
    path = features(tmp_path, TEST)
    path.write_text(path.read_text().replace("uid,", "case_id,", 1))
    outputs = Outputs(tmp_path / "o.csv", tmp_path / "p.csv", tmp_path / "e.csv")
    predict(run.folder, path, outputs, progress=False)
    for file in (outputs.codes, outputs.probabilities, outputs.evidence):
        assert file.read_text().startswith("case_id,")


def test_codes_and_a_format_have_the_columns_of_the_file(tfidf_run, tmp_path):
    run = Run(shutil.copytree(tfidf_run.folder, tmp_path / "run"), "06_test")
    task = TOY.to_dict()
    task["variables"][0]["column"], task["variables"][2]["column"] = "Low mood", "split"
    run.write("schema.json", task)
    _, outputs = run_on(run, tmp_path)
    right = codes_of(run.path("submission.csv"))
    found = codes_of(outputs.codes)
    assert list(found.columns) == ["Low mood", "Place", "split", "Tool"]
    assert (found.to_numpy() == right.to_numpy()).all()
    form = tmp_path / "format.csv"
    pd.DataFrame({"uid": ["t003"], "split": 0, "Low mood": 0, "Place": 1, "Tool": 0}).to_csv(
        form, index=False
    )
    predict_format(run.folder, features(tmp_path, TEST), form, tmp_path / "filled.csv")
    filled = codes_of(tmp_path / "filled.csv")
    pd.testing.assert_frame_equal(filled, found.loc[["t003"], filled.columns])


def test_what_a_person_is_told():
    outputs = Outputs("o.csv", "p.parquet")
    said = summary({"rows": 8, "mended": 1, "flagged": 2}, outputs)
    assert "8 cases coded: o.csv" in said
    assert "a person should decide 2 of them (25%): flag in p.parquet" in said
    assert "1 narratives held NUL" in said
    assert summary({"rows": 8, "mended": 0}, Outputs("o.csv")) == "8 cases coded: o.csv"
    assert "without any text: 1, coded all the same" in summary({"rows": 8, "mended": 0, "blank": 1}, outputs)


def test_uids_are_of_the_file_even_where_they_look_like_numbers(tfidf_run, tmp_path):
    texts = TEST[:3].set_axis(["007", "1e3", "TRUE"])
    _, outputs = run_on(tfidf_run, tmp_path, texts, probabilities=tmp_path / "p.parquet")
    assert codes_of(outputs.codes).index.tolist() == ["007", "1e3", "TRUE"]
    assert pd.read_parquet(outputs.probabilities)["uid"].tolist() == ["007", "1e3", "TRUE"]
