"""The loss against torch's own pieces, put together by hand."""

import numpy as np
import pytest
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


def holes_in(targets, share=0.3, seed=0):
    """The targets with NaN for some labels, and which columns these are."""
    gone = torch.zeros_like(targets, dtype=torch.bool)
    drawn = (
        torch.rand(len(targets), len(TOY.variables), generator=torch.Generator().manual_seed(seed)) < share
    )
    for n, columns in enumerate(TOY.slices.values()):
        gone[:, columns] = drawn[:, n : n + 1]
    return targets.masked_fill(gone, torch.nan), gone


@pytest.mark.parametrize("kind", [False, True], ids=["hard", "soft"])
def test_what_is_given_is_counted_as_ever_and_what_is_not_has_no_gradient(kind):
    logits, targets, soft = tensors(TOY, n=20, soft=kind)
    holes, gone = holes_in(targets)
    assert 0 < gone.sum() < gone.numel()
    loss, pulls = AbstractionLoss(TOY, 0.1), []
    for aims in (targets, holes):
        said = logits.clone().requires_grad_()
        found = loss(said, aims, soft)
        found.backward()
        pulls.append(said.grad)
    assert torch.isfinite(found)
    assert (pulls[1][gone] == 0).all()
    assert torch.equal(pulls[1][~gone], pulls[0][~gone])


def test_complete_targets_have_the_plain_mean_to_the_last_bit():
    logits, targets, soft = tensors(TOY, n=21)
    binary, places, tools = [0, 4], slice(1, 4), slice(5, 7)
    y = targets * 0.8 + 0.1
    plain = (
        F.binary_cross_entropy_with_logits(logits[:, binary], y[:, binary], reduction="none").mean(0).sum()
    )
    crosses = [
        -((targets[:, s] * (1 - smoothing) + smoothing / k) * logits[:, s].log_softmax(1)).sum(1).mean()
        for s, k in ((places, 3), (tools, 2))
        for smoothing in [0.1 * (~soft).float()[:, None]]
    ]
    assert torch.equal(AbstractionLoss(TOY, 0.1)(logits, targets, soft), (plain + sum(crosses)) / 4)


def test_a_batch_without_any_label_is_no_loss():
    logits, targets, soft = tensors(TOY)
    logits.requires_grad_()
    loss = AbstractionLoss(TOY)(logits, torch.full_like(targets, torch.nan), soft)
    loss.backward()
    assert loss == 0 and (logits.grad == 0).all()


def test_it_is_computed_in_float32_and_is_finite_far_out():
    logits, targets, soft = tensors(TOY)
    short = logits.bfloat16()
    loss = AbstractionLoss(TOY)(short, targets.double(), soft)
    torch.testing.assert_close(loss, AbstractionLoss(TOY)(short.float(), targets, soft), atol=1e-6, rtol=0)
    assert loss.dtype == torch.float32
    assert torch.isfinite(AbstractionLoss(TOY)(short * 1000, targets, soft))
