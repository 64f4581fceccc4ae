"""Training the top, caching the bottom: the states that enter the first layer that learns.

What is frozen has no fold: the lower layers read a case once, and folds, rounds, nested
teachers and soft labels share what they gave. States can be turned back into text, so they
lie in the run folder, readable by their owner alone, and nowhere else.

A `cut` is the number of the first layer that learns. Where of that layer the feed-forward part alone
learns, as adapters may, its attention is frozen too, and the cut is half a layer higher: 13.5 is between
attention and feed-forward part of layer 13. Where that part's last product alone learns, the cut is before
it, 13.75: what enters the product stands beside the states that its outcome is added to.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from narrutils.data.files import atomic, digest, intact, read_tensors, write_tensors
from narrutils.models.backbones import cut_config, hidden_size, layer_lists

#: Names of a layer's two parts, in families whose second part is given the sum of the states and the first.
ATTENTION, FEED_FORWARD = "self_attn", "mlp"
#: The last product of the second, and the norm that some families apply to what it gives.
PRODUCT, NORM = "down_proj", "post_feedforward_layernorm"
HALF, LAST = 0.5, 0.75  # of a layer, below a cut that is none between layers
IN_TURN = ("gemma2", "gemma3_text", "llama", "mistral", "qwen2")
#: Bytes of states that are held before they are written.
SHARD = 64 * 2**20


class _Reached(Exception):
    """The first layer that learns was reached; its argument is the states that enter it."""


class _Silent(nn.Module):
    """In the place of a layer's attention or feed-forward part: it adds nothing to the states."""

    def __init__(self, attention: bool):
        super().__init__()
        self.attention = attention

    def forward(self, *given: Tensor, **named: Tensor) -> Tensor | tuple[Tensor, None]:
        nothing = torch.zeros_like(given[0] if given else named["hidden_states"])
        return (nothing, None) if self.attention else nothing


class _Told(nn.Module):
    """In the place of a layer's last product: it keeps what it is given, and adds nothing to the states."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def forward(self, given: Tensor) -> Tensor:
        self.given = given
        return given.new_zeros(*given.shape[:-1], self.width)


class _Last(nn.Module):
    """In the place of a layer: what is left of it from its last product on."""

    def __init__(self, layer: nn.Module, width: int):
        super().__init__()
        self.product = getattr(getattr(layer, FEED_FORWARD), PRODUCT)
        self.norm = getattr(layer, NORM, nn.Identity())
        self.width = width

    def forward(self, given: Tensor, *_, **__) -> Tensor:
        states, entering = given[..., : self.width], given[..., self.width :]
        return states + self.norm(self.product(entering))


@contextmanager
def _in_place_of(owner: nn.Module, part: str, other: nn.Module) -> Iterator[None]:
    """The module with another part for its own."""
    own = getattr(owner, part)
    setattr(owner, part, other)
    try:
        yield
    finally:
        setattr(owner, part, own)


def _without(layer: nn.Module, part: str) -> AbstractContextManager:
    """The layer as if it had no such part: what it gives is what came from the other one."""
    return _in_place_of(layer, part, _Silent(attention=part == ATTENTION))


class _Given(nn.Module):
    """In the place of an encoder's embeddings: what it is given is what enters the layers."""

    def forward(self, *_, inputs_embeds: Tensor, **__) -> Tensor:
        return inputs_embeds


def raised(body: nn.Module, cut: int) -> float:
    """The cut of a body with adapters in the layers from `cut` on: as high in that layer as they leave it."""
    ((_, _, layers),) = layer_lists(body)
    adapted = [name for name, _ in layers[cut].named_parameters() if "lora_" in name]
    if not (cut and adapted and body.config.get_text_config().model_type in IN_TURN):
        return cut
    for part, higher in {f"{FEED_FORWARD}.{PRODUCT}.": LAST, f"{FEED_FORWARD}.": HALF}.items():
        if all(name.startswith(part) for name in adapted):
            return cut + higher
    return cut


def states_below(
    body: nn.Module, cut: float, input_ids: Tensor, attention_mask: Tensor, **_: Tensor
) -> Tensor:
    """The states at a cut, `[batch, tokens, hidden]`; the layers above are not computed.

    Before a layer's last product `[batch, tokens, hidden + intermediate]`.
    """

    def before(layer: nn.Module, args: tuple, kwargs: dict) -> None:
        raise _Reached(args[0] if args else kwargs["hidden_states"])

    def after(layer: nn.Module, args: tuple, given: Tensor | tuple) -> None:
        raise _Reached(given[0] if isinstance(given, tuple) else given)

    ((_, _, layers),) = layer_lists(body)
    layer, told = layers[int(cut)], _Told(hidden_size(body))
    if cut % 1 == LAST:
        hook = layer.register_forward_hook(after)
        part = _in_place_of(getattr(layer, FEED_FORWARD), PRODUCT, told)
    elif cut % 1 == HALF:
        hook, part = layer.register_forward_hook(after), _without(layer, FEED_FORWARD)
    else:
        hook, part = layer.register_forward_pre_hook(before, with_kwargs=True), nullcontext()
    try:
        with part:
            body(input_ids=input_ids, attention_mask=attention_mask)
    except _Reached as reached:
        states = reached.args[0]
        return torch.cat([states, told.given], dim=-1) if cut % 1 == LAST else states
    finally:
        hook.remove()
    raise RuntimeError(f"layer {cut} was never reached")


