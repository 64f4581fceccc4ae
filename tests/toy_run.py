"""A small finished run folder with every artefact that the report reads; random, made in a second."""

import nbformat
import numpy as np
import pandas as pd
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from narrutils.data.intake.schema_file import load_schema
from narrutils.data.run import Run
from narrutils.evaluation.ladder import Ladder, Step
from narrutils.evaluation.thresholds import cross_fitted, search
from narrutils.findings.coded import FIGURES

SCHEMA = "params/schemas/nvdrs.yaml"
EVIL = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
STAGES = ("01_eda", "02_generation", "03_relabeling")


def random_labels(schema, uids, rng) -> pd.DataFrame:
    codes = {v.name: rng.choice(v.codes, len(uids)) for v in schema.variables}
    return pd.DataFrame(codes, index=pd.Index(uids, name="uid"))


def noisy(schema, labels, rng) -> pd.DataFrame:
    """Probabilities that lean towards the labels."""
    targets = schema.to_targets(labels)
    table = (targets + rng.uniform(0, 1.6, targets.shape)) / 2.6
    for v in schema.categorical:
        columns = list(v.columns)
        table[columns] = table[columns].div(table[columns].sum(axis=1), axis=0)
    return table


def make_run(folder, cases: int = 60, seed: int = 0) -> Run:
    """Write the run folder; all predictions are of the one model `ensemble`."""
    run, schema, rng = Run(folder, "06_ensemble"), load_schema(SCHEMA), np.random.default_rng(seed)
    train, test = ([f"{split}{n}" for n in range(size)] for split, size in (("a", cases), ("b", cases // 2)))
    truth = random_labels(schema, train + test, rng)
    given = truth.where(rng.uniform(size=truth.shape) < 0.9, 1)
    texts = dict.fromkeys(schema.text_columns, EVIL)
    splits = ["train"] * len(train) + ["test"] * len(test)
    run.write("schema.json", schema.to_dict())
    run.write("cases.parquet", given.assign(split=splits, **texts))
    run.write("truth.parquet", truth)
    labels, folds = (
        given.loc[train],
        pd.Series(np.arange(cases) % 3, index=pd.Index(train, name="uid"), name="fold"),
    )
    run.write("folds.parquet", folds.reset_index())
    out, tested = noisy(schema, labels, rng), noisy(schema, given.loc[test], rng)
    run.write_probabilities("predictions/ensemble_oof.parquet", out, schema)
    by_fold = cross_fitted(lambda part: search(schema, part, out), labels, folds)
    made = {"members": ["ensemble"], "weights": {"ensemble": 1.0}, "thresholds": search(schema, labels, out)}
    run.write("ensemble.json", made | {"by_fold": {k: {"thresholds": cuts} for k, cuts in by_fold.items()}})
    worse = [noisy(schema, table, rng) for table in (labels, given.loc[test])]
    steps = [Step("plain", "plain", *worse), Step("ensemble", "ensemble", out, tested)]
    answers = {
        ("oof", "given"): labels,
        ("test", "given"): given.loc[test],
        ("oof", "truth"): truth.loc[train],
    }
    run.write("ladder.json", Ladder(schema, steps, labels, folds, answers).climb())
    write_labels_and_pools(run, train)
    curve = [{"share": s, "flagged": s, "accuracy": 0.8 + s / 10} for s in (0.0, 0.2, 0.5)]
    run.write("flags.json", {"curve": curve, "share": 0.2, "accuracy": 0.82, "accuracy_of_all": 0.8})
    write_findings(run)
    write_record(run)
    for n, stage in enumerate(STAGES, 1):
        write_notebook(run.path(f"{stage}.ipynb"), f"0{n} · Title {n}", labels)
    return run


def write_findings(run: Run) -> None:
    """Findings of groups, sources and promises, some of which have evil names."""
    run.write("findings/about.json", {"odds_of": "Argument", "by": []})
    named = [{"column": "site", "level": level, "cases": 40, "too_small": False} for level in ("east", EVIL)]
    values = {name + end: 0.5 for name in FIGURES for end in ("", "_low", "_high")}
    run.write("findings/groups.parquet", pd.DataFrame([row | values for row in named]))
    counts = {"cases": 40, "spoken": 10, "disagreements": 3, "too_small": False}
    counts |= {"share": 0.3, "share_low": 0.1, "share_high": 0.6}
    rows = [{"by": by, "level": level} | counts for by, level in (("variable", "Argument"), (EVIL, EVIL))]
    run.write("findings/disagreements_by.parquet", pd.DataFrame(rows))
    promise = {"outcome": "promised", "kind": "recall", "basis": "approximate", "counted": 40, "tested": 30}
    variables = {"Argument": promise | {"kept": 30, "reviewed": 0.2, "precision": 0.8}}
    made = {"promise": "recall", "promised": 0.9, "confidence": 0.95, "promise_review": 0.5, "needed": 29}
    run.write("findings/promises.json", made | {"variables": variables})


def write_labels_and_pools(run: Run, train: list[str]) -> None:
    flips = [(train[n], "Argument", 0, 1, 0.9, k) for n, k in ((0, -1), (1, -1), (2, 0))]
    flips += [(train[3], "WeaponType1", 5, 6, 0.9, -1)]
    names = ["uid", "variable", "before", "after", "probability", "held_out_fold"]
    run.write("labels/flips.parquet", pd.DataFrame(flips, columns=names).assign(method="author"))
    rows = pd.DataFrame({"uid": ["g0", "g1", "g2"], "pool": "made", "model": "tiny", "backend": "stub"})
    rows["kept"], rows["reason"] = [True, False, False], ["", "copy: 30 words", "copy: 40 words"]
    run.write(
        "generated/made.parquet", rows.assign(NarrativeLE=EVIL, NarrativeCME=EVIL, seen_folds=[[0]] * 3)
    )


def write_record(run: Run) -> None:
    times = {s: {"seconds": 60.0 * n, "peak_gigabytes": n / 2} for n, s in enumerate(STAGES, 1)}
    shared = {"schema": SCHEMA, "note": EVIL}
    record = {
        "run": "toy",
        "description": "a toy",
        "data": {"title": "Toy task", "embedded": True, "hashes": {"train_labels.csv": "ab" * 32}},
        "parameters": {stage: shared | {"seed": n} for n, stage in enumerate(STAGES)},
        "stages": times,
        "stand_ins": [{"used": "small", "stands_for": "large"}],
    }
    run.write("run.json", record)


def write_notebook(path, title: str, table: pd.DataFrame) -> None:
    """A notebook that shows whatever a malicious narrative could, and a long table."""
    wide = "<p>" + "a long word " * 40 + "</p>" + table.to_html()
    styled = table.iloc[:20, :2].style.set_properties(color="red").to_html()
    outputs = [
        new_output("stream", text=f"{EVIL}\n 10%\r100%\n"),
        new_output("stream", name="stderr", text="a warning"),
        new_output(
            "display_data",
            {"image/png": PIXEL, "text/plain": "<Figure>"},
            metadata={"image/png": {"width": 1}},
        ),
        new_output("execute_result", {"text/plain": EVIL}),
        new_output("display_data", {"text/html": EVIL + wide}),
        new_output("display_data", {"text/html": styled}),
        new_output(
            "display_data", {"text/markdown": f"**bold** {EVIL} <style>body {{display: none}}</style>"}
        ),
        new_output(
            "display_data", {"image/svg+xml": f"<svg xmlns='http://www.w3.org/2000/svg'>{EVIL}</svg>"}
        ),
        new_output("stream", text="a null \x00, and right to left: \u202eabc \U0001f642"),
    ]
    opening = f"# {title}\n\n- **Asked:** what *is* it?\n\nMore words. {EVIL}\n\n## One\n\n## Two\n\n## Three"
    cells = [
        new_markdown_cell(opening),
        new_code_cell("x = 1", metadata={"tags": ["injected-parameters"]}),
        new_code_cell(f"print({EVIL!r})", outputs=outputs),
    ]
    nbformat.write(new_notebook(cells=cells), path)
