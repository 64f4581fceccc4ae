"""What a user may set of the findings of a run."""

from narrutils.data.settings import checked

#: Words that deny, after NegEx (Chapman et al. 2001); of a task in another language, others.
DENIALS = (
    "absence of, cannot, could not, declined, denied, denies, deny, denying, free of, negative, neither, "
    "never, no, none, nor, not, nothing, ruled out, unaware, unlikely, unknown, without"
)


@checked
class Findings:
    """Settings of what `06_ensemble` finds out about the coding itself."""

    sources_model: str = "linear"  # who reads each narrative alone: linear members, a model, or the ensemble
    denials: str = DENIALS  # words of which a sentence that denies holds one; empty: whatever they are
