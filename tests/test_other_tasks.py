"""Six real notebooks on unheard-of tasks and tiny models: they need a schema and a profile, no Python."""

from pathlib import Path

import in_process
import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from toys import save_tiny_writer

from narrutils.data.files import read_json

pytestmark = pytest.mark.notebooks

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
            "layers": 0,
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
    [(["Visit"], ["Soil"]), (["Visit", "Remark"], ["Frost"])],
    ids=["one text, one categorical", "two texts, one binary"],
)
def test_an_unheard_of_task_needs_a_schema_and_a_profile_only(
    tmp_path, tiny_bert, tiny_gemma_folder, texts, names
):
    """Three texts: `test_a_cycle_starts_from_the_run_before_and_takes_its_rows_over`."""
    write_orchard_profile(tmp_path, tiny_bert, tiny_gemma_folder, texts, names)
    done = in_process.called("run", str(tmp_path / "orchard.yaml"), "--outputs", str(tmp_path / "outputs"))
    assert done.returncode == 0, done.stdout
    is_whole(tmp_path / "outputs/orchard", names)


def is_whole(folder: Path, names: list[str]) -> None:
    """A finished run of the orchard has its codes and its ladder."""
    variables = [v for v in VARIABLES if v["name"] in names]
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
    executed = sorted(folder.glob("*.ipynb"))
    assert len(executed) == 6
    for path in executed:
        shown = [
            "".join(output.get("data", {}).get(kind, ""))
            for cell in nbformat.read(path, as_version=4).cells
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
    is_whole(tmp_path / "out/orchard", ["Blight", "Soil", "Frost"])
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
    words = ["distill", "--run", str(tmp_path / "out/orchard"), "-p", "budgets", "[]"]  # not the real ones
    words += ["-p", "unlabelled", str(tmp_path / "more.csv")]
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
