"""Where the sources of a case disagree: one says so, another says not, or each says another class.

A silent source disagrees with nobody: much of what is told stands in one source alone. Nor do
narratives that are nearly the same (word triples of `ALIKE` similarity), of which one is a copy.
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd

from narrutils.data.clusters import triples, words
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.study import Study
from narrutils.evaluation.intervals import columns_of, in_columns, in_table, variable_intervals
from narrutils.evaluation.metrics import Counts
from narrutils.findings.coded import LEAST, NOT_KNOWN, group_columns
from narrutils.findings.settings import Findings
from narrutils.findings.sources.answers import NOT, SO, read_apart

SOURCES, DISAGREEMENTS = "findings/sources.parquet", "findings/disagreements.parquet"
COUNTS, AGAINST = "findings/disagreements_by.parquet", "findings/sources_against_planted.parquet"

ALIKE = 0.7  # Jaccard similarity of word triples from which one narrative is a copy of the other
SILENT = "silent"
ANSWERS = {SO: "so", NOT: "not"}
VARIABLE = "variable"  # what counts are by, beside group columns

_OWN = ["source", "says", "probability", "start", "end"]
_OTHER = [f"other_{name}" for name in _OWN]
COLUMNS = ["uid", "split", "variable", *_OWN, *_OTHER, "label"]
BY = ["by", "level", "cases", "spoken", "disagreements", *columns_of("share"), "too_small"]
KNOWN = ["variable", "answer", "found", "planted", *columns_of("precision", "recall")]
_CASE = ["uid", "split", "variable"]


def paired(schema: Schema, answers: pd.DataFrame) -> pd.DataFrame:
    """The answers of every two text columns beside each other, in the order of the schema.

    Args:
        answers: see `sources.read_apart`.

    Returns:
        `uid`, `split`, `variable`, then `source`, `says`, `probability`, `start`, `end` of the one and
        `other_source` … `other_end` of the other; none for a schema with one text column.
    """
    of = {s: part.set_index(_CASE)[_OWN] for s, part in answers.groupby("source", sort=False)}
    pairs = [of[a].join(of[b].add_prefix("other_")) for a, b in combinations(schema.text_columns, 2)]
    empty = pd.DataFrame(columns=[*_CASE, *_OWN, *_OTHER])
    return pd.concat(pairs).reset_index() if pairs else empty


def find(study: Study, answers: pd.DataFrame) -> pd.DataFrame:
    """The variables on which two sources disagree: the table `findings/disagreements.parquet`.

    Args:
        answers: see `sources.read_apart`.

    Returns:
        A row a case, variable and pair of text columns, that first of which both are surest: `uid`; `split`;
        `variable`; `source`, `says`, `probability`, `start`, `end` of the source that says so (of a
        categorical variable: of the first in the schema), and `other_source`, `other_says`,
        `other_probability`, `other_start`, `other_end` of the one that says not (another class). `says` is
        1, 0, or a code; `probability` is that of the label 1, or of the class said, given this narrative
        alone; `start` and `end` are the place of the deciding sentence in that text column, in characters.
        `label`: the given one, null where there is none. It holds no text.
    """
    pairs = apart(study, paired(study.schema, answers))
    pairs = pairs[pairs["disagree"]]
    given = {"train": study.labels, "test": study.test_labels}
    labels = pd.concat([t for t in given.values() if t is not None] or [pd.DataFrame()]).stack()
    keys = pd.MultiIndex.from_frame(pairs[["uid", "variable"]])
    pairs = pairs.assign(label=labels.reindex(keys).astype("Int64").to_numpy())
    binary = pairs["variable"].isin([v.name for v in study.schema.binary])
    turned = pairs.rename(columns=dict(zip([*_OWN, *_OTHER], [*_OTHER, *_OWN])))
    pairs = pd.concat([pairs[~(binary & pairs["says"].eq(NOT))], turned[binary & pairs["says"].eq(NOT)]])
    binary = binary.loc[pairs.index]
    other = pairs["other_probability"]
    sure = pairs["probability"] + (1 - other).where(binary, other)  # each that what its source says is so
    order = pairs.assign(sure=sure).sort_values(["sure", "uid", "variable"], ascending=[False, True, True])
    return order.reset_index(drop=True).astype({"label": "Int64"})[COLUMNS]


def deciding(row: pd.DataFrame) -> pd.DataFrame:
    """The deciding sentences of a disagreement as `evidence.leave_one_out` has them, for who marks sentences.

    Args:
        row: one of `find`, as a table; of none there are none.

    Returns:
        `text`, `start`, `end`, and `effect`: 1 of the source that says so, −1 of the other.
    """
    names, sides = ["text", "start", "end"], []
    for side, effect in (("", 1.0), ("other_", -1.0)):
        own = row[[f"{side}source", f"{side}start", f"{side}end"]]
        sides.append(own.set_axis(names, axis=1).assign(effect=effect))
    return pd.concat(sides, ignore_index=True)


def apart(study: Study, pairs: pd.DataFrame) -> pd.DataFrame:
    """`paired` answers with `speak`, whether both sources say something, and `disagree`."""
    texts = pd.concat([study.train, study.test])
    speak = (pairs["says"].notna() & pairs["other_says"].notna()).to_numpy(dtype=bool)
    differ = speak & (pairs["says"] != pairs["other_says"]).fillna(False).to_numpy(dtype=bool)
    asked = pairs.loc[differ, ["uid", "source", "other_source"]].drop_duplicates()
    copies = {
        (uid, a, b) for uid, a, b in asked.itertuples(index=False)
        if alike(texts.at[uid, a], texts.at[uid, b]) >= ALIKE
    }  # fmt: skip
    keys = zip(pairs["uid"], pairs["source"], pairs["other_source"])
    copied = np.array([key in copies for key in keys], dtype=bool)
    return pairs.assign(speak=speak, disagree=differ & ~copied)


def alike(one: str, other: str) -> float:
    """Jaccard similarity of the word triples of two narratives, in [0, 1]."""
    a, b = (triples(words(text)) for text in (one, other))
    return len(a & b) / len(a | b)


def crossed(schema: Schema, answers: pd.DataFrame) -> pd.DataFrame:
    """How often two sources give each of the nine pairs of answers, over all binary variables.

    Returns:
        `source`, `says`, `other_source`, `so`, `not`, `silent`: a row an answer of the one, a column an
        answer of the other, numbers of labels.
    """
    pairs = paired(schema, answers)
    pairs = pairs[pairs["variable"].isin([v.name for v in schema.binary])]
    told = {name: pairs[name].map(ANSWERS).fillna(SILENT) for name in ("says", "other_says")}
    counts = pairs.assign(**told).groupby(["source", "other_source", "says", "other_says"], sort=False).size()
    order, rows = [*ANSWERS.values(), SILENT], []
    for one, other in combinations(schema.text_columns, 2):
        for says in order:
            row = {to: int(counts.get((one, other, says, to), 0)) for to in order}
            rows.append({"source": one, "says": says, "other_source": other} | row)
    return pd.DataFrame(rows, columns=["source", "says", "other_source", *order])


def counted(study: Study, answers: pd.DataFrame) -> pd.DataFrame:
    """How often sources disagree, by variable and by group: the table `findings/disagreements_by.parquet`.

    Returns:
        A row a variable (`by` is `variable`) and a row a level of each group column (`by` is the column; over
        all variables; a level of a single case is not named): `level`, "" where the group is not known;
        `cases`; `spoken`, how many labels two sources speak on; `disagreements`, on how many they disagree;
        `share` of the two with its 95 % interval, over sets of cases that belong together; `too_small`,
        whether fewer than `LEAST` cases stand in the level, and then there are no figures.
        Training and test cases together; none where there is one text column.
    """
    pairs = apart(study, paired(study.schema, answers))
    sets = sets_of(study.run)
    rows = list(_by(pairs, pairs["variable"], VARIABLE, sets, study.schema.names))
    cells = group_columns(study.schema, study.run.groups())
    for column in cells if len(pairs) else ():
        levels = pairs["uid"].map(cells[column]).fillna(NOT_KNOWN)
        several = cells[column].value_counts().loc[lambda n: n > 1].index  # a single case is not even named
        rows += _by(pairs, levels, column, sets, sorted(several))
    return in_table(rows, BY).astype({"spoken": "Int64", "disagreements": "Int64", "too_small": bool})


def _by(pairs, levels: pd.Series, by: str, sets: pd.Series, order: list[str]) -> Iterator[dict]:
    known = levels.to_numpy()
    spoken, differ = (pairs[name].to_numpy() for name in ("speak", "disagree"))
    for level in order if len(pairs) else []:
        rows = known == level
        cases = pairs.loc[rows, "uid"].nunique()
        row = {"by": by, "level": level, "cases": cases, "too_small": cases < LEAST}
        if cases >= LEAST:
            row |= {"spoken": int(spoken[rows].sum()), "disagreements": int(differ[rows].sum())}
            row |= in_columns("share", shares(pairs[rows], {"": differ[rows]}, {"": spoken[rows]}, sets)[""])
        yield row


def sets_of(run: Run) -> pd.Series:
    """The set of cases that each case belongs to, by uid; a test case with a twin to its twin's."""
    clusters = run.clusters()
    alone = pd.Series(clusters.index, clusters.index).where(clusters["twin"] == "", clusters["twin"])
    return alone.map(clusters["cluster"]).astype(object).fillna(alone)


