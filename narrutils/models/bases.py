"""Frozen bases: how they are named, stored and loaded, and how many models stand on one.

Models that are loaded, or trained, with the same `Shared` hold one base and one tokenizer between them.
Each has a tree of modules of its own over the tensors of the base, so none sees what another puts into it.
"""

import copy
import re
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from narrutils.data.files import check_contents, digest, intact, read_json, write_json
from narrutils.data.store import base_beside
from narrutils.models.backbones import config_of, load_body, quiet, read_tokenizer, resolve
from narrutils.models.precision import weights_dtype
from narrutils.models.settings import Body

#: What several models stand on, by what it was read from.
Shared = dict[Hashable, object]


def base_name(body: Body) -> str:
    """Folder name of a frozen base: readable, and another for other weights, layers or precision."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", body.backbone.rstrip("/").split("/")[-1])
    weights = (body.backbone, body.layers, body.quantization, body.precision)
    return f"{name}-{digest(weights)[:6]}"


def save_base(body: Body, folder: Path) -> None:
    """The frozen base that models share; of a hub model only its id and revision."""
    backbone = resolve(body.backbone)
    if backbone.kind == "hub":
        write_json(folder / "hub.json", {"id": backbone.path_or_id, "revision": backbone.revision})
    else:
        with quiet():
            load(body, trained=False, stored=True).save_pretrained(folder)


def load_base(folder: Path, body: Body, precision: str = "", shared: Shared | None = None) -> nn.Module:
    """The frozen base of the model in `folder`: the one that its run folder holds, if it does.

    Args:
        precision: to load it in; its own if empty.
        shared: where the base is kept for the next model, or is already.
    """
    base = base_beside(folder, base_name(body))
    check_contents(base)
    body = replace(body, precision=precision or body.precision)
    if (base / "hub.json").exists():  # a bundle holds the hub's files beside it, uncut
        here = (base / "config.json").exists()
        hub = "{id}@{revision}".format(**read_json(base / "hub.json"))
        body = replace(body, backbone=str(base) if here else hub)
    elif (base / "config.json").exists():
        body = replace(body, backbone=str(base), layers=0)
    read = replace(body, pooling="", top_layers=0)  # neither changes what is loaded
    return once(shared, read, lambda: load(body, trained=False))


def training_base(body: Body, trained: bool, shared: Shared) -> nn.Module:
    """A backbone on whose twins one model after another is trained; see `load`.

    One of which weights start at random is loaded each time: they follow torch's seed.
    """
    read = replace(body, pooling="", top_layers=0), trained
    if read in shared:
        return shared[read]
    before = torch.get_rng_state()
    base = load(body, trained)
    if torch.equal(before, torch.get_rng_state()):
        shared[read] = base
    return base


def twin(base: nn.Module, own: Iterable[nn.Module] = ()) -> nn.Module:
    """A body of its own over the tensors of a base; only the modules in `own` are copied whole.

    What has tensors and no module within it (a linear layer, a norm) is the base's own: quantised ones
    keep more than tensors. Adapters take its place in the twin alone. Dropout, which two twins may
    have on and off, is copied.
    """
    copied = {module for part in own for module in part.modules()}
    kept = [module for module in base.modules() if module not in copied]
    tensors = {m: (*m.parameters(recurse=False), *m.buffers(recurse=False)) for m in kept}
    leaves = [module for module in kept if tensors[module] and not any(module.children())]
    return copy.deepcopy(base, {id(part): part for part in (*leaves, *sum(tensors.values(), ()))})


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """The files that `stored_tokenizer` reads, into a model's folder."""
    for name, written in _files(tokenizer).items():
        path = folder / "tokenizer" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written)


@lru_cache(maxsize=2)
def _files(tokenizer: PreTrainedTokenizerBase) -> dict[Path, bytes]:
    """What a tokenizer writes, by its place. Gemma's takes a second, for every model of a process."""
    with TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        return {path.relative_to(folder): path.read_bytes() for path in files}


def stored_tokenizer(folder: Path, shared: Shared | None = None):
    """The tokenizer that was stored with a model; one for all models that stored the same files.

    Raises:
        InputError: it is damaged.
    """
    folder = folder / "tokenizer"
    with intact(folder):
        read = digest(*(part for path in sorted(folder.iterdir()) for part in (path.name, path)))
        return once(shared, read, lambda: read_tokenizer(folder, local_files_only=True))


def once(shared: Shared | None, key: Hashable, make: Callable[[], object]):
    """What was made under this key, now or before."""
    if shared is None:
        return make()
    if key not in shared:
        shared[key] = make()
    return shared[key]


def load(body: Body, trained: bool, stored: bool = False) -> nn.Module:
    """A bare backbone, as a body says.

    Args:
        trained: whether it learns as a whole, in float32; else it is frozen, in the body's precision.
        stored: whether it is loaded only to be stored.
    """
    backbone = resolve(body.backbone)
    dtype = torch.float32 if trained else weights_dtype(body.precision, config_of(backbone))
    if stored and dtype is torch.float32:
        dtype = "auto"  # as its files have it: often 16 bits, which give the same float32 again
    model = load_body(backbone, dtype, layers=body.layers or None, quantization=body.quantization or None)
    model.config.use_cache = False  # keys and values of a text that is read once are of no further use
    return set_dropout(model, body.dropout)


def set_dropout(model: nn.Module, dropout: float | None) -> nn.Module:
    """The model with this dropout everywhere in it, in place; None leaves its own."""
    for module in model.modules() if dropout is not None else ():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    return model
