"""The whole of it: six real notebooks through the command line, on real and on unheard-of tasks."""

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
import yaml
from pyarrow import parquet
from toys import save_tiny_writer

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
    assert rows["chunk"].tolist() == [0, 0, 0, 1, 1, 1]
    for v in schema.variables:
        assert rows[v.name].isin(v.codes).all()
    assert rows["agreement"].notna().all() and (rows["copied_words"] >= 0).all()
    assert ((rows["reason"] == "") == rows["kept"]).all()


def test_a_chunk_made_again_is_the_same(copied):
    before = pd.read_parquet(copied / "generated/gemma3.parquet")
    next((copied / "generated/.gemma3").glob("chunk00001-*")).unlink()
    (copied / "generated/gemma3.parquet").unlink()
    again = in_process.called("run", "params/smoke.yaml", "--only", "02", "--outputs", str(copied.parent))
    assert again.returncode == 0, again.stdout
    pd.testing.assert_frame_equal(pd.read_parquet(copied / "generated/gemma3.parquet"), before)


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
    done = narrutils("predict", *map(str, words))
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
    again = narrutils("run", "params/smoke.yaml", "--outputs", str(copied.parent))
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


TEXTS = ["Visit", "Lab", "Remark"]
VARIABLES = [
    {"name": "Blight"},
    {"name": "Soil", "classes": {10: "clay", 20: "sand", 30: "loam"}},
    {"name": "Frost"},
]


