"""Lovász hinge: a convex stand-in for the Jaccard index, and so for F1, of each variable.

Berman, Rannen Triki and Blaschko 2018, "The Lovász-Softmax loss: a tractable surrogate
for the optimization of the intersection-over-union measure in neural networks".
F1 = 2J / (1 + J) rises with the Jaccard index J, so both are best at the same codes.
"""

import torch
from torch import Tensor, nn

from narrutils.data.schema import Schema
from narrutils.training.losses import AbstractionLoss


class LovaszLoss(nn.Module):
    """Symmetric Lovász hinge of each binary variable over the batch; cross-entropy of categorical ones.

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

        A soft binary target above one half counts as 1: the Jaccard index is of sets.
        """
        logits, targets = logits.float(), targets.float()
        binary = self.plain.binary.to(logits.device)
        scores, has = logits[:, binary], (targets[:, binary] > 0.5).float()
        hinge = (lovasz_hinge(scores, has) + lovasz_hinge(-scores, 1 - has)).sum() / 2
        others = sum(
            self.plain.cross_entropy(logits[:, s], targets[:, s], soft) for s in self.plain.categorical
        )
        return (hinge + others) / self.plain.variables


def lovasz_hinge(scores: Tensor, has: Tensor) -> Tensor:
    """Lovász extension of the Jaccard loss at the hinge errors, one number a variable.

    Args:
        scores: `[batch, n]`, any real numbers; above 0 is said to have the variable.
        has: `[batch, n]`, 0 or 1.
    """
    errors, order = (1 - scores * (2 * has - 1)).sort(dim=0, descending=True)
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
