"""An exported encoder: ONNX Runtime reads its cases, with neither torch nor transformers.

Cases are framed, shortened and batched as `models.reading` does it, by the same code. Rounded weights
have scales of their own and states are not rounded, so that what is read of a case depends on no other.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
from tokenizers import Tokenizer

from narrutils.data.files import intact, read_json
from narrutils.data.schema import Schema
from narrutils.data.settings import restored
from narrutils.models.learner import Model
from narrutils.models.settings import Reading
from narrutils.models.speed import cores
from narrutils.models.text import Cases, batches

#: In the folder of an exported model: its graph, its words, and how it reads.
GRAPH, WORDS, SETTINGS = "model.onnx", "tokenizer.json", "onnx.json"
#: Ids that `text.encode` asks a tokenizer for; None where it has none.
SPECIAL = ("cls_token_id", "bos_token_id", "sep_token_id", "eos_token_id", "pad_token_id")


class Words:
    """A stored tokenizer as `text.encode` asks for it, without transformers.

    Args:
        ids: of `SPECIAL`.
    """

    def __init__(self, path: Path, ids: dict[str, int | None]):
        self.name_or_path = str(path)
        self.__dict__ |= {name: ids[name] for name in SPECIAL}
        with intact(path):
            self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def __call__(self, texts: str | Sequence[str], **_) -> dict[str, list]:
        """`input_ids` of one text or of several, whole and without special tokens."""
        if isinstance(texts, str):
            return {"input_ids": self._tokenizer.encode(texts, add_special_tokens=False).ids}
        found = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return {"input_ids": [each.ids for each in found]}


@dataclass
class OnnxModel(Model):
    """A classifier in an ONNX file, its tokenizer, and how it reads; `folder` holds its files."""

    schema: Schema
    folder: Path
    words: Words
    reading: Reading

    def predict(self, texts: pd.DataFrame) -> pd.DataFrame:
        """Probabilities, `schema.columns` wide, in the order of `texts`."""
        logits = np.zeros((len(texts), self.schema.width), dtype=np.float32)
        if len(texts):
            cases = Cases(texts, self.words, self.reading)
            for rows in batches(texts, cases.lengths, self.reading.batch_size * 2):
                logits[rows] = self.logits(cases.arrays(rows))
        return self.schema.from_logits(logits, texts.index)

    def logits(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        """Logits `[cases, width]` of what `Cases.arrays` gives.

        Of narratives that are read each on its own the largest of those that have a say counts.
        """
        told = batch.get("told")
        given = {name: batch[name] for name in self._names}
        if told is None:
            return self._session.run(None, given)[0]
        (flat,) = self._session.run(None, {n: v.reshape(-1, v.shape[-1]) for n, v in given.items()})
        return np.where(told[..., None], flat.reshape(*told.shape, -1), -np.inf).max(axis=1)

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads()
        options.log_severity_level = 3  # errors alone
        with intact(self.folder / GRAPH):
            path = str(self.folder / GRAPH)
            return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    @cached_property
    def _names(self) -> list[str]:
        return [given.name for given in self._session.get_inputs()]

    @classmethod
    def load(cls, folder: Path, schema: Schema) -> "OnnxModel":
        """The model of a folder that `export` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        described = read_json(folder / SETTINGS)
        model = cls(
            schema,
            folder,
            Words(folder / WORDS, described["special"]),
            restored(Reading, described["reading"]),
        )
        model._names  # noqa: B018 (a damaged file is told now)
        return model

    def save(self, folder: Path) -> None:
        for name in (GRAPH, WORDS, SETTINGS):
            shutil.copyfile(self.folder / name, folder / name)


def threads() -> int:
    """Threads that read: as torch takes them, those of `OMP_NUM_THREADS`, and else all cores."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdigit() and int(told) else cores()
