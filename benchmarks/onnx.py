"""An encoder of a finished run as ONNX files: what agrees, how fast it reads, what 8 bits cost.

    python -m benchmarks.onnx outputs/demo [--member deberta] [--single]

The member is made an ensemble of its own, calibrated, its thresholds searched as the run searched them.
Then `export_run` exports it in float32 and in int8, and checks it; what is said of it is what
`narrutils bundle --onnx` prints. Of fold models whose lower layers are one frozen base torch computes
these once, ONNX Runtime for each; `--single` compares one model with one. Run it with nothing beside it.
"""

import argparse
import shutil
from dataclasses import astuple
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from narrutils.bundle import contents, megabytes
from narrutils.crossfit.deployed import Deployed
from narrutils.crossfit.exported import Export, export_run
from narrutils.data.files import write_json
from narrutils.data.folds import REFIT
from narrutils.data.run import Run
from narrutils.data.store import StoredModel, base_folder
from narrutils.data.study import Study
from narrutils.evaluation.ladder import read_steps
from narrutils.evaluation.stacking import form
from narrutils.evaluation.thresholds import search_named
from narrutils.models.speed import here
from narrutils.report.say_export import lines
from narrutils.report.tables import percent, with_interval

from .demo_corpus import show


def main() -> None:
    """Print what is said of both exports, and one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="a finished run")
    parser.add_argument("--member", default="deberta", help="an encoder of it (default: deberta)")
    parser.add_argument("--single", action="store_true", help="new cases are read by the model of fold 0 "
                        "alone, as a refit reads them")  # fmt: skip
    given = parser.parse_args()
    with TemporaryDirectory() as room:
        run = alone(Run(given.run), given.member, Path(room) / "run", given.single)
        sizes, found = {"torch": megabytes(contents(run))}, {}
        for weights in ("float32", "int8"):
            export = export_run(run, weights, Path(room) / weights)
            sizes[f"ONNX Runtime {weights}"] = megabytes(contents(export.deployed))
            print("\n".join(lines(export, sizes["torch"], sizes[f"ONNX Runtime {weights}"])))
            found[weights] = export
    title = f"{given.member} of {given.run}, {export.cases} cases, {here()}, {export.threads} threads"
    show(title, table(found["int8"], sizes))


def alone(run: Run, member: str, folder: Path, single: bool = False) -> Deployed:
    """A run folder whose ensemble is one member of a run.

    Args:
        single: whether the model of fold 0 takes the place of a refit.
    """
    names = ["schema.json", "cases.parquet", "folds.parquet", f"models/{member}"]
    names += [f"predictions/{member}_{split}.parquet" for split in ("oof", "test")]
    base = StoredModel(run, member).about["base"]
    for name in [*names, *([base_folder(base)] if base else [])]:
        copy = shutil.copytree if run.path(name).is_dir() else shutil.copyfile
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy(run.path(name), folder / name)
    if single:
        stored = StoredModel(Run(folder), member)
        shutil.copytree(stored.path((0,)), stored.path(REFIT))
        write_json(stored.about_file, stored.about | {"refit": True})
    way, study = Study.open(run).threshold_search, Study.open(Run(folder))
    steps, settings = read_steps(study), {"calibrate": True, "way": search_named(way)}
    made = form(study.schema, steps, {member: 1.0}, study.labels, study.folds, **settings)
    write_json(folder / "ensemble.json", made.to_dict() | {"threshold_search": way})
    return Deployed.open(folder)


def table(export: Export, sizes: dict[str, float]) -> pd.DataFrame:
    """A row a reader: rows a second, MB, codes that differ from those of the run, average F1 out of fold."""
    rows, anew = {}, export.anew
    for who, speed in export.speed.items():
        rows[who] = {"rows a second": f"{speed:.1f}", "MB": f"{sizes.get(who, sizes['torch']):.1f}"}
    exported = [who for who in export.agreements if who != "the run"][-1]  # the run's own precision
    of = {
        "ONNX Runtime float32": export.agreements[exported],
        "ONNX Runtime int8": export.agreements["the run"],
    }
    for who, found in of.items():
        rows[who] |= {"codes that differ": f"{found.differ} of {found.cells}, {percent(found.share)}"}
    before, after, gain = (with_interval(*astuple(x)) for x in (anew.before, anew.after, anew.gain))
    rows[list(export.speed)[-2]] |= {"average F1": before}
    rows["ONNX Runtime int8"] |= {"average F1": after, "gain": gain, "changed": percent(anew.changed)}
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


if __name__ == "__main__":
    main()
