"""Training and reading with a neural classifier: Hugging Face's Trainer, our loss, our phases.

All phases stand under one continuous learning-rate curve: the epochs of every
phase are laid end to end as one list of batches, and the Trainer walks it once.
"""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

from narrutils.backbones import load_tokenizer, resolve
from narrutils.batches import FixedBatches, epoch_ends, plan_batches
from narrutils.classifier import Body, Classifier, Lora, base_name, build, save_base, save_classifier
from narrutils.curriculum import Phase
from narrutils.errors import InputError
from narrutils.losses import AbstractionLoss
from narrutils.schema import Schema
from narrutils.text import encode, pad


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained. Lengths in tokens, `batch_size` in cases a step."""

    max_tokens: int = 256
    truncation: str = "balanced"
    learning_rate: float = 5e-5
    head_learning_rate: float = 0.0  # 0: the same as the body's
    weight_decay: float = 0.01
    warmup: float = 0.2  # share of all steps
    cycles: float = 0.4  # of the cosine; 0.4 ends near 9.5 % of the peak
    batch_size: int = 8
    accumulation: int = 1  # batches a step
    smoothing: float = 0.1
    head_dropout: float = 0.0
    prevalence_bias: bool = True  # start the head at the training rates
    checkpointing: bool = False
    bf16: bool = True  # autocast; weights that learn stay float32
    seed: int = 0


@dataclass(frozen=True)
class NeuralLearner:
    """A learner for `CrossFit`: one backbone, one recipe."""

    schema: Schema
    body: Body
    lora: Lora = field(default_factory=Lora)
    recipe: Recipe = field(default_factory=Recipe)
    sources: ClassVar[tuple[str, ...]] = (
        "training", "batches", "classifier", "backbones", "packaged",
        "curriculum", "losses", "text", "schema",
    )  # fmt: skip

    @property
    def base(self) -> str:
        """Name of the frozen base that LoRA models share; empty where the whole body is trained."""
        return base_name(self.body) if self.lora.rank else ""

    def save_base(self, folder: Path) -> None:
        """Write the frozen base once for all folds."""
        save_base(self.body, folder)

    def varied(self, **changes) -> "NeuralLearner":
        """The same learner with other values for fields of `Body`, `Lora` or `Recipe`.

        Raises:
            InputError: a name that none of them has.
        """
        parts = {"body": self.body, "lora": self.lora, "recipe": self.recipe}
        for name, value in changes.items():
            owner = next((p for p, settings in parts.items() if name in vars(settings)), None)
            if owner is None:
                known = sorted(n for settings in parts.values() for n in vars(settings))
                raise InputError(f"{name} is not a setting of a classifier; there are {', '.join(known)}")
            parts[owner] = replace(parts[owner], **{name: value})
        return NeuralLearner(self.schema, **parts)

    def config(self) -> dict:
        """What the key of a training artefact holds of this learner."""
        parts = {"body": self.body, "lora": self.lora, "recipe": self.recipe}
        weights = resolve(self.body.backbone).fingerprint
        return {name: vars(settings) for name, settings in parts.items()} | {"weights": weights}

    def fit(self, phases: list[Phase], label: str = "") -> "NeuralModel":
        """Train one classifier; prints a line an epoch. Empty phases are passed over."""
        phases = [p for p in phases if len(p.texts) and p.epochs]
        set_seed(self.recipe.seed)
        tokenizer = load_tokenizer(resolve(self.body.backbone))
        classifier = build(
            self.body, self.lora, self.schema.width, self.recipe.head_dropout, self.recipe.checkpointing
        )
        if self.recipe.prevalence_bias:
            set_prevalence_bias(classifier, self.schema, phases[-1].targets)
        history = train(classifier, tokenizer, self.schema, phases, self.recipe, label)
        return NeuralModel(self, classifier, tokenizer, history)


@dataclass
class NeuralModel:
    """A trained classifier with its tokenizer."""

    learner: NeuralLearner
    classifier: Classifier
    tokenizer: object
    history: list[dict]

    def predict(self, texts: pd.DataFrame) -> pd.DataFrame:
        """Probabilities, `schema.columns` wide, in the order of `texts`."""
        logits = read_logits(self.classifier, self.tokenizer, texts, self.learner.recipe)
        return self.learner.schema.from_logits(logits, texts.index)

    def save(self, folder) -> None:
        save_classifier(self.classifier, self.tokenizer, self.learner.body, self.learner.lora, folder)


def set_prevalence_bias(classifier: Classifier, schema: Schema, targets: pd.DataFrame) -> None:
    """Start each logit at the log-odds (or log-share) of its training rate, add-one smoothed."""
    values = targets[schema.columns].to_numpy()
    rates = (values.sum(0) + 1) / (len(values) + 2)
    bias = np.log(rates)
    bias[schema.binary_index] -= np.log1p(-rates[schema.binary_index])
    with torch.no_grad():
        classifier.head.bias.copy_(torch.tensor(bias))


class Examples(Dataset):
    """The rows of all phases, tokenised once."""

    def __init__(self, phases: list[Phase], tokenizer, recipe: Recipe):
        texts = pd.concat([p.texts for p in phases])
        self.ids = encode(texts, tokenizer, recipe.max_tokens, recipe.truncation).ids
        self.targets = np.concatenate([p.targets.to_numpy(dtype=np.float32) for p in phases])
        self.soft = np.concatenate([np.full(len(p.texts), p.soft) for p in phases])
        self.pad_id = tokenizer.pad_token_id

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, n: int) -> int:
        return n

    def collate(self, rows: list[int]) -> dict[str, torch.Tensor]:
        """A padded batch with its targets."""
        return pad([self.ids[n] for n in rows], self.pad_id) | {
            "targets": torch.from_numpy(self.targets[rows]),
            "soft": torch.from_numpy(self.soft[rows]),
        }


class PhaseTrainer(Trainer):
    """Trainer with our loss over a fixed list of batches."""

    # Our loss is a mean over the batch: let the Trainer divide by the accumulation steps.
    loss_is_scaled_for_ga = False

    def __init__(self, *args, loss: AbstractionLoss, batches: FixedBatches, recipe: Recipe, **kwargs):
        super().__init__(*args, **kwargs)
        self.loss, self.batches, self.recipe = loss, batches, recipe

    def get_train_dataloader(self) -> DataLoader:
        loader = DataLoader(
            self.train_dataset, batch_sampler=self.batches, collate_fn=self.train_dataset.collate
        )
        return self.accelerator.prepare(loader)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        logits = model(inputs["input_ids"], inputs["attention_mask"])
        loss = self.loss(logits, inputs["targets"], inputs["soft"])
        return (loss, {"logits": logits}) if return_outputs else loss

    def create_optimizer(self, model=None):
        """AdamW over what learns; no decay on biases and norms; the head at its own rate."""
        decay = {True: self.recipe.weight_decay, False: 0.0}
        groups: dict[tuple, list] = {}
        for name, weight in self.model.named_parameters():
            if weight.requires_grad:
                head = name.startswith("head.")
                groups.setdefault((head, weight.ndim > 1), []).append(weight)
        rates = {False: self.recipe.learning_rate}
        rates[True] = self.recipe.head_learning_rate or self.recipe.learning_rate
        self.optimizer = torch.optim.AdamW(
            [
                {"params": w, "lr": rates[head], "weight_decay": decay[matrix]}
                for (head, matrix), w in groups.items()
            ],
            fused=True,  # one pass over the weights: several times faster on a CPU too
        )
        return self.optimizer


class EpochLines(TrainerCallback):
    """Prints one line an epoch of the curriculum, and keeps its figures."""

    def __init__(self, ends: dict[int, dict], label: str):
        self.ends, self.label = ends, label  # last step of an epoch -> which phase and epoch it was
        self.history: list[dict] = []
        self.losses: list[float] = []
        self.started = time.perf_counter()

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" not in (logs or {}):
            return
        self.losses.append(logs["loss"])
        if state.global_step in self.ends:
            seconds = time.perf_counter() - self.started
            entry = self.ends[state.global_step] | {"loss": float(np.mean(self.losses)), "seconds": seconds}
            self.history.append(entry)
            print(
                f"{self.label} · epoch {entry['epoch']}/{len(self.ends)} · {entry['rows']} rows · "
                f"loss {entry['loss']:.4f} · {seconds:.0f} s",
                flush=True,
            )
            self.losses = []


def train(
    classifier: Classifier, tokenizer, schema: Schema, phases: list[Phase], recipe: Recipe, label: str
) -> list[dict]:
    """Train in place; returns a history entry an epoch: `phase`, `epoch`, `rows`, `loss`, `seconds`."""
    examples = Examples(phases, tokenizer, recipe)
    epochs = plan_batches(
        phases, [len(row) for row in examples.ids], recipe.batch_size, recipe.seed, recipe.accumulation
    )
    lines = EpochLines(epoch_ends(phases, epochs, recipe.accumulation), label)
    with TemporaryDirectory() as scratch:
        trainer = PhaseTrainer(
            model=classifier,
            args=trainer_arguments(recipe, scratch),
            train_dataset=examples,
            callbacks=[lines],
            loss=AbstractionLoss(schema, recipe.smoothing),
            batches=FixedBatches([batch for epoch in epochs for batch in epoch], recipe.batch_size),
            recipe=recipe,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return lines.history


def trainer_arguments(recipe: Recipe, scratch: str) -> TrainingArguments:
    """The Trainer's settings; nothing is saved, evaluated or reported by the Trainer itself."""
    return TrainingArguments(
        output_dir=scratch,
        num_train_epochs=1,  # the batches of all epochs are laid end to end
        per_device_train_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.accumulation,
        lr_scheduler_type="cosine",
        lr_scheduler_kwargs={"num_cycles": recipe.cycles},
        warmup_steps=recipe.warmup,
        bf16=recipe.bf16,
        use_cpu=not torch.cuda.is_available(),  # without it, bf16 autocast is refused on a CPU
        seed=recipe.seed,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
    )


@torch.inference_mode()
def read_logits(classifier: Classifier, tokenizer, texts: pd.DataFrame, recipe: Recipe) -> np.ndarray:
    """Logits `[len(texts), width]`, in the order of `texts`; batches hold cases of like length."""
    if texts.empty:
        return np.zeros((0, classifier.head.out_features))
    classifier.eval()
    device = next(classifier.head.parameters()).device
    ids = encode(texts, tokenizer, recipe.max_tokens, recipe.truncation).ids
    order = sorted(range(len(ids)), key=lambda n: len(ids[n]))
    out = np.empty((len(ids), classifier.head.out_features), dtype=np.float32)
    size = recipe.batch_size * 2  # no gradients are kept, so twice the batch fits
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        batch = {k: v.to(device) for k, v in pad([ids[n] for n in rows], tokenizer.pad_token_id).items()}
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=recipe.bf16):
            out[rows] = classifier(**batch).float().cpu().numpy()
    return out
