"""How often `predict` says that narratives are not like those of the run, where they are and are not.

    python -m benchmarks.drift [--files 200] [--osha data/osha_abstracts]

One run of linear members, trained on 1,200 made cases, reads 12,000 cases like the test's. Of one half the
run's own test cases are drawn, of the other new files, each time anew: so many cases of the run stand in the
rows, so many of the file in the columns, and a cell holds the share of files with an alarm. Below each table
stands the sentence that one of the larger files would give.

- `same`: files of the same kind; an alarm is a false one, and the shares should be at most 0.05.
- `halves`: each narrative cut after half of its words. `one source`: the second narrative left out.
- `under 18`: cases of minors alone. `training`: cases like the training's, without what only the test tells.
- `OSHA`: accident abstracts, where their folder is given: of another language entirely.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from narrutils.data.cases import load_data
from narrutils.data.demo.corpus import draw_corpus
from narrutils.data.intake.schema_file import load_schema
from narrutils.data.schema import Schema
from narrutils.evaluation import drift
from narrutils.evaluation.flags import doubt
from narrutils.findings.alarm import alarm

from .promises import Fresh, Trained

OF_RUN, OF_FILE = (90, 300, 1000), (50, 300, 1000, 5000)
CASES, SEED = 12_000, 2


def main() -> None:
    """Print a table for each kind of file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=200, help="for each cell")
    parser.add_argument("--osha", type=Path, help="folder of the abstracts")
    given = parser.parse_args()
    schema = load_schema("params/schemas/nvdrs.yaml")
    fresh, train = Fresh.of(schema, CASES, SEED, "test"), Fresh.of(schema, 1200, 1, "train")
    own, new = fresh.texts[: CASES // 2], fresh.texts[CASES // 2 :]
    minors = [case.age < 18 for case in draw_corpus(schema, 5 * CASES, SEED).cases[-CASES // 2 :]]
    kinds = {"run": own, "same": new, "halves": new.map(half), "one source": new.assign(NarrativeCME="")}
    kinds |= {"under 18": new[minors], "training": Fresh.of(schema, CASES // 2, 3, "train").texts}
    if given.osha:
        texts = load_data(given.osha, load_schema("params/schemas/osha.yaml")).train["Narrative"]
        kinds["OSHA"] = pd.DataFrame({"NarrativeLE": texts, "NarrativeCME": ""})
    tables = numbers(schema, train, kinds)
    for kind in [*kinds][1:]:
        table, said = alarms(tables["run"], tables[kind], given.files)
        print(f"{kind}, of {len(tables[kind])} cases\n{table.to_string()}\n{said}\n", flush=True)


def half(text: str) -> str:
    words = text.split()
    return " ".join(words[: len(words) // 2])


def numbers(schema: Schema, train: Fresh, kinds: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """What drift looks at, of cases of each kind, as one run reads them."""
    named = {kind: texts.set_axis(kind + texts.index.astype(str)) for kind, texts in kinds.items()}
    empty = pd.DataFrame(0, pd.concat(named.values()).index, schema.names)
    trained = Trained(schema, train, {"all": Fresh(pd.concat(named.values()), empty)})
    known = frozenset(term for term in trained.models[0].vocabulary if " " not in term)
    found = {}
    for kind, texts in named.items():
        codes, calibrated = trained.codes.loc[texts.index], trained.calibrated.loc[texts.index]
        read = drift.of_readings(doubt(schema, codes, calibrated), calibrated)
        found[kind] = drift.of_texts(schema, texts, known).join(read)
    return found


def alarms(own: pd.DataFrame, new: pd.DataFrame, files: int) -> tuple[pd.DataFrame, str]:
    """Share of files with an alarm, by cases of the run and of the file, and what one of them says."""
    rng, table, said = np.random.default_rng(0), pd.DataFrame(index=OF_RUN), ""
    for many in [n for n in OF_FILE if n <= len(new)]:
        for cases in OF_RUN:
            rung = 0
            for _ in range(files):
                kept = drift.reference(own.iloc[rng.choice(len(own), cases, replace=False)])
                some = new.iloc[rng.choice(len(new), many, replace=False)]
                found = drift.compare(kept, drift.counted(kept, some))
                differs = found[found["alarm"]].to_dict("records")
                rung += bool(differs)
                said = alarm(differs) if differs else said
            table.loc[cases, many] = rung / files
    return table, said


if __name__ == "__main__":
    main()
