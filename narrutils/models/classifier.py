"""One classifier for both kinds of backbone: pooled states and a linear head.

Unless told otherwise, an encoder pools the mean of its real tokens, and a causal language
model its last real token, found from the attention mask, whatever the padding side. `parts`
pools the mean of each narrative beside that of the whole.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from narrutils.data.files import intact, read_json, read_tensors, write_json, write_tensors
from narrutils.data.settings import restored
from narrutils.errors import InputError
from narrutils.models.backbones import hidden_size, is_encoder, layer_lists, quiet
from narrutils.models.bases import (
    Shared,
    load,
    load_base,
    save_tokenizer,
    stored_tokenizer,
    training_base,
    twin,
)
from narrutils.models.lower import above, raised
from narrutils.models.settings import Body, Lora

#: The layers that learned, of a body whose others are a frozen base.
TOP = "top.safetensors"


@dataclass(frozen=True)
class Start:
    """Weights that a body starts from in place of its backbone's own, made when first needed.

    Args:
        key: content key of all that decides them.
        folder: makes them, if they are not there yet, and tells where they are.
    """

    key: str
    folder: Callable[[], Path]


def pool_mean(states: Tensor, mask: Tensor, parts: Tensor | None = None) -> Tensor:
    """Mean over real tokens: states `[batch, tokens, hidden]`, mask `[batch, tokens]`."""
    mask = mask.to(states.dtype)[..., None]
    return (states * mask).sum(1) / mask.sum(1)


def pool_last(states: Tensor, mask: Tensor, parts: Tensor | None = None) -> Tensor:
    """State of the last real token of each row, right- or left-padded."""
    positions = torch.arange(mask.shape[1], device=mask.device)
    last = (mask * positions).argmax(1)
    return states[torch.arange(len(states), device=states.device), last]


def pool_parts(states: Tensor, mask: Tensor, parts: Tensor) -> Tensor:
    """The mean over all real tokens and that of each narrative, side by side; zeros for an empty one.

    Args:
        parts: which tokens each narrative has, `[batch, narratives, tokens]`.
    """
    groups = torch.cat([mask[:, None], parts], 1).float()
    means = groups @ states.float() / groups.sum(-1, keepdim=True).clamp(min=1)
    return means.flatten(1)


POOLINGS = {"mean": pool_mean, "last": pool_last, "parts": pool_parts}


class Head(nn.Linear):
    """A linear layer over standardised states: `(states - centre) / spread`; at first 0 and 1."""

    def __init__(self, hidden: int, width: int):
        super().__init__(hidden, width)
        # Not persistent: FSDP wants every entry of a state dict to be divided between processes.
        self.register_buffer("centre", torch.zeros(hidden), persistent=False)
        self.register_buffer("spread", torch.ones(hidden), persistent=False)
        # Small: a causal model's states are large, and training is to start near the training rates.
        nn.init.normal_(self.weight, std=0.002)
        nn.init.zeros_(self.bias)

    def forward(self, states: Tensor) -> Tensor:
        return super().forward((states - self.centre) / self.spread)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All that it computes with, by name."""
        return dict(self.named_parameters()) | dict(self.named_buffers())

    @torch.no_grad()
    def take(self, tensors: dict[str, np.ndarray]) -> None:
        """Compute with these, by the names of `tensors`."""
        for name, value in tensors.items():
            self.tensors[name].copy_(torch.tensor(value))


