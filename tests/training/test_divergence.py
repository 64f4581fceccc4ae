"""Diverging trainings, noticed by loss and gradient."""

import numpy as np
import pytest
from toys import TOY, random_labels, word_texts

from narrutils.models.learner import Phase
from narrutils.models.settings import Body
from narrutils.training import extras
from narrutils.training.divergence import Diverged, Watch
from narrutils.training.losses import AbstractionLoss
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Recipe


def follow(losses, norms=None, phases=None):
    """What a watch says of these steps."""
    watch = Watch()
    for n, loss in enumerate(losses):
        watch.see(n + 1, phases[n] if phases else 0, loss, norms[n] if norms is not None else 1.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_or_gradient_that_is_no_number_is_seen_at_once(bad):
    with pytest.raises(Diverged, match="loss is not finite at step 3"):
        follow([0.5, 0.5, bad])
    with pytest.raises(Diverged, match="gradient norm is not finite at step 2"):
        follow([0.5, 0.5], [1.0, bad])


def test_a_loss_that_stays_high_is_seen_and_an_outlier_is_not():
    follow([0.5] * 20 + [5.0] + [0.5] * 20)
    follow([0.001] * 20 + [0.01] * 20)  # many times next to nothing is still next to nothing
    with pytest.raises(Diverged, match="the loss rose from 0.5 to"):
        follow([0.5] * 20 + [2.0] * 10)


def test_a_new_phase_has_a_scale_of_its_own():
    """A soft target's loss is not comparable with a hard one's, nor F1 with cross-entropy."""
    losses, phases = [0.1] * 20 + [0.7] * 20, [0] * 20 + [1] * 20
    follow(losses, phases=phases)
    with pytest.raises(Diverged):
        follow(losses)


def test_a_gradient_that_stays_out_of_scale_is_seen_and_an_outlier_is_not():
    quiet = np.random.default_rng(0).uniform(0.5, 2, 60).tolist()
    follow([0.5] * 62, [*quiet, 1e4, 1.0])
    follow([0.5] * 70, [*quiet, *[50.0] * 10])  # it may grow
    with pytest.raises(Diverged, match="gradient norm stays at"):
        follow([0.5] * 70, [*quiet, *[1e4] * 10])


def test_an_exploding_loss_ends_a_real_training(tiny_bert, monkeypatch):
    monkeypatch.setattr(extras, "loss_of", lambda *args: Exploding(TOY))
    many = Phase(word_texts(TOY, 12), TOY.to_targets(random_labels(TOY, 12)), epochs=12)
    neural = NeuralLearner(
        TOY, Body(tiny_bert), recipe=Recipe(max_tokens=24, batch_size=4, precision="float32", seed=7)
    )
    with pytest.raises(Diverged, match="the loss rose from"):
        neural.fit([many])


class Exploding(AbstractionLoss):
    """A loss that grows by a tenth a step."""

    steps = 0

    def forward(self, *args):
        self.steps += 1
        return super().forward(*args) * 1.1**self.steps
