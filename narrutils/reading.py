"""Reading with a trained classifier: texts to logits, padding never seen."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch

from narrutils.classifier import Classifier
from narrutils.inputs import Inputs
from narrutils.precision import autocast
from narrutils.recipe import Recipe

#: Rows that are sorted by length together.
BLOCK = 1024


@torch.inference_mode()
def read_logits(classifier: Classifier, tokenizer, texts: pd.DataFrame, recipe: Recipe) -> np.ndarray:
    """Logits `[len(texts), width]`, in the order of `texts`; batches hold cases of like length.

    Every `BLOCK` rows are batched by themselves, and in whatever order they stand: a file gives
    the same batches, and to the last bit the same logits, whole and in pieces of `BLOCK` rows, in
    one precision and with one number of threads.
    """
    if texts.empty:
        return np.zeros((0, classifier.head.out_features))
    classifier.eval()
    device = next(classifier.head.parameters()).device
    inputs = Inputs(texts, tokenizer, recipe)
    out = np.empty((len(texts), classifier.head.out_features), dtype=np.float32)
    size = recipe.batch_size * 2  # no gradients are kept, so twice the batch fits
    for rows in _batches(texts, inputs.lengths, size):
        batch = {k: v.to(device) for k, v in inputs.batch(rows).items()}
        with autocast(recipe.precision, classifier.body.config, device.type):
            out[rows] = classifier(**batch).float().cpu().numpy()
    return out


def _batches(texts: pd.DataFrame, lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Row numbers in batches of like length; among rows of one length the texts themselves decide."""
    told = list(texts.itertuples(index=False, name=None))
    for first in range(0, len(told), BLOCK):
        rows = range(first, min(first + BLOCK, len(told)))
        order = sorted(rows, key=lambda n: (lengths[n], told[n]))
        for start in range(0, len(order), size):
            yield order[start : start + size]
