"""Losses that stand in for F1, in place of cross-entropy: soft counts, and the Lovász hinge."""

import torch
from torch import Tensor, nn

from narrutils.data.schema import Schema
from narrutils.training.losses import AbstractionLoss


class SoftF1Loss(nn.Module):
    """The metric as a loss: 1 − the soft average F1, with counts that outlive the batch.

    Per binary variable the counts are expectations: if codes were drawn from the
    probabilities p and labels from the targets y, then TP = Σ p·y, and
    2TP + FP + FN = Σ p + Σ y, whether y is hard or soft. A categorical variable counts
    its expected accuracy, the mean over cases of Σ p·y.

    F1 is no mean over cases, so a batch's own F1 is not an estimate of the metric: in a
    batch without a positive it is 0 whatever is said, and nothing teaches the model to
    say 0. For a rare variable that is most batches. So running counts stand in for
    the batch's: the value is that of the last cases seen, the gradient that of the batch,

        d F1 = Σ (2y − F1) · dp / (n · (mean p + mean y)),

    in which every case counts, and whose mean is the gradient of the metric itself. What has no
    label is in none of the counts.

    It says why the loss is for fine-tuning. Where p does not depend on the case, the mean of
    2y − F1 is positive at every level of p: to say 1 always is the best that an uninformed
    model can do, its sigmoid saturates, and it stays there. Once cross-entropy has taught it
    to tell cases apart, F1 is high, and the cases that lack the variable weigh as much as
    those that have it.

    Args:
        schema: gives the columns of each variable.
        horizon: cases that the running counts reach back over. Until so many were
            seen they are plain means, from then on they decay exponentially. 0 counts
            the batch alone.
    """

    def __init__(self, schema: Schema, horizon: int = 512):
        super().__init__()
        if horizon < 0:
            raise ValueError(f"horizon is {horizon}; it must be 0 or more")
        self.horizon = horizon
        self.binary = torch.as_tensor(schema.binary_index)
        self.categorical = [schema.slices[v.name] for v in schema.categorical]
        self.variables = len(schema.variables)
        self.seen, self.running = 0, torch.zeros(3, len(schema.binary))

    def forward(self, logits: Tensor, targets: Tensor, soft: Tensor | None = None) -> Tensor:
        """Scalar loss in [0, 1].

        Args:
            logits: `[batch, schema.width]`, any real numbers.
            targets: `[batch, schema.width]`, in [0, 1], hard or soft alike; NaN without a label.
            soft: not needed; the losses share one signature.
        """
        logits, targets = logits.float(), targets.float()
        binary = self.binary.to(logits.device)
        given, known = ~targets.isnan(), targets.nan_to_num()
        said, true = logits[:, binary].sigmoid(), known[:, binary]
        counts = torch.stack([said * true, said, true]).where(given[:, binary], 0)
        both, said, true = self._remembered(counts.mean(1), len(logits))
        # One imagined agreement in a thousand cases: a variable that never occurs is then best never said.
        f1 = (2 * both + 1e-3) / (said + true + 1e-3)
        right = sum((logits[:, s].softmax(1) * known[:, s]).sum(1).mean() for s in self.categorical)
        return 1 - (f1.sum() + right) / self.variables

    def _remembered(self, means: Tensor, cases: int) -> Tensor:
        """The running means, brought up to date by a batch's and with the gradient of the batch's."""
        self.seen = min(self.seen + cases, max(self.horizon, cases))
        self.running = self.running.to(means.device).lerp(means.detach(), cases / self.seen)
        return means + (self.running - means).detach()


class LovaszLoss(nn.Module):
    """Symmetric Lovász hinge of each binary variable over the batch; cross-entropy of categorical ones.

    Berman, Rannen Triki and Blaschko 2018, "The Lovász-Softmax loss: a tractable surrogate
    for the optimization of the intersection-over-union measure in neural networks", have a
    convex stand-in for the Jaccard index J, and so for F1: F1 = 2J / (1 + J) rises with J.

    Symmetric: the mean of the hinge for having a variable and of that for lacking it.
    Its logits are margins: the probabilities that they give are sharper than the
    truth, and thresholds are to be searched for them anew.

    Args:
        schema: gives the columns of each variable.
        smoothing: of the categorical cross-entropy, as in `AbstractionLoss`.
    """

    def __init__(self, schema: Schema, smoothing: float = 0.1):
        super().__init__()
        self.plain = AbstractionLoss(schema, smoothing)

    def forward(self, logits: Tensor, targets: Tensor, soft: Tensor) -> Tensor:
        """Scalar loss, mean over variables; arguments as `AbstractionLoss.forward`.

        A soft binary target above one half counts as 1: the Jaccard index is of sets. A variable's
        hinge is that of its labelled cases, times their share of the batch.
        """
        logits, targets = logits.float(), targets.float()
        binary = self.plain.binary.to(logits.device)
        scores, y = logits[:, binary], targets[:, binary]
        has = (y > 0.5).float().where(~y.isnan(), torch.nan)
        hinges = lovasz_hinge(scores, has) + lovasz_hinge(-scores, 1 - has)
        hinge = (hinges * (~y.isnan()).float().mean(0)).sum() / 2
        others = sum(
            self.plain.cross_entropy(logits[:, s], targets[:, s], soft) for s in self.plain.categorical
        )
        return (hinge + others) / self.plain.variables


def lovasz_hinge(scores: Tensor, has: Tensor) -> Tensor:
    """Lovász extension of the Jaccard loss at the hinge errors, one number a variable.

    Args:
        scores: `[batch, n]`, any real numbers; above 0 is said to have the variable.
        has: `[batch, n]`, 0 or 1; NaN is left out.
    """
    given, has = ~has.isnan(), has.nan_to_num()
    # An error of 0 weighs nothing, and stands behind all that weigh something: their steps stay.
    errors = (1 - scores * (2 * has - 1)).where(given, 0)
    errors, order = errors.sort(dim=0, descending=True)
    return (errors.relu() * jaccard_steps(has.gather(0, order))).sum(0)


def jaccard_steps(has: Tensor) -> Tensor:
    """How much each further wrong case adds to the Jaccard loss, the cases taken in this order.

    Args:
        has: `[batch, n]`, 0 or 1, sorted by falling error.

    Returns:
        `[batch, n]`, non-negative; each column sums to 1.
    """
    positives = has.sum(0)
    intersection = positives - has.cumsum(0)
    union = positives + (1 - has).cumsum(0)
    losses = 1 - intersection / union
    return losses.diff(dim=0, prepend=torch.zeros_like(losses[:1]))
