"""The Lovász hinge: the Jaccard loss where it is a set function, and an answer for each variable alone."""

import numpy as np
import pytest
import torch
from toys import TOY, random_labels

from narrutils.training.losses import AbstractionLoss
from narrutils.training.lovasz import LovaszLoss, jaccard_steps, lovasz_hinge


def drawn(n=12, seed=0):
    rng = np.random.default_rng(seed)
    has = torch.tensor(rng.integers(0, 2, (n, 3)), dtype=torch.float32)
    wrong = torch.tensor(rng.random((n, 3)) < 0.3)
    return has, wrong


@pytest.mark.parametrize("seed", range(4))
def test_at_errors_of_nought_and_one_it_is_the_jaccard_loss(seed):
    """A right case at the margin has error 0, one on the fence error 1: an extension has to agree there."""
    has, wrong = drawn(seed=seed)
    scores = torch.where(wrong, 0.0, 2 * has - 1)
    said = torch.where(wrong, 1 - has, has)
    jaccard = (said * has).sum(0) / ((said + has) > 0).sum(0)
    torch.testing.assert_close(lovasz_hinge(scores, has), 1 - jaccard)


def test_steps_are_not_negative_and_sum_to_one():
    has, _ = drawn()
    has[:, 1] = 0  # no case has it
    steps = jaccard_steps(has)
    assert (steps >= 0).all()
    torch.testing.assert_close(steps.sum(0), torch.ones(3))


def test_beyond_the_margin_nothing_is_left_to_gain():
    has, _ = drawn()
    assert (lovasz_hinge((2 * has - 1) * 5, has) == 0).all()


def loss_of(logits, targets):
    return LovaszLoss(TOY)(logits, targets, torch.zeros(len(logits), dtype=torch.bool))


def test_having_and_lacking_a_variable_count_alike():
    targets = torch.tensor(TOY.to_targets(random_labels(TOY, 10)).to_numpy(), dtype=torch.float32)
    logits = torch.randn(10, TOY.width, generator=torch.Generator().manual_seed(0))
    turned, other = logits.clone(), targets.clone()
    turned[:, 0], other[:, 0] = -logits[:, 0], 1 - targets[:, 0]
    torch.testing.assert_close(loss_of(logits, targets), loss_of(turned, other))
    worse = logits.clone()
    worse[:, 0] = -3 * (2 * targets[:, 0] - 1)
    assert loss_of(worse, targets) > loss_of(logits, targets)


def test_categories_keep_their_cross_entropy_and_soft_labels_count_as_codes():
    targets = torch.tensor(TOY.to_targets(random_labels(TOY, 10)).to_numpy(), dtype=torch.float32)
    logits = torch.randn(10, TOY.width, generator=torch.Generator().manual_seed(1)).requires_grad_()
    loss_of(logits, targets).backward()
    got = logits.grad[:, 1:4].clone()
    logits.grad = None
    AbstractionLoss(TOY)(logits, targets, torch.zeros(10, dtype=torch.bool)).backward()
    torch.testing.assert_close(got, logits.grad[:, 1:4])
    soft = targets.clone()
    soft[:, 0] = 0.3 + 0.4 * targets[:, 0]
    torch.testing.assert_close(loss_of(logits, soft), loss_of(logits, targets))
