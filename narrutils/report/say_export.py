"""What is said of an export to ONNX, line by line: how it agrees, how fast it reads, what it costs."""

from dataclasses import astuple

from narrutils.crossfit.exported import Agreement, Anew, Export
from narrutils.models.speed import described
from narrutils.report.tables import percent, with_interval

#: Of 8-bit weights: the share of codes that may change, and what the average F1 may lose.
MOST_CHANGED, MOST_LOST = 0.02, 0.005


def lines(export: Export, megabytes: float, exported: float) -> list[str]:
    """What was found of an export, a line each.

    Args:
        megabytes, exported: of the files of the run that reading needs, and of those of the export.
    """
    told = [_agreement(export, who, found) for who, found in export.agreements.items()]
    return [*told, *_cost(export), _speed(export), f"{megabytes:.1f} MB of models become {exported:.1f} MB"]


def _agreement(export: Export, who: str, found: Agreement) -> str:
    """How an export agrees with what it is compared with."""
    read = "the 8-bit export, at thresholds of its own," if who == "the run" else "the float32 export"
    kept = "the run" if who == "the run" else f"its model in {who}"
    codes = f"{found.differ} of {found.cells} codes ({percent(found.share)}) differ, {found.ties} near-ties"
    cases = f"{export.cases} {'test' if export.split == 'test' else 'training'} cases"
    return f"{read} against {kept}, {cases}: {codes}; probabilities by {found.largest:.2g} at most"


def _cost(export: Export) -> list[str]:
    """What 8-bit weights cost out of fold; warnings where that is much."""
    if export.anew is None:
        return []
    found = export.anew
    before, after = (with_interval(*astuple(score)) for score in (found.before, found.after))
    gain = with_interval(*astuple(found.gain), sign="+")
    return [
        f"average F1 out of fold {before}, with 8-bit weights {after}: {gain}; "
        f"{percent(found.changed)} of the codes change",
        *_warnings(found, export.agreements["the run"].share),
    ]


def _warnings(found: Anew, changed: float) -> list[str]:
    told = []
    if max(found.changed, changed) > MOST_CHANGED:
        told.append(f"warning: 8-bit weights change more than {percent(MOST_CHANGED)} of the codes")
    if found.gain.value < -MOST_LOST:
        told.append(f"warning: 8-bit weights lose more than {MOST_LOST} of the average F1")
    return told


def _speed(export: Export) -> str:
    rates = ", ".join(f"{who} {rate:.3g}" for who, rate in export.speed.items())
    return f"rows a second: {rates} ({described()}, {export.threads} threads)"
