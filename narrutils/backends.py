"""What turns prompts into texts: a small protocol, and batched sampling with transformers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch
from jinja2 import TemplateError
from transformers import (
    DynamicCache,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    RepetitionPenaltyLogitsProcessor,
)

from narrutils.backbones import Backbone, load_causal, load_tokenizer
from narrutils.prompts import SEPARATOR, Prompt


class Backend(Protocol):
    """What turns prompts into texts. `settings` are the choices that change its texts."""

    name: str
    form: str
    settings: dict

    def generate(self, prompts: Sequence[Prompt], seed: int) -> list[str]:
        """One text a prompt, in order; the same prompts and seed give the same texts."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> int: ...


class TransformersBackend:
    """Batched sampling with transformers; the model is loaded when it is first needed.

    Args:
        backbone: the model; a chat template makes it a chat model unless `form` says otherwise.
        dtype: of the weights, also by name (`float32`); bfloat16 unless told otherwise.
        max_new_tokens: the longest answer.
        batch_size: prompts that are sampled side by side.
        temperature, top_p: None keeps the model's own defaults.
    """

    name = "transformers"

    def __init__(
        self,
        backbone: Backbone,
        dtype: torch.dtype | str = torch.bfloat16,
        max_new_tokens: int = 512,
        batch_size: int = 16,
        temperature: float | None = None,
        top_p: float | None = None,
        form: str | None = None,
    ):
        self.backbone = backbone
        self.dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
        self.max_new_tokens = max_new_tokens
        self.batch_size = batch_size
        self.temperature = temperature
        self.top_p = top_p
        self._form = form

    @property
    def settings(self) -> dict:
        return {
            "model": Path(self.backbone.path_or_id).name,
            "revision": self.backbone.revision,
            "dtype": str(self.dtype),
            "max_new_tokens": self.max_new_tokens,
            "batch_size": self.batch_size,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "form": self._form,
        }

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        tokenizer = load_tokenizer(self.backbone)
        tokenizer.padding_side = "left"
        return tokenizer

    @cached_property
    def model(self) -> PreTrainedModel:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return load_causal(self.backbone, self.dtype).eval().to(device)

    @property
    def form(self) -> str:
        return self._form or ("chat" if self.tokenizer.chat_template else "completion")

    def count_tokens(self, texts: Sequence[str]) -> int:
        return sum(len(ids) for ids in self.tokenizer(list(texts), add_special_tokens=False)["input_ids"])

    def generate(self, prompts: Sequence[Prompt], seed: int) -> list[str]:
        """One text a prompt, in order. Prompts of like length share a batch."""
        rendered = [render(p, self.tokenizer) for p in prompts]
        order = sorted(range(len(rendered)), key=lambda i: (len(rendered[i]), i))
        texts = [""] * len(rendered)
        torch.manual_seed(seed)
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            answers = self._sample([prompts[i] for i in batch], [rendered[i] for i in batch])
            for i, answer in zip(batch, answers, strict=True):
                texts[i] = answer
        return texts

    @torch.inference_mode()
    def _sample(self, prompts: list[Prompt], texts: list[str]) -> list[str]:
        """The decoding loop: a row leaves the batch when it ends, so the last ones go faster."""
        # A chat template writes its own special tokens; a plain text needs <bos>.
        special = prompts[0].form == "completion"
        inputs = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=special)
        tokens, mask = (inputs[name].to(self.model.device) for name in ("input_ids", "attention_mask"))
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        cache = DynamicCache(config=self.model.config)
        rows = running = [Answer(p, self.tokenizer, self.ends) for p in prompts]
        read = tokens
        for _ in range(self.max_new_tokens):
            logits = self.model(
                input_ids=read,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            drawn = self.sampler.draw(logits, tokens).tolist()
            written = [row.write(token) for row, token in zip(running, drawn, strict=True)]
            going = [n for n, row in enumerate(running) if not row.ended]
            if not going:
                break
            keep = torch.tensor(going, device=mask.device)
            if len(going) < len(running):
                cache.batch_select_indices(keep)
                mask, tokens, running = mask[keep], tokens[keep], [running[n] for n in going]
            read = torch.tensor(written, device=mask.device)[keep][:, None]
            tokens = torch.cat([tokens, read], dim=1)
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
            positions = mask.sum(-1, keepdim=True) - 1
        return self.tokenizer.batch_decode([row.tokens for row in rows], skip_special_tokens=True)

    @cached_property
    def ends(self) -> set[int]:
        """Ids that end an answer, as the model's own settings name them."""
        own = self.model.generation_config.eos_token_id
        own = own if isinstance(own, list) else [own]
        return {i for i in [*own, self.tokenizer.eos_token_id] if i is not None}

    @cached_property
    def sampler(self) -> "Sampler":
        own = self.model.generation_config
        return Sampler(
            temperature=self.temperature or own.temperature or 1.0,
            top_k=own.top_k or 0,
            top_p=self.top_p or own.top_p or 1.0,
            repetition_penalty=own.repetition_penalty or 1.0,
        )


class Answer:
    """One row of a batch: what it has written, what it must write next, whether it has ended.

    Where a completion ends a part, the heading of the next one is written for it: small
    base models often forget it, and a case without its parts is lost.
    """

    def __init__(self, prompt: Prompt, tokenizer: PreTrainedTokenizerBase, ends: set[int]):
        self.prompt, self.tokenizer, self.ends = prompt, tokenizer, ends
        self.tokens: list[int] = []
        self.due: list[int] = []
        self.ended = False

    def write(self, drawn: int) -> int:
        """Add the token that is due, or else the one drawn; returns the token added."""
        token = self.due.pop(0) if self.due else drawn
        self.tokens.append(token)
        self.ended = token in self.ends
        if not self.ended and not self.due and self.prompt.form == "completion":
            self._look()
        return token

    def _look(self) -> None:
        """Decode it all only where a line break or a separator has just been written."""
        tail = self.tokenizer.decode(self.tokens[-8:])
        if "\n\n" not in tail and SEPARATOR not in tail:
            return
        answer = self.tokenizer.decode(self.tokens)
        self.ended = self.prompt.is_answered(answer)
        heading = self.prompt.next_heading(answer)
        if heading is not None:
            self.due = self.tokenizer(f"{heading}\n", add_special_tokens=False)["input_ids"]


@dataclass(frozen=True)
class Sampler:
    """Draws the next tokens: penalty, temperature, top-k, then top-p, as transformers orders them.

    Finding the top k first spares sorting and normalising the whole vocabulary (262,144
    for Gemma) at every step; the distribution is the same.
    """

    temperature: float
    top_k: int
    top_p: float
    repetition_penalty: float = 1.0

    def draw(self, logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """One token id a row, [batch], from logits [batch, vocabulary]; `tokens` is the text so far."""
        if self.repetition_penalty != 1:
            logits = RepetitionPenaltyLogitsProcessor(self.repetition_penalty)(tokens, logits.float())
        probabilities, candidates = self.nucleus(logits)
        choice = torch.multinomial(probabilities, 1)
        return candidates.gather(-1, choice)[:, 0]

    def nucleus(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Probabilities (0 outside the nucleus, not summing to 1) and ids, most probable first."""
        size = min(self.top_k or logits.shape[-1], logits.shape[-1])
        values, candidates = logits.topk(size)
        mass = (values.float() / self.temperature).softmax(-1)
        surplus = mass.cumsum(-1) - mass >= self.top_p  # the token that crosses top_p still counts
        return mass.masked_fill(surplus, 0), candidates


def render(prompt: Prompt, tokenizer: PreTrainedTokenizerBase) -> str:
    """The text that the model reads. Some chat templates know no system role: the user says it then."""
    if prompt.form == "completion":
        return prompt.text
    options = {"tokenize": False, "add_generation_prompt": True}
    try:
        return tokenizer.apply_chat_template(list(prompt.messages), **options)
    except TemplateError:
        merged = "\n\n".join(m["content"] for m in prompt.messages)
        return tokenizer.apply_chat_template([{"role": "user", "content": merged}], **options)
