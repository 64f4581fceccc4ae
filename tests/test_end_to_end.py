"""The whole of it: six real notebooks and models through the command line."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import in_process
import nbformat
import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

from narrutils.data.files import digest, read_json
from narrutils.data.intake.schema_file import RESERVED, load_schema
from narrutils.generation.generate import has_vllm
from narrutils.models.backbones import resolve
from narrutils.paths import PROJECT

pytestmark = pytest.mark.notebooks

STAGES = ["01_eda", "02_generation", "03_relabeling", "04_deberta", "05_gemma_lora", "06_ensemble"]
CHEAP = ["tfidf", "nb", "lasso", "chars", "frozen"]
MODELS = [*CHEAP, "deberta", "gemma", "gemma_round1", "ensemble"]


def narrutils(*words: str) -> subprocess.CompletedProcess:
    """Call the command line as a user does; output and errors in one text."""
    command = [sys.executable, "-m", "narrutils", *words]
    return subprocess.run(
        command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """Run folder and printed output of the smoke profile; only read, which is seen to at the end."""
    outputs = tmp_path_factory.mktemp("outputs")
    done = narrutils("run", "params/smoke.yaml", "--outputs", str(outputs))
    assert done.returncode == 0, done.stdout
    before = state(outputs)
    yield outputs / "smoke", done.stdout
    assert state(outputs) == before, "a test changed the run that all of them read; give it a copy"


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of every file of a folder."""
    return {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def copied(smoke, tmp_path):
    """A copy of the smoke run to change."""
    shutil.copytree(smoke[0], tmp_path / "smoke", copy_function=os.link)  # files are replaced, never changed
    return tmp_path / "smoke"


def test_the_run_folder_holds_what_the_contract_lists(smoke):
    folder, _ = smoke
    expected = [f"{stage}.ipynb" for stage in STAGES]
    expected += ["report/index.html", "cases.parquet", "folds.parquet", "generated/gemma3.parquet"]
    expected += ["labels/corrected.parquet", "labels/flips.parquet", "labels/soft/deberta.parquet"]
    expected += ["labels/soft/gemma.parquet", "ensemble.json", "ladder.json", "submission.csv", "run.json"]
    expected += ["schema.json", "calibration.json", "flags.json", "rounds.json", "report/review.html"]
    expected += [f"predictions/{model}_{part}.parquet" for model in MODELS for part in ("oof", "test")]
    expected += [f"models/deberta/fold{k}/body/top.safetensors" for k in range(3)]
    expected += [f"models/gemma_round1/fold{k}/body/adapter_model.safetensors" for k in range(3)]
    expected += [f"models/tfidf/fold{k}/weights.safetensors" for k in range(3)]
    assert [name for name in expected if not (folder / name).exists()] == []
    assert list((folder / "models/base").glob("*/model.safetensors"))


def test_no_executed_notebook_carries_an_error(smoke):
    folder, _ = smoke
    for stage in STAGES:
        cells = nbformat.read(folder / f"{stage}.ipynb", as_version=4).cells
        code = [cell for cell in cells if cell.cell_type == "code"]
        assert not [out for cell in code for out in cell.outputs if out.output_type == "error"]
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))


def test_the_submission_has_the_format_that_was_asked_for(smoke):
    folder, _ = smoke
    schema = load_schema("params/schemas/nvdrs.yaml")
    submission = pd.read_csv(folder / "submission.csv")
    test = pd.read_parquet(folder / "cases.parquet").query("split == 'test'")
    assert list(submission.columns) == ["uid", *schema.names]
    assert submission["uid"].tolist() == test["uid"].tolist()
    for v in schema.variables:
        assert submission[v.name].dtype == np.int64
        assert submission[v.name].isin(v.codes).all()


def test_every_table_is_keyed_by_uid_and_named_by_class(smoke):
    folder, _ = smoke
    schema = load_schema("params/schemas/nvdrs.yaml")
    folds = pd.read_parquet(folder / "folds.parquet")
    for model in MODELS:
        table = pd.read_parquet(folder / f"predictions/{model}_oof.parquet")
        assert list(table.columns) == ["uid", *schema.columns]
        assert set(table["uid"]) == set(folds["uid"])
    flips = pd.read_parquet(folder / "labels/flips.parquet")
    known = {"uid", "variable", "before", "after", "probability", "method", "held_out_fold"}
    assert set(flips.columns) == known
    assert set(read_json(folder / "run.json")["stages"]) == set(STAGES)


