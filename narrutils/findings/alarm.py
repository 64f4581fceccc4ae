"""What people are told where new narratives are not like those of the run."""

from collections.abc import Sequence

#: So many differences are named.
NAMED = 3
MEND = "code a random part by hand: narrutils estimate --draw"


def alarm(differs: Sequence[dict]) -> str:
    """One sentence: what differs, which way, and what to do.

    Args:
        differs: rows of `drift.compare` with an alarm, the largest first; one or more.
    """
    said = "; ".join(map(_difference, differs[:NAMED]))
    more = f"; and {len(differs) - NAMED} more" if len(differs) > NAMED else ""
    return (
        f"these narratives are not like those of the run ({said}{more}), "
        f"so what it says of its codes may not hold; {MEND}"
    )


def _difference(row: dict) -> str:
    kind, _, name = row["number"].partition(" ")
    before, now = (f"{row[side]:.0%}" for side in ("before", "now"))
    if kind == "words" and row["at"] == 0:
        return f"{name} is empty in {now}, there in {before}"
    more = row["distance"] > 0
    subject = {
        "words": f"{'more' if more else 'fewer'} words in {name}",
        "unknown": f"{'more' if more else 'fewer'} words that the models do not know",
        "doubt": f"{'more' if more else 'fewer'} codes expected to be wrong",
        "probability": f"{name} read as {'more' if more else 'less'} probable",
    }[kind]
    return f"{subject}: up to {row['at']:g} in {now}, there in {before}"
