"""Pretrained models by name: a local folder, a hub id, or a model that pip installed.

A name in YAML goes through `resolve` once; everything else takes the `Backbone`. The
network is used only for a model that the user named by its hub id.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from importlib import util
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES
from transformers.utils import logging

from narrutils.data.files import digest, intact
from narrutils.errors import InputError, did_you_mean
from narrutils.models import attention
from narrutils.models.hub import cached_commit, is_hub_id, safetensors_commit
from narrutils.models.packaged import PACKAGED, folder_of
from narrutils.paths import locate


@dataclass(frozen=True)
class Backbone:
    """One pretrained model and where it lies.

    `path_or_id` is a folder (packaged, local) or a hub id, which `revision`, a commit,
    pins. `stands_in_for` names the model of the full recipe whose place it takes in
    the demo, empty where it stands for itself.
    """

    name: str
    kind: str
    path_or_id: str
    stands_in_for: str = ""
    licence: str = "as stated by its own files"
    revision: str | None = None

    @property
    def source(self) -> dict:
        """What `from_pretrained` needs to find it, and no other place to look."""
        where = {"pretrained_model_name_or_path": self.path_or_id}
        if self.kind == "hub":
            return where | {"revision": self.revision}
        return where | {"local_files_only": True}

    @property
    def fingerprint(self) -> str:
        """What tells these weights from others of the same name: a commit, or their content."""
        if self.kind == "hub":
            return str(self.revision)
        if self.kind == "packaged":
            return Path(self.path_or_id).name  # the SHA-256 of its source is in the name
        return _content(tuple((p, p.stat().st_mtime_ns) for p in sorted(Path(self.path_or_id).glob("*.*"))))


@cache
def _content(files: tuple[tuple[Path, int], ...]) -> str:
    """Digest of a model folder's files; the times only tell when to read them again."""
    return digest(*(path for path, _ in files if path.suffix in (".json", ".safetensors")))


def resolve(name: str, weights: bool = True) -> Backbone:
    """Find the model that `name` means; the first use of a packaged one makes it ready.

    Args:
        name: a packaged name (`PACKAGED`), a folder with `config.json` and safetensors
            weights, or a hub id `owner/model`, optionally `owner/model@revision`.
        weights: false where only the tokenizer is wanted, which a GGUF package gives in seconds.

    Raises:
        InputError: nothing of that name, weights that are not safetensors, a package
            that is not installed, or a hub model that cannot be reached.
    """
    if name in PACKAGED:
        return _packaged(name, weights)
    folder = locate(name)
    if folder.is_dir():
        return Backbone(name, "local", str(_checked(folder)))
    if name.startswith((".", "/", "~")):
        raise InputError(f"{name}: no such model folder")
    if is_hub_id(name):
        return _hub(name)
    mend = did_you_mean(name, PACKAGED, f"packaged are {', '.join(PACKAGED)}", cutoff=0.3)
    raise InputError(f"{name}: no model of this name; {mend} (or give a folder, or a hub id owner/model)")