def test_what_stands_beside_the_columns_of_a_task_is_refused_as_a_name_of_its_own(smoke):
    folder, _ = smoke
    schema = load_schema("params/schemas/nvdrs.yaml")
    own = {*schema.text_columns, *schema.names, *schema.columns}
    for path in folder.rglob("*.parquet"):
        columns = set(parquet.read_schema(path).names)
        assert not columns & own or columns - own <= set(RESERVED), path


def test_soft_and_corrected_labels_never_speak_of_their_own_fold(smoke):
    """Row (u, k) is for the model tested on k, so u is never of fold k."""
    folder, _ = smoke
    fold_of = pd.read_parquet(folder / "folds.parquet").set_index("uid")["fold"]
    seen = pd.read_parquet(folder / "generated/gemma3.parquet").set_index("uid")["seen_folds"]
    for name in ("labels/corrected.parquet", "labels/soft/deberta.parquet", "labels/soft/gemma.parquet"):
        table = pd.read_parquet(folder / name)
        official = table[table["uid"].isin(fold_of.index) & (table["held_out_fold"] >= 0)]
        assert (official["uid"].map(fold_of) != official["held_out_fold"]).all()
        generated = table[table["uid"].isin(seen.index)]
        assert all(k not in seen[uid] for uid, k in zip(generated["uid"], generated["held_out_fold"]))


def test_generated_rows_are_those_of_the_engine_with_the_labels_asked_for(smoke):
    folder, _ = smoke
    schema = load_schema("params/schemas/nvdrs.yaml")
    rows = pd.read_parquet(folder / "generated/gemma3.parquet")
    assert set(rows["backend"]) == {"vllm" if has_vllm() else "transformers"}
    assert rows["chunk"].tolist() == [0, 1]
    for v in schema.variables:
        assert rows[v.name].isin(v.codes).all()
    assert rows["agreement"].notna().all() and (rows["copied_words"] >= 0).all()
    assert ((rows["reason"] == "") == rows["kept"]).all()


def test_the_ladder_has_every_step_with_its_interval(smoke):
    folder, printed = smoke
    entries = read_json(folder / "ladder.json")
    assert list(dict.fromkeys(e["model"] for e in entries)) == MODELS
    for e in entries:
        assert 0 <= e["ci_low"] <= e["average_f1"] <= e["ci_high"] <= 1
        assert (e["gain"] is None) == (e["model"] == "tfidf")
        assert np.isclose(np.mean(list(e["per_variable"].values())), e["average_f1"])
        assert (e["split"], e["thresholds"]) != ("test", "in_sample")
    assert "weighted ensemble" in printed
    assert "report/index.html" in printed.splitlines()[-1]


def test_the_report_opens_from_disk_and_links_all_notebooks(smoke):
    folder, _ = smoke
    index = (folder / "report/index.html").read_text()
    for stage in STAGES:
        assert f'href="{stage}.html"' in index
        assert (folder / f"report/{stage}.html").exists()
    for page in (folder / "report").glob("*.html"):
        assert not re.search(r"""(src|href)=["'](https?:)?//""", page.read_text())
    assert "988" in index


