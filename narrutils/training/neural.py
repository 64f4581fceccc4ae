"""Neural classifiers as learners: one backbone and one recipe, trained on phases, read, saved."""

import gc
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from transformers import set_seed

from narrutils.data.files import digest
from narrutils.data.schema import Schema
from narrutils.data.sources import source_digest
from narrutils.models.backbones import load_tokenizer, resolve
from narrutils.models.bases import Shared, base_name, once, save_base
from narrutils.models.classifier import Classifier, Start, build, has_dropout, take_over
from narrutils.models.learner import Learner, Phase
from narrutils.models.linear import Probe, fit_probe
from narrutils.models.lower import LowerStates, modules_below, splits_cleanly
from narrutils.models.precision import torch_device
from narrutils.models.reading import Inputs, NeuralModel, read_lower
from narrutils.models.settings import Body, Lora
from narrutils.training.launching import train_launched
from narrutils.training.recipe import Recipe, by_name, together, varied
from narrutils.training.trainer import train

#: What the trainings of this process stand on -> what they share. One base alone: for a second there
#: may be no memory.
_HELD: dict[Hashable, Shared] = {}
gc.freeze()  # each training looks for garbage, and need not look through all that was imported


@dataclass(frozen=True)
class NeuralLearner(Learner):
    """A learner for `CrossFit`: one backbone, one recipe.

    Raises:
        InputError: settings that cannot both hold.
    """

    schema: Schema
    body: Body
    lora: Lora = field(default_factory=Lora)
    recipe: Recipe = field(default_factory=Recipe)
    start: Start | None = None  # further-pretrained weights of the body, trained as a whole
    launch: dict = field(default_factory=dict)  # options of `accelerate launch`; empty: this process alone
    states: Path | None = None  # where what frozen layers gave of cases is kept; None: computed every time
    attempts: ClassVar[int] = 3  # some seeds diverge, or end up reading all cases alike

    @property
    def whole_machine(self) -> bool:
        """Whether one training takes a GPU, or processes of its own."""
        return bool(self.launch) or torch.cuda.is_available()

    def __post_init__(self):
        together(self.body, self.lora, self.recipe)

    @property
    def stored(self) -> Body:
        """The body as a model's files describe it.

        Beside layers that learn, frozen ones are float32 too; with a start of its own, a body is
        stored whole, as its lower layers are in no base that others share.
        """
        precision = self.body.precision if self.lora.lora_rank else "float32"
        return replace(self.body, precision=precision, top_layers=0 if self.start else self.body.top_layers)

    @property
    def base(self) -> str:
        """Name of the frozen base that models share; empty where each has a whole body of its own."""
        return base_name(self.stored) if self.lora.lora_rank or self.stored.top_layers else ""

    def save_base(self, folder: Path) -> None:
        save_base(self.stored, folder)

    def varied(self, **changes) -> "NeuralLearner":
        """The same learner with other values for fields of `Body`, `Lora` or `Recipe`.

        Raises:
            InputError: see `recipe.varied`.
        """
        body, lora, recipe = varied([self.body, self.lora, self.recipe], **changes)
        return replace(self, body=body, lora=lora, recipe=recipe)

    @property
    def seed(self) -> int:
        """Of the head's start, dropout and the order of batches."""
        return self.recipe.seed

    def reseeded(self, attempt: int) -> "NeuralLearner":
        return self.varied(seed=self.seed + attempt)

    def config(self) -> dict:
        parts = {"body": self.body, "lora": self.lora, "recipe": self.recipe}
        weights = self.start.key if self.start else resolve(self.body.backbone).fingerprint
        return {name: vars(settings) for name, settings in parts.items()} | {"weights": weights}

    def fit(self, phases: list[Phase], label: str = "") -> NeuralModel:
        """Train one classifier; prints a line an epoch. Empty phases are passed over.

        What is frozen stays in memory for the next training of this process that stands on it.
        """
        phases = [p for p in phases if len(p.texts) and p.epochs]
        if self.launch:
            return self._fit_launched(phases, label)
        tokenizer, classifier = self._fresh(self._shared())
        lower = self._lower(classifier, tokenizer, [phase.texts for phase in phases])
        model = self._model(classifier, tokenizer, lower=lower)
        self._start_head(model, phases)
        model.history = train(classifier, tokenizer, self.schema, phases, self.recipe, label, model.lower)
        return model

    def prepare(self, tables: list[pd.DataFrame]) -> None:
        """Let the frozen layers read these cases before several trainings need them, each table by itself.

        The weights are let go of again: the trainings may run in processes of their own.
        """
        if not self._may_keep_states or not self.body.top_layers:
            return
        tokenizer, lower = self._tokenizer(self._shared()), LowerStates(self.states, self._states_key())
        cases = (case for table in tables for (case,) in Inputs(table, tokenizer, self.recipe).cases)
        if any(map(lower.lacks, cases)):
            classifier = self._fresh({"tokenizer": tokenizer})[1]
            lower = self._lower(classifier, tokenizer, tables)
            if lower is not None and self.recipe.head_start == "probe":
                untrained = self._model(classifier, tokenizer, lower=lower)
                for texts in tables:
                    self._untrained_states(untrained, texts)
            gc.collect()  # a model's parts hold one another

    @property
    def _may_keep_states(self) -> bool:
        """Whether nothing in the settings makes what frozen layers give of a case vary."""
        varies = self.start or self.launch or self.recipe.inputs != "joined"
        threads = torch.cuda.device_count() > 1  # of a Trainer without `launch`: they share one config
        return self.states is not None and not varies and not threads

    def _lower(self, classifier: Classifier, tokenizer, tables: list[pd.DataFrame]) -> LowerStates | None:
        """States of the frozen layers, those of `tables` read; None where they are not always the same."""
        if not classifier.cut or not self._may_keep_states:
            return None
        lower = LowerStates(self.states, self._states_key())
        if not (lower.folder.exists() or self._can_be_cut(classifier, tokenizer)):
            return None
        for texts in tables:
            read_lower(classifier, Inputs(texts, tokenizer, self.recipe), texts, self.recipe, lower)
        return lower

    def _can_be_cut(self, classifier: Classifier, tokenizer) -> bool:
        """Whether the frozen layers can be computed apart, and give the same of a case each time."""
        body, cut = classifier.body, classifier.cut
        if not splits_cleanly(body, cut, tokenizer("\n.")["input_ids"]):
            print(f"{self.body.backbone}: its layers cannot be computed apart, so all are at every step")
            return False
        return not has_dropout(modules_below(body, cut))

    def _states_key(self) -> str:
        """Content key of all that decides what the frozen layers give of a case, but for its token ids."""
        read = {name: value for name, value in vars(self.body).items() if name not in ("pooling", "backbone")}
        adapted = sorted(self.lora.lora_targets) if self.lora.lora_rank else []
        place = (torch_device(), self.recipe.precision, adapted, self.recipe.checkpointing)  # decide the cut
        code = source_digest("narrutils.models.reading")
        return digest(read, self.config()["weights"], place, code)

    def _shared(self) -> Shared:
        """What trainings of this process hold together; it lets go of what others stood on."""
        body = replace(self._body(), pooling="", top_layers=0)
        key = self.config()["weights"], body, bool(self.lora.lora_rank)
        if key not in _HELD:
            _HELD.clear()
            _HELD[key] = {}
        return _HELD[key]

    def _tokenizer(self, shared: Shared | None):
        return once(shared, "tokenizer", lambda: load_tokenizer(resolve(self._body().backbone)))

    def _fresh(self, shared: Shared | None = None) -> tuple[object, Classifier]:
        """Tokenizer and classifier as training finds them, but for the start of the head."""
        body = self._body()  # first: pretraining it, if it is yet to be done, draws numbers too
        set_seed(self.recipe.seed)
        tokenizer = self._tokenizer(shared)
        recipe, narratives = self.recipe, len(self.schema.text_columns)
        classifier = build(
            body, self.lora, self.schema.width, recipe.head_dropout, recipe.checkpointing, narratives, shared
        )
        classifier.to(torch_device())
        return tokenizer, classifier

    def _start_head(self, model: NeuralModel, phases: list[Phase]) -> None:
        """Start the head as the recipe says, from the last phase, the official rows."""
        if self.recipe.head_start == "rates":
            set_prevalence_bias(model.classifier, self.schema, phases[-1].targets)
        elif self.recipe.head_start == "probe":
            set_probe(model.classifier, self._probe(model, phases[-1]))

    def _probe(self, model: NeuralModel, phase: Phase) -> Probe:
        """A linear model on the untrained states of a phase; on stored ones it is fitted once."""

        def fitted(states: np.ndarray) -> Probe:
            return fit_probe(self.schema, states, phase.targets, self.recipe.probe_c)

        if model.lower is None:
            return fitted(model.pooled(phase.texts))
        key = digest(self.config(), self.schema.to_dict(), phase.key(), source_digest(__name__))
        make = lambda: vars(fitted(self._untrained_states(model, phase.texts)))  # noqa: E731
        return Probe(**model.lower.once(key, make))

    def _untrained_states(self, model: NeuralModel, texts: pd.DataFrame) -> np.ndarray:
        """What the head reads of cases before anything is learned, `[cases, states]`, in their order.

        It has no fold, as nothing that varies between the trainings of a run has a part in it, and is
        kept beside the states of the frozen layers that it was computed from.
        """
        inputs = Inputs(texts, model.tokenizer, self.recipe)
        # Where one narrative ends is told too: the same tokens can be parted otherwise.
        named = [[*case, *chain(*spans)] for (case,), spans in zip(inputs.cases, inputs.spans, strict=True)]
        key = digest(self._states_key(), model.classifier.pooling, source_digest(__name__))
        kept = LowerStates(self.states, key)
        if any(map(kept.lacks, named)):
            pooled = torch.from_numpy(model.pooled(texts))
            kept.add(zip(named, map(torch.clone, pooled), strict=True))
        return torch.stack([kept.of(case) for case in named]).numpy()

    def _fit_launched(self, phases: list[Phase], label: str) -> NeuralModel:
        """The same training in processes of its own; the model then stands in this one."""
        parts = {"body": vars(self._body()), "lora": vars(self.lora), "recipe": vars(self.recipe)}
        outcome = train_launched(self.launch, self.schema, parts, phases, label)
        model = self._model(*reversed(self._fresh()), history=outcome.history)
        self._start_head(model, phases)
        take_over(model.classifier, outcome.weights)
        return model

    def _model(self, classifier: Classifier, tokenizer, **more) -> NeuralModel:
        return NeuralModel(self.schema, classifier, tokenizer, self.recipe, self.stored, self.lora, **more)

    def _body(self) -> Body:
        """The body that training starts from."""
        if self.start is None:
            return self.body
        return replace(self.body, backbone=str(self.start.folder()), layers=0)  # cut already


def set_prevalence_bias(classifier: Classifier, schema: Schema, targets: pd.DataFrame) -> None:
    """Start each logit at the log-odds (or log-share) of its rate in the labels, add-one smoothed."""
    values = targets[schema.columns].to_numpy()
    rates = (np.nansum(values, axis=0) + 1) / ((~np.isnan(values)).sum(0) + 2)
    bias = np.log(rates)
    bias[schema.binary_index] -= np.log1p(-rates[schema.binary_index])
    with torch.no_grad():
        classifier.head.bias.copy_(torch.tensor(bias))


def set_probe(classifier: Classifier, probe: Probe) -> None:
    """Start the head as the linear model that was fitted on what it reads."""
    classifier.head.take(
        {"centre": probe.centre, "spread": probe.spread, "weight": probe.weights.T, "bias": probe.bias}
    )


def final_learners(learner: NeuralLearner, finals: list[dict]) -> dict[str, NeuralLearner]:
    """The further models of a profile: name -> the rounds' learner with the settings that differ."""
    return {name: learner.varied(**changes) for name, changes in by_name(finals).items()}
