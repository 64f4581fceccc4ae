"""Do sites code otherwise: what a model learns from a site's own labels, on its cases and elsewhere.

As published work found differences between states (arXiv 2403.19432). For each site a cheap linear model
is trained twice on the same number of cases: without the site's cases, and without as many from elsewhere,
drawn at random. Both read the cases of the fold that was held out. Where the site codes and writes as all
others do, it makes no difference whose labels were left out. Where seeing its own labels helps on its own
cases and not elsewhere, the site codes, or writes, otherwise. That says where to look, not who is right.

A gain is a fall of the Brier score, in hundredths of it: the mean squared distance of probability and given
label, in [0, 1], half the sum over the classes for a categorical variable, a mean over variables. It needs no
threshold, which a site with fewer positives would move.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from narrutils.data.folds import HeldOut, learns_from, singles
from narrutils.data.schema import Schema
from narrutils.data.study import Study
from narrutils.errors import InputError, did_you_mean
from narrutils.evaluation.intervals import columns_of, draw, in_columns, in_table, paired_gain, score_interval
from narrutils.evaluation.metrics import share
from narrutils.findings.coded import FEW, FEW_SETS, NOT_KNOWN
from narrutils.findings.permutation import ALPHA, holm, p_values, signs
from narrutils.models.learner import Learner, Phase
from narrutils.models.tfidf import TfidfLearner

#: Where no column is named, one that is called so, in whatever case.
CALLED = ("site", "state")
DRAWS = 2  # how often the cases from elsewhere that are left out are drawn
#: What one fold's cases of a site happen to have in common with another's counts twice: where the first
#: teaches and the second tells, and the other way round. A sum over pairs of folds, each pair twice, has
#: at most twice the variance that exchanges within folds show, which leave the teaching as it is.
UNSEEN = 2.0
#: Single words are quickest; the classes of a variable each by themselves likewise.
CHEAP = {"ngrams": (1, 1), "multinomial": False}
COLUMNS = [
    "column", "level", "cases", *columns_of("own"), "own_p", *columns_of("elsewhere"), "elsewhere_p",
    *columns_of("difference"), "p", "p_holm", "variable", "variable_gain", "variable_p",
]  # fmt: skip


def site_column(groups: pd.DataFrame, named: str = "") -> str:
    """The group column that tells the site of a case; "" where there is none.

    Raises:
        InputError: the column that is named is no group column.
    """
    if named and named not in groups:
        near = did_you_mean(named, list(groups.columns), f"group columns are: {', '.join(groups)}")
        raise InputError(f"findings: site is {named}, which is no group column of the run; {near}")
    return named or next((c for c in groups if c.lower() in CALLED), "")


def compare(
    study: Study,
    cells: pd.Series | None,
    sets: pd.Series,
    most: int = 12,
    draws: int = DRAWS,
    learner: Learner | None = None,
) -> pd.DataFrame:
    """What each site's own labels are worth, as `findings/sites.parquet` holds it.

    Args:
        cells: site of each labelled training case, "" where not known: those take no part; None: no sites.
        sets: number of the set of each of these cases, which lies in one fold.
        most: sites that are compared, the largest ones.
        draws: how often the cases from elsewhere are drawn; gains are means over the draws.
        learner: what is trained; None: TF-IDF on single words.

    Returns:
        A row a site with cases enough: `column`, `level`, `cases`; `own`, the gain in hundredths on its own
        cases from its own labels, `elsewhere`, that on all others, and `difference`, own − elsewhere, each
        with its 95 % interval by a bootstrap over sets, which speaks of these models. `own_p`,
        `elsewhere_p`: whether each is 0, for these models, by changing signs of whole sets, corrected
        together by Holm's method. `p`: whether the two differ, by letting sets of a fold change places, which
        holds whatever the luck of a training, with the variance doubled (`UNSEEN`), so that it may be above
        0.05 where the interval excludes 0; `p_holm`, corrected over the sites. `variable`, the one that
        gains most on the site's cases (null where none has labels on both sides), `variable_gain`, and
        `variable_p`, p of its difference, corrected over all sites and variables.
    """
    if cells is None:
        return in_table([], COLUMNS)
    cells = cells[cells != NOT_KNOWN]
    learner = learner or TfidfLearner(study.schema, **CHEAP)
    rows, each = [], []
    for level in _levels(cells, sets)[:most]:
        own = cells == level
        gains = gains_of(study, own, draws, learner)
        row, of_variables = _row(study, gains, own, sets.loc[own.index])
        rows.append({"column": cells.name, "level": level, "cases": int(own.sum())} | row)
        each.append(of_variables)
    return _corrected(in_table(rows, COLUMNS), each)


def otherwise(table: pd.DataFrame) -> pd.Series:
    """Whether each site of `compare` codes, or writes, otherwise: its labels help more at home, surely."""
    return (table["p_holm"] < ALPHA) & (table["difference"] > 0)


def _levels(cells: pd.Series, sets: pd.Series) -> list[str]:
    """The sites with cases enough, on both sides, the largest first."""
    sizes = cells.value_counts()
    return [
        level
        for level, cases in sizes.items()
        if min(cases, len(cells) - cases) >= FEW
        and sets.loc[cells.index][cells == level].nunique() >= FEW_SETS
    ]


def gains_of(study: Study, own: pd.Series, draws: int, learner: Learner) -> pd.DataFrame:
    """What every case's reading gains from the site's labels, `[cases, variables]`; NaN without a label.

    Args:
        own: whether each case is of the site, indexed by uid.
    """
    schema, targets = study.schema, study.schema.to_targets(study.labels.loc[own.index])
    parts = []
    for held_out in singles(study.folds):
        reads = study.train.loc[own.index[study.folds.loc[own.index].isin(held_out)]]
        losses = []
        for uids in trained_on(study, own, held_out, draws):
            phase = Phase(study.train.loc[uids], targets.loc[uids])
            read = learner.fit([phase], f"fold {held_out[0]}").predict(reads)
            losses.append(brier(schema, targets.loc[reads.index], read))
        without, *drawn = losses
        parts.append(without - sum(drawn) / len(drawn))
    return pd.concat(parts).loc[own.index]


def trained_on(study: Study, own: pd.Series, held_out: HeldOut, draws: int) -> Iterator[pd.Index]:
    """What each model learns from: first all cases from elsewhere; for each draw, as many with the site's.

    As many of the site's own as fit, and the rest drawn from elsewhere; none is of the fold that is held out.
    """
    allowed = own[own.index.isin(learns_from(study.folds, held_out))]
    ours, others = allowed.index[allowed], allowed.index[~allowed]
    yield others
    for n in range(draws):
        rng = np.random.default_rng([n, *held_out])
        mine = rng.permutation(ours)[: len(others)]
        drawn = {*mine, *rng.permutation(others)[: len(others) - len(mine)]}
        yield allowed.index[allowed.index.isin(drawn)]


def brier(schema: Schema, targets: pd.DataFrame, read: pd.DataFrame) -> pd.DataFrame:
    """Squared distance of reading and label, `[cases, variables]`, in [0, 1]; NaN without a label."""
    squares = (read[schema.columns] - targets[schema.columns]) ** 2
    return pd.DataFrame(
        {
            v.name: squares[list(v.columns)].sum(axis=1, skipna=False) / len(v.columns[:2])
            for v in schema.variables
        }
    )


def _row(study: Study, gains: pd.DataFrame, own: pd.Series, sets: pd.Series) -> tuple[Mapping, pd.DataFrame]:
    """The figures of a site, and `gain` and `p` of each variable that it has labels of."""
    known, numbers = gains.notna().to_numpy(), sets.to_numpy()
    counts = share(np.where(known, 100 * gains.to_numpy(), 0.0), known)
    mine, theirs = (counts.where(rows) for rows in (own.to_numpy(), ~own.to_numpy()))
    both = (mine.given.sum(axis=0) > 0) & (theirs.given.sum(axis=0) > 0)
    sides = [side.of(both).by_set(numbers) for side in (mine, theirs)]
    draw(sides)
    row = in_columns("own", score_interval(sides[0])) | in_columns("elsewhere", score_interval(sides[1]))
    row |= in_columns("difference", paired_gain(*sides))
    row |= {f"{name}_p": signs(side) for name, side in zip(("own", "elsewhere"), sides)}
    folds = study.folds.loc[own.index].to_numpy()
    means = {1: both[:, None].astype(float)}
    each, mean = p_values(counts, own.to_numpy(int), numbers, means, folds, unseen=UNSEEN)[1]
    of_variables = pd.DataFrame({"gain": mine.scores(), "p": each}, gains.columns)[both]
    return row | {"p": mean[0]}, of_variables


def _corrected(table: pd.DataFrame, each: list[pd.DataFrame]) -> pd.DataFrame:
    """The table with p values corrected, and of each site the variable that gains most."""
    table["p_holm"] = holm(table["p"].astype(float))
    both = table[["own_p", "elsewhere_p"]].to_numpy(dtype=float)
    table[["own_p", "elsewhere_p"]] = holm(pd.Series(both.ravel())).to_numpy().reshape(both.shape)
    if each:
        of_all = pd.concat(each, keys=range(len(each)), names=["n", "variable"]).reset_index()
        of_all["p"] = holm(of_all["p"])
        best = of_all.sort_values("gain").groupby("n").tail(1).set_index("n").reindex(table.index)
        table["variable"], table["variable_gain"], table["variable_p"] = (
            best[name] for name in ("variable", "gain", "p")
        )
    return table.astype(
        {c: float for c in ("p", "p_holm", "variable_gain", "variable_p", "own_p", "elsewhere_p")}
    )
