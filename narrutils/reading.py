"""Reading with a trained classifier: texts to logits, padding never seen."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from narrutils.classifier import Classifier
from narrutils.inputs import Inputs
from narrutils.lower import LowerStates, states_below
from narrutils.precision import autocast
from narrutils.recipe import Recipe

#: Rows that are sorted by length together.
BLOCK = 1024


@torch.inference_mode()
def read_logits(
    classifier: Classifier, tokenizer, texts: pd.DataFrame, recipe: Recipe, lower: LowerStates | None = None
) -> np.ndarray:
    """Logits `[len(texts), width]`, in the order of `texts`; batches hold cases of like length.

    Every `BLOCK` rows are batched by themselves, and in whatever order they stand: a file gives
    the same batches, and to the last bit the same logits, whole and in pieces of `BLOCK` rows, in
    one precision and with one number of threads.
    """
    return _table(classifier, classifier, classifier.head.out_features, tokenizer, texts, recipe, lower)


@torch.inference_mode()
def read_pooled(
    classifier: Classifier, tokenizer, texts: pd.DataFrame, recipe: Recipe, lower: LowerStates | None = None
) -> np.ndarray:
    """What the head reads of each case, `[len(texts), hidden]`, in the order of `texts`."""
    width = classifier.head.in_features
    return _table(classifier, classifier.pooled, width, tokenizer, texts, recipe, lower)


def _table(classifier, what, width: int, tokenizer, texts, recipe, lower) -> np.ndarray:
    """What `what` gives of each case, in the order of `texts`."""
    out = np.zeros((len(texts), width), dtype=np.float32)
    if texts.empty:
        return out
    if lower is not None:
        read_lower(classifier, tokenizer, texts, recipe, lower)
    for rows, found in read(classifier, what, Inputs(texts, tokenizer, recipe, lower), texts, recipe):
        out[rows] = found.float().cpu().numpy()
    return out


@torch.inference_mode()
def read_lower(
    classifier: Classifier, tokenizer, texts: pd.DataFrame, recipe: Recipe, lower: LowerStates
) -> None:
    """Let the frozen layers read the cases that nobody has read yet, in the batches of `read_logits`."""
    inputs = Inputs(texts, tokenizer, recipe)
    below = partial(states_below, classifier.body, classifier.cut)
    ahead = lambda rows: any(lower.lacks(*inputs.cases[n]) for n in rows)  # noqa: E731
    lower.add(
        (inputs.cases[n][0], states[: inputs.lengths[n]].cpu())
        for rows, batch in read(classifier, below, inputs, texts, recipe, ahead)
        for n, states in zip(rows, batch)
    )


def read(
    classifier, what, inputs: Inputs, texts: pd.DataFrame, recipe: Recipe, wanted=None
) -> Iterator[tuple]:
    """The rows of each batch, and what `what` gives of them; batches that are not `wanted` are left out."""
    classifier.eval()
    device = next(classifier.head.parameters()).device
    size = recipe.batch_size * 2  # no gradients are kept, so twice the batch fits
    for rows in _batches(texts, inputs.lengths, size):
        if wanted is not None and not wanted(rows):
            continue
        batch = {k: v.to(device) for k, v in inputs.batch(rows).items()}
        with autocast(recipe.precision, classifier.body.config, device.type):
            found = what(**batch)
        yield rows, found


def _batches(texts: pd.DataFrame, lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Row numbers in batches of like length; among rows of one length the texts themselves decide."""
    told = list(texts.itertuples(index=False, name=None))
    for first in range(0, len(told), BLOCK):
        rows = range(first, min(first + BLOCK, len(told)))
        order = sorted(rows, key=lambda n: (lengths[n], told[n]))
        for start in range(0, len(order), size):
            yield order[start : start + size]
