"""A running mean of the weights that learn, kept in place of the last ones.

An exponential moving average over the steps irons out the noise of single batches;
it costs a copy of the trained weights and no further pass.
"""

import torch
from torch import nn
from transformers import TrainerCallback


class WeightAverage(TrainerCallback):
    """Averages the trained weights after every step and puts the mean in place at the end.

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
