"""Which generated cases to keep, and why the others are not kept.

The first rule of `screening_rules` that finds something gives the reason. No row is
dropped: one that is not kept stays in its pool, marked.
"""

from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from narrutils.data.schema import Schema
from narrutils.errors import InputError
from narrutils.generation.agreement import ScreeningTeacher, agreement, choose
from narrutils.generation.reference import Limits, Reference, Row, rows_of
from narrutils.generation.rules import RULES
from narrutils.models.learner import Phase
from narrutils.models.tfidf import TfidfLearner

#: Rows that are looked at together: few enough to hold in memory, enough to be quick.
CHUNK = 512

#: The columns that screening sets, and their types.
VERDICT = {
    "kept": bool,
    "reason": object,
    "copied_words": int,
    "domain_similarity": float,
    "agreement": float,
    "seen_folds": object,
}


class Screener:
    """Screens rows chunk by chunk; remembers those that were kept, to find near-duplicates.

    The same rows in the same order get the same verdicts, however they are divided into
    calls.

    Args:
        official: the training cases' text columns, indexed by uid. A row whose uid is
            among them is not held against itself.
        folds: fold numbers of the official cases, indexed by uid.
        limits: where the rules draw the line.
        teachers: who reads label-conditioned rows; without, none is read.

    Raises:
        InputError: `folds` name a uid that is no official case.
    """

    def __init__(
        self,
        official: pd.DataFrame,
        folds: pd.Series,
        schema: Schema,
        limits: Limits | None = None,
        teachers: Sequence[ScreeningTeacher] = (),
    ):
        self.schema, self.teachers = schema, tuple(teachers)
        self.folds = set(map(int, folds.unique()))
        self.reference = Reference(official, folds, schema, limits or Limits())

    def screen(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows with their verdict and what was measured.

        Args:
            rows: `uid` (column or index), the text columns, `seen_folds`; one column a
                variable where labels were requested, null in rows without.

        Returns:
            The rows with `kept` (bool), `reason` (empty, or `rule: what it found`),
            `copied_words` (the longest run shared with an official case, 0 below 8),
            `domain_similarity` (0..1), `agreement` (NaN where no teacher read), and
            `seen_folds`, to which the folds of the teacher that read the row were added.

        Raises:
            InputError: a uid stands twice, a row names a fold without cases, or has
                requested labels in part or with unknown codes.
        """
        uids = pd.Index(rows.get("uid", rows.index))
        if uids.has_duplicates:
            raise InputError(f"uid {uids[uids.duplicated()][0]} stands twice among the rows to screen")
        verdicts = []
        for start in range(0, len(rows), CHUNK):
            verdicts += self._screen_chunk(rows.iloc[start : start + CHUNK])
        table = pd.DataFrame(verdicts, columns=list(VERDICT), index=rows.index).astype(VERDICT)
        return rows.assign(**table)

    def stream(self, tables: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Screen tables as they come, some `CHUNK` rows together: a teacher is loaded for each lot."""
        waiting: list[pd.DataFrame] = []
        for table in tables:
            waiting.append(table)
            if sum(map(len, waiting)) >= CHUNK:
                yield self.screen(pd.concat(waiting, ignore_index=True))
                waiting = []
        if waiting:
            yield self.screen(pd.concat(waiting, ignore_index=True))

    def remember(self, rows: pd.DataFrame) -> None:
        """Hold later rows against these, kept from another pool; those marked as not kept are passed over."""
        kept = rows[rows["kept"].astype(bool)] if "kept" in rows else rows
        for row in rows_of(kept, self.schema):
            self.reference.remember(row)

    def _screen_chunk(self, table: pd.DataFrame) -> list[tuple]:
        """What `VERDICT` names, for each row in order."""
        rows = list(rows_of(table, self.schema))
        self._measure(rows)
        if self.teachers and set(self.schema.names) <= set(table.columns):
            self._read(rows, table[self.schema.names])
        reasons = [self._judge(row) for row in rows]
        return [
            (not reason, reason, row.copied[0], row.similarity, row.agreement, list(row.seen))
            for row, reason in zip(rows, reasons)
        ]

    def _measure(self, rows: list[Row]) -> None:
        """Set each row's copied run, hash values, and similarity to the cases of its prompt's folds."""
        for row in rows:
            row.copied = self.reference.copied(row)
            row.mark = self.reference.duplicates.mark(row.all_words)
        for folds in {row.folds for row in rows if not row.unmade}:
            group = [row for row in rows if row.folds == folds and not row.unmade]
            domain = self.reference.of_folds(folds).domain
            found = domain.similarity([r.uid for r in group], [r.all_words for r in group])
            for row, similarity in zip(group, found):
                row.similarity = float(similarity)

    def _read(self, rows: list[Row], requested: pd.DataFrame) -> None:
        """Set the agreement of each labelled row that a teacher may read, and add the teacher's folds."""
        labelled = requested.notna().any(axis=1)
        chosen = [
            choose(self.teachers, row.uid, row.folds, self.folds) if asked and not row.unmade else None
            for row, asked in zip(rows, labelled)
        ]
        for teacher in self.teachers:
            mine = [n for n, one in enumerate(chosen) if one is teacher]
            if not mine:
                continue
            group = [rows[n] for n in mine]
            texts = pd.DataFrame([r.texts for r in group], index=pd.Index([r.uid for r in group], name="uid"))
            asked = requested.iloc[mine].set_axis(texts.index)
            for row, value in zip(group, agreement(self.schema, asked, teacher.read(texts), teacher.prior)):
                row.agreement = float(value)
                # Its reading decides about the row, so the row has seen what the teacher saw.
                row.seen = tuple(sorted({*row.folds, *map(int, teacher.learned_from)}))

    def _judge(self, row: Row) -> str:
        """The reason to refuse a row; empty, and the row remembered, if there is none."""
        findings = ((name, rule(row, self.reference)) for name, rule in RULES.items())
        reason = next((f"{name}: {found}" for name, found in findings if found), "")
        if not reason:
            self.reference.duplicates.add(row.uid, row.mark)
        return reason


def own_fold_teachers(
    schema: Schema, cases: pd.DataFrame, labels: pd.DataFrame, folds: pd.Series
) -> list[ScreeningTeacher]:
    """One TF-IDF teacher a fold, fitted on that fold's cases alone.

    A row that saw fold k only is read by the teacher of fold k: its `seen_folds` stay as
    they are.

    Args:
        cases: text columns; labels: given codes; folds: fold numbers; all indexed by uid.
    """
    teachers = []
    for k in sorted(map(int, folds.unique())):
        uids = folds.index[folds == k]
        texts = cases.loc[uids, schema.text_columns].fillna("").astype(str)
        model = TfidfLearner(schema).fit([Phase(texts, schema.to_targets(labels.loc[uids]))])
        teachers.append(ScreeningTeacher(model.predict, (k,), model.predict(texts).mean()))
    return teachers


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows per pool (columns) and reason (index: `kept`, every rule in order), with a total."""
    rule = rows["reason"].str.split(":").str[0].where(~rows["kept"], "kept")
    counts = pd.crosstab(rule, rows["pool"]).rename_axis(index="reason", columns=None)
    order = ["kept", *RULES]
    counts = counts.reindex([*order, *counts.index.difference(order)], fill_value=0)
    return counts.assign(total=counts.sum(axis=1)).astype(int)


def copying(rows: pd.DataFrame, screener: Screener) -> pd.DataFrame:
    """How far the rows of each pool copy official cases, in consecutive words.

    Returns:
        A row a pool: share kept in 0..1, the longest run copied by a kept row and by any,
        the limit, and the 50th and 99th percentile of what official cases share with one
        another. Runs below 8 words count as 0.
    """
    pools, found = rows.groupby("pool"), rows["copied_words"]
    official = screener.reference.official_copied
    return pd.DataFrame(
        {
            "share kept": pools["kept"].mean(),
            "longest, kept": found.where(rows["kept"], 0).groupby(rows["pool"]).max(),
            "longest, all": pools["copied_words"].max(),
            "limit": screener.reference.copied_limit,
            **{f"official, {p}th percentile": official.quantile(p / 100) for p in (50, 99)},
        }
    )
