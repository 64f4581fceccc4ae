"""Masked-language-model pretraining: an encoder learns how such narratives read, before any label.

The first place did so. Each model starts from a body of its own, pretrained on text that
saw nothing of the folds that the model leaves out: the narratives of the other folds and,
if wanted, the generated rows that saw none of them. Nested teachers, which leave two folds
out, have bodies of their own too. A body lies in `models/mlm/<held-out folds>/` under a key
of its settings, its text and the modules that make it; once its classifier is trained,
nothing needs it any more.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset
from transformers import (
    DataCollatorForLanguageModeling,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)

from narrutils.data.files import digest, write_json
from narrutils.data.folds import HeldOut, allowed, folder_name, learns_from
from narrutils.data.run import Run
from narrutils.data.sources import source_digest
from narrutils.data.study import Study
from narrutils.errors import InputError
from narrutils.models.backbones import config_of, is_encoder, load_masked, load_tokenizer, quiet, resolve
from narrutils.models.bases import set_dropout
from narrutils.models.classifier import Start
from narrutils.models.precision import training_flags
from narrutils.models.text import special_ids, token_ids
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Pretraining


def pretrained(
    study: Study, learner: NeuralLearner, settings: Pretraining
) -> Callable[[HeldOut], NeuralLearner]:
    """`learner_of` for a `CrossFit`: for each set of held-out folds, the learner with a body of its own.

    Args:
        study: whose narratives are learned from.
        settings: with 0 epochs, every set of folds gets the learner as it is.

    Raises:
        InputError: the backbone is no encoder or has no mask token, or it is a frozen base of adapters.
    """
    if not settings.mlm_epochs:
        return lambda held_out: learner
    _check(learner)

    def learner_of(held_out: HeldOut) -> NeuralLearner:
        pool = study.pool if settings.mlm_generated else study.pool[:0]
        rows = visible(study.train, study.folds, pool, held_out, learner)
        return replace(learner, start=start_of(study.run, learner, rows, held_out, settings))

    return learner_of


def _check(learner: NeuralLearner) -> None:
    backbone = resolve(learner.body.backbone)
    if not is_encoder(config_of(backbone)):
        fault = "is no encoder, which alone can learn to fill in masks"
    elif load_tokenizer(backbone).mask_token is None:
        fault = "has no mask token"
    elif learner.lora.lora_rank:
        fault = "is the frozen base of adapters, and masks are learned by a whole body"
    else:
        return
    raise InputError(f"{backbone.name} {fault}; set mlm_epochs to 0")


def visible(
    texts: pd.DataFrame, folds: pd.Series, pool: pd.DataFrame, held_out: HeldOut, learner: NeuralLearner
) -> pd.DataFrame:
    """The text columns of all rows that saw nothing of the held-out folds, indexed by uid."""
    parts = [texts.loc[learns_from(folds, held_out)], allowed(pool, held_out)]
    return pd.concat([part[learner.schema.text_columns] for part in parts if len(part)])


def start_of(
    run: Run, learner: NeuralLearner, rows: pd.DataFrame, held_out: HeldOut, settings: Pretraining
) -> Start:
    """Where a body that was pretrained on these rows lies, and its key; it is made when first asked for."""
    body, repair = learner.body, learner.recipe.repair_periods
    weights = resolve(body.backbone).fingerprint, body.layers, body.dropout
    key = digest(vars(settings), weights, repair, rows, source_digest(__name__))

    def make(part: Path) -> None:
        losses = _train(part, learner, rows, settings)
        told = " → ".join(f"{loss:.3f}" for loss in losses)
        print(f"mlm {folder_name(held_out)}: {len(rows)} cases, loss by epoch {told}", flush=True)
        write_json(part / "training.json", {"held_out": held_out, "cases": len(rows), "loss": losses})

    def folder() -> Path:
        return run.write_folder(f"models/mlm/{folder_name(held_out)}", key, make).resolve()

    return Start(key, folder)


class Blocks(Dataset):
    """Rows of text as token blocks of equal length, the last one shorter, each with start and end.

    Args:
        rows: one column a narrative; cases are told in random order, by `seed`.
        length: tokens of a block, start and end included.
    """

    def __init__(
        self, rows: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, length: int, repair: bool, seed: int
    ):
        start, separator, end = special_ids(tokenizer)
        columns = [token_ids(rows[name], tokenizer, repair) for name in rows]
        stream: list[int] = []
        for n in np.random.default_rng(seed).permutation(len(rows)):
            for column in columns:
                stream += [*column[n], *separator] if column[n] else []
        room = length - len(start) - len(end)
        self.ids = [start + stream[n : n + room] + end for n in range(0, len(stream), room)]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, n: int) -> dict[str, list[int]]:
        return {"input_ids": self.ids[n]}


def _train(folder: Path, learner: NeuralLearner, rows: pd.DataFrame, settings: Pretraining) -> list[float]:
    """Write the pretrained body and its tokenizer into `folder`; returns each epoch's mean loss."""
    set_seed(settings.seed)
    body, backbone = learner.body, resolve(learner.body.backbone)
    tokenizer, model = load_tokenizer(backbone), load_masked(backbone, torch.float32, body.layers or None)
    length = min(settings.mlm_block, tokenizer.model_max_length, model.config.max_position_embeddings)
    with TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=set_dropout(model, body.dropout),
            args=_arguments(settings, model.config, scratch),
            train_dataset=Blocks(rows, tokenizer, length, learner.recipe.repair_periods, settings.seed),
            data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=settings.mlm_masked),
        )
        trainer.remove_callback(PrinterCallback)
        if len(trainer.train_dataset):  # there is none where all texts are empty
            trainer.train()
    with quiet():
        model.base_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def _arguments(settings: Pretraining, config: PreTrainedConfig, scratch: str) -> TrainingArguments:
    return TrainingArguments(
        output_dir=scratch,
        num_train_epochs=settings.mlm_epochs,
        per_device_train_batch_size=settings.mlm_batch_size,
        learning_rate=settings.mlm_learning_rate,
        weight_decay=0.01,
        lr_scheduler_type="cosine",
        warmup_steps=settings.mlm_warmup,
        **training_flags(settings.precision, config),
        seed=settings.seed,
        logging_strategy="epoch",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
