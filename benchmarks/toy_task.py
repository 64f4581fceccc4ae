"""A whole task in a folder, of cases that take no time: what `gauntlet` and `kills` damage.

    python -m benchmarks.toy_task FOLDER

Schema, data, profile, two notebooks that train linear models and put them together, and the finished
run. Every narrative holds `SENTINEL`, which nothing that is said or written for others may hold.
"""

import contextlib
import gc
import io
import json
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
from IPython.core.interactiveshell import InteractiveShell
from papermill.engines import Engine, papermill_engines

from narrutils.data.intake.schema_file import load_schema
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.labels.review import COLUMNS
from narrutils.pipeline.profiles import load_profile
from narrutils.pipeline.runner import run_profile

SENTINEL = "marzipan"
SCHEMA = """\
name: toy
title: Falls and burns
text:
  - {name: Told, title: What was told}
  - {name: Seen, title: What was seen}
variables:
  - name: Fall
    description: The person fell.
  - name: Burn
    description: "Something hot was touched: café, größer, 5 €"
  - name: Place
    description: "It happened {class}."
    classes: {1: indoors, 2: outdoors, 3: elsewhere}
"""
PROFILE = """\
description: a toy
shared:
  schema: {schema}
  data_dir: {data}
  seed: 3
01_cases:
  folds: 3
"""
#: Cells of the two notebooks: parameters, then the rest.
NOTEBOOKS = {
    "01_cases": [
        'run_dir: str = "../outputs/toy"  # set by the runner\nschema: str = ""  # what is coded\n'
        'data_dir: str = ""  # the files\nfolds: Folds = 3  # of the cross-validation\n'
        "seed: Count = 0  # of every draw\nshow_text: bool = False  # whether narratives may be shown",
        "from narrutils.crossfit.fit import CrossFit\n"
        "from narrutils.crossfit.phases import given_labels\n"
        "from narrutils.data.cases import load_data, stack_splits\n"
        "from narrutils.data.folds import draw_folds\n"
        "from narrutils.data.run import Run\n"
        "from narrutils.data.intake.schema_file import load_schema\n"
        "from narrutils.data.settings import Count, Folds\n"
        "from narrutils.data.study import Study\n"
        "from narrutils.models.tfidf import LINEAR, TfidfLearner",
        'run = Run(run_dir, stage="01_cases")\ntask = load_schema(schema)\n'
        "cases = stack_splits(load_data(data_dir, task), 0, seed)\n"
        'run.write("schema.json", task.to_dict())\nrun.write("cases.parquet", cases)\n'
        "fold_of = draw_folds(task, run.labels(task), folds, seed)\n"
        'run.write("folds.parquet", fold_of.rename_axis("uid").reset_index());',
        'study = Study.open(run)\nfor order, name in enumerate(["tfidf", "nb"]):\n'
        "    model = CrossFit(study, name, TfidfLearner(task, min_df=1, **LINEAR[name][1]))\n"
        "    model.fit(given_labels(study)).publish(LINEAR[name][0], order)",
    ],
    "02_together": [
        'run_dir: str = "../outputs/toy"  # set by the runner\nshow_text: bool = False  # of narratives',
        "from narrutils.data.run import Run\nfrom narrutils.data.study import Study\n"
        "from narrutils.evaluation import calibration, flags, ladder\n"
        "from narrutils.evaluation.stacking import form\n"
        "from narrutils.evaluation.thresholds import search",
        'run = Run(run_dir, stage="02_together")\nstudy = Study.open(run)\n'
        "task, fold_of, labels = study.schema, study.folds, study.labels\n"
        "steps = ladder.read_steps(study)\n"
        'made = form(task, steps, {"tfidf": 1.0, "nb": 1.0}, labels, fold_of, "given", way=search)\n'
        "together = made.step()\n"
        'run.write_probabilities("predictions/ensemble_oof.parquet", together.out_of_fold, task)\n'
        'run.write_probabilities("predictions/ensemble_test.parquet", together.test, task)\n'
        'run.write("ensemble.json", made.to_dict())\n'
        'codes = task.to_labels(together.test, made.to_dict()["thresholds"])\n'
        'run.write("submission.csv", codes.rename_axis(task.uid).reset_index())\n'
        "fitted = calibration.fit_calibration(task, labels, together.out_of_fold)\n"
        'run.write("calibration.json", fitted.to_dict())\n'
        "decided = task.to_labels(together.out_of_fold, made.thresholds(labels))\n"
        "flagging = flags.summarise(task, labels, decided, together.out_of_fold, fold_of, 0.25)\n"
        'run.write("flags.json", flagging);',
    ],
}


