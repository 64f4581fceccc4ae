"""Settings of what a run finds out beyond its codes."""

from dataclasses import field

from narrutils.data.settings import checked


@checked
class Findings:
    """The parameter `findings` of the last notebook."""

    odds_of: str = ""  # variable whose odds ratios are shown; empty: the binary one with most positives
    by: list[str] = field(default_factory=list)  # group columns to compare by; empty: those that can be
