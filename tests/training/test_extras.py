"""What other prize-winners had: another loss, two passes that agree, the mean of the weights."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from toys import TOY, bert_tokenizer, random_labels, uids, word_texts

from narrutils.models.learner import Phase
from narrutils.training import extras
from narrutils.training.extras import WeightAverage, mean_divergence
from narrutils.training.losses import AbstractionLoss
from narrutils.training.recipe import Recipe

BERT = bert_tokenizer()
TEXTS = word_texts(TOY, 8)
PHASE = Phase(TEXTS, TOY.to_targets(random_labels(TOY, 8)))


def test_all_of_it_is_off_unless_it_is_asked_for():
    plain, phases = Recipe(), [PHASE]
    assert extras.with_finetuning(phases, plain) is phases
    assert type(extras.loss_of(TOY, PHASE, plain)) is AbstractionLoss
    assert extras.averaging(plain) == []


def test_the_divergence_of_two_readings_is_the_mean_over_variables_by_hand():
    one, other = (
        torch.tensor(np.random.default_rng(n).normal(0, 2, (8, TOY.width)), dtype=torch.float32)
        for n in (1, 2)
    )
    p, q = (TOY.from_logits(t.numpy(), uids(8)).to_numpy() for t in (one, other))
    by_hand = []
    for v in TOY.variables:
        a, b = p[:, TOY.slices[v.name]], q[:, TOY.slices[v.name]]
        if v.is_binary:
            a, b = np.hstack([a, 1 - a]), np.hstack([b, 1 - b])
        both = (a * np.log(a / b)).sum(1) + (b * np.log(b / a)).sum(1)
        by_hand.append(both.mean() / 2)
    assert float(mean_divergence(TOY, one, other)) == pytest.approx(np.mean(by_hand), rel=1e-4)
    assert float(mean_divergence(TOY, one, one)) == 0
    assert torch.isfinite(mean_divergence(TOY, one * 1000, other * 1000))


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