@contextmanager
def above(body: nn.Module, cut: float) -> Iterator[nn.Module]:
    """The body as its layers from a cut on: it takes the states there as `inputs_embeds`."""
    ((owner, name, layers),) = layer_lists(body)
    inner, embeddings = _embeddings(body)
    first, left = int(cut), layers[int(cut) :]
    if cut % 1 == LAST:
        left = nn.ModuleList([_Last(layers[first], hidden_size(body)), *left[1:]])
    part = _without(layers[first], ATTENTION) if cut % 1 == HALF else nullcontext()
    with cut_config(body.config, first=first), part:
        setattr(owner, name, left)
        if embeddings is not None:
            inner.embeddings = _Given()
        try:
            yield body
        finally:
            setattr(owner, name, layers)
            if embeddings is not None:
                inner.embeddings = embeddings


def _embeddings(body: nn.Module) -> tuple[nn.Module, nn.Module | None]:
    """The module that holds an encoder's embeddings, and these; None where it takes ready ones by itself."""
    inner = body.get_base_model() if hasattr(body, "get_base_model") else body
    return inner, getattr(inner, "embeddings", None)


def modules_below(body: nn.Module, cut: float) -> list[nn.Module]:
    """Every module that a case passes before the cut."""
    ((_, _, layers),) = layer_lists(body)
    _, embeddings = _embeddings(body)
    parts = [*layers[: int(cut)], *([] if embeddings is None else [embeddings])]
    parts += _parts_below(layers[int(cut)], cut)
    return [module for part in parts for module in part.modules()]


def _parts_below(layer: nn.Module, cut: float) -> list[nn.Module]:
    """What of the layer that a cut goes through lies below it."""
    attention = [getattr(layer, ATTENTION)] if cut % 1 else []
    inner = getattr(layer, FEED_FORWARD).named_children() if cut % 1 == LAST else []
    return [*attention, *(module for name, module in inner if name != PRODUCT)]


def frozen_below(body: nn.Module, cut: float) -> list[int]:
    """Identities of all weights but those of the layers from the cut on, in the order of the body."""
    learning = set()
    for _, _, layers in layer_lists(body):
        learning |= {id(weight) for weight in layers[int(cut) :].parameters()}
        for part in _parts_below(layers[int(cut)], cut):
            learning -= {id(weight) for weight in part.parameters()}
    return [id(weight) for weight in body.parameters() if id(weight) not in learning]


def splits_cleanly(body: nn.Module, cut: float, ids: Sequence[int]) -> bool:
    """Whether both halves of the body give what the whole gives of a case, as not every kind does."""
    batch = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
    batch = {name: values.to(body.device) for name, values in batch.items()}
    training = body.training
    body.eval()
    try:
        with torch.inference_mode():
            whole = body(**batch).last_hidden_state
            states = states_below(body, cut, **batch)
            with above(body, cut):
                halves = body(inputs_embeds=states, attention_mask=batch["attention_mask"]).last_hidden_state
    except (RuntimeError, TypeError, ValueError, AttributeError, KeyError):
        return False
    finally:
        body.train(training)
    return torch.allclose(whole, halves, rtol=1e-3, atol=1e-3 * float(whole.abs().max()))


class LowerStates:
    """States of cases on disk, by what was read: a case's token ids, under a key of all else.

    Args:
        folder: of the run; it is made for its owner alone.
        key: of the weights, how many layers lie below, and how they compute.
    """

    def __init__(self, folder: Path, key: str):
        self.folder = folder / key

    def of(self, case: Sequence[int]) -> Tensor:
        """States of one case, `[tokens, hidden]`.

        Raises:
            KeyError: nobody has read it yet.
        """
        name = name_of(case)
        if name not in self._places:
            self.__dict__.pop("_places")  # another process may have written meanwhile
        return self._places[name].get_tensor(name)

    def lacks(self, case: Sequence[int]) -> bool:
        """Whether nobody has read the case yet."""
        return name_of(case) not in self._places

    def add(self, read: Iterable[tuple[Sequence[int], Tensor]]) -> None:
        """Keep the states `[tokens, hidden]` of cases, in files of about `SHARD` bytes."""
        held: dict[str, Tensor] = {}
        for case, states in read:
            held[name_of(case)] = states.contiguous()
            if sum(s.nbytes for s in held.values()) >= SHARD:
                self._write(held)
                held = {}
        if held:
            self._write(held)

    def once(self, key: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """What `make` gives of these states, kept beside them under a content key of how it is made."""
        file = self.folder / "made" / f"{key}.safetensors"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_tensors(file, make())
        return read_tensors(file)

    def _write(self, held: dict[str, Tensor]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.parent.chmod(0o700)
        with atomic(self.folder / f"{digest(sorted(held))}.safetensors") as part:
            save_file(held, part)
            part.chmod(0o600)
        self.__dict__.pop("_places", None)

    @cached_property
    def _places(self) -> dict[str, object]:
        """Name of a case -> the open file that holds it."""
        opened = [_opened(path) for path in sorted(self.folder.glob("*.safetensors"))]
        return {name: file for file in opened for name in file.keys()}  # noqa: SIM118


def _opened(path: Path):
    with intact(path):
        return safe_open(path, "pt")


def name_of(case: Sequence[int]) -> str:
    """A case's name: a digest of its token ids."""
    return hashlib.sha256(np.asarray(case, dtype=np.int64).tobytes()).hexdigest()[:32]
