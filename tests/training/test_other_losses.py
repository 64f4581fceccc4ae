"""Losses that stand in for F1: at the corners they are the metric, and the Jaccard loss of each variable.

Soft counts teach rare variables to be denied; the hinge has an answer for each variable alone.
"""

import numpy as np
import pytest
import torch
from test_losses import holes_in
from toys import TOY, random_labels, random_probabilities, uids

from narrutils.evaluation.metrics import average_f1
from narrutils.training.losses import AbstractionLoss
from narrutils.training.other_losses import LovaszLoss, SoftF1Loss, jaccard_steps, lovasz_hinge

SURE = 30.0  # a logit whose probability is 1 in float32
NONE = torch.tensor([])


def corner(labels):
    """Logits that say these codes for certain."""
    return torch.tensor((TOY.to_targets(labels).to_numpy() * 2 - 1) * SURE, dtype=torch.float32)


def targets_of(labels):
    return torch.tensor(TOY.to_targets(labels).to_numpy(), dtype=torch.float32)


def only(schema_column: int, logit: torch.Tensor) -> torch.Tensor:
    """Logits where one column is as given and the others are 0."""
    return torch.nn.functional.pad(logit[:, None], (schema_column, TOY.width - 1 - schema_column))


@pytest.mark.parametrize("seed", range(3))
def test_for_certain_codes_it_is_one_minus_the_metric(seed):
    truth, said = random_labels(TOY, 60, seed), random_labels(TOY, 60, seed + 10)
    loss = SoftF1Loss(TOY)(corner(said), targets_of(truth))
    assert float(loss) == pytest.approx(1 - average_f1(TOY, truth, said), abs=2e-3)
    assert float(SoftF1Loss(TOY)(corner(truth), targets_of(truth))) == pytest.approx(0, abs=1e-3)


def test_with_soft_labels_it_counts_what_is_to_be_expected():
    """The mean counts of codes drawn from p and labels drawn from y, against the closed form."""
    p, y = (
        random_probabilities(TOY, uids(40), 1).to_numpy(),
        random_probabilities(TOY, uids(40), 2).to_numpy(),
    )
    rng = np.random.default_rng(0)
    codes, labels = (rng.random((4000, *t.shape)) < t for t in (p, y))
    expected = []
    for column in (0, 4):  # the binary ones
        said, true = codes[..., column], labels[..., column]
        expected.append(2 * (said & true).sum() / (said.sum() + true.sum()))
    for columns in (slice(1, 4), slice(5, 7)):
        expected.append((p[:, columns] * y[:, columns]).sum(1).mean())
    logits = torch.tensor(np.log(p) - np.log1p(-p))
    for columns in (slice(1, 4), slice(5, 7)):
        logits[:, columns] = torch.tensor(np.log(p[:, columns]))
    assert float(SoftF1Loss(TOY)(logits, torch.tensor(y))) == pytest.approx(1 - np.mean(expected), abs=5e-3)


def test_within_the_horizon_batches_add_up_to_the_whole():
    labels = random_labels(TOY, 48)
    logits = torch.tensor(np.random.default_rng(3).normal(0, 2, (48, TOY.width)), dtype=torch.float32)
    binary = torch.tensor(TOY.binary_index)
    whole, loss = SoftF1Loss(TOY), SoftF1Loss(TOY, horizon=48)
    whole(logits, targets_of(labels))
    for rows in torch.arange(48).split(4):
        loss(logits[rows], targets_of(labels)[rows])
    torch.testing.assert_close(loss.running, whole.running)
    assert loss.running.shape == (3, len(binary))
    for rows in torch.arange(48).split(4):
        loss(logits[rows] * 0 - SURE, targets_of(labels)[rows])
    assert (loss.running[1] < 0.5 * whole.running[1]).all()  # beyond it, the past fades


def test_the_gradient_is_that_of_the_running_f1_at_the_scale_of_the_batch():
    """d loss / dp = −(2y − F1) / (n · (mean p + mean y)) / variables, n the batch and the means running."""
    loss, labels = SoftF1Loss(TOY), random_labels(TOY, 64)
    y = targets_of(labels)
    loss(torch.zeros(60, TOY.width), y[:60])
    logits = torch.zeros(4, TOY.width, requires_grad=True)
    loss(logits, y[60:]).backward()
    said, true, both = 0.5, y[:, 0].mean(), 0.5 * y[:, 0].mean()
    f1 = 2 * both / (said + true)
    by_hand = -(2 * y[60:, 0] - f1) / (4 * (said + true)) / 4 * 0.25
    torch.testing.assert_close(logits.grad[:, 0], by_hand, rtol=5e-3, atol=0)