def _checked(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: a model folder holds config.json, which is missing")
    if not list(folder.glob("*.safetensors")):
        raise InputError(f"{folder}: no safetensors weights (pickled weights are not read)")
    return folder


def _packaged(name: str, weights: bool) -> Backbone:
    package = PACKAGED[name]
    return Backbone(name, "packaged", str(folder_of(name, weights)), package.stands_in_for, package.licence)


def _hub(name: str) -> Backbone:
    """A hub model pinned to a commit: the cached one, else the one that the hub names."""
    from huggingface_hub import HfApi, constants

    identity, _, revision = name.partition("@")
    cached = cached_commit(identity, revision)
    if cached:
        return Backbone(name, "hub", identity, revision=cached)
    if constants.HF_HUB_OFFLINE:
        raise InputError(f"{identity}: not in the local hub cache, and HF_HUB_OFFLINE forbids fetching it")
    try:
        commit = safetensors_commit(HfApi(), identity, revision)
    except InputError:
        raise
    except Exception as error:  # the hub's client raises its own, httpx's and OSError; all end here
        raise InputError(f"{identity}: the model hub gave no such model ({type(error).__name__})") from None
    return Backbone(name, "hub", identity, revision=commit)


def config_of(backbone: Backbone) -> PreTrainedConfig:
    """The model's config; its weights are not read."""
    with _readable(backbone):
        return AutoConfig.from_pretrained(**backbone.source)


def _readable(backbone: Backbone) -> AbstractContextManager:
    """Around the loading of a model's files; what the hub says of its own is left as it is."""
    mend = "it is damaged, or of a kind that this transformers does not know; get it again"
    if backbone.kind == "packaged":
        mend = "it is damaged; remove it, and its next use makes it again"
    return nullcontext() if backbone.kind == "hub" else intact(backbone.path_or_id, mend)


def load_tokenizer(backbone: Backbone) -> PreTrainedTokenizerBase:
    """The tokenizer, padding on the right with a token that is never part of a text.

    Padding with EOS would hide the real EOS, whose hidden state is pooled. Where the
    pad token is missing or is EOS, another special token takes its place, by
    preference one named for padding, then an unused or unknown one.
    """
    with _readable(backbone):
        tokenizer = read_tokenizer(**backbone.source)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.pad_token = _spare_token(tokenizer, backbone.name)
    return tokenizer


def read_tokenizer(pretrained_model_name_or_path: str | Path, **where) -> PreTrainedTokenizerBase:
    """As it lies there, in nearly half of the time that transformers would take; arguments are its own."""
    with uncopied():
        return AutoTokenizer.from_pretrained(pretrained_model_name_or_path, **where)


#: One thread at a time, since `uncopied` changes a class.
_LOADING = threading.Lock()


@contextmanager
def uncopied() -> Iterator[None]:
    """transformers copies what it has just read and nobody else has: nearly half of its time for Gemma's."""
    with _LOADING:
        Tokenizer.__deepcopy__ = lambda tokenizer, memo: tokenizer
        try:
            yield
        finally:
            del Tokenizer.__deepcopy__


def _spare_token(tokenizer: PreTrainedTokenizerBase, name: str) -> str:
    """A special token to pad with: neither BOS nor EOS, nor one that a chat template writes."""
    used = {tokenizer.bos_token, tokenizer.eos_token}
    added = [t.content for t in tokenizer.added_tokens_decoder.values() if t.special]
    template = str(tokenizer.chat_template or "")
    spare = [t for t in dict.fromkeys(added) if t not in used and t not in template]
    for word in ("pad", "reserved", "unused", "empty", "unk", "endoftext"):
        found = next((t for t in spare if word in t), None)
        if found is not None:
            return found
    raise InputError(f"{name}: its tokenizer has no token to pad with; give its folder a pad_token")


def load_body(
    backbone: Backbone,
    dtype: torch.dtype | str,
    layers: int | None = None,
    quantization: str | None = None,
    causal: bool = False,
) -> PreTrainedModel:
    """The bare transformer, whose output is `last_hidden_state` [batch, tokens, hidden].

    Args:
        dtype: of the weights that are not quantised; `auto` leaves them as the files have them.
        layers: keep only the first so many layers.
        quantization: `8bit` loads with bitsandbytes, which needs a CUDA GPU.
        causal: with the language-model head, for generation.

    Raises:
        InputError: more layers than the model has, or 8 bit where it cannot run.
    """
    kind = AutoModelForCausalLM if causal else AutoModel
    eight_bit = {} if quantization is None else {"quantization_config": _eight_bit()}
    model = _load(kind, backbone, dtype=dtype, **eight_bit)
    if not causal and getattr(model, "pooler", None) is not None:
        model.pooler = None  # unused here: it would only be trained on nothing and stored
    return model if layers is None else keep_layers(model, layers)


def load_causal(backbone: Backbone, dtype: torch.dtype) -> PreTrainedModel:
    """The model with its language-model head, for generation."""
    return load_body(backbone, dtype, causal=True)


def load_masked(backbone: Backbone, dtype: torch.dtype, layers: int | None = None) -> PreTrainedModel:
    """An encoder with its masked-language head, a fresh one where its files hold none."""
    model = _load(AutoModelForMaskedLM, backbone, dtype=dtype)
    return model if layers is None else keep_layers(model, layers)


def _load(kind: type, backbone: Backbone, **options) -> PreTrainedModel:
    """The model as its files give it; weights that they lack start at random, which is said in one line."""
    config = config_of(backbone)
    with _readable(backbone), quiet():
        model, found = kind.from_pretrained(
            **backbone.source,
            use_safetensors=True,
            output_loading_info=True,
            **attention.options(config),
            **options,
        )
    # A pooler is never used here.
    fresh = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if fresh:
        print(f"{backbone.name}: {len(fresh)} weights start at random, such as {fresh[0]}", flush=True)
    return attention.suit_cpu(model) if is_encoder(model.config) else model


@contextmanager
def quiet() -> Iterator[None]:
    """Without what transformers shows of a load: its bars, its tables of weights missing or left over."""
    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _eight_bit() -> BitsAndBytesConfig:
    if not torch.cuda.is_available():
        raise InputError("quantization 8bit needs a CUDA GPU, and there is none; leave quantization out")
    if util.find_spec("bitsandbytes") is None:
        raise InputError("quantization 8bit needs bitsandbytes; pip install bitsandbytes")
    return BitsAndBytesConfig(load_in_8bit=True)


def keep_layers(model: PreTrainedModel, layers: int) -> PreTrainedModel:
    """Cut the model to its first `layers` layers, its config with it, in place."""
    total = model.config.get_text_config().num_hidden_layers
    if not 1 <= layers <= total:
        raise InputError(f"layers is {layers}; this model has 1..{total}")
    for owner, name, found in layer_lists(model):
        setattr(owner, name, found[:layers])
    vars(model.config.get_text_config()).update(_of_layers(model.config, slice(layers)))
    return model


def hidden_size(body: nn.Module) -> int:
    """Width of the states that a body gives."""
    return body.config.get_text_config().hidden_size


def layer_lists(model: nn.Module) -> list[tuple[nn.Module, str, nn.ModuleList]]:
    """Every list of the model's layers: its owner, its name there, and the list."""
    total = model.config.get_text_config().num_hidden_layers
    children = ((module, *child) for module in model.modules() for child in module.named_children())
    return [place for place in children if isinstance(place[2], nn.ModuleList) and len(place[2]) == total]


@contextmanager
def cut_config(config: PreTrainedConfig, first: int) -> Iterator[None]:
    """A config that speaks of the layers from `first` on, while the block runs."""
    text = config.get_text_config()
    changed = _of_layers(config, slice(first, None))
    before = {name: getattr(text, name) for name in changed}
    vars(text).update(changed)
    try:
        yield
    finally:
        vars(text).update(before)


def _of_layers(config: PreTrainedConfig, kept: slice) -> dict[str, object]:
    """The entries of a config that hold one value a layer, and the count, for some of the layers."""
    text = config.get_text_config()
    total = text.num_hidden_layers
    lists = {
        key: value for key, value in vars(text).items() if isinstance(value, list) and len(value) == total
    }
    # `layer_types` and its like are checked against the count.
    return {key: value[kept] for key, value in lists.items()} | {"num_hidden_layers": len(range(total)[kept])}


def is_encoder(config: PreTrainedConfig) -> bool:
    """Whether every token sees the whole text, so that pooling is a mean; else the last token's.

    True for BERT, DeBERTa, RoBERTa, Longformer, BigBird and their like; false for
    causal models, whose last token alone has read everything.
    """
    text = config.get_text_config()
    if getattr(text, "use_bidirectional_attention", False):
        return True
    return text.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(text, "is_decoder", False)


def stand_in(role: str, name: str) -> dict[str, str]:
    """What a report says of a model: its role here, its name, what it stands in for, its licence."""
    backbone = resolve(name)
    return {
        "used for": role,
        "model": backbone.name,
        "stands in for": backbone.stands_in_for or "itself",
        "licence": backbone.licence,
    }
