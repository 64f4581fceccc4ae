"""What a user may set of the findings of a run; all with defaults that fit any schema."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field

from narrutils.data.settings import Count, Share, checked

Level = Annotated[float, Field(gt=0, lt=1)]
Promise = Literal["recall", "precision"]  # of the positives so many are found; of the codes 1 so many right

LINEAR = "linear"  # the members of the ensemble that count terms
#: Words that deny, after NegEx (Chapman et al. 2001); of a task in another language, others.
DENIALS = (
    "absence of, cannot, could not, declined, denied, denies, deny, denying, free of, negative, neither, "
    "never, no, none, nor, not, nothing, ruled out, unaware, unlikely, unknown, without"
)


@checked
class Findings:
    """Settings of the findings of `06_ensemble`."""

    site: str = (
        ""  # column of the sites that are compared; empty: site or state, in any case, if there is one
    )
    sites: Count = 12  # sites that are compared at most, the largest ones; 0: none
    odds_of: str = ""  # variable whose odds ratios are shown; empty: the binary one with most positives
    by: list[str] = field(default_factory=list)  # group columns to compare by; empty: those that can be
    sources_model: str = LINEAR  # who reads each narrative alone: linear members, a model, or the ensemble
    denials: str = DENIALS  # words of which a sentence that denies holds one; empty: whatever they are
    promise: Promise = "recall"  # of the unreviewed: positives that are found, or codes 1 that are right
    promised: Level = 0.9  # share of them that is promised
    confidence: Level = 0.95  # with which each promise holds
    promise_review: Share = 0.5  # most of a variable's codes that a promise may be expected to give to people
