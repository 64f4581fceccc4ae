"""How a classifier is trained: the settings, and what they may be."""

from dataclasses import dataclass

from narrutils.errors import InputError
from narrutils.models.reading import Reading

LOSSES = ("cross_entropy", "f1", "lovasz")
#: Where the head starts: at zero, at the training rates, or at what a linear model reads out of
#: the untrained body's states.
HEAD_STARTS = ("zero", "rates", "probe")


@dataclass(frozen=True)
class Recipe(Reading):
    """How a classifier reads and is trained.

    Raises:
        InputError: an unknown loss or precision, or a number outside its range.
    """

    swap: float = 0.0  # probability that training shows a case's narratives in another order
    learning_rate: float = 5e-5
    head_learning_rate: float = 0.0  # 0: the same as the body's
    weight_decay: float = 0.01
    warmup: float = 0.2  # share of all steps
    cycles: float = 0.4  # of the cosine; 0.4 ends near 9.5 % of the peak
    accumulation: int = 1  # batches a step
    smoothing: float = 0.1
    head_dropout: float = 0.0
    head_start: str = "rates"  # zero, rates or probe
    probe_c: float = 3.0  # scikit-learn's C of the probe, for features of summed variance 1
    checkpointing: bool = False
    seed: int = 0
    loss: str = "cross_entropy"  # of phases that name none
    finetune_loss: str = ""  # loss of the last epochs of the last phase; empty: the phase's own
    finetune_epochs: int = 0  # how many epochs those are
    r_drop: float = 0.0  # weight of the divergence between two dropout passes; 0 is one pass
    ema: float = 0.0  # decay a step of the running mean of weights that is kept; 0 keeps the last weights

    def __post_init__(self):
        super().__post_init__()
        for name in ("loss", "finetune_loss"):
            value = getattr(self, name)
            if value not in LOSSES and (value or name == "loss"):
                raise InputError(f"{name} is {value!r}; it takes {', '.join(LOSSES)}")
        if bool(self.finetune_loss) != bool(self.finetune_epochs) or self.finetune_epochs < 0:
            raise InputError(
                f"finetune_loss is {self.finetune_loss!r} and finetune_epochs is {self.finetune_epochs}; "
                "give both, or neither"
            )
        if self.head_start not in HEAD_STARTS:
            raise InputError(f"head_start is {self.head_start!r}; it takes {', '.join(HEAD_STARTS)}")
        if self.head_start == "probe" and self.inputs != "joined":
            raise InputError("head_start is 'probe', which reads joined narratives; set inputs to joined")
        if not 0 <= self.swap <= 1:
            raise InputError(f"swap is {self.swap}; it is a probability in [0, 1]")
        if not self.r_drop >= 0:
            raise InputError(f"r_drop is {self.r_drop}; it is a weight of 0 or more")
        if not 0 <= self.ema < 1:
            raise InputError(f"ema is {self.ema}; it is a decay in [0, 1), such as 0.99")
