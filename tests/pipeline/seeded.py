"""Toy notebooks of a run under several seeds, and a bench that runs them."""

import nbformat

from narrutils.data.files import digest
from narrutils.data.run import Run
from narrutils.pipeline.runner import RunFailed
from narrutils.pipeline.seeds import plan_seeds

#: Parameters and source of each notebook: cases, a pool, a training, rounds, the ladder.
IMPORTS = """\
import numpy as np
import pandas as pd

from narrutils.crossfit.phases import Teaching
from narrutils.data.files import write_json
from narrutils.data.intake.schema_file import load_schema
from narrutils.data.run import Run
from narrutils.data.settings import Fields
from narrutils.data.store import StoredModel
from narrutils.data.study import Study
from narrutils.evaluation import ladder
from narrutils.evaluation.stacking import form
from narrutils.evaluation.thresholds import search_named


def publish(run, task, name, table):
    model = StoredModel(run, name)
    for split, part in (("oof", table[:90]), ("test", table[90:])):
        model.write_predictions(split, part, task)
    about = {"model": name, "step": name.title(), "stage": run.stage, "order": 0, "base": "", "folds": []}
    model.write_about(about | {"optimistic": False, "instead": ""})
"""
NOTEBOOKS = {
    "01_cases": (
        'schema: str = ""  # what is coded\nfolds: int = 3  # of cases\nseed: int = 0  # of the draw',
        """\
run, task = Run(run_dir, stage="01_cases"), load_schema(schema)
rng = np.random.default_rng(seed)
uids = pd.Index([f"u{n:03d}" for n in range(120)], name="uid")
codes = pd.DataFrame({v.name: rng.choice(v.codes, 120) for v in task.variables}, index=uids)
cases = codes.assign(Text=[f"case {n}" for n in range(120)], split=["train"] * 90 + ["test"] * 30)
run.write("schema.json", task.to_dict())
run.write("cases.parquet", cases)
run.write("folds.parquet", pd.DataFrame({"uid": uids[:90], "fold": [n % folds for n in range(90)]}))
table = task.from_logits(task.to_targets(codes).to_numpy() + rng.normal(size=(120, len(task.columns))), uids)
publish(run, task, "plain", table)
""",
    ),
    "02_pool": (
        "pools: list = []  # what is written\nseed: int = 0  # of the rows",
        'Run(run_dir, stage="02_pool").write("pool.json", {"seed": seed})\n',
    ),
    "03_deep": (
        "seed: int = 0  # of the training\nskill: float = 2.0  # of it",
        """\
run = Run(run_dir, stage="03_deep")
task, codes = Study.open(run).schema, run.cases()
rng = np.random.default_rng([seed, 3])
run.write_folder("models/deep/fold0", str(seed), lambda folder: write_json(folder / "w.json", {"seed": seed}))
logits = skill * task.to_targets(codes[task.names]).to_numpy() + rng.normal(size=(120, len(task.columns)))
table = task.from_logits(logits, codes.index)
publish(run, task, "deep", table)
""",
    ),
    "04_rounds": (
        "seed: int = 0  # of the training\nteaching: Fields[Teaching] = {}  # of the rounds",
        'Run(run_dir, stage="04_rounds").write("rounds.json", {"seed": seed, "teaching": teaching})\n',
    ),
    "05_ladder": (
        'threshold_search: str = "shrunk"  # of thresholds',
        """\
run = Run(run_dir, stage="05_ladder")
study = Study.open(run, threshold_search)
task, way, steps = study.schema, search_named(threshold_search), ladder.read_steps(study)
made = form(task, steps, {"plain": 1.0, "deep": 1.0}, study.labels, study.folds, "fitted", way=way)
both = made.step()
run.write_probabilities("predictions/ensemble_oof.parquet", both.out_of_fold, task)
run.write_probabilities("predictions/ensemble_test.parquet", both.test, task)
run.write("ensemble.json", made.to_dict() | {"threshold_search": threshold_search})
answers = ladder.answers_of(study.labels, study.test_labels, None)
rungs = ladder.Ladder(task, [*steps, both], study.labels, study.folds, answers)
run.write("ladder.json", rungs.climb())
""",
    ),
}
SCHEMA = """\
text: [{name: Text}]
variables: [{name: Fall}, {name: Place, classes: {1: in, 2: out, 3: unknown}}, {name: Burn}]
"""


class Bench:
    """The notebooks, run in this process by all of the runner but its kernels."""

    def __init__(self, folder):
        self.notebooks, self.outputs, self.params = folder / "notebooks", folder / "out", folder / "toy.yaml"
        self.notebooks.mkdir(parents=True)
        folder.joinpath("schema.yaml").write_text(SCHEMA)
        self.params.write_text(f"shared: {{seed: 7}}\n01_cases: {{schema: {folder / 'schema.yaml'}}}\n")
        for name, (parameters, _) in NOTEBOOKS.items():
            sources = (IMPORTS, f'run_dir: str = "../outputs/toy"  # set\n{parameters}')
            cells = [nbformat.v4.new_code_cell(source) for source in sources]
            cells[1].metadata["tags"] = ["parameters"]
            nbformat.write(nbformat.v4.new_notebook(cells=cells), self.notebooks / f"{name}.ipynb")
        self.started, self.fail_on = [], ()

    def execute(self, job, stage):
        self.started.append((job.profile.run, stage))
        if (job.profile.run, stage) == self.fail_on:
            raise RunFailed("stopped")
        exec(IMPORTS + NOTEBOOKS[stage][1], job.profile.parameters[stage] | job.injected(stage))
        job.run.path(f"{stage}.ipynb").write_bytes(job.notebook(stage).read_bytes())
        return 2

    def plan(self, seeds=3, *vary, pairs=()):
        return plan_seeds(self.params, seeds, vary, pairs, self.outputs, self.notebooks)

    def run(self, name="toy"):
        return Run(self.outputs / name)

    def contents(self, name="toy"):
        files = [p for p in sorted(self.run(name).folder.rglob("*")) if p.is_file()]
        return {str(p.relative_to(self.outputs)): digest(p) for p in files if "report" not in p.parts}
