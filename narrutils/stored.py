"""Stored models of a run folder, of either kind, read back one at a time.

What a folder holds decides how it is read. torch is imported for neural models alone.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from narrutils.crossfit import Model
from narrutils.errors import InputError
from narrutils.files import read_json
from narrutils.schema import Schema


def load_model(folder: Path, schema: Schema, precision: str = "") -> Model:
    """The model of a folder such as `models/tfidf/fold0`, on the GPU where there is one.

    Args:
        precision: in which a neural one reads; the one that it was trained in if empty.

    Raises:
        InputError: the folder holds no model, or one that this version cannot read.
    """
    if (folder / "vocabulary.json").exists():
        from narrutils.baseline import TfidfModel

        return TfidfModel.load(folder, schema)
    if (folder / "frozen.json").exists():
        from narrutils.frozen import FrozenModel

        with _of_this_version(folder):
            return FrozenModel.load(folder, schema, precision)
    if (folder / "classifier.json").exists():
        return _load_neural(folder, schema, precision)
    raise InputError(f"{folder}: holds no stored model; run the notebooks of its run to the end")


@contextmanager
def _of_this_version(folder: Path) -> Iterator[None]:
    """Within, settings are made of what the folder names."""
    try:
        yield
    except TypeError:
        raise InputError(f"{folder}: was stored by another version; run its notebooks again") from None


def _load_neural(folder: Path, schema: Schema, precision: str) -> Model:
    """A classifier that reads as it did when it was trained: the same length and truncation."""
    import torch

    from narrutils.classifier import Body, Lora, load_classifier
    from narrutils.recipe import Recipe
    from narrutils.training import NeuralLearner, NeuralModel

    config = read_json(folder / "training.json")["config"]
    with _of_this_version(folder):
        parts = Body(**config["body"]), Lora(**config["lora"]), Recipe(**config["recipe"])
    learner = NeuralLearner(schema, *parts)
    classifier, tokenizer = load_classifier(folder, precision)
    classifier.to("cuda" if torch.cuda.is_available() else "cpu")
    reads = learner.varied(precision=precision) if precision else learner
    return NeuralModel(reads, classifier, tokenizer, [])


def free() -> None:
    """Give back what a model that nobody holds any more took, on the GPU too."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
