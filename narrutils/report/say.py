"""The sentence after a number: made from what a run found, so that it is true of other data too.

A difference is judged by its 95 % interval: where that holds zero, these cases cannot tell it from none.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import pandas as pd
from IPython.display import Markdown

from narrutils.evaluation.apart import ALL
from narrutils.evaluation.intervals import Interval, columns_of, in_columns
from narrutils.evaluation.ladder import to_table
from narrutils.report.tables import figure, percent, with_interval

WHERE = {"oof": "Out of fold", "test": "On the test cases"}
AGAINST = {"given": "the given labels", "truth": "the planted truth"}
UNKNOWN = {"given": "The labels of the test cases are not known.", "truth": "The truth is not known."}
ALONE = "There is only one, and nothing to hold it against."


def handed_in(submission: pd.DataFrame, members: Sequence[str]) -> Markdown:
    """What `submission.csv` holds, a column of uids and one a variable, and who coded it."""
    told = f"{counted(len(submission), 'test case')}, each in {counted(submission.shape[1] - 1, 'variable')}"
    by = f"the weighted mean of {names_of(members)}" if len(members) > 1 else names_of(members)
    return Markdown(f"The submission codes {told}, as {by} reads them.")


def missing(labels: pd.DataFrame, test_labels: pd.DataFrame | None = None) -> Markdown:
    """On how many labels all that follows stands, where some are missing; nothing where none is.

    Args:
        labels: given codes of the official cases, null where none is given.
        test_labels: those of the test cases; None where there are none at all.
    """
    told = []
    for kind, table in {"official": labels, "test": test_labels}.items():
        gone = pd.DataFrame() if table is None else table.isna()
        if gone.any(axis=None):
            cells, cases = gone.to_numpy().sum(), gone.all(axis=1).sum()
            whole = f", all of {counted(cases, 'case')} among them" if cases else ""
            told.append(f"{cells:,} of {counted(gone.size, 'label')} of the {kind} cases are missing{whole}")
    if not told:
        return Markdown("")
    none = names_of(labels.columns[labels.isna().all()])
    unscored = f" No label is given of {none}, so there is no score." if none else ""
    taken = "They are taken to be missing at random: what is fitted and scored here stands on the others."
    return Markdown(f"{'; '.join(told)}. {taken}{unscored}")


def together(clusters: pd.DataFrame, similarity: float, train_cases: int = 0) -> Markdown:
    """How many cases of `clusters.parquet` belong to others, and which texts count as nearly the same.

    Args:
        train_cases: how many training cases were asked for; 0: all.
    """
    sizes, train = clusters["cluster"].value_counts(), clusters["cluster"].notna().sum()
    sizes, twins = sizes[sizes > 1], clusters["twin"].ne("").sum()
    told = "No training case belongs to another"
    if len(sizes):
        told = f"{sizes.sum():,} of {counted(train, 'training case')} belong to "
        told += f"{counted(len(sizes), 'set')}, the largest of {sizes.max():,}; each set stays in one fold"
    tested = counted(len(clusters) - train, "test case")
    told += f". {f'{twins:,} of {tested} belong' if twins else 'No test case belongs'} to a training case"
    short = f" {train:,} training cases were drawn, not {train_cases:,}: sets are drawn whole."
    way = f"Texts count as nearly the same from a similarity of {similarity:g} on."
    way = way if similarity else "Texts were not compared."
    return Markdown(f"{told}. {way}{short if train < train_cases else ''}")


def unlabelled(counts: pd.Series) -> Markdown:
    """How many narratives that nobody coded may be learned from, of the counts of `take_unlabelled`."""
    if not counts["given"]:
        return Markdown("No further narratives were given.")
    why = {name: counts[name] for name in ("without a word or said before", "of a test case")}
    left = "; ".join(f"{n:,} {name}" for name, n in why.items() if n)
    told = f"{counts['taken']:,} of {counted(counts['given'], 'further narrative')} may be learned from"
    own = counts["of a training case"]
    few = f" {own:,} of them belong to training cases, and teach none that is tested on these." if own else ""
    return Markdown(f"{told}{f' (left out: {left})' if left else ''}.{few}")


def apart(table: pd.DataFrame, twins: pd.Series) -> Markdown:
    """What the last step of `apart.score_apart` scores on test cases with and without a twin."""
    if not twins.ne("").any():
        return Markdown("No test case belongs to a training case.")
    if table.empty:
        return Markdown(UNKNOWN["given"])
    last = table[(table["step"] == table["step"].iloc[-1]) & (table["part"] != ALL)]
    scores = [
        f"{with_interval(*row[columns_of('average_f1')])} on {counted(row['n'], 'test case')} {row['part']}"
        for _, row in last.iterrows()
    ]
    return Markdown(
        f"The {plain(last['step'].iloc[-1])} scores {', and '.join(scores)} among the training cases."
    )


def score(entries: list[dict], split: str = "oof", against: str = "given") -> Markdown:
    """What the last step of a ladder scores in one place."""
    table = to_table(entries, split, against)
    if table.empty:
        return Markdown(UNKNOWN[against])
    last = table.iloc[-1]
    told = (
        f"{WHERE[split]}, the {plain(last['step'])} scores {with_interval(*last[columns_of('average_f1')])}"
    )
    flatters = "; that flatters, for a teacher crossed the folds" if last["optimistic"] else ""
    return Markdown(f"{told} against {AGAINST[against]} of {counted(last['n'], 'case')}{flatters}.")


def steps(entries: list[dict]) -> Markdown:
    """Which steps of a ladder gain or lose out of fold, and of which these cases cannot tell."""
    table = to_table(entries)[1:]
    return _worth(table, "step", "Over the step before") if len(table) else Markdown(ALONE)


def gain(table: pd.DataFrame) -> Markdown:
    """What the last step of `Ladder.over_first` gains over the first, out of fold."""
    first, last = table.iloc[0], table.iloc[-1]
    said = f"The {plain(last['step'])} {differs(last, plain(first['step']))}" if len(table) > 1 else ALONE
    return Markdown(said)


def previous(gain: Interval | None) -> Markdown:
    """What the ensemble of a run gains over that of the previous one, if there is one."""
    if gain is None:
        return Markdown("This run goes on from no other.")
    return Markdown(f"The ensemble {differs(in_columns('gain', gain), 'that of the previous run')}")


def test_gap(table: pd.DataFrame) -> Markdown:
    """Whether the last step of `Ladder.gaps` scores on the test as it does out of fold."""
    if table.empty:
        return Markdown(f"{UNKNOWN['given']} How well scores out of fold foretell the test stays open.")
    last = table.iloc[-1]
    name, by = ("gap", "") if pd.isna(last["single"]) else ("single", ", by single models on both sides,")
    than = ("more on the test than", "less on the test than")
    told = differs(last, "out of fold", name, "scores", than)
    known = table[table[name].notna()]
    alike = f"It holds zero in {(~_is_sure(known, name)).sum()} of {counted(len(known), 'step')}."
    return Markdown(f"The {plain(last['step'])}{by} {told} {alike}")


def variables(table: pd.DataFrame) -> Markdown:
    """The variables of a `score_table` that are read best and worst, and whose score is least sure."""
    best, worst = table["score"].idxmax(), table["score"].idxmin()
    width = table["high"] - table["low"]
    told = f"{plain(best)} is read best, {figure(table.at[best, 'score'])}, {plain(worst)} worst, "
    unsure = f"the score of {plain(width.idxmax())} is least sure, its interval {figure(width.max())} wide"
    return Markdown(f"{told}{figure(table.at[worst, 'score'])}; {unsure}.")


def ways(table: pd.DataFrame) -> Markdown:
    """Which way of `gains` scores highest, and whether it can be told from the first."""
    first, best = table.iloc[0], table.loc[table["average_f1"].idxmax()]
    if best["way"] == first["way"]:
        return Markdown(f"No way scores above the first, {names_of([first['way']])}.")
    return Markdown(f"The highest, {names_of([best['way']])}, {differs(best, names_of([first['way']]))}")


def each_member(table: pd.DataFrame) -> Markdown:
    """Which members of `member_gains` the ensemble would miss."""
    return _worth(table, "member", "Over an ensemble without it") if len(table) else Markdown(ALONE)


def flags(flagging: Mapping, cases: int) -> Markdown:
    """How many cases are flagged, and how right the codes of the others are, from `flags.summarise`."""
    told = f"{flagging['share'] * cases:.0f} of {counted(cases, 'case')} flagged"
    if not pd.isna(flagging["accuracy"]):
        told += f"; {percent(flagging['accuracy'])} of the codes of the others are right"
        told += f", of all codes {percent(flagging['accuracy_of_all'])}"
    return Markdown(f"{told}. A new case is flagged above {flagging['cut']:.2f} codes expected to be wrong.")


def queue(doubts: pd.DataFrame) -> Markdown:
    """How many labels are queued for review, of which kinds, and how many of them should be wrong."""
    kinds = ", ".join(f"{n} {kind}" for kind, n in doubts["direction"].value_counts().items())
    wrong = f"; going by their probabilities, {doubts['probability'].sum():.0f} of them are wrong"
    wrong += ". That is the models' estimate, fitted to these very labels, and no finding"
    told = f"{counted(len(doubts), 'label')} queued for review"
    return Markdown(told + (f" ({kinds}){wrong}." if kinds else "."))


def evidence(effects: pd.DataFrame) -> Markdown:
    """How far the strongest sentence of each doubt moves its probability."""
    if effects.empty:
        return Markdown("No evidence was gathered.")
    strongest = effects["effect"].abs().groupby([effects["uid"], effects["column"]]).max()
    told = f"The strongest sentence of {counted(len(strongest), 'doubt')} moves the probability by "
    return Markdown(f"{told}{figure(strongest.median())} in the median, {figure(strongest.max())} at most.")


def conclusion(*said: Markdown) -> Markdown:
    """Several of these sentences, as a list."""
    return Markdown("\n".join(f"- {sentence.data}" for sentence in said))


def kept(counts: pd.DataFrame) -> Markdown:
    """How many rows of `screening.summary` were kept, and for what most of the others were refused."""
    refused = counts["total"].drop("kept")
    told = f"{counts.at['kept', 'total']} of {counted(counts['total'].sum(), 'generated row')} kept"
    if refused.sum():
        told += f"; the most frequent reason against the others: {refused.idxmax()} ({refused.max()})"
    return Markdown(f"{told}.")


def changed(table: pd.DataFrame, labels: int) -> Markdown:
    """How many of so many labels a correction changed, and how well where `changes.flip_table` knows."""
    total = table["changed"].sum()
    told = f"{total:,} of {counted(labels, 'label')} changed"
    if "found" in table and total:
        right, wrong = table["found"].sum(), table["wrong"].sum()
        told += f"; {right:,} of the changes agree with the truth, where {wrong:,} given labels are wrong"
    return Markdown(f"{told}.")


def _worth(table: pd.DataFrame, name: str, over: str) -> Markdown:
    """Who gains, who loses, and of whom these cases cannot tell."""
    up, down = table["gain_low"] > 0, table["gain_high"] < 0
    kinds = {"a gain": up, "a loss": down, "neither": ~up & ~down}
    told = [f"{kind} for {names_of(table[name][rows])}" for kind, rows in kinds.items() if rows.any()]
    return Markdown(f"{over}, these cases show {'; '.join(told)}.")


def differs(
    row: Mapping, other: str, name: str = "gain", verb: str = "", than: tuple[str, str] = ("over", "to")
) -> str:
    """`gains 0.012 [0.003, 0.020] over` the other, or `loses … to` it, and what the interval says of it."""
    value, low, high = (row[column] for column in columns_of(name))
    size = with_interval(value, low, high) if value >= 0 else with_interval(-value, -high, -low)
    verb, than = verb or ("gains" if value >= 0 else "loses"), than[int(value < 0)]
    sure = "excludes zero, so these cases tell the two apart"
    verdict = sure if _is_sure(row, name) else "holds zero: these cases cannot tell the two apart"
    return f"{verb} {size} {than} {other}; the interval {verdict}."


def _is_sure(row: Mapping | pd.DataFrame, name: str):
    """Whether the interval of a difference excludes zero, of one row or of each."""
    return (row[f"{name}_low"] > 0) | (row[f"{name}_high"] < 0)


def names_of(names: Iterable[str]) -> str:
    """Names in a row, as text."""
    return ", ".join(f"*{plain(name)}*" for name in names)


#: What a notebook takes for markup or a formula in a name.
SIGNS = {ord(sign): f"&#{ord(sign)};" for sign in "$*`[]"}


def plain(name: str) -> str:
    """A name as text, whatever signs it holds."""
    return escape(str(name)).translate(SIGNS)


def counted(n: int, noun: str) -> str:
    """So many of a thing, such as `1 case` or `1,200 cases`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
