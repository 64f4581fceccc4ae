"""What other prize-winners had: swapped narratives, two passes that agree, the mean of the weights."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from toys import TOY, bert_tokenizer, random_labels, uids, word_texts

from narrutils.errors import InputError
from narrutils.models.learner import Phase
from narrutils.models.reading import Inputs
from narrutils.training import extras
from narrutils.training.examples import Examples
from narrutils.training.extras import WeightAverage, draw_swaps, mean_divergence, reordered
from narrutils.training.losses import AbstractionLoss
from narrutils.training.recipe import Recipe

BERT = bert_tokenizer()
TEXTS = word_texts(TOY, 8)
PHASE = Phase(TEXTS, TOY.to_targets(random_labels(TOY, 8)))


def test_all_of_it_is_off_unless_it_is_asked_for():
    plain, phases = Recipe(), [PHASE]
    assert extras.with_finetuning(phases, plain) is phases
    assert extras.all_orders(TEXTS, plain) is TEXTS
    assert type(extras.loss_of(TOY, PHASE, plain)) is AbstractionLoss
    assert extras.averaging(plain) == []


def test_two_narratives_change_places():
    moved = reordered(TEXTS, seed=1)
    assert moved["First"].tolist() == TEXTS["Second"].tolist()
    assert moved["Second"].tolist() == TEXTS["First"].tolist()
    assert moved.index.equals(TEXTS.index)


def test_of_three_narratives_every_other_order_occurs_and_the_given_one_never():
    texts = pd.DataFrame([["a", "b", "c"]] * 200, columns=["X", "Y", "Z"])
    orders = set(map(tuple, reordered(texts, seed=1).to_numpy()))
    assert len(orders) == 5
    assert ("a", "b", "c") not in orders
    pd.testing.assert_frame_equal(reordered(texts, 1), reordered(texts, 1))
    assert not reordered(texts, 1).equals(reordered(texts, 2))


def test_each_showing_is_swapped_or_not_by_chance_and_by_the_seed():
    epochs = [[[0, 1], [2, 3]] for _ in range(500)]
    drawn = draw_swaps(epochs, 4, 0.25, seed=3)
    rows = np.array(drawn)
    assert (rows % 4 == np.array(epochs)).all()
    assert (rows >= 4).mean() == pytest.approx(0.25, abs=0.03)
    assert len({str(epoch) for epoch in drawn}) > 10  # not the same rows in every epoch
    assert drawn == draw_swaps(epochs, 4, 0.25, seed=3) != draw_swaps(epochs, 4, 0.25, seed=4)
    assert draw_swaps(epochs, 4, 0.0, seed=3) == epochs


def test_a_swapped_row_has_the_other_order_and_the_same_targets():
    recipe = Recipe(max_tokens=40, swap=0.5)
    examples = Examples([PHASE], BERT, recipe)
    assert len(examples) == 8
    given, other = examples.collate([2, 5]), examples.collate([10, 13])
    assert given["targets"].equal(other["targets"])
    assert given["soft"].equal(other["soft"])
    back = Inputs(TEXTS[["Second", "First"]], BERT, recipe).batch([2, 5])
    assert other["input_ids"].equal(back["input_ids"])
    assert not other["input_ids"].equal(given["input_ids"])


def test_nothing_is_swapped_when_a_model_reads():
    plain, swapping = (Inputs(TEXTS, BERT, Recipe(max_tokens=40, swap=share)) for share in (0.0, 1.0))
    assert plain.cases == swapping.cases


@pytest.mark.parametrize(
    ("changes", "columns"),
    [({"swap": 0.5}, 1), ({"swap": 0.5, "inputs": "separate"}, 2), ({"swap": 1.5}, 2), ({"swap": -0.1}, 2)],
)
def test_a_swap_that_cannot_be_is_one_line(changes, columns):
    phase = Phase(TEXTS.iloc[:, :columns], PHASE.targets)
    with pytest.raises(InputError, match="swap"):
        Examples([phase], BERT, Recipe(max_tokens=40, **changes))


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
