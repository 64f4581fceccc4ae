"""The training loop: Hugging Face's Trainer with our loss over our phases.

All phases stand under one continuous learning-rate curve: the epochs of every
phase are laid end to end as one list of batches, and the Trainer walks it once.
"""

from tempfile import TemporaryDirectory

import torch
from torch.utils.data import DataLoader
from transformers import PreTrainedConfig, PrinterCallback, Trainer, TrainingArguments

from narrutils.data.schema import Schema
from narrutils.models.classifier import Classifier
from narrutils.models.learner import Phase
from narrutils.models.lower import LowerStates
from narrutils.models.precision import training_flags
from narrutils.training import extras
from narrutils.training.callbacks import EpochLines, Watching
from narrutils.training.distributed import gathered
from narrutils.training.examples import Examples, FixedBatches, epoch_ends, plan_batches
from narrutils.training.recipe import Recipe


class PhaseTrainer(Trainer):
    """Trainer with our losses, one a phase, over a fixed list of batches."""

    # Our loss is a mean over the batch: let the Trainer divide by the accumulation steps.
    loss_is_scaled_for_ga = False

    def __init__(
        self, *args, schema: Schema, phases: list[Phase], batches: FixedBatches, recipe: Recipe, **kwargs
    ):
        super().__init__(*args, **kwargs)
        # `AbstractionLoss`, unless the recipe or the phase names another.
        self.losses = [extras.loss_of(schema, phase, recipe) for phase in phases]
        self.schema, self.batches, self.recipe = schema, batches, recipe
        sharded = getattr(self.accelerator.state, "fsdp_plugin", None)
        if sharded is not None:
            # Autocast alone decides what is computed in 16 bits: FSDP would cast the head as well.
            sharded.mixed_precision_policy = None

    def get_train_dataloader(self) -> DataLoader:
        # Not prepared by accelerate: `collate` divides a batch between processes.
        shown = self.train_dataset
        return DataLoader(shown, batch_sampler=self.batches, collate_fn=shown.collate)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss = self.losses[int(inputs["phase"][0])]
        aims = [inputs["targets"], inputs["soft"]]
        read = {name: value for name, value in inputs.items() if name not in ("targets", "soft", "phase")}
        if self.recipe.r_drop:
            return extras.two_passes(self.recipe.r_drop, self.schema, loss, model, read, aims)
        return loss(gathered(model(**read), len(aims[0])), *aims)

    def create_optimizer(self, model=None):
        """AdamW over what learns; no decay on biases and norms; the head at its own rate."""
        recipe, groups = self.recipe, {}
        for name, weight in self.model.named_parameters():
            if weight.requires_grad:
                groups.setdefault((name.startswith("head."), weight.ndim > 1), []).append(weight)
        rates = {False: recipe.learning_rate, True: recipe.head_learning_rate or recipe.learning_rate}
        self.optimizer = torch.optim.AdamW(
            [
                {"params": w, "lr": rates[head], "weight_decay": recipe.weight_decay if matrix else 0.0}
                for (head, matrix), w in groups.items()
            ],
            fused=True,  # one pass over the weights: several times faster on a CPU too
        )
        return self.optimizer


def train(
    classifier: Classifier,
    tokenizer,
    schema: Schema,
    phases: list[Phase],
    recipe: Recipe,
    label: str,
    lower: LowerStates | None = None,
) -> list[dict]:
    """Train in place; returns a history entry an epoch: `phase`, `epoch`, `rows`, `loss`, `seconds`.

    Args:
        lower: what the frozen layers gave of every case, so that they are not computed again.

    Raises:
        InputError: R-Drop without dropout, more epochs of fine-tuning than there are, or what
            `text.encode` refuses.
        Diverged: the loss or the gradient left its scale.
    """
    extras.check_dropout(recipe, classifier)
    phases = extras.with_finetuning(phases, recipe)
    examples = Examples(phases, tokenizer, recipe, lower)
    epochs = plan_batches(
        phases, examples.inputs.lengths, recipe.batch_size, recipe.seed, recipe.accumulation
    )
    ends = epoch_ends(phases, epochs, recipe.accumulation)
    lines = EpochLines(ends, label)
    with TemporaryDirectory() as scratch:
        trainer = PhaseTrainer(
            model=classifier,
            args=trainer_arguments(recipe, classifier.body.config, scratch),
            train_dataset=examples,
            callbacks=[lines, Watching(ends), *extras.averaging(recipe)],
            schema=schema,
            phases=phases,
            batches=FixedBatches([batch for epoch in epochs for batch in epoch], recipe.batch_size),
            recipe=recipe,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return lines.history


def trainer_arguments(recipe: Recipe, config: PreTrainedConfig, scratch: str) -> TrainingArguments:
    """The Trainer's settings; nothing is saved, evaluated or reported by the Trainer itself."""
    return TrainingArguments(
        output_dir=scratch,
        num_train_epochs=1,  # the batches of all epochs are laid end to end
        per_device_train_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.accumulation,
        lr_scheduler_type="cosine",
        lr_scheduler_kwargs={"num_cycles": recipe.cosine_cycles},
        warmup_steps=recipe.warmup,
        **training_flags(recipe.precision, config),
        seed=recipe.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,  # a loss that is no number is to be seen
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
