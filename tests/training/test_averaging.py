"""The running mean of the weights: by hand, over what learns alone, in place at the end."""

from types import SimpleNamespace

import pytest
import torch

from narrutils.training.averaging import WeightAverage


def test_the_mean_of_every_step_takes_the_place_of_the_last_weights():
    model = torch.nn.Linear(1, 1)
    model.bias.requires_grad_(False)
    frozen = model.bias.clone()
    average = WeightAverage(0.9)
    model.weight.data.fill_(1.0)
    average.on_train_begin(None, None, None, model=model)
    expected = 1.0
    for step, value in enumerate((2.0, 5.0, -3.0), 1):
        model.weight.data.fill_(value)
        average.on_step_end(None, SimpleNamespace(global_step=step), None, model=model)
        assert float(model.weight.detach()) == value  # training goes on from the weights themselves
        keep = min(0.9, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * value
    average.on_train_end(None, None, None, model=model)
    assert float(model.weight.detach()) == pytest.approx(expected)
    assert torch.equal(model.bias, frozen)
