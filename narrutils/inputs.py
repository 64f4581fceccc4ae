"""What a classifier reads of a case, as token ids: one row for all narratives, or one for each.

`joined` is the prize-winning way. `separate` reads each narrative on its own, and a
variable counts as told as strongly as the narrative that tells it most: the maximum of
their logits, as the fourth place had it. An empty narrative tells nothing and has no say,
unless all are empty. Where the lower layers of a model are frozen, a case may be told by the
states that they gave of it.
"""

from collections.abc import Sequence

import pandas as pd
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from narrutils.lower import LowerStates
from narrutils.recipe import Recipe
from narrutils.text import encode, pad


class Inputs:
    """Cases, tokenised once and batched on demand.

    Args:
        texts: one column a narrative.
        recipe: its `max_tokens` is what a case has, or, read separately, each narrative.
        lower: the states of all cases, to be told in place of their token ids.

    Raises:
        InputError: what `encode` refuses.
    """

    def __init__(
        self,
        texts: pd.DataFrame,
        tokenizer: PreTrainedTokenizerBase,
        recipe: Recipe,
        lower: LowerStates | None = None,
    ):
        parts = [texts] if recipe.inputs == "joined" else [texts[[name]] for name in texts]
        settings = recipe.max_tokens, recipe.truncation, recipe.repair_periods
        columns = [encode(part, tokenizer, *settings) for part in parts]
        self.cases = list(zip(*(column.ids for column in columns)))  # of each case, its rows of token ids
        self.spans = columns[0].spans  # of each joined case, where its narratives stand
        self.told = None if recipe.inputs == "joined" else told(texts)
        self.pad_id = tokenizer.pad_token_id
        self.lower = lower

    @property
    def lengths(self) -> list[int]:
        """Tokens of each case's longest row."""
        return [max(map(len, case)) for case in self.cases]

    def batch(self, numbers: Sequence[int]) -> dict[str, torch.Tensor]:
        """What `Classifier.forward` takes, for the cases of these numbers."""
        numbers = list(numbers)
        padded = pad([row for n in numbers for row in self.cases[n]], self.pad_id)
        if self.told is not None:
            apart = {name: values.unflatten(0, (len(numbers), -1)) for name, values in padded.items()}
            return apart | {"told": self.told[numbers]}
        padded["parts"] = masks([self.spans[n] for n in numbers], padded["attention_mask"].shape[1])
        if self.lower is not None:
            padded["states"] = pad_sequence([self.lower.of(*self.cases[n]) for n in numbers], True)
            del padded["input_ids"]
        return padded


def masks(spans: Sequence[Sequence[tuple[int, int]]], tokens: int) -> torch.Tensor:
    """Which tokens each narrative of a case has, `[cases, narratives, tokens]` of 0 and 1."""
    begin, end = torch.tensor(spans).unbind(-1)
    place = torch.arange(tokens)
    return ((place >= begin[..., None]) & (place < end[..., None])).long()


def told(texts: pd.DataFrame) -> torch.Tensor:
    """Which narratives have a say, `[cases, narratives]` of bool: those that are not empty, if any."""
    filled = texts.apply(lambda column: column.str.strip() != "").to_numpy(dtype=bool)
    return torch.tensor(filled | ~filled.any(axis=1, keepdims=True))
