"""Whether what a cheap proxy finds carries over to trainings at full size: tried, never assumed.

The best few settings by the proxy, the known first ones and a few spread over the rest are scored again on
all cases at full size. The best of these, by that score, is the one that is chosen.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from scipy.stats import spearmanr

from narrutils.data.files import digest

BEST = 3  # the best by the proxy that are scored again
SPREAD = 3  # and so many from the second best to the worst of the rest, evenly


def candidates(settings: Sequence[Mapping], known: Sequence[Mapping]) -> list[Mapping]:
    """Which settings are scored again.

    Args:
        settings: of the trials over all folds, the best first; `known`: those of the first trials.
    """
    rest = list(settings[BEST:])
    step = (len(rest) - 1) / (SPREAD - 1) if len(rest) > 1 else 0
    spread = [rest[round(n * step)] for n in range(min(SPREAD, len(rest)))]
    found: list[Mapping] = []
    for setting in (*settings[:BEST], *known, *spread):
        if setting not in found:
            found.append(setting)
    return found


@dataclass(frozen=True)
class Carried:
    """How a proxy and the full size agree.

    Attributes:
        settings: those that were scored again, in the order of their scores by the proxy.
        table: a row each: `proxy`, `full`, and `first`, whether it is the first trial's.
        rank: Spearman's correlation of the two; None of fewer than three, or where all are alike.
    """

    settings: list[Mapping]
    table: pd.DataFrame
    rank: float | None

    @property
    def gains(self) -> bool:
        """Whether the best by the proxy scores above the first trial's setting at full size."""
        first = self.table.loc[self.table["first"], "full"].iloc[0]
        return bool(self.table["full"].iloc[0] > first)


def carry_over(
    by_proxy: Sequence[tuple[Mapping, float]], known: Sequence[Mapping], score: Callable[[Mapping], float]
) -> Carried:
    """Score candidates again.

    Args:
        by_proxy: settings and scores of the trials over all folds, the best first.
        known: the settings of the first trials.
        score: at full size.
    """
    chosen, rows = candidates([setting for setting, _ in by_proxy], known), {}
    for setting, value in by_proxy:  # a setting may have been drawn twice
        if setting in chosen and digest(setting) not in rows:
            row = {"setting": setting, "proxy": value, "full": score(setting), "first": setting == known[0]}
            rows[digest(setting)] = row
    table = pd.DataFrame(list(rows.values()))
    varied = len(table) > 2 and table[["proxy", "full"]].nunique().min() > 1
    rank = float(spearmanr(table["proxy"], table["full"]).statistic) if varied else None
    return Carried(list(table.pop("setting")), table, rank)
