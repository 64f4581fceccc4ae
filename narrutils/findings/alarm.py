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
    order = sorted(differs, key=lambda row: row["number"].startswith("probability"))  # what is plainest first
    said = "; ".join(map(_difference, order[:NAMED]))
    more = f"; and {len(order) - NAMED} more" if len(order) > NAMED else ""
    return (
        f"these narratives are not like those of the run ({said}{more}), "
        f"so what it says of its codes may not hold; {MEND}"
    )


def _difference(row: dict) -> str:
    kind, _, name = row["number"].partition(" ")
    now, before = (f"{row[side]:.0%}" for side in ("now", "before"))
    if kind == "words" and row["at"] < 1:
        return f"{name} is empty in {now} of these cases, in {before} of the run's"
    more = "more" if row["distance"] > 0 else "fewer"
    at = f"{row['at']:.0%}" if kind == "unknown" else f"{int(row['at']) if kind == 'words' else row['at']:g}"
    shares = f"at most {at} in {now} of these cases, in {before} of the run's"
    if kind == "words":
        return f"{more} words in {name}, {shares}"
    if kind == "unknown":
        return f"{more} words that the models do not know, {shares}"
    if kind == "doubt":
        return f"{more} codes expected to be wrong, {shares}"
    return f"{name} read as {'more' if row['distance'] > 0 else 'less'} probable"
