"""Two sources read apart on made corpora: what each says, and where they disagree, against what was planted.

    python -m benchmarks.sources [--cases 450 2500] [--seeds 0 1 2] [--run outputs/demo] [--model ensemble]

Each corpus is read by linear members alone, trained as `01_eda` trains them, and their ensemble; the
training cases out of fold, the test cases by the mean of the folds. `so`, `not` and `silent` are
answers by case, source and binary variable; `disagreement` is by case and variable. `found` and `planted`
count them, `precision` and `recall` bear 95 % intervals over sets of cases. `by variable` is the mean over
the seeds. The constants of `findings.sources` were chosen on the seeds 101 and 102, which are not shown.

With `--run` a finished run is read by the models that `--model` names; without planted answers it has no
scores. Times are busy where something runs beside. Models are
kept in the folder, so that a stopped benchmark goes on where it was.
"""

import argparse
import time

import pandas as pd

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels
from narrutils.data.cases import embedded_data, load_data, stack_splits
from narrutils.data.clusters import Together
from narrutils.data.folds import draw_folds
from narrutils.data.intake.schema_file import load_schema
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.evaluation.ladder import read_steps
from narrutils.evaluation.stacking import form
from narrutils.findings.settings import Findings
from narrutils.findings.sources.answers import read_apart
from narrutils.findings.sources.disagreements import against_planted, crossed, find
from narrutils.models.tfidf import LINEAR, TfidfLearner
from narrutils.report.tables import as_text

from .world import FOLDS, NVDRS

WEIGHTS = {"nb": 1.0, "lasso": 1.0, "chars": 1.0}
SIMILARITY = 0.7


def main() -> None:
    """Print the scores of every size, or the time of a finished run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, nargs="*", default=[450, 2500], help="of the corpus")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the corpus")
    parser.add_argument("--run", help="a finished run that is read instead; it is not written to")
    parser.add_argument(
        "--model", default="linear", help="who reads narratives: linear, ensemble, or a model"
    )
    parser.add_argument("--folder", default="outputs/benchmark_sources")
    given = parser.parse_args()
    options = Findings(sources_model=given.model)
    if given.run:
        measure(Study.open(Run(given.run)), options)
        return
    for cases in given.cases:
        tables = [measure(made(f"{given.folder}/{cases}_{s}", cases, s), options) for s in given.seeds]
        every = pd.concat(tables)
        figures = every.groupby(["variable", "answer"], sort=False)[
            ["found", "planted", "precision", "recall"]
        ]
        print(f"{cases} cases, by variable, the mean over {len(tables)} seeds")
        print(figures.mean().round(2).to_string(), "\n")


def made(folder: str, cases: int, seed: int) -> Study:
    """A corpus as `01_eda` hands it on, with its linear members and their ensemble."""
    schema, run = load_schema(NVDRS), Run(folder, "01_eda")
    data = load_data(embedded_data(cases, seed), schema)
    table, together = stack_splits(data), Together(data, schema, SIMILARITY)
    run.write("schema.json", schema.to_dict())
    run.write("cases.parquet", table)
    run.write("truth_by_source.parquet", data.truth_by_source)
    run.write("groups.parquet", data.groups.reindex(table.index))
    clusters = together.table(table, FOLDS)
    run.write("clusters.parquet", clusters)
    folds = draw_folds(schema, run.labels(schema), FOLDS, seed, clusters["cluster"].dropna())
    run.write("folds.parquet", folds.rename_axis("uid").reset_index())
    study = Study.open(run)
    for order, (name, (title, options)) in enumerate(LINEAR.items()):
        CrossFit(study, name, TfidfLearner(schema, **options)).fit(given_labels(study)).publish(title, order)
    study = Study.open(Run(folder, "06_ensemble"))
    ensemble = form(schema, read_steps(study), WEIGHTS, study.labels, study.folds, "fitted", calibrate=True)
    study.run.write("ensemble.json", ensemble.to_dict())
    return study


def measure(study: Study, options: Findings) -> pd.DataFrame:
    """Read a run apart and print what it took and gave; the scores, `against_planted`."""
    start = time.perf_counter(), time.process_time()
    answers = read_apart(study, options)
    seconds, busy = time.perf_counter() - start[0], time.process_time() - start[1]
    found = find(study, answers)
    cases = len(study.train) + len(study.test)
    told = f"{cases} cases read in {seconds:.1f} s, {busy:.1f} s of a processor"
    print(f"{study.run.folder.name}: {told}, {len(found)} disagreements")
    print(crossed(study.schema, answers).to_string(index=False))
    scores = against_planted(study, answers)
    print(as_text(scores[scores["variable"] == ""].drop(columns="variable")).to_string(index=False), "\n")
    return scores


if __name__ == "__main__":
    main()