def test_a_batch_without_a_positive_still_teaches_to_say_no():
    """By itself such a batch has no gradient worth the name: that is how rare variables ran away to 1."""
    y = torch.zeros(4, TOY.width)
    pulls = {}
    for horizon in (0, 512):
        loss = SoftF1Loss(TOY, horizon)
        known = torch.zeros(64, TOY.width)
        known[:6, 0] = 1
        loss(only(0, torch.where(known[:, 0] > 0, 2.0, -2.0)), known)
        logits = torch.zeros(4, TOY.width, requires_grad=True)
        loss(logits, y).backward()
        pulls[horizon] = float(logits.grad[:, 0].mean())
    assert pulls[512] > 0  # a step against the gradient lowers the logit
    assert pulls[512] > 50 * abs(pulls[0])


def test_an_uninformed_model_is_pushed_to_all_ones_and_an_informed_one_is_not():
    """Why the loss is for fine-tuning: without knowledge of the case, saying 1 is the best answer."""
    y = torch.zeros(100, TOY.width)
    y[:20, 0] = 1
    for level in (-3.0, 0.0, 3.0):
        bias = torch.tensor(level, requires_grad=True)
        SoftF1Loss(TOY)(only(0, bias.expand(100)), y).backward()
        assert bias.grad < 0
    informed = torch.where(y[:, 0] > 0, 2.0, -2.0).requires_grad_()
    SoftF1Loss(TOY)(only(0, informed), y).backward()
    assert (informed.grad[:20] < 0).all()
    assert (informed.grad[20:] > 0).all()


def test_after_cross_entropy_it_converges_on_a_rare_variable_in_small_batches():
    """A tenth of the cases, batches of 4: it ends better than it began, and far from all ones."""
    generator = torch.Generator().manual_seed(0)
    y = torch.zeros(400, TOY.width)
    y[torch.randperm(400, generator=generator)[:40], 0] = 1
    y[:, [1, 5]] = 1
    x = torch.randn(400, 3, generator=generator)
    x[:, 0] += 2 * y[:, 0]
    model = torch.nn.Linear(3, TOY.width)
    torch.nn.init.zeros_(model.weight)

    def learn(loss, epochs):
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(epochs):
            for rows in torch.randperm(400, generator=generator).split(4):
                optimizer.zero_grad()
                loss(model(x[rows]), y[rows], torch.zeros(len(rows), dtype=torch.bool)).backward()
                optimizer.step()
        said = model(x)[:, 0].detach() > 0
        return float(said.float().mean()), float(2 * (said * y[:, 0]).sum() / (said.sum() + 40))

    ones, before = learn(AbstractionLoss(TOY, 0.0), 4)
    assert ones < 0.1
    ones, after = learn(SoftF1Loss(TOY), 8)
    assert after > before + 0.05
    assert 0.05 < ones < 0.2


@pytest.mark.parametrize("kind", [SoftF1Loss, LovaszLoss])
def test_what_is_not_given_has_neither_loss_nor_gradient(kind):
    targets = targets_of(random_labels(TOY, 24))
    holes, gone = holes_in(targets)
    drawn = torch.randn(24, TOY.width, generator=torch.Generator().manual_seed(0)).requires_grad_()
    hard = torch.zeros(24, dtype=torch.bool)
    loss = kind(TOY)(drawn, holes, hard)
    loss.backward()
    assert torch.isfinite(loss)
    assert (drawn.grad[gone] == 0).all() and (drawn.grad[~gone] != 0).float().mean() > 0.5
    moved = torch.where(gone, drawn.detach() + 3, drawn.detach())
    assert torch.equal(kind(TOY)(moved, holes, hard), loss)


def test_soft_counts_are_those_of_the_labelled_cases_over_all_batches():
    targets = targets_of(random_labels(TOY, 24))
    holes, gone = holes_in(targets)
    logits = torch.randn(24, TOY.width, generator=torch.Generator().manual_seed(0))
    loss = SoftF1Loss(TOY)
    for rows in torch.arange(24).split(4):
        loss(logits[rows], holes[rows])
    for n, column in enumerate(TOY.binary_index):
        p, y = logits[:, column].sigmoid()[~gone[:, column]], targets[:, column][~gone[:, column]]
        torch.testing.assert_close(loss.running[:, n] * 24, torch.stack([(p * y).sum(), p.sum(), y.sum()]))


def test_a_negative_horizon_is_refused():
    with pytest.raises(ValueError, match="horizon is -1"):
        SoftF1Loss(TOY, horizon=-1)


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


def test_the_hinge_of_some_cases_is_that_of_these_alone():
    has, _ = drawn(n=30)
    scores = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    gone = torch.rand(30, 3, generator=torch.Generator().manual_seed(1)) < 0.4
    gone[:, 2] = True
    found = lovasz_hinge(scores, has.masked_fill(gone, torch.nan))
    for n in range(2):
        alone = lovasz_hinge(*(table[~gone[:, n], n : n + 1] for table in (scores, has)))
        torch.testing.assert_close(found[n : n + 1], alone)
    assert found[2] == 0


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
