"""In-domain generators: LoRA adapters that learn, as a causal language model, how such cases read.

One adapter a fold, taught by the narratives of that fold alone: a row that it writes
has seen this one fold, and may serve every model but the one that is tested on it.
What an adapter is taught is the very document that it is later asked to go on with.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from peft import LoraConfig, get_peft_model
from torch.utils.data import Dataset
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)

from narrutils.data.files import digest, write_json
from narrutils.data.run import Run
from narrutils.data.sources import source_digest
from narrutils.generation.pools import Adapting
from narrutils.generation.prompts import Examples, document
from narrutils.models.backbones import Backbone, config_of, load_causal, load_tokenizer
from narrutils.models.precision import training_flags, weights_dtype
from narrutils.models.settings import PROJECTIONS

#: Not part of the loss: transformers leaves out targets of this value.
IGNORED = -100


class Documents(Dataset):
    """Cases as token ids, the loss on the answer alone.

    Args:
        pairs: prompt and answer of each case (`prompts.document`).
    """

    def __init__(self, pairs: list[tuple[str, str]], tokenizer: PreTrainedTokenizerBase, max_tokens: int):
        self.rows = []
        for prompt, answer in pairs:
            asked = tokenizer(prompt)["input_ids"]
            told = tokenizer(answer, add_special_tokens=False)["input_ids"]
            ids = [*asked, *told][:max_tokens]
            targets = [*([IGNORED] * len(asked)), *told][:max_tokens]
            self.rows.append({"input_ids": ids, "labels": targets, "attention_mask": [1] * len(ids)})

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, n: int) -> dict:
        return self.rows[n]


def adapt(
    run: Run,
    name: str,
    backbone: Backbone,
    examples: Examples,
    labelled: bool,
    adapting: Adapting,
    precision: str,
    seed: int,
) -> dict[int, Path]:
    """Train the adapters that are not there yet: fold -> folder of its PEFT adapter.

    Args:
        name: they lie in `models/<name>/on_fold<k>/`, k being the one fold that was learned from.
        labelled: whether the documents open with what is known of a case.
        precision: of the frozen model and of computing; the adapters learn in float32.
    """
    folders = {}
    for fold in sorted(examples.uids):
        pairs = documents(examples, fold, labelled, seed)
        key = digest(vars(adapting), precision, backbone.fingerprint, pairs, seed, source_digest(__name__))

        def make(part: Path, fold=fold, pairs=pairs) -> None:
            losses = _train(part, backbone, pairs, adapting, precision, seed)
            write_json(part / "training.json", {"seen_folds": [fold], "cases": len(pairs), "loss": losses})
            told = " → ".join(f"{loss:.3f}" for loss in losses)
            print(f"{name} on fold {fold}: {len(pairs)} cases, loss by epoch {told}", flush=True)

        folders[fold] = run.write_folder(f"models/{name}/on_fold{fold}", key, make)
    return folders


def documents(examples: Examples, fold: int, labelled: bool, seed: int) -> list[tuple[str, str]]:
    """Prompt and answer of every complete case of one fold; see `Examples.of`."""
    pairs = []
    for n, uid in enumerate(examples.of(fold, labelled)):
        rng = np.random.default_rng([seed, fold, n]) if labelled else None
        pairs.append(document(examples.story(uid, rng), examples.schema))
    return pairs


def _train(
    folder: Path,
    backbone: Backbone,
    pairs: list[tuple[str, str]],
    adapting: Adapting,
    precision: str,
    seed: int,
) -> list[float]:
    """Write a PEFT adapter into `folder`; returns each epoch's mean loss."""
    set_seed(seed)
    tokenizer = load_tokenizer(backbone)
    model = _adapted(load_causal(backbone, weights_dtype(precision, config_of(backbone))), adapting)
    with TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=model,
            args=_arguments(adapting, precision, model.config, seed, scratch),
            train_dataset=Documents(pairs, tokenizer, adapting.max_tokens),
            data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        model.save_pretrained(folder)
        return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def _adapted(model: PreTrainedModel, adapting: Adapting):
    settings = LoraConfig(
        r=adapting.lora_rank,
        lora_alpha=adapting.lora_alpha,
        target_modules=list(PROJECTIONS),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, settings)


def _arguments(
    adapting: Adapting, precision: str, config: PreTrainedConfig, seed: int, scratch: str
) -> TrainingArguments:
    return TrainingArguments(
        output_dir=scratch,
        num_train_epochs=adapting.epochs,
        per_device_train_batch_size=adapting.batch_size,
        learning_rate=adapting.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=adapting.warmup,
        train_sampling_strategy="group_by_length",
        **training_flags(precision, config),
        seed=seed % 2**31,
        logging_strategy="epoch",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
