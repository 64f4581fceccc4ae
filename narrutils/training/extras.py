"""What other prize-winners had, all of it off unless a recipe asks for it.

- `finetune_loss`: the last epochs aim at another loss, one of `other_losses`.
- `r_drop`: two dropout passes of a batch are to agree (Liang et al. 2021).
- `ema`: a running mean of the weights takes the place of the last ones.

What they are called from, `trainer` and `examples`, is the method; without these it does the same.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from narrutils.data.schema import Schema
from narrutils.errors import InputError
from narrutils.models.classifier import has_dropout
from narrutils.models.learner import Phase
from narrutils.training.distributed import gathered
from narrutils.training.losses import AbstractionLoss
from narrutils.training.other_losses import LovaszLoss, SoftF1Loss
from narrutils.training.recipe import Recipe


def loss_of(schema: Schema, phase: Phase, recipe: Recipe) -> nn.Module:
    """A fresh loss of a phase: `(logits, targets, soft)` to a scalar."""
    return {
        "cross_entropy": lambda: AbstractionLoss(schema, recipe.smoothing),
        "f1": lambda: SoftF1Loss(schema),
        "lovasz": lambda: LovaszLoss(schema, recipe.smoothing),
    }[phase.loss or recipe.loss]()


def with_finetuning(phases: list[Phase], recipe: Recipe) -> list[Phase]:
    """The phases with the last epochs of the last one as a phase of their own, under the fine-tuning loss.

    Raises:
        InputError: the last phase has fewer epochs than are to be fine-tuned.
    """
    epochs = recipe.finetune_epochs
    if not epochs:
        return phases
    *before, last = phases
    if last.epochs < epochs:
        raise InputError(f"finetune_epochs is {epochs}, but the last phase has only {last.epochs} epochs")
    plain = replace(last, epochs=last.epochs - epochs)
    tuned = replace(last, epochs=epochs, loss=recipe.finetune_loss)
    return [*before, *([plain] if plain.epochs else []), tuned]


def check_dropout(recipe: Recipe, classifier: nn.Module) -> None:
    """Refuse R-Drop where two passes would not differ.

    Raises:
        InputError: nothing in the classifier drops out.
    """
    if recipe.r_drop and not has_dropout(classifier.modules()):
        raise InputError(
            "r_drop compares two dropout passes, but there is no dropout; set the encoder's, the "
            "adapters' or the head's (dropout, lora_dropout, head_dropout), or r_drop to 0"
        )


def two_passes(
    weight: float, schema: Schema, loss: nn.Module, model: nn.Module, batch: dict, aims: list[Tensor]
) -> Tensor:
    """Loss of two passes of a batch, and `weight` times their divergence.

    Args:
        batch: what the model takes, of this process's share; aims: what the loss takes, of all rows.
    """
    twice = model(**{name: torch.cat([value, value]) for name, value in batch.items()})
    one, other = (gathered(half, len(aims[0])) for half in twice.chunk(2))
    both = loss(torch.cat([one, other]), *(torch.cat([aim, aim]) for aim in aims))
    return both + weight * mean_divergence(schema, one, other)


def mean_divergence(schema: Schema, one: Tensor, other: Tensor) -> Tensor:
    """Symmetric Kullback–Leibler divergence of two readings, mean over variables and cases.

    (KL(p ‖ q) + KL(q ‖ p)) / 2, the regulariser of R-Drop (Liang et al. 2021), between
    the Bernoulli or categorical distributions of each variable.

    Args:
        one, other: logits `[batch, schema.width]` of the same cases.
    """
    total = torch.zeros((), device=one.device)
    for v in schema.variables:
        p, q = (_log_distribution(logits.float()[:, schema.slices[v.name]]) for logits in (one, other))
        total = total + ((p.exp() - q.exp()) * (p - q)).sum(1).mean() / 2
    return total / len(schema.variables)


def _log_distribution(logits: Tensor) -> Tensor:
    """Log-probabilities of a variable's classes; of no and yes where it has one logit."""
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    return logits.log_softmax(dim=1)


def averaging(recipe: Recipe) -> list[TrainerCallback]:
    """What keeps the running mean of the weights, where the recipe wants it."""
    return [WeightAverage(recipe.ema)] if recipe.ema else []


class WeightAverage(TrainerCallback):
    """Averages the weights that learn after every step and puts the mean in place at the end.

    An exponential moving average irons out the noise of single batches; it costs a copy of
    the trained weights and no further pass.

    Args:
        decay: in (0, 1): the share of the old mean that a step keeps. At step t it is
            at most (1 + t) / (10 + t), so that a short training soon leaves its start.
    """

    def __init__(self, decay: float):
        self.decay, self.mean = decay, []

    def on_train_begin(self, args, state, control, model: nn.Module, **kwargs):
        self.mean = [w.detach().clone() for w in _trained(model)]

    @torch.no_grad()
    def on_step_end(self, args, state, control, model: nn.Module, **kwargs):
        keep = min(self.decay, (1 + state.global_step) / (10 + state.global_step))
        torch._foreach_lerp_(self.mean, [w.detach() for w in _trained(model)], 1 - keep)

    @torch.no_grad()
    def on_train_end(self, args, state, control, model: nn.Module, **kwargs):
        for weight, mean in zip(_trained(model), self.mean, strict=True):
            weight.copy_(mean)
        self.mean = []


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [w for w in model.parameters() if w.requires_grad]
