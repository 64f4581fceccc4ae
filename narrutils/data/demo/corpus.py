"""The made corpus as files: the competition's five, beside them the planted truth, also by source."""

from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd

from narrutils.data.demo.cases import Case, draw_truth
from narrutils.data.demo.errors_planted import plant_errors
from narrutils.data.demo.groups import draw_groups
from narrutils.data.demo.plan import Outline, outline
from narrutils.data.demo.said import by_source
from narrutils.data.demo.tell import Teller
from narrutils.data.files import atomic
from narrutils.data.intake.schema_file import load_schema
from narrutils.data.schema import Schema
from narrutils.errors import InputError

LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))
MOST_CASES = len(LETTERS) ** 4


def write_demo_data(folder: Path, cases: int = 5000, seed: int = 0) -> None:
    """Write an invented corpus in the competition's files, four fifths of it for training.

    The seven CSV files are `train_features`, `train_labels`, `test_features`,
    `submission_format`, `test_labels`, `truth` (the planted codes of all cases,
    which `*_labels` misstate here and there) and `truth_by_source` (what each
    narrative says, see `demo.said`). The same seed and number of cases give the same bytes.

    Raises:
        InputError: fewer than 10 cases, or more than there are uids of four letters.
    """
    if not 10 <= cases <= MOST_CASES:
        raise InputError(f"cases is {cases}; it takes 10..{MOST_CASES}")
    schema = load_schema("params/schemas/nvdrs.yaml")
    drawn = draw_corpus(schema, cases, seed)
    texts, said = tell_corpus(schema, drawn, seed)
    files = corpus_files(schema, drawn, texts.join(draw_groups(schema, drawn, seed)))
    for name, table in (files | {"truth_by_source": said.set_index("uid")}).items():
        with atomic(Path(folder) / f"{name}.csv") as part:
            table.to_csv(part, lineterminator="\n")


@dataclass(frozen=True)
class Drawn:
    """Everything but the words: one case, outline, true row and given row each, in order."""

    cases: list[Case]
    outlines: list[Outline]
    truth: pd.DataFrame  # true codes, indexed by uid
    given: pd.DataFrame  # the codes that the abstractor gave


def draw_corpus(schema: Schema, cases: int, seed: int) -> Drawn:
    """Cases, how each will be told, and the labels with their planted errors."""
    rng = np.random.default_rng(seed)
    people, truth = draw_truth(schema, cases, rng)
    truth.index = draw_uids(cases, rng)
    train = n_train(cases)
    made = [
        Case(int(person.age), bool(person.male), codes, in_test=n >= train)
        for n, (person, codes) in enumerate(zip(people.itertuples(), truth.to_dict("records"), strict=True))
    ]
    outlines = [outline(case, Random(f"outline {seed} {n}")) for n, case in enumerate(made)]
    risk = {v.name: [o.risk(v.name) for o in outlines] for v in schema.binary}
    return Drawn(made, outlines, truth, plant_errors(schema, truth, pd.DataFrame(risk, truth.index), rng))


def n_train(cases: int) -> int:
    """How many of the cases, the first ones, are for training."""
    return cases * 4 // 5


def draw_uids(cases: int, rng: np.random.Generator) -> pd.Index:
    """Distinct names of four lower-case letters."""
    numbers = rng.choice(MOST_CASES, size=cases, replace=False)
    digits = np.stack([numbers // len(LETTERS) ** place % len(LETTERS) for place in range(4)], axis=1)
    return pd.Index(["".join(LETTERS[row]) for row in digits], name="uid")


def tell_corpus(schema: Schema, drawn: Drawn, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The narratives, one row a case, one column a source; and what each says, see `said.by_source`."""
    tellers = [Teller(case, Random(f"words {seed} {n}")) for n, case in enumerate(drawn.cases)]
    rows = [teller.narratives(plan) for teller, plan in zip(tellers, drawn.outlines, strict=True)]
    uids, columns = drawn.truth.index, schema.text_columns
    texts = pd.DataFrame(rows, index=uids).set_axis(columns, axis=1)
    return texts, by_source(dict(zip(uids, tellers, strict=True)), columns)


def corpus_files(schema: Schema, drawn: Drawn, features: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """File name -> table, indexed by uid."""
    train = n_train(len(features))
    placeholder = {v.name: v.codes[0] for v in schema.variables}
    return {
        "train_features": features[:train],
        "train_labels": drawn.given[:train],
        "test_features": features[train:],
        "test_labels": drawn.given[train:],
        "submission_format": pd.DataFrame(placeholder, index=features.index[train:]),
        "truth": drawn.truth,
    }
