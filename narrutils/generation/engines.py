"""What turns prompts into texts: one interface over the engines that sample.

A chat model answers at once. A completion is written a part at a time: where a part
ends, the heading of the next one is put there for the model, because small base models
often forget it and a case without its parts is lost.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jinja2 import TemplateError

from narrutils.generation.prompts import SEPARATOR, Prompt

if TYPE_CHECKING:  # torch and transformers take seconds, which a worker waits that loads no tokenizer
    from transformers import PreTrainedTokenizerBase

    from narrutils.models.backbones import Backbone

#: A part of a completion ends where an empty line or the next case begins.
STOPS = ("\n\n", SEPARATOR)


@dataclass(frozen=True)
class Answer:
    """A text, its length in tokens, and whether the model ended it itself."""

    text: str
    tokens: int
    finished: bool


@dataclass(frozen=True)
class Sampling:
    """How a backend samples."""

    max_new_tokens: int = 512  # the longest answer; of a completion, the longest part
    temperature: float | None = None  # None, here and below: the model's own default
    top_p: float | None = None
    form: str = ""  # chat or completion; where empty, a chat template makes a chat model
    engine: dict | None = None  # settings handed on to vLLM, such as `tensor_parallel_size`
    lora_rank: int = 0  # of the adapters that prompts name; 0 where there are none
    precision: str = "float32"  # of the model's weights and of computing


class Backend(AbstractContextManager):
    """One model behind one engine; the model is loaded when it is first needed.

    The same prompts and seed give the same texts on the same machine and versions, as
    long as the whole call is repeated: an engine may batch its rows as it likes.
    """

    name: str
    #: Called while answers are written, with the share of the call's work that is done and its tokens so far.
    watch: Callable[[float, int], object] = staticmethod(lambda share, tokens: None)

    _turns, _before = (0, 1), 0  # which of how many parts is written, and the tokens of those before

    def __init__(self, backbone: "Backbone", sampling: Sampling):
        self.backbone, self.sampling = backbone, sampling

    @abstractmethod
    def sample(
        self, asked: list[list[int]], seeds: list[int], stops: Sequence[str], adapters: list[str]
    ) -> list[Answer]:
        """One answer to each list of token ids, without the stop text; `adapters` are folders or "".

        Tells `_seen` how far it is.
        """

    @property
    @abstractmethod
    def window(self) -> int:
        """Tokens that the model reads and writes at most."""

    def begin(self) -> None:  # noqa: B027 (most engines start at once)
        """Start an engine that takes long to, while this process goes on."""

    def forget(self) -> None:  # noqa: B027 (most engines keep nothing)
        """Drop what the engine keeps of prompts that it has read; `generate` begins with it."""

    @abstractmethod
    def close(self) -> None:
        """Free the model; a later call loads it again."""

    @property
    @abstractmethod
    def version(self) -> str:
        """Version of the engine."""

    def __exit__(self, *_) -> None:
        self.close()

    def __reduce__(self) -> tuple:
        """For a worker: what it is made of, and nothing that it loaded."""
        return type(self), (self.backbone, self.sampling)

    @property
    def settings(self) -> dict:
        """The choices that change its texts."""
        model = {"model": self.backbone.name, "weights": self.backbone.fingerprint}
        return model | vars(self.sampling) | {"version": self.version}

    @cached_property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        from narrutils.models.backbones import load_tokenizer

        return load_tokenizer(self.backbone)

    def filled(self, prompt: Prompt) -> float:
        """The tokens of a prompt as a share of what the window leaves for it; above 1 it does not fit.

        The answer has the rest, as long as it may be, and half of the window at most.
        """
        answer = self.sampling.max_new_tokens * (1 + len(prompt.following))
        ids = self._ids([render(prompt, self.tokenizer)], prompt.form != "chat")
        return len(ids[0]) / max(self.window - answer, self.window // 2)

    @property
    def form(self) -> str:
        return self.sampling.form or ("chat" if self.tokenizer.chat_template else "completion")

    def generate(self, prompts: Sequence[Prompt], seed: int) -> list[Answer]:
        """One answer a prompt, in order. The parts of a call share what was read, no two calls do."""
        self.forget()
        texts = [render(p, self.tokenizer) for p in prompts]
        adapters = [p.adapter for p in prompts]
        self._turns, self._before = (0, 1 + len(prompts[0].following)), 0
        if all(p.form == "chat" for p in prompts):
            return self.sample(self._ids(texts, False), _seeds(seed, 0, len(texts)), (), adapters)
        return self._by_parts(prompts, texts, seed, adapters)

    def _by_parts(
        self, prompts: Sequence[Prompt], texts: list[str], seed: int, adapters: list[str]
    ) -> list[Answer]:
        written, turns = [Answer("", 0, True)] * len(prompts), 1 + len(prompts[0].following)
        for turn in range(turns):
            self._turns, self._before = (turn, turns), sum(answer.tokens for answer in written)
            if turn:
                written = [
                    replace(a, text=f"{a.text.strip()}\n\n{p.following[turn - 1]}\n")
                    for a, p in zip(written, prompts, strict=True)
                ]
            asked = self._ids([t + a.text for t, a in zip(texts, written, strict=True)], True)
            parts = self.sample(asked, _seeds(seed, turn, len(texts)), STOPS, adapters)
            written = [
                Answer(a.text + part.text, a.tokens + part.tokens, a.finished and part.finished)
                for a, part in zip(written, parts, strict=True)
            ]
        return written

    def _seen(self, share: float, tokens: int) -> None:
        """What `sample` tells: the share of its rows that are done, and the tokens that it wrote so far."""
        turn, turns = self._turns
        self.watch((turn + share) / turns, self._before + tokens)

    def _ids(self, texts: list[str], special: bool) -> list[list[int]]:
        """Token ids. A chat template writes its own special tokens; a plain text needs <bos>."""
        return self.tokenizer(texts, add_special_tokens=special)["input_ids"]


def _seeds(seed: int, turn: int, count: int) -> list[int]:
    """A seed of its own, in 0..2**31-1, for every row and turn of a call."""
    return (np.random.SeedSequence([seed, turn]).generate_state(count) >> 1).tolist()


def render(prompt: Prompt, tokenizer: "PreTrainedTokenizerBase") -> str:
    """The text that the model reads. Some chat templates know no system role: the user says it then."""
    if prompt.form == "completion":
        return prompt.text
    options = {"tokenize": False, "add_generation_prompt": True}
    try:
        return tokenizer.apply_chat_template(list(prompt.messages), **options)
    except TemplateError:
        merged = "\n\n".join(m["content"] for m in prompt.messages)
        return tokenizer.apply_chat_template([{"role": "user", "content": merged}], **options)
