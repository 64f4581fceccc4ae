"""The loss of the method, on target rows that are probabilities.

For NVDRS: (21 · BCE + CE_location + CE_weapon) / 23; in general the mean over the
variables of a binary or a categorical cross-entropy. Hard and soft targets differ
in one thing only: soft categorical targets are not smoothed. A label that is not given,
NaN in the targets, has neither loss nor gradient; each one that is counts the same, since
sums are divided by all rows of a batch.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from narrutils.data.schema import Schema


class AbstractionLoss(nn.Module):
    """Mean cross-entropy over the variables of a schema.

    Args:
        schema: gives the columns of each variable.
        smoothing: s in [0, 0.5). A binary target y becomes y · (1 − 2s) + s, so 1
            becomes 1 − s; soft ones too. A hard categorical target of K classes
            becomes (1 − s) · y + s / K.
    """

    def __init__(self, schema: Schema, smoothing: float = 0.1):
        super().__init__()
        self.smoothing = smoothing
        self.binary = torch.as_tensor(schema.binary_index)
        self.categorical = [schema.slices[v.name] for v in schema.categorical]
        self.variables = len(schema.variables)

    def forward(self, logits: Tensor, targets: Tensor, soft: Tensor) -> Tensor:
        """Scalar loss.

        Args:
            logits: `[batch, schema.width]`, any real numbers.
            targets: `[batch, schema.width]`, in [0, 1]; NaN in all columns of a variable without a label.
            soft: `[batch]` of bool: whether the row's targets are a teacher's.
        """
        logits, targets = logits.float(), targets.float()
        binary = self.binary.to(logits.device)
        categorical = sum(self.cross_entropy(logits[:, s], targets[:, s], soft) for s in self.categorical)
        return (self.of_binary(logits[:, binary], targets[:, binary]) + categorical) / self.variables

    def of_binary(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Sum over the binary variables, each `[batch, n_binary]`, of the mean cross-entropy."""
        y = targets.nan_to_num() * (1 - 2 * self.smoothing) + self.smoothing
        losses = F.binary_cross_entropy_with_logits(logits, y, reduction="none")
        return losses.where(~targets.isnan(), 0).mean(0).sum()

    def cross_entropy(self, logits: Tensor, targets: Tensor, soft: Tensor) -> Tensor:
        """Mean cross-entropy of one categorical variable of K classes, each `[batch, K]`."""
        smoothing = self.smoothing * (~soft).float()[:, None]
        y = targets * (1 - smoothing) + smoothing / targets.shape[1]
        return -(y.nan_to_num() * logits.log_softmax(dim=1)).sum(1).mean()
