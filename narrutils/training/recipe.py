"""How a classifier is trained: the settings, and which of them may not stand together."""

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Literal

from narrutils.data.settings import (
    Amount,
    Count,
    Fields,
    Fraction,
    Loss,
    Positive,
    Precision,
    Seed,
    Size,
    Smoothing,
    checked,
)
from narrutils.errors import InputError
from narrutils.models.settings import Body, Lora, Reading


@checked
class Recipe(Reading):
    """How a classifier reads and is trained."""

    learning_rate: Positive = 5e-5  # peak
    head_learning_rate: Amount = 0.0  # 0: the same as the body's
    weight_decay: Amount = 0.01  # of matrices
    warmup: Fraction = 0.2  # share of all steps
    cosine_cycles: Amount = 0.4  # 0.4 ends near 9.5 % of the peak
    accumulation: Size = 1  # batches a step
    smoothing: Smoothing = 0.1
    head_dropout: Fraction = 0.0
    head_start: Literal["zero", "rates", "probe"] = "rates"  # probe: a linear model on untrained states
    probe_c: Positive = 3.0  # scikit-learn's C of the probe, for features of summed variance 1
    checkpointing: bool = False  # trade time for memory
    seed: Seed = 0  # of the head's start, dropout and the order of batches
    loss: Loss = "cross_entropy"  # of phases that name none
    finetune_loss: Literal["", Loss] = ""  # of the last epochs of the last phase; empty: the phase's own
    finetune_epochs: Count = 0  # how many epochs those are
    r_drop: Amount = 0.0  # of the divergence between two dropout passes; 0 is one pass
    ema: Fraction = 0.0  # decay a step of the mean of weights that is kept; 0 keeps the last ones

    def __post_init__(self):
        if bool(self.finetune_loss) != bool(self.finetune_epochs):
            raise InputError(
                f"finetune_loss is {self.finetune_loss!r} and finetune_epochs is {self.finetune_epochs}; "
                "give both, or neither"
            )
        if self.head_start == "probe" and self.inputs != "joined":
            raise InputError("head_start is 'probe', which reads joined narratives; set inputs to joined")


@checked
class Pretraining:
    """How a body first learns to fill in masked words. `mlm_batch_size` in blocks, `mlm_block` in tokens.

    Of the tokens, a share `mlm_masked` is to be told: four fifths of those are masked, a tenth
    replaced at random, a tenth left (Devlin et al. 2019).
    """

    mlm_epochs: Count = 0  # passes over the narratives of the training folds; 0 leaves the body as it is
    mlm_generated: bool = False  # generated rows too
    mlm_block: Size = 512  # at most; a model that reads less has shorter ones
    mlm_masked: Fraction = 0.15
    mlm_learning_rate: Positive = 1e-4
    mlm_batch_size: Size = 8
    mlm_warmup: Fraction = 0.1  # share of all steps
    precision: Precision = "float32"
    seed: Seed = 0


@checked
class Computing:
    """Where trainings run; none of it changes what they give."""

    launch: dict = field(default_factory=dict)  # options of `accelerate launch`; {} trains in this process
    at_once: Count = 0  # models trained at once; 0 is one for every two cores, a single one on a GPU

    def __post_init__(self):
        if self.launch:
            from narrutils.training.launching import accelerate_options  # brings torch

            accelerate_options(self.launch)


def together(body: Body, lora: Lora, recipe: Recipe) -> None:
    """Check settings against each other.

    Raises:
        InputError: two of them cannot both hold.
    """
    if body.pooling == "parts" and recipe.inputs == "separate":
        raise InputError(
            "pooling is 'parts', which reads joined narratives; set inputs to joined, or pooling to "
            "mean or last"
        )
    if body.quantization and not lora.lora_rank:
        raise InputError(f"{body.backbone}: a {body.quantization} base is frozen; give it a LoRA rank")
    if recipe.r_drop and body.dropout == lora.lora_dropout == recipe.head_dropout == 0:
        raise InputError(
            "r_drop compares two dropout passes, and there is no dropout; set dropout, lora_dropout or "
            "head_dropout, or r_drop to 0"
        )


def varied(parts: Sequence, **changes) -> list:
    """Body, adapters and recipe with other values, wherever there is a field of that name.

    Raises:
        InputError: a name that none of them has, a value that does not fit, or that others exclude.
    """
    values = Fields(tuple(map(type, parts)))(changes)
    others = [replace(part, **{n: v for n, v in values.items() if n in vars(part)}) for part in parts]
    together(*others)
    return others


def by_name(finals: list[Mapping]) -> dict[str, dict]:
    """Name -> what differs, of the further models of a profile.

    Raises:
        InputError: an entry without a name of its own.
    """
    names = [final.get("name") for final in finals]
    if not all(names) or len(set(names)) < len(names):
        raise InputError(f"finals: every entry needs a name of its own; got {names}")
    return {final["name"]: {key: v for key, v in final.items() if key != "name"} for final in finals}