class Classifier(nn.Module):
    """Backbone, pooling and a float32 linear head of `width` logits; what is below `cut` is frozen.

    Args:
        cut: see `models.lower`; 0 where all layers learn.
    """

    def __init__(
        self,
        body: nn.Module,
        width: int,
        pooling: str,
        dropout: float = 0.0,
        cut: float = 0,
        narratives: int = 1,
    ):
        super().__init__()
        self.body = body
        self.pooling = pooling or ("mean" if is_encoder(body.config) else "last")
        self.pool = POOLINGS[self.pooling]
        self.cut, self.narratives = cut, narratives
        self.dropout = nn.Dropout(dropout)
        means = 1 + narratives if self.pooling == "parts" else 1
        self.head = Head(hidden_size(body) * means, width)

    @property
    def _no_split_modules(self) -> list[str]:
        """The body's layers, by which FSDP divides a model; accelerate asks for them by this name."""
        return list(self.body._no_split_modules)

    def forward(self, told: Tensor | None = None, **batch: Tensor) -> Tensor:
        """Logits `[batch, width]`, float32.

        Args:
            batch: what `pooled` takes; or, for cases whose narratives are read each on its own,
                `input_ids` and `attention_mask` `[batch, narratives, tokens]`: the largest of
                their logits counts.
            told: then, `[batch, narratives]` of bool: whose logits count; one at least in each case.
        """
        if told is None:
            return self._logits(batch)
        logits = self._logits({name: values.flatten(0, 1) for name, values in batch.items()})
        return logits.unflatten(0, told.shape).masked_fill(~told[..., None], -torch.inf).amax(1)

    def _logits(self, batch: dict[str, Tensor]) -> Tensor:
        pooled = self.pooled(**batch)
        with torch.autocast(pooled.device.type, enabled=False):
            return self.head(self.dropout(pooled))

    def pooled(
        self,
        attention_mask: Tensor,
        input_ids: Tensor | None = None,
        parts: Tensor | None = None,
        states: Tensor | None = None,
    ) -> Tensor:
        """What the head reads, `[batch, hidden]`, float32.

        Args:
            attention_mask, input_ids: `[batch, tokens]`.
            parts: which tokens each narrative has, `[batch, narratives, tokens]`, for pooling `parts`.
            states: in place of `input_ids`, those at the cut: `[batch, tokens, hidden]`.
        """
        if states is None:
            read = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        else:
            with above(self.body, self.cut):
                read = self.body(inputs_embeds=states, attention_mask=attention_mask).last_hidden_state
        with torch.autocast(read.device.type, enabled=False):
            return self.pool(read, attention_mask, parts).float()

    def save(self, folder: Path, whole: bool) -> None:
        """Adapters, the layers that learned or the whole body, and the head: safetensors and JSON only."""
        if not whole and not isinstance(self.body, PeftModel):
            write_tensors(folder / "body" / TOP, _arrays(learned(self.body)))
        else:
            with quiet():
                self.body.save_pretrained(folder / "body")
        write_tensors(folder / "head.safetensors", _arrays(self.head.tensors))


def _arrays(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: value.detach().cpu().numpy() for name, value in tensors.items()}


def build(
    body: Body,
    lora: Lora,
    width: int,
    dropout: float,
    checkpointing: bool,
    narratives: int = 1,
    shared: Shared | None = None,
) -> Classifier:
    """A fresh classifier of cases of so many narratives; the head's start follows torch's seed.

    Args:
        shared: where what is frozen is kept for the next classifier, or is already.

    Raises:
        InputError: too many top layers.
    """
    trained = not lora.lora_rank
    # Checkpointing hangs a hook on the embeddings, which twins share.
    whole = shared is None or checkpointing or (trained and not body.top_layers)
    model = load(body, trained) if whole else training_base(body, trained, shared)
    cut = first_learning(model, body)
    if not whole:
        model = twin(model, top(model, cut) if trained else [])
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    if lora.lora_rank:
        model = get_peft_model(model, _adapters(lora, model, cut))
        # Checkpointing computes a layer again on the way back, when all its parts are in place again.
        cut = cut if checkpointing else raised(model, cut)
    elif cut:
        freeze_below(model, cut)
    return Classifier(model, width, body.pooling, dropout, cut, narratives)


def first_learning(model: nn.Module, body: Body) -> int:
    """Number of the first layer that learns; 0 where all of them do.

    Raises:
        InputError: none would be left below those that are to learn, or its layers share their weights.
    """
    total = model.config.get_text_config().num_hidden_layers
    if body.top_layers and not layer_lists(model):
        raise InputError(
            f"top_layers is {body.top_layers}; {body.backbone} has no layers of their own; set 0"
        )
    if not 0 <= body.top_layers < total:
        raise InputError(
            f"top_layers is {body.top_layers}; of the {total} layers of {body.backbone} it takes "
            f"1 to {total - 1}, or 0 for all"
        )
    return total - body.top_layers if body.top_layers else 0


def top(model: nn.Module, cut: int) -> list[nn.Module]:
    """The layers from `cut` on."""
    return [layer for _, _, layers in layer_lists(model) for layer in layers[cut:]]


