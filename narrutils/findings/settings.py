"""What the findings of a run are asked for."""

from typing import Annotated, Literal

from pydantic import Field

from narrutils.data.settings import Share, checked

Level = Annotated[float, Field(gt=0, lt=1)]
Promise = Literal["recall", "precision"]  # of the positives so many are found; of the codes 1 so many right


@checked
class Findings:
    """Settings of the findings, all with defaults that fit any schema."""

    promise: Promise = "recall"  # of the unreviewed: positives that are found, or codes 1 that are right
    promised: Level = 0.9  # share of them that is promised
    confidence: Level = 0.95  # with which each promise holds
    promise_review: Share = 0.5  # most of a variable's codes that a promise may be expected to give to people
