"""A finished run of toy models, as notebooks leave one: what `predict` and `bundle` read."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import torch
from toys import TOY, random_labels, uids, word_texts

from narrutils.crossfit.deployed import Deployed
from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels
from narrutils.data.files import digest, write_json
from narrutils.data.run import Run
from narrutils.data.stages import RECORD, recorded
from narrutils.data.study import Study
from narrutils.evaluation import drift, flags
from narrutils.evaluation.calibration import fit_calibration
from narrutils.evaluation.ensemble import blend
from narrutils.evaluation.thresholds import search
from narrutils.models.frozen import FrozenLearner
from narrutils.models.learner import Phase
from narrutils.models.settings import Body, Lora
from narrutils.models.tfidf import TfidfLearner
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Recipe

LABELS = random_labels(TOY, 24)
FOLDS = pd.Series([n % 3 for n in range(24)], index=LABELS.index, name="fold")
#: Lengths differ, so that the batches of a reading depend on which rows it holds.
SHORT, LONG = word_texts(TOY, 12, seed=1, words=3), word_texts(TOY, 12, seed=2, words=9)
TEXTS = pd.concat([SHORT, LONG]).set_axis(uids(24))
TEST = pd.concat([word_texts(TOY, 5, seed=n, words=2 + 3 * n) for n in range(3)]).set_axis(uids(15, "t"))


def learners(encoder: str, causal: str) -> dict:
    """One learner of each kind, by the name of its model."""
    recipe = Recipe(max_tokens=14, learning_rate=1e-2, batch_size=2, precision="bfloat16")
    top = Body(causal, top_layers=1, pooling="parts", precision="bfloat16")
    return {
        "tfidf": TfidfLearner(TOY, min_df=1),
        "frozen": FrozenLearner(TOY, Body(encoder, precision="bfloat16"), window=4),
        "encoder": NeuralLearner(TOY, Body(encoder), Lora(), recipe),
        "adapters": NeuralLearner(TOY, Body(causal, layers=1, precision="bfloat16"), Lora(4, 8), recipe),
        "top": NeuralLearner(TOY, top, Lora(4, 8), recipe),
    }


def siblings(learner: NeuralLearner, folder: Path, folds: int = 3) -> list[Path]:
    """The folders of stored models that differ in their seed, below `folder/models`, and their base."""
    phase, made = Phase(TEXTS, TOY.to_targets(LABELS)), []
    for fold in range(folds):
        model = learner.reseeded(fold).fit([phase])
        with torch.no_grad():  # far apart, so that one taken for another shows
            model.classifier.head.weight.normal_(std=0.5)
        made.append(folder / f"models/siblings/fold{fold}")
        made[-1].mkdir(parents=True)
        model.save(made[-1])
        write_json(made[-1] / "training.json", {"config": learner.config()})
    if learner.base:
        learner.save_base(folder / "models/base" / learner.base)
    return made


def finished_run(folder, models: dict, test: pd.DataFrame = TEST, refits: Iterable[str] = ()) -> Run:
    """A run folder with cross-fitted models, the ensemble of equal weights, and its submission.

    Args:
        refits: names of the models that have a refit.
    """
    run = Run(folder, "06_test")
    run.write("schema.json", TOY.to_dict())
    run.write(
        "cases.parquet", pd.concat([TEXTS.join(LABELS).assign(split="train"), test.assign(split="test")])
    )
    run.write("folds.parquet", FOLDS.rename_axis("uid").reset_index())
    read = {}
    for name, learner in models.items():
        model = CrossFit(Study(run, TOY, TEXTS, FOLDS, test), name, learner)
        given = given_labels(model.study, labels=LABELS)
        (model.fit(given).fit_all(given) if name in refits else model.fit(given)).publish(name)
        read[name] = model
    weights = {name: 1 / len(read) for name in read}
    found, tested = (
        blend(TOY, {name: table(model) for name, model in read.items()}, weights)
        for table in (CrossFit.out_of_fold, CrossFit.on_test)
    )
    thresholds = search(TOY, LABELS, found)
    run.write("ensemble.json", {"members": list(weights), "weights": weights, "thresholds": thresholds})
    run.write_probabilities("predictions/ensemble_test.parquet", tested, TOY)
    run.write("submission.csv", TOY.to_labels(tested, thresholds).reset_index())
    run.write("calibration.json", fit_calibration(TOY, LABELS, found).to_dict())
    codes = TOY.to_labels(found, thresholds)
    run.write("flags.json", flags.summarise(TOY, LABELS, codes, found, FOLDS, share=0.25))
    return run


def promising(run: Run) -> Run:
    """The run, with promises about some variables and a reference of its cases, as notebook 06 has them."""
    cuts = {"Sad": ("recall", 0.6), "Place": ("accuracy", 0.4), "Note": ("precision", 0.55)}
    kept = {name: {"outcome": "promised", "kind": kind, "cut": cut} for name, (kind, cut) in cuts.items()}
    lost = {"Tool": {"outcome": "not reached", "kind": "accuracy", "cut": None}}
    run.write("findings/promises.json", {"variables": kept | lost})
    deployed = Deployed.open(run.folder)
    read = deployed.read(TEXTS)
    calibrated = deployed.calibration.apply(read)
    doubts = flags.doubt(TOY, deployed.decide(read), calibrated)
    texts = drift.of_texts(TOY, TEXTS, deployed.known)
    numbers = drift.reference(texts.join(drift.of_readings(doubts, calibrated)))
    run.write("findings/reference.json", {"of": "test", "cases": len(TEXTS), "numbers": numbers})
    return run


def record(run: Run, stage: str, *names: str, before: tuple[str, ...] = ()) -> None:
    """Note that a stage ended after those before it and wrote these artefacts, as the runner does."""
    earlier = {s: digest(recorded(run, s)["files"]) for s in before}
    files = {name: digest(run.path(name)) for name in names}
    write_json(run.path(f".stages/{stage}{RECORD}"), {"parts": {"earlier": earlier}, "files": files})


def features(folder, texts: pd.DataFrame, name: str = "new.csv"):
    """The path of a features file of these cases."""
    path = folder / name
    texts.rename_axis("uid").reset_index().to_csv(path, index=False)
    return path