def _adapters(lora: Lora, model: nn.Module, cut: int) -> LoraConfig:
    """Adapters on the targets of the layers from `cut` on.

    By full names: peft's `layers_to_transform` misses layers that stand at the root of a model.
    """
    names = list(lora.lora_targets)
    if cut:
        learning = {module for layer in top(model, cut) for module in layer.modules()}
        named = [name for name, module in model.named_modules() if module in learning]
        names = [name for name in named if name.endswith(tuple(f".{target}" for target in lora.lora_targets))]
    return LoraConfig(
        r=lora.lora_rank, lora_alpha=lora.lora_alpha, lora_dropout=lora.lora_dropout, target_modules=names
    )


def freeze_below(model: nn.Module, cut: int) -> None:
    """Let nothing learn but the layers from `cut` on; what all layers share does not learn either."""
    model.requires_grad_(False)
    for layer in top(model, cut):
        layer.requires_grad_(True)


def has_dropout(modules: Iterable[nn.Module]) -> bool:
    """Whether two passes in training differ; some bodies keep their attention's dropout as a number."""
    rates = [m.p if isinstance(m, nn.Dropout) else getattr(m, "attention_dropout", 0) for m in modules]
    return any(isinstance(rate, float) and rate > 0 for rate in rates)


def save_classifier(classifier: Classifier, tokenizer, body: Body, lora: Lora, folder: Path) -> None:
    """A folder from which `load_classifier` makes the same classifier."""
    classifier.save(folder, whole=not body.top_layers)
    save_tokenizer(tokenizer, folder)
    described = {"body": vars(body), "lora": vars(lora) | {"lora_targets": list(lora.lora_targets)}}
    head = {"width": classifier.head.out_features, "narratives": classifier.narratives}
    write_json(folder / "classifier.json", described | head)


def load_classifier(
    folder: Path, precision: str = "", shared: Shared | None = None
) -> tuple[Classifier, object]:
    """A saved classifier of a run folder, in evaluation mode, and its tokenizer.

    The base of a LoRA model is taken from the run's `models/base/`, so that a run
    folder that holds a packaged or local base needs nothing else.

    Args:
        precision: of a frozen base; the one that it was trained on if empty.
        shared: what other models loaded, of which it takes what it needs too.
    """
    described = read_json(folder / "classifier.json")
    body, lora = restored(Body, described["body"]), restored(Lora, described["lora"])
    if lora.lora_rank:
        base = load_base(folder, body, precision, shared)
        cut = first_learning(base, body)
        with intact(folder / "body"):
            model = PeftModel.from_pretrained(twin(base), folder / "body")
        cut = raised(model, cut)
    elif body.top_layers:
        base = load_base(folder, body, shared=shared)
        cut = first_learning(base, body)
        model = twin(base, top(base, cut))
        freeze_below(model, cut)
        take_over(model, {n: torch.tensor(w) for n, w in read_tensors(folder / "body" / TOP).items()})
    else:
        model, cut = load(Body(str(folder / "body")), trained=True), 0
    width, narratives = described["width"], described["narratives"]
    classifier = Classifier(model, width, body.pooling, cut=cut, narratives=narratives)
    classifier.head.take(read_tensors(folder / "head.safetensors"))
    return classifier.eval(), stored_tokenizer(folder, shared)


def learned(classifier: nn.Module) -> dict[str, Tensor]:
    """The weights that training changes, whole and on the CPU, by name; every process must call it."""
    weights = {}
    for name, weight in classifier.named_parameters():
        if weight.requires_grad:
            whole = weight.full_tensor() if isinstance(weight, DTensor) else weight
            weights[name] = whole.detach().cpu().contiguous()
    return weights


def take_over(classifier: nn.Module, weights: dict[str, Tensor]) -> None:
    """Put weights that `learned` gave into a classifier of the same making.

    Raises:
        ValueError: they are not exactly those that this classifier learns.
    """
    own = {name: weight for name, weight in classifier.named_parameters() if weight.requires_grad}
    strange = own.keys() ^ weights.keys()
    if strange:
        raise ValueError(f"{min(strange)} was learned by one of the two classifiers only")
    with torch.no_grad():
        for name, weight in own.items():
            weight.copy_(weights[name])
