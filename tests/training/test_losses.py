"""The loss against torch's own pieces, put together by hand."""

import numpy as np
import torch
from torch.nn import functional as F
from toys import TOY, random_labels, random_probabilities, uids

from narrutils.training.losses import AbstractionLoss


def tensors(schema, n=8, soft=False, seed=0):
    """Logits and targets of n rows."""
    logits = torch.tensor(np.random.default_rng(seed).normal(0, 2, (n, schema.width)), dtype=torch.float32)
    table = random_probabilities(schema, uids(n), 5) if soft else schema.to_targets(random_labels(schema, n))
    return logits, torch.tensor(table.to_numpy(), dtype=torch.float32), torch.full((n,), soft)


def test_nvdrs_is_21_bce_and_two_cross_entropies_over_23(nvdrs):
    logits, targets, soft = tensors(nvdrs)
    smoothed = torch.where(targets[:, :21] == 1, 0.9, 0.1)
    bce = F.binary_cross_entropy_with_logits(logits[:, :21], smoothed)
    places = F.cross_entropy(logits[:, 21:27], targets[:, 21:27].argmax(1), label_smoothing=0.1)
    weapons = F.cross_entropy(logits[:, 27:39], targets[:, 27:39].argmax(1), label_smoothing=0.1)
    loss = AbstractionLoss(nvdrs, 0.1)(logits, targets, soft)
    torch.testing.assert_close(loss, (21 * bce + places + weapons) / 23)


def test_soft_binary_targets_are_smoothed_and_soft_categories_are_not(nvdrs):
    logits, targets, soft = tensors(nvdrs, soft=True)
    bce = F.binary_cross_entropy_with_logits(logits[:, :21], targets[:, :21] * 0.8 + 0.1)
    crosses = [
        -(targets[:, s] * logits[:, s].log_softmax(1)).sum(1).mean() for s in (slice(21, 27), slice(27, 39))
    ]
    loss = AbstractionLoss(nvdrs, 0.1)(logits, targets, soft)
    torch.testing.assert_close(loss, (21 * bce + sum(crosses)) / 23)


def test_a_batch_may_hold_both_kinds():
    logits, targets, _ = tensors(TOY, soft=True)
    loss, soft = AbstractionLoss(TOY, 0.1), torch.tensor([True, False] * 4)
    parts = [loss(logits[soft], targets[soft], soft[soft]), loss(logits[~soft], targets[~soft], soft[~soft])]
    torch.testing.assert_close(loss(logits, targets, soft), sum(parts) / 2)
    assert not torch.isclose(loss(logits, targets, soft), loss(logits, targets, ~soft))


def test_without_smoothing_it_is_the_plain_cross_entropy():
    """Binary and categorical variables alternate here, so a fixed slice would show."""
    logits, targets, soft = tensors(TOY)
    pieces = [
        F.binary_cross_entropy_with_logits(logits[:, 0], targets[:, 0]),
        F.cross_entropy(logits[:, 1:4], targets[:, 1:4]),
        F.binary_cross_entropy_with_logits(logits[:, 4], targets[:, 4]),
        F.cross_entropy(logits[:, 5:7], targets[:, 5:7]),
    ]
    torch.testing.assert_close(AbstractionLoss(TOY, 0.0)(logits, targets, soft), sum(pieces) / 4)


def test_binary_variables_do_not_compete():
    """A softmax over the multi-hot row would push one variable down when another rises."""
    logits, targets, soft = tensors(TOY)
    logits.requires_grad_()
    targets[:, [0, 4]] = 1.0
    AbstractionLoss(TOY, 0.1)(logits, targets, soft).backward()
    alone = logits.grad.clone()
    moved = logits.detach().clone()
    moved[:, 4] += 7
    moved.requires_grad_()
    AbstractionLoss(TOY, 0.1)(moved, targets, soft).backward()
    torch.testing.assert_close(moved.grad[:, :4], alone[:, :4])
    confident = torch.full((1, 7), 30.0)
    both = torch.tensor([[1.0, 0, 0, 1, 1, 0, 1]])
    confident[0, [1, 2, 5]] = -30
    assert AbstractionLoss(TOY, 0.0)(confident, both, torch.tensor([False])) < 1e-6


def test_the_loss_is_lowest_where_the_smoothed_target_is_said():
    _, targets, soft = tensors(TOY, n=1)
    said = torch.zeros(1, 7, requires_grad=True)
    optimizer = torch.optim.Adam([said], lr=0.1)
    for _ in range(400):
        optimizer.zero_grad()
        AbstractionLoss(TOY, 0.1)(said, targets, soft).backward()
        optimizer.step()
    table = TOY.from_logits(said.detach().numpy(), uids(1)).to_numpy()[0]
    y = targets[0].numpy()
    expected = np.concatenate(
        [[y[0] * 0.8 + 0.1], y[1:4] * 0.9 + 0.1 / 3, [y[4] * 0.8 + 0.1], y[5:] * 0.9 + 0.05]
    )
    np.testing.assert_allclose(table, expected, atol=0.01)


def test_it_is_computed_in_float32_and_is_finite_far_out():
    logits, targets, soft = tensors(TOY)
    short = logits.bfloat16()
    loss = AbstractionLoss(TOY)(short, targets.double(), soft)
    torch.testing.assert_close(loss, AbstractionLoss(TOY)(short.float(), targets, soft), atol=1e-6, rtol=0)
    assert loss.dtype == torch.float32
    assert torch.isfinite(AbstractionLoss(TOY)(short * 1000, targets, soft))
