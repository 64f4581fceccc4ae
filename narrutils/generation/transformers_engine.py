"""Generation with transformers, in batches: for platforms that vLLM does not support."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import groupby

import torch
import transformers
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel, StoppingCriteria, StoppingCriteriaList, StopStringCriteria

from narrutils.generation.engines import Answer, Backend
from narrutils.models.backbones import config_of, load_causal
from narrutils.models.precision import torch_device, weights_dtype

#: Rows that are sampled side by side.
BATCH = 16


class TransformersBackend(Backend):
    """`generate` of transformers, prompts of like length together."""

    name = "transformers"
    version = transformers.__version__

    @cached_property
    def model(self) -> PreTrainedModel:
        dtype = weights_dtype(self.sampling.precision, config_of(self.backbone))
        return load_causal(self.backbone, dtype).eval().to(torch_device())

    @cached_property
    def window(self) -> int:
        config = config_of(self.backbone).get_text_config()
        return getattr(config, "max_position_embeddings", sys.maxsize)  # without positions there is no end

    def close(self) -> None:
        self.__dict__.pop("model", None)

    def sample(
        self, asked: list[list[int]], seeds: list[int], stops: Sequence[str], adapters: list[str]
    ) -> list[Answer]:
        order = sorted(range(len(asked)), key=lambda n: (adapters[n], len(asked[n]), n))
        answers: dict[int, Answer] = {}
        for batch in _batches(order, adapters):
            done = len(answers) / len(asked), sum(answer.tokens for answer in answers.values())
            torch.manual_seed(seeds[batch[0]])
            with adapted(self.model, adapters[batch[0]]) as model:
                made = self._batch(model, [asked[n] for n in batch], stops, done)
            answers |= dict(zip(batch, made, strict=True))
        self._seen(1.0, sum(answer.tokens for answer in answers.values()))
        return [answers[n] for n in range(len(asked))]

    @torch.inference_mode()
    def _batch(
        self, model, asked: list[list[int]], stops: Sequence[str], done: tuple[float, int] = (0.0, 0)
    ) -> list[Answer]:
        tokenizer, own = self.tokenizer, self.sampling
        inputs = tokenizer.pad({"input_ids": asked}, padding_side="left", return_tensors="pt")
        start = inputs["input_ids"].shape[1]
        stopping = StoppingCriteriaList([WrittenStops(tokenizer, list(stops), start)] if stops else [])
        stopping.append(Watched(lambda steps: self._seen(done[0], done[1] + steps * len(asked))))
        chosen = {"temperature": own.temperature, "top_p": own.top_p}
        made = model.generate(
            **inputs.to(self.model.device),
            stopping_criteria=stopping,
            **{name: value for name, value in chosen.items() if value is not None},
            do_sample=True,
            max_new_tokens=own.max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
        )[:, start:]
        return [self._read([i for i in row if i != tokenizer.pad_token_id], stops) for row in made.tolist()]

    def _read(self, tokens: list[int], stops: Sequence[str]) -> Answer:
        """The text before the first stop; a row is finished if it holds one, or an end token."""
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        cuts = [text.index(stop) for stop in stops if stop in text]
        finished = bool(cuts) or bool(self.ends & set(tokens[-1:]))
        return Answer(text[: min(cuts, default=len(text))], len(tokens), finished)

    @cached_property
    def ends(self) -> set[int]:
        """Ids that end an answer, as the model's own settings name them."""
        own = self.model.generation_config.eos_token_id
        own = own if isinstance(own, list) else [own]
        return {i for i in [*own, self.tokenizer.eos_token_id] if i is not None}


class WrittenStops(StopStringCriteria):
    """Stop texts in what was written alone: half of one may be the end of the prompt."""

    def __init__(self, tokenizer, stops: list[str], start: int):
        super().__init__(tokenizer, stops)
        self.start = start

    def __call__(self, input_ids, scores, **kwargs):
        return super().__call__(input_ids[:, self.start :], scores, **kwargs)


class Watched(StoppingCriteria):
    """Stops nothing; calls `told` with the number of steps after each."""

    def __init__(self, told: Callable[[int], object]):
        self.told, self.steps = told, 0

    def __call__(self, input_ids, scores, **kwargs):
        self.steps += 1
        self.told(self.steps)
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


@contextmanager
def adapted(model: PreTrainedModel, folder: str) -> Iterator[nn.Module]:
    """A model with a LoRA adapter for the length of a block; with none, the model itself."""
    wrapped = PeftModel.from_pretrained(model, folder) if folder else model
    try:
        yield wrapped
    finally:
        if folder:
            wrapped.unload()


def _batches(order: list[int], adapters: list[str]) -> Iterator[list[int]]:
    """Neighbours in `order`, at most `BATCH` of them and of one adapter each."""
    for _, alike in groupby(order, key=adapters.__getitem__):
        rows = list(alike)
        yield from (rows[n : n + BATCH] for n in range(0, len(rows), BATCH))
