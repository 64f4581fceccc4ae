"""What each source of the made corpus says by itself: the truth by source, for evaluation alone.

A source says a circumstance if a sentence of its narrative tells it of V, or another circumstance that
implies it by definition (`carried_by` in telling.yaml); it says that it is not so if a sentence denies
it of V and none tells it. What is said of a relative or of another time says neither, and so does a
source that leaves a fact to the other. The sentences are those of the narrative as it was written: what
an edited copy leaves out, it does not say.

It is approximate in three ways. That something was not known, or that nothing showed it, counts as a
denial, as do the few lists that deny a thing of V by telling it of a relative; a sentence on a relative
that adds "but V did not" counts as none. And of a case whose labels are wrong, this is what was told.
"""

import pandas as pd

from narrutils.data.demo.cases import Case
from narrutils.data.demo.phrases import read
from narrutils.data.demo.plan import SOURCES, Mention
from narrutils.data.demo.tell import Teller

#: Ways of mentioning that deny a circumstance of V.
DENIALS = ("denied", "no_history", "no_stress", "not")
COLUMNS = ["uid", "source", "variable", "said"]


def said_by_source(teller: Teller) -> dict[tuple[str, str], int]:
    """(source, variable) -> what the narrative says: 1 or 0, or the code of a categorical variable.

    Args:
        teller: once it has told its case.
    """
    return {
        (source, variable): said
        for source in SOURCES
        for variable, said in says(
            [m for s in teller.kept.get(source, []) for m in teller.mentioned.get(s, [])], teller.case
        ).items()
    }


def says(mentions: list[Mention], case: Case) -> dict[str, int]:
    """Variable -> what a narrative with these mentions says; a variable of which it is silent is left out."""
    told = {m.variable for m in mentions if m.way not in (*read("telling")["untold"], "code")}
    carried_by = read("telling")["carried_by"]
    while implied := {v for v, carriers in carried_by.items() if told & set(carriers)} - told:
        told |= implied
    coded = {m.variable: case.truth[m.variable] for m in mentions if m.way == "code"}
    return (
        dict.fromkeys((m.variable for m in mentions if m.way in DENIALS), 0) | dict.fromkeys(told, 1) | coded
    )


def by_source(tellers: dict[str, Teller], columns: list[str]) -> pd.DataFrame:
    """`truth_by_source.csv`: a row for each thing that a source says, in the order of the cases.

    Args:
        tellers: uid -> who has told the case.
        columns: the text columns, in the order of `SOURCES`.
    """
    names = dict(zip(SOURCES, columns, strict=True))
    rows = [
        (uid, names[source], variable, said)
        for uid, teller in tellers.items()
        for (source, variable), said in sorted(said_by_source(teller).items())
    ]
    return pd.DataFrame(rows, columns=COLUMNS)
