"""The cases that something is estimated of: what people coded, what machines read, and who they are.

Where the cases that people coded are those that the models learned from, a reading by such a model is
no honest one, and the mean of the deployed models errs otherwise than a single one. So a coded case is
read by the model that left its fold out, with weights, thresholds and calibration found without that
fold, and every other case by each fold's models in that fold's way, and the readings are averaged:
cross-prediction (Zrnic & Candès 2023, arXiv 2309.16598).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from narrutils.crossfit.teachers import Teachers
from narrutils.data.cases import Dataset
from narrutils.data.clusters import Together, similarity_of, words
from narrutils.data.run import Run
from narrutils.data.schema import Schema, Variable
from narrutils.data.store import StoredModel
from narrutils.data.tables import by_uid
from narrutils.evaluation.calibration import fit_calibration
from narrutils.evaluation.ensemble import ENSEMBLE, combine, without_fold
from narrutils.findings.coded import cleaned
from narrutils.findings.estimates.powered import Material


@dataclass(frozen=True)
class Population:
    """All cases, each table indexed by uid in one order.

    Attributes:
        human: codes that people gave, null where there is none.
        machine: calibrated probabilities, `schema.columns` wide; a case that trained models is read by
            none that learned from it.
        codes: the machine's codes as targets, `schema.columns` wide: 1 for the code that it gave.
        groups: columns to report on, as text; "" is not known.
        inclusion: chance in (0, 1] with which a case was to be coded by a person.
        clusters: whole numbers from 0; cases with the same belong together.
    """

    schema: Schema
    human: pd.DataFrame
    machine: pd.DataFrame
    codes: pd.DataFrame
    groups: pd.DataFrame
    inclusion: pd.Series
    clusters: pd.Series

    def material(self, variable: Variable, code: int) -> Material:
        """Whether each case has this code of a variable."""
        column, given = variable.column_of(code), self.human[variable.name]
        human = given.eq(code).astype(float).mask(given.isna()).to_numpy(dtype=float, na_value=np.nan)
        machine, codes = (table[column].to_numpy(dtype=float) for table in (self.machine, self.codes))
        return Material(human, machine, codes, self.inclusion.to_numpy(dtype=float), self.clusters.to_numpy())


Readings = tuple[pd.DataFrame, pd.DataFrame]  # calibrated probabilities, and codes as targets


def of_run(run: Run, schema: Schema) -> Population:
    """The cases of a run: its training labels as human codes, its test cases as cases without any.

    The training cases must be a random part of them all.
    """
    test, clusters = run.cases("test"), run.clusters()
    twins = clusters.loc[test.index, "twin"]
    readings = cross_predicted(run, schema, twins, stored(run, schema, test.index))
    return cross_fitted(run, schema, readings, run.groups().loc[test.index], clusters)


def with_training(run: Run, schema: Schema, texts: pd.DataFrame, groups: pd.DataFrame) -> Population:
    """The training cases of a finished run with their labels, and further cases without any.

    Args:
        texts: the text columns of the further cases, indexed by uid; `groups`: their columns.
    """
    teachers, clusters = Teachers(run, ENSEMBLE, schema), linked(run, schema, texts, groups)
    twins = clusters.loc[texts.index, "twin"]
    readings = cross_predicted(run, schema, twins, lambda k: teachers.read(k, texts))
    return cross_fitted(run, schema, readings, groups, clusters)


def linked(run: Run, schema: Schema, texts: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """`clusters.parquet` as it would be with further cases; their `cluster` is that of their own sets."""
    train, folds = run.cases("train"), run.folds()
    known = pd.concat([run.groups().loc[train.index], groups]).reindex(columns=[*schema.keep_together])
    data = Dataset(train, texts, None, [], groups=known.fillna(""))
    similarity = similarity_of(run.record())
    split = ["train"] * len(train) + ["test"] * len(texts)
    cases = pd.DataFrame({"split": split}, [*train.index, *texts.index])
    twins = Together(data, schema, similarity).table(cases, folds.nunique())["twin"]
    alone = Dataset(texts, texts[:0], None, [], groups=data.groups.loc[texts.index])
    own = Together(alone, schema, similarity).clusters + len(train)
    return pd.DataFrame(
        {"cluster": pd.concat([run.clusters()["cluster"].loc[train.index], own]), "twin": twins}
    )


def cross_fitted(
    run: Run, schema: Schema, readings: Readings, groups: pd.DataFrame, clusters: pd.DataFrame
) -> Population:
    """A population of the training cases and of others, whose groups are given.

    Args:
        clusters: `cluster` and `twin` of all cases, as `Run.clusters` has them.
    """
    labels, uids = run.labels(schema).astype("Int64"), readings[0].index
    own = run.groups().reindex(columns=groups.columns).loc[labels.index]
    return Population(
        schema,
        labels.reindex(uids),
        *readings,
        cleaned(pd.concat([own, groups]).loc[uids].fillna("")),
        pd.Series(1.0, uids),
        cluster_numbers(clusters.reindex(uids)),
    )


def cluster_numbers(clusters: pd.DataFrame) -> pd.Series:
    """A number for each case; a case with a twin has that of the training case that it belongs to."""
    known = clusters["cluster"].astype("Float64")
    own = clusters["twin"].map(known).fillna(known)
    names = own.astype(str).where(own.notna(), "case " + clusters.index.to_series().astype(str))
    return pd.Series(pd.factorize(names)[0], clusters.index)


def stored(run: Run, schema: Schema, uids: pd.Index) -> Callable[[int], pd.DataFrame]:
    """Test cases as the models of each fold read them when they were trained."""
    made = run.read("ensemble.json")

    def read(fold: int) -> pd.DataFrame:
        tables = {m: StoredModel(run, m).read((fold,), schema, uids) for m in made["members"]}
        return combine(schema, tables, without_fold(made, fold))

    return read


def cross_predicted(
    run: Run,
    schema: Schema,
    twins: pd.Series,
    read: Callable[[int], pd.DataFrame],
) -> Readings:
    """Training cases as read without their fold, then other cases as every fold reads them, averaged.

    Args:
        twins: for each other case the training case that it belongs to; "" if there is none.
        read: fold -> uncalibrated probabilities of the others by its models, blended in its way.
    """
    made, folds, labels = run.read("ensemble.json"), run.folds(), run.labels(schema)
    found = run.read_probabilities("predictions/ensemble_oof.parquet", schema, folds.index)
    labels, shares = by_uid(labels, folds.index, "labels"), fold_shares(folds, twins)
    machine, codes = [], []
    sums = [pd.DataFrame(0.0, twins.index, schema.columns) for _ in range(2)]
    for k in sorted(folds.unique()):
        rest = folds.ne(k)
        calibration = fit_calibration(schema, labels[rest], found[rest])
        cuts = without_fold(made, k)["thresholds"]
        own, of_others = found[~rest], read(k)
        machine.append(calibration.apply(own))
        codes.append(schema.to_targets(schema.to_labels(own, cuts)))
        for total, table in zip(sums, (calibration.apply(of_others), _coded(schema, of_others, cuts))):
            total += table.mul(shares[k], axis=0)
    return tuple(pd.concat([*own, total]) for own, total in zip((machine, codes), sums))


def _coded(schema: Schema, read: pd.DataFrame, cuts: Mapping[str, float]) -> pd.DataFrame:
    return schema.to_targets(schema.to_labels(read, cuts))


def fold_shares(folds: pd.Series, twins: pd.Series) -> pd.DataFrame:
    """How far each fold's reading counts for each other case, a column a fold; rows sum to 1.

    As much as it has training cases, so that both parts are read alike. A case that belongs to a training
    case is read by the models that left that one out, and by no others.
    """
    counts = folds.value_counts(normalize=True).sort_index()
    shares = pd.DataFrame([counts.to_numpy()] * len(twins), twins.index, counts.index)
    for uid, twin in twins[twins.isin(folds.index)].items():
        shares.loc[uid] = (shares.columns == folds[twin]).astype(float)
    return shares


def told_by(texts: pd.DataFrame, schema: Schema) -> pd.Series:
    """The words of each case, by which cases of the same text are known; "" without any."""
    joined = texts[schema.text_columns].agg("\n".join, axis=1) if len(texts) else pd.Series(dtype=str)
    return joined.map(lambda text: " ".join(words(text)))