def test_narratives_stay_where_they_may_be(smoke):
    """The profile has show_text off: no narrative in notebooks, report, tables, JSON or the log."""
    folder, printed = smoke
    texts = pd.read_parquet(folder / "cases.parquet")[["NarrativeLE", "NarrativeCME"]].stack()
    pieces = {
        text[n : n + 60] for text in texts for n in range(0, max(len(text) - 60, 1), 150) if len(text) > 60
    }
    packaged = Path(resolve("gemma3-270m").path_or_id).glob("tokenizer*")
    seen = {digest(path) for path in packaged}  # of which every fold has a copy
    for path in (p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name == "cases.parquet" or name.startswith("generated/"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            continue
        if path.suffix == ".parquet":
            content = pd.read_parquet(path).to_csv()
        elif path.suffix in (".safetensors", ".model") or digest(path) in seen:
            continue
        else:
            content = path.read_text(errors="ignore")
        assert not [piece for piece in pieces if piece in content], f"{name} holds a narrative"
    assert not [piece for piece in pieces if piece in printed]


def test_predict_on_the_run_s_own_test_cases_gives_the_run_s_own_predictions(smoke, tmp_path):
    folder, _ = smoke
    schema = load_schema("params/schemas/nvdrs.yaml")
    test = pd.read_parquet(folder / "cases.parquet").query("split == 'test'")
    test[["uid", *schema.text_columns]].to_csv(tmp_path / "new.csv", index=False)
    words = ["--run", folder, "--features", tmp_path / "new.csv", "--out", tmp_path / "out.csv"]
    words += ["--probabilities", tmp_path / "p.parquet"]
    done = in_process.called("predict", *map(str, words))
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "out.csv").read_bytes() == (folder / "submission.csv").read_bytes()
    table = pd.read_parquet(tmp_path / "p.parquet")
    promised = pd.read_json(folder / "findings/promises.json")["variables"].map(lambda p: p["outcome"])
    review = ["review"] if promised.eq("promised").any() else []
    assert list(table.columns) == ["uid", "flag", "doubt", *review, *schema.columns]


def test_an_exported_review_changes_the_next_run_s_labels_and_only_those(copied, tmp_path):
    before = pd.read_parquet(copied / "labels/corrected.parquet").set_index(["uid", "held_out_fold"])
    binary = [v.name for v in load_schema("params/schemas/nvdrs.yaml").binary]
    queue = pd.read_parquet(copied / "review/queue.parquet")
    first, second = queue[queue["variable"].isin(binary)].to_dict("records")[:2]
    rows = [
        (first["uid"], first["variable"], "accept", first["label_before"], first["label_after"]),
        (second["uid"], second["variable"], "refuse", second["label_before"], second["label_after"]),
        ("nobody", first["variable"], "accept", 0, 1),
    ]
    columns = ["uid", "variable", "decision", "label_before", "label_after"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "decisions.csv", index=False)
    words = ("run", "params/smoke.yaml", "--only", "03", "-p", "review_file", str(tmp_path / "decisions.csv"))
    done = in_process.called(*words, "--outputs", str(tmp_path))
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("nobody") == 1
    after = pd.read_parquet(copied / "labels/corrected.parquet").set_index(["uid", "held_out_fold"])
    assert after.index.equals(before.index)
    changed = (after != before).stack()
    changed = {(uid, variable) for (uid, _, variable), differs in changed.items() if differs}
    assert changed <= {(row["uid"], row["variable"]) for row in (first, second)}
    for row, label in ((first, first["label_after"]), (second, second["label_before"])):
        assert (after.xs(row["uid"])[row["variable"]] == label).all()


def test_nothing_in_the_run_folder_is_a_pickle(smoke):
    folder, _ = smoke
    assert not [p for p in folder.rglob("*") if p.suffix in {".pkl", ".pickle", ".bin", ".pt", ".joblib"}]


def test_a_rerun_skips_what_is_unchanged(copied):
    before = {p: p.stat().st_mtime_ns for p in copied.glob("predictions/*.parquet")}
    again = in_process.called("run", "params/smoke.yaml", "--outputs", str(copied.parent))
    assert again.returncode == 0
    assert "epoch" not in again.stdout
    assert before == {p: p.stat().st_mtime_ns for p in copied.glob("predictions/*.parquet")}


def test_a_killed_training_resumes_at_the_next_fold(copied):
    kept = pd.read_parquet(copied / "predictions/deberta_oof.parquet")
    shutil.rmtree(copied / "models/deberta/fold2")  # as if killed while fold 2 was being trained
    again = in_process.called("run", "params/smoke.yaml", "--only", "04", "--outputs", str(copied.parent))
    assert again.returncode == 0, again.stdout
    assert "deberta fold1: already trained" in again.stdout
    assert "deberta fold2 · epoch 1/1" in again.stdout
    # The same seed gives the same numbers on the same machine.
    pd.testing.assert_frame_equal(pd.read_parquet(copied / "predictions/deberta_oof.parquet"), kept)


def test_a_fault_is_one_line_and_leaves_outputs_alone(smoke):
    folder, _ = smoke
    before = sorted((p, p.stat().st_mtime_ns) for p in folder.rglob("*"))
    wrong = narrutils("run", "params/smoke.yaml", "-p", "lora_rnk", "3", "--outputs", str(folder.parent))
    assert wrong.returncode == 2
    assert len(wrong.stdout.strip().splitlines()) == 1
    assert "lora_rank" in wrong.stdout
    assert sorted((p, p.stat().st_mtime_ns) for p in folder.rglob("*")) == before