class InProcess(Engine):
    """A shell for each notebook, as a kernel has one: no notebook sees another's names."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **_):
        shell = InteractiveShell()
        shell.history_manager.enabled = False  # else each cell goes into a database in the user's home
        gc.freeze()  # every training collects garbage, and need not look through all that was imported
        for number, cell in enumerate(nb_man.nb.cells):
            nb_man.cell_start(cell, number)
            if cell.cell_type == "code":
                shell.run_cell(cell.source, store_history=True).raise_error()
            nb_man.cell_complete(cell, number)


@dataclass(frozen=True)
class Task:
    """Where the parts of the task lie."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def features(self) -> Path:
        """Cases to code: those of the test."""
        return self.data / "test_features.csv"

    @property
    def review(self) -> Path:
        return self.folder / "review.csv"

    @property
    def schema_file(self) -> Path:
        return self.folder / "schema.yaml"

    @property
    def profile(self) -> Path:
        return self.folder / "toy.yaml"

    @property
    def notebooks(self) -> Path:
        return self.folder / "notebooks"

    @property
    def outputs(self) -> Path:
        return self.folder / "outputs"

    @property
    def run(self) -> Run:
        return Run(self.outputs / "toy")

    @cached_property
    def schema(self) -> Schema:
        return load_schema(self.schema_file)

    @classmethod
    def make(cls, folder: Path, cases: int = 30) -> "Task":
        """Write everything but the run."""
        task = cls(folder)
        for place in (task.data, task.notebooks):
            place.mkdir(parents=True)
        task.schema_file.write_text(SCHEMA, encoding="utf-8")
        task.profile.write_text(PROFILE.format(schema=task.schema_file, data=task.data), encoding="utf-8")
        for name, (declared, *cells) in NOTEBOOKS.items():
            _write_notebook(task.notebooks / f"{name}.ipynb", name, declared, cells)
        train = _write_cases(task, "train", cases, seed=0)
        _write_cases(task, "test", cases // 3, seed=1)
        rows = [(uid, "Fall", "accept", now, 1 - now) for uid, now in train["Fall"].items()]
        pd.DataFrame(rows, columns=COLUMNS).to_csv(task.review, index=False)
        return task

    def carry_out(self, outputs: Path | None = None) -> None:
        """Run the notebooks in this process, without a word; what is done already is skipped."""
        papermill_engines.register(None, InProcess)
        with contextlib.redirect_stdout(io.StringIO()):
            profile = load_profile(self.profile, notebooks=self.notebooks)
            run_profile(profile, self.notebooks, outputs or self.outputs)


def _write_notebook(path: Path, title: str, declared: str, cells: list[str]) -> None:
    book = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell(f"# {title}", id="title"),
            nbformat.v4.new_code_cell(cells[0], id="imports"),
            nbformat.v4.new_code_cell(declared, id="parameters", metadata={"tags": ["parameters"]}),
            *(nbformat.v4.new_code_cell(cell, id=f"cell{n}") for n, cell in enumerate(cells[1:])),
        ],
        metadata={"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
    )
    path.write_text(json.dumps(book, indent=1) + "\n", encoding="utf-8")


def _write_cases(task: Task, split: str, cases: int, seed: int) -> pd.DataFrame:
    """Features and labels of a split; the labels, indexed by uid."""
    rng = np.random.default_rng(seed)
    uids = pd.Index([f"{split}{n:02d}" for n in range(cases)], name="uid")
    labels = pd.DataFrame({v.name: rng.choice(v.codes, cases) for v in task.schema.variables}, index=uids)
    words = {name: [f"{name.lower()}{code}" for code in column] for name, column in labels.items()}
    said = [" ".join(row) for row in zip(*words.values())]
    texts = {
        "Told": [f'{text}, "{SENTINEL}", größer: 5 €\nand café w{rng.integers(9)}' for text in said],
        "Seen": [f"{SENTINEL} {text} w{rng.integers(9)}" for text in said],
    }
    pd.DataFrame(texts, index=uids).to_csv(task.data / f"{split}_features.csv")
    labels.to_csv(task.data / f"{split}_labels.csv")
    return labels


if __name__ == "__main__":
    Task.make(Path(sys.argv[1])).carry_out()
