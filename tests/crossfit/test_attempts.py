"""Attempts at a model: begun again where the training diverged or its readings are constant, and recorded."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from toys import TOY, HashLearner, random_labels, random_probabilities, uids, word_texts

from narrutils.crossfit.attempts import constant, train_and_read
from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import official_phase
from narrutils.data import sources
from narrutils.data.files import read_json
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.errors import InputError
from narrutils.models.learner import Learner, Model, Phase
from narrutils.models.settings import Body
from narrutils.training.divergence import Diverged
from narrutils.training.losses import AbstractionLoss
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Recipe

N = 12
TEXTS = word_texts(TOY, N)
TARGETS = TOY.to_targets(random_labels(TOY, N))
PHASE = Phase(TEXTS, TARGETS)
READ = word_texts(TOY, 5, seed=3).set_axis(uids(5, "t"))


def test_readings_without_spread_are_constant_and_readings_near_the_rates_are_not():
    near = random_probabilities(TOY, uids(40)) * 0.01 + 0.3  # as of a model that has hardly begun
    alike = near * 0 + 0.3 + 1e-5 * np.arange(40)[:, None] / 40
    assert constant(near, TARGETS) == ""
    assert "reads all 40 cases alike" in constant(alike, TARGETS)
    one_tells = alike.assign(Note=near["Note"])
    assert constant(one_tells, TARGETS) == ""


def test_where_nothing_can_be_told_apart_nothing_is_called_constant():
    alike = random_probabilities(TOY, uids(1)).loc[["u000"] * 9]
    assert constant(alike, TARGETS * 0 + 0.5) == ""  # no target varies
    assert constant(alike[:1], TARGETS) == ""
    same = READ.assign(First="w1", Second="w2")
    assert train_and_read(Scripted([0.0]), [PHASE], [same], TOY, "m").attempts == [{"seed": 0, "trouble": ""}]


class Scripted(Learner, Model):
    """A learner whose attempts end as told: the spread of its readings, NaN, or an exception."""

    attempts = 3

    def __init__(self, ends, number=0):
        self.ends, self.seed = ends, number

    def config(self):
        return {}

    def save(self, folder):
        pass

    def reseeded(self, attempt):
        return Scripted(self.ends, self.seed + attempt)

    def fit(self, phases, label):
        if isinstance(self.ends[self.seed], Exception):
            raise self.ends[self.seed]
        return self

    def predict(self, texts):
        drawn = random_probabilities(TOY, texts.index)
        return drawn * self.ends[self.seed] + drawn.mean() * (1 - self.ends[self.seed])


def test_an_attempt_that_went_wrong_is_followed_by_the_next_seed(capsys):
    trained = train_and_read(
        Scripted([Diverged("it rose"), np.nan, 1.0]), [PHASE], [READ], TOY, "gemma fold1"
    )
    assert [a["seed"] for a in trained.attempts] == [0, 1, 2]
    assert [a["trouble"] for a in trained.attempts] == ["it rose", "a prediction is not a number", ""]
    assert trained.model.seed == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "gemma fold1 · attempt 1 of 3, seed 0: it rose"
    assert len(lines) == 2


def test_a_constant_model_is_kept_in_the_end_and_said_to_be_one():
    trained = train_and_read(Scripted([0.0] * 3), [PHASE], [READ], TOY, "m")
    assert [a["seed"] for a in trained.attempts] == [0, 1, 2]
    assert all("alike" in a["trouble"] for a in trained.attempts)
    assert trained.predictions.index.equals(READ.index)


def test_a_model_that_is_not_finite_is_never_kept():
    with pytest.raises(
        InputError, match="m: every training diverged, the last of 3.*not a number; lower learning_rate"
    ):
        train_and_read(Scripted([0.0, 0.0, np.nan]), [PHASE], [READ], TOY, "m")


def crossfit(folder, learner):
    folds = pd.Series(np.arange(N) % 2, index=TEXTS.index)
    model = CrossFit(Study(Run(folder, "04_test"), TOY, TEXTS, folds, READ), "model", learner)
    return model, lambda held_out: [official_phase(TEXTS, TARGETS, folds, held_out, 2)]


@pytest.fixture
def neural(tiny_bert):
    return NeuralLearner(
        TOY, Body(tiny_bert), recipe=Recipe(max_tokens=24, batch_size=4, precision="float32", seed=7)
    )


def test_what_was_given_up_stands_beside_the_model(tmp_path, neural, monkeypatch, capsys):
    """The first seed's loss turns to NaN at its third step; the second seed's model is kept."""
    real, steps = AbstractionLoss.forward, []

    def forward(self, *args):
        steps.append(torch.initial_seed())
        return real(self, *args) * (np.nan if steps == [7, 7, 7] else 1)

    monkeypatch.setattr(AbstractionLoss, "forward", forward)
    model, phases_of = crossfit(tmp_path, neural.varied(head_learning_rate=1e-2))
    model.fit(phases_of, [(0,)])
    described = read_json(tmp_path / "models/model/fold0/training.json")
    first, second = described["attempts"]
    assert first == {"seed": 7, "trouble": "the loss is not finite at step 3"}
    assert second == {"seed": 8, "trouble": ""}
    assert "attempt 1 of 3, seed 7: the loss is not finite at step 3" in capsys.readouterr().out
    again, _ = crossfit(tmp_path / "again", neural.varied(head_learning_rate=1e-2, seed=8))
    again.fit(phases_of, [(0,)])
    pd.testing.assert_frame_equal(model._read((0,)), again._read((0,)), check_exact=True)


def test_a_training_that_diverges_with_every_seed_leaves_nothing(tmp_path, neural):
    model, phases_of = crossfit(tmp_path, neural.varied(learning_rate=1e30, warmup=0.0))
    with pytest.raises(InputError, match="model fold0: every training diverged, the last of 3"):
        model.fit(phases_of)
    assert not (tmp_path / "models/model/fold0").exists()


def test_a_learner_that_draws_nothing_has_one_attempt():
    alike = Scripted([0.0])
    alike.attempts, alike.seed = HashLearner.attempts, 0
    assert len(train_and_read(alike, [PHASE], [READ], TOY, "m").attempts) == 1


def test_models_are_trained_anew_when_the_rule_of_attempts_changes(tmp_path, monkeypatch):
    package = shutil.copytree(
        sources.PACKAGE, tmp_path / "narrutils", ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(sources, "PACKAGE", package)
    learner = HashLearner(TOY)
    model, phases_of = crossfit(tmp_path / "run", learner)
    assert len(model.fit(phases_of).fit(phases_of).learner.trained) == 2
    rule = package / "crossfit/attempts.py"
    rule.write_text(rule.read_text().replace("1e-3", "1e-2"))
    assert len(model.fit(phases_of).learner.trained) == 4