def write_orchard(folder: Path, texts: list[str], names: list[str], train: int = 36, test: int = 9) -> None:
    """Cases of a task nobody has seen; neither test labels nor a submission format."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    table = pd.DataFrame({"case_id": [f"row {n}" for n in range(train + test)]})
    table["Blight"], table["Frost"] = rng.integers(0, 2, len(table)), rng.integers(0, 2, len(table))
    table["Soil"] = rng.choice([10, 20, 30], len(table))
    # Of words that the tiny models know: what reads all cases alike would be trained again and again.
    told = zip(table["Blight"], table["Soil"], range(len(table)))  # no two cases in nearly the same words
    table["Visit"] = [f"{'w1' if b else 'w2'} tree on w{s} seen {n} by {n * n}" for b, s, n in told]
    table["Lab"] = [f"sample holds w{s} grains" for s in table["Soil"]]
    table["Remark"] = ["night w5" if f else "" for f in table["Frost"]]
    table[["case_id", *texts]][:train].to_csv(folder / "train_features.csv", index=False)
    table[["case_id", *texts]][train:].to_csv(folder / "test_features.csv", index=False)
    table[["case_id", *names]][:train].to_csv(folder / "train_labels.csv", index=False)


def write_orchard_profile(tmp_path: Path, bert, gemma, texts: list[str], names: list[str], **generation):
    """`orchard.yaml`, its schema and data; `generation` goes to notebook 02."""
    variables = [v for v in VARIABLES if v["name"] in names]
    schema = {
        "name": "orchard",
        "uid": "case_id",
        "text": [{"name": t} for t in texts],
        "variables": variables,
    }
    (tmp_path / "schema.yaml").write_text(yaml.safe_dump(schema, sort_keys=False))
    write_orchard(tmp_path / "data", texts, names)
    shared = {"schema": str(tmp_path / "schema.yaml"), "data_dir": str(tmp_path / "data"), "epochs": 1}
    shared |= {"backbone": str(bert), "max_tokens": 32, "head_learning_rate": 0.1}
    profile = {
        "run": "orchard",
        "shared": shared,
        "01_eda": {"budgets": [{"backbone": str(model), "max_tokens": 32} for model in (bert, gemma)]},
        "02_generation": {"pools": []} | generation,
        "04_deberta": {"top_layers": 1},
        "05_gemma_lora": {
            "backbone": str(gemma),
            "top_layers": 1,
            "lora_rank": 2,
            "lora_alpha": 4,
            "rounds": 0,
            "nested": False,
        },
        "06_ensemble": {"weights": {"tfidf": 1.0, "gemma": 1.0}, "thresholds_from": "members"},
    }
    (tmp_path / "orchard.yaml").write_text(yaml.safe_dump(profile))


@pytest.mark.parametrize(
    ("texts", "names"),
    [(TEXTS, ["Blight", "Soil", "Frost"]), (["Visit"], ["Soil"]), (["Visit", "Remark"], ["Frost"])],
    ids=["three texts", "one text, one categorical", "two texts, one binary"],
)
def test_an_unheard_of_task_needs_a_schema_and_a_profile_only(
    tmp_path, tiny_bert, tiny_gemma_folder, texts, names
):
    write_orchard_profile(tmp_path, tiny_bert, tiny_gemma_folder, texts, names)
    variables = [v for v in VARIABLES if v["name"] in names]
    done = in_process.called("run", str(tmp_path / "orchard.yaml"), "--outputs", str(tmp_path / "outputs"))
    assert done.returncode == 0, done.stdout
    folder = tmp_path / "outputs/orchard"
    submission = pd.read_csv(folder / "submission.csv")
    assert list(submission.columns) == ["case_id", *names]
    assert submission["case_id"].tolist() == [f"row {n}" for n in range(36, 45)]
    assert all(submission[v["name"]].isin(v.get("classes", {0: "", 1: ""})).all() for v in variables)
    entries = read_json(folder / "ladder.json")
    assert {e["split"] for e in entries} == {"oof"}
    assert {e["model"] for e in entries if e["optimistic"]} >= {"gemma", "ensemble"}


def write_orchard_with_pool(tmp_path: Path, bert, gemma, rows: int) -> None:
    """The orchard with a labelled pool of `rows` texts by a tiny writer."""
    pool = {"pool": "w", "backbone": str(save_tiny_writer(tmp_path / "writer")), "rows": rows, "seed": 1}
    pool |= {"labelled": True, "max_new_tokens": 4, "form": "completion"}
    names = ["Blight", "Soil", "Frost"]
    write_orchard_profile(tmp_path, bert, gemma, TEXTS, names, pools=[pool], backend="transformers")


EVIL = "<img src=x onerror=run()> $5_000$"


def make_odd(folder: Path) -> None:
    """The orchard as hardly anyone has it: markup and formulas as names, numbers and nothing as texts,
    one positive, one code alone, missing labels, a test that is labelled in part.
    """
    schema = yaml.safe_load((folder / "schema.yaml").read_text())
    schema["text"][0]["title"] = schema["variables"][1]["classes"][20] = EVIL
    (folder / "schema.yaml").write_text(yaml.safe_dump(schema, sort_keys=False))
    features = {split: pd.read_csv(folder / f"data/{split}_features.csv") for split in ("train", "test")}
    for split, table in features.items():
        table = table.assign(case_id=[f"<b>{split}</b> {n} $" for n in range(len(table))], Lab="")
        table["Visit"] = [n % 7 for n in range(len(table))]
        table.to_csv(folder / f"data/{split}_features.csv", index=False)
        features[split] = table
    labels = pd.read_csv(folder / "data/train_labels.csv").assign(Blight=0, Frost=1).astype(object)
    labels["case_id"], labels.loc[3, "Blight"] = features["train"]["case_id"], 1
    labels.loc[labels.index % 5 == 1, ["Soil", "Frost"]] = ""
    labels.loc[11, "Blight"] = "NA"
    labels.to_csv(folder / "data/train_labels.csv", index=False)
    test = labels.head(4).assign(case_id=features["test"]["case_id"].head(4))
    test.to_csv(folder / "data/test_labels.csv", index=False)


def test_no_input_that_the_checks_let_through_ends_a_stage(tmp_path, tiny_bert, tiny_gemma_folder):
    write_orchard_with_pool(tmp_path, tiny_bert, tiny_gemma_folder, rows=4)
    make_odd(tmp_path)
    done = in_process.called("run", str(tmp_path / "orchard.yaml"), "--outputs", str(tmp_path / "outputs"))
    assert done.returncode == 0, done.stdout
    assert "labels are missing: Blight 1, Soil 7, Frost 7 (of 36 cases, 1 of them without any)" in done.stdout
    folder = tmp_path / "outputs/orchard"
    submission = pd.read_csv(folder / "submission.csv")
    assert submission["case_id"].tolist() == [f"<b>test</b> {n} $" for n in range(9)]
    corrected = pd.read_parquet(folder / "labels/corrected.parquet").set_index(["uid", "held_out_fold"])
    assert (corrected.xs("<b>train</b> 3 $")["Blight"] == 1).all()  # the one positive stays
    assert corrected.xs("<b>train</b> 11 $").isna().all(axis=None)
    for stage in STAGES:
        shown = [
            "".join(output.get("data", {}).get(kind, ""))
            for cell in nbformat.read(folder / f"{stage}.ipynb", as_version=4).cells
            for output in cell.get("outputs", [])
            for kind in ("text/html", "text/markdown")
        ]
        assert not [text for text in shown if "<img src=x" in text or "<b>t" in text]


def test_a_cycle_starts_from_the_run_before_and_takes_its_rows_over(tmp_path, tiny_bert, tiny_gemma_folder):
    """Two runs of the real notebooks by one command: screened, soft-labelled and compared across them."""
    write_orchard_with_pool(tmp_path, tiny_bert, tiny_gemma_folder, rows=6)
    words = ["--cycles", "1", "-p", "04.soft_epochs", "1"]
    words += ["-p", "screening_model", "tfidf", "-p", "teacher", "tfidf"]
    done = in_process.called(
        "cycle", str(tmp_path / "orchard.yaml"), *words, "--outputs", str(tmp_path / "out")
    )
    assert done.returncode == 0, done.stdout
    later = tmp_path / "out/orchard_cycle1"
    assert sorted(p.name for p in (later / "generated").glob("*.parquet")) == ["w.parquet", "w_c1.parquet"]
    folds = pd.read_parquet(later / "folds.parquet").set_index("uid")["fold"]
    seen = pd.read_parquet(later / "generated/w_c1.parquet")["seen_folds"]
    assert {len(s) for s in seen} == {folds.nunique() - 1}  # the teacher's folds joined the prompt's
    before = pd.read_parquet(later / "labels/soft/before.parquet")
    assert (before["uid"].map(folds) != before["held_out_fold"]).all()
    first, second = read_json(tmp_path / "out/orchard/cycles.json")
    assert second["previous_run"] == "orchard" and second["kept"] == (second["gain"] > 0)
    assert read_json(later / "cycle.json") == second
    assert "orchard_cycle1" in done.stdout


def test_a_finished_run_teaches_one_fast_model(tmp_path, tiny_bert, tiny_gemma_folder):
    """Linear members teach it, on further narratives too; it alone codes new cases."""
    names, outputs = ["Blight", "Soil", "Frost"], str(tmp_path / "out")
    write_orchard_profile(tmp_path, tiny_bert, tiny_gemma_folder, TEXTS, names)
    profile = yaml.safe_load((tmp_path / "orchard.yaml").read_text())
    left = {name: profile.pop(name) for name in ("04_deberta", "05_gemma_lora")}
    profile |= {"leave_out": [*left], "06_ensemble": {"weights": {"tfidf": 1.0, "nb": 1.0}}}
    profile["shared"] = {name: profile["shared"][name] for name in ("schema", "data_dir", "backbone")}
    profile["01_eda"]["companions"] = ["nb"]
    (tmp_path / "orchard.yaml").write_text(yaml.safe_dump(profile))
    done = in_process.called("run", str(tmp_path / "orchard.yaml"), "--outputs", outputs)
    assert done.returncode == 0, done.stdout
    more = pd.read_csv(tmp_path / "data/train_features.csv", keep_default_na=False)[:4]
    new = more.assign(Visit=[f"an elm by the road {n} and {n * n} more" for n in range(4)], case_id=[*"abcd"])
    pd.concat([more, new]).to_csv(tmp_path / "more.csv", index=False)
    words = (
        "distill",
        "--run",
        str(tmp_path / "out/orchard"),
        "-p",
        "unlabelled",
        str(tmp_path / "more.csv"),
    )
    done = in_process.called(*words)
    assert done.returncode == 0, done.stdout
    folder = tmp_path / "out/orchard_fast"
    ladder = [e["model"] for e in read_json(folder / "ladder.json") if e["thresholds"] == "cross_fitted"]
    assert ladder == ["tfidf", "teacher", "student", "ensemble"]
    taught = read_json(folder / "student.json")
    assert [row["split"] for row in taught["scores"]] == ["oof"] and taught["speed"][0]["models"] == 1
    rows, folds = (pd.read_parquet(folder / f"{name}.parquet") for name in ("unlabelled", "folds"))
    of = folds.set_index("uid")["fold"]
    assert [list(seen) for seen in rows["seen_folds"]] == [*([of[uid]] for uid in more["case_id"]), *[[]] * 4]
    learned = {
        k: read_json(folder / f"models/student/fold{k}/training.json")["phases"][0] for k in of.unique()
    }
    assert {k: phase["rows"] for k, phase in learned.items()} == {
        k: (of != k).sum() + 4 + (of[more["case_id"]] != k).sum() for k in of.unique()
    }
    coded = tmp_path / "codes.csv"
    features = str(tmp_path / "data/test_features.csv")
    done = in_process.called("predict", "--run", str(folder), "--features", features, "--out", str(coded))
    assert done.returncode == 0 and coded.read_bytes() == (folder / "submission.csv").read_bytes()
    again = in_process.called(*words)
    assert again.stdout.count("unchanged, skipped") == 5, again.stdout


def test_a_fault_is_one_line_and_leaves_outputs_alone(smoke):
    folder, _ = smoke
    before = sorted((p, p.stat().st_mtime_ns) for p in folder.rglob("*"))
    wrong = narrutils("run", "params/smoke.yaml", "-p", "lora_rnk", "3", "--outputs", str(folder.parent))
    assert wrong.returncode == 2
    assert len(wrong.stdout.strip().splitlines()) == 1
    assert "lora_rank" in wrong.stdout
    assert sorted((p, p.stat().st_mtime_ns) for p in folder.rglob("*")) == before
