"""What a user may set of the findings of a run."""

from narrutils.data.settings import Count, checked


@checked
class Findings:
    """Settings of what `06_ensemble` finds out about the coding itself."""

    site: str = ""  # column of the sites that are compared; empty: site or state, in any case, if there is one
    sites: Count = 12  # sites that are compared at most, the largest ones; 0: none
