"""Stored models of a run folder, of either kind, read back one at a time or several over one base.

What a folder holds decides how it is read. torch is imported for neural models alone, not for
exported ones.
"""

import gc
import sys
from collections.abc import Iterable
from pathlib import Path

from narrutils.data.files import check_contents, read_json
from narrutils.data.schema import Schema
from narrutils.errors import InputError
from narrutils.models.learner import Model

#: Only an exported model has it; as `models.exported.reading` calls it.
EXPORTED = "model.onnx"
#: The file that only a model of this kind has.
KINDS = {
    "linear": "vocabulary.json",
    "exported": EXPORTED,
    "frozen": "frozen.json",
    "neural": "classifier.json",
}


def kind(folder: Path) -> str:
    """What a stored model is, a key of `KINDS`; empty where the folder holds none."""
    return next((name for name, file in KINDS.items() if (folder / file).exists()), "")


def load_models(folders: Iterable[Path], schema: Schema, precision: str = "") -> list[Model]:
    """The models of some folders, as `load_model` loads them; those on one frozen base hold it together."""
    shared: dict = {}
    return [load_model(folder, schema, precision, shared) for folder in folders]


def words_known(folders: Iterable[Path]) -> frozenset[str] | None:
    """Single words in the vocabulary of the first of these stored models that reads words; None without."""
    for folder in folders:
        terms = folder / "terms.json"
        if terms.exists() and read_json(terms)["analyzer"] == "word":
            return frozenset(term for term in read_json(folder / "vocabulary.json") if " " not in term)
    return None


def load_model(folder: Path, schema: Schema, precision: str = "", shared: dict | None = None) -> Model:
    """The model of a folder such as `models/tfidf/fold0`, on the GPU where there is one.

    Args:
        precision: in which a neural one reads; the one that it was trained in if empty.
        shared: what neural ones loaded before it and can share, a `bases.Shared`.

    Raises:
        InputError: the folder holds no model, a damaged one, or one that this version cannot read.
    """
    check_contents(folder)
    try:
        what = kind(folder)
        if what == "linear":
            from narrutils.models.tfidf import TfidfModel

            return TfidfModel.load(folder, schema)
        if what == "exported":
            return _exported(folder, schema)
        if what == "frozen":
            from narrutils.models.frozen import FrozenModel

            return FrozenModel.load(folder, schema, precision, shared)
        if what == "neural":
            from narrutils.models.reading import NeuralModel

            return NeuralModel.load(folder, schema, precision, shared)
    except (TypeError, KeyError):  # settings are made of what the folder names
        raise InputError(f"{folder}: was stored by another version; run its notebooks again") from None
    raise InputError(f"{folder}: holds no stored model; run the notebooks of its run to the end")


def _exported(folder: Path, schema: Schema) -> Model:
    try:
        from narrutils.models.exported.reading import OnnxModel
    except ImportError as error:
        raise InputError(f"{folder}: is read with {error.name}, which is not installed") from None
    return OnnxModel.load(folder, schema)


def free() -> None:
    """Give back what a model that nobody holds any more took, on the GPU too."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