def shares(rows: pd.DataFrame, hits: dict, totals: dict, sets: pd.Series) -> dict:
    """Σ hits / Σ totals with its interval, drawn by sets of cases, of each name; None where the total is 0.

    Args:
        rows: with `uid`; hits, totals: name -> of each row 0 or 1.
    """
    of_set = sets.reindex(rows["uid"]).to_numpy()
    above, below = (pd.DataFrame(part).astype(float).groupby(of_set).sum() for part in (hits, totals))
    found = variable_intervals(Counts(above.to_numpy(), 2 * (below - above).to_numpy()))
    return {name: one if below[name].sum() else None for name, one in zip(hits, found)}


def against_planted(study: Study, answers: pd.DataFrame) -> pd.DataFrame:
    """The answers and disagreements against what a made corpus planted in each source.

    Returns:
        A row a variable ("": all binary ones) and answer (`so`, `not`, `silent`, `disagreement`; of a
        categorical variable `so`, its class, and `disagreement`): how many were `found` and `planted`,
        `precision` and `recall` with their 95 % intervals, over sets of cases that belong together; missing
        where nothing was found, or planted. No row where what was planted is not known.
    """
    planted = study.run.truth_by_source()
    if planted is None:
        return in_table([], KNOWN)
    said = planted.set_index(["uid", "source", "variable"])["said"].astype("Int64")
    true = said.reindex(pd.MultiIndex.from_frame(answers[["uid", "source", "variable"]])).to_numpy()
    both = {"answers": answers, "planted": answers.assign(says=pd.array(true, "Int64"))}
    found, right = (t["says"].to_numpy(dtype=float, na_value=np.nan) for t in both.values())
    pairs = {name: paired(study.schema, table) for name, table in both.items()}
    differ = {"found": apart(study, pairs["answers"])["disagree"].to_numpy(dtype=bool)}
    true = pairs["planted"]
    differ["planted"] = (true["says"] != true["other_says"]).fillna(False).to_numpy(dtype=bool)
    sets, binary, rows = sets_of(study.run), [v.name for v in study.schema.binary], []
    for name in ["", *study.schema.names]:
        of_name = [name] if name else binary
        at = answers["variable"].isin(of_name).to_numpy()
        one, other = found[at], right[at]
        kinds = {"so": (one == SO, other == SO), "not": (one == NOT, other == NOT)}
        kinds |= {SILENT: (np.isnan(one), np.isnan(other))}
        if name and name not in binary:
            kinds = {"so": (~np.isnan(one), ~np.isnan(other))}
        for kind, (here, there) in kinds.items():
            rows.append(_scored(answers[at], name, kind, here, there, here & there & _same(one, other), sets))
        at = pairs["answers"]["variable"].isin(of_name).to_numpy()
        here, there = differ["found"][at], differ["planted"][at]
        rows.append(_scored(pairs["answers"][at], name, "disagreement", here, there, here & there, sets))
    return in_table(rows, KNOWN)


def _same(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one == other) | (np.isnan(one) & np.isnan(other))


def _scored(rows, name: str, kind: str, here, there, hits, sets: pd.Series) -> dict:
    row = {"variable": name, "answer": kind, "found": int(here.sum()), "planted": int(there.sum())}
    found = {"precision": None, "recall": None}
    if len(rows):
        found = shares(rows, dict.fromkeys(found, hits), {"precision": here, "recall": there}, sets)
    return row | in_columns("precision", found["precision"]) | in_columns("recall", found["recall"])


def write(study: Study, options: Findings) -> dict[str, pd.DataFrame]:
    """Read the sources apart and store what comes of it; the tables by their names.

    `answers`, `disagreements`, `counts` (see `read_apart`, `find`, `counted`), and `scores` (see
    `against_planted`), which is stored where there are any.
    """
    answers = read_apart(study, options)
    made = {"answers": answers, "disagreements": find(study, answers), "counts": counted(study, answers)}
    made["scores"] = against_planted(study, answers)
    for name, file in zip(made, (SOURCES, DISAGREEMENTS, COUNTS, AGAINST)):
        if len(made[name]) or file != AGAINST:
            study.run.write(file, made[name])
    return made
