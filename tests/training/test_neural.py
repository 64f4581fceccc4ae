"""Training: two phases under one curve, each row once an epoch, the same numbers for the same seed."""

from dataclasses import replace
from itertools import pairwise
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch
from toys import TOY, random_labels, random_probabilities, uids, with_holes, word_texts
from transformers import get_cosine_schedule_with_warmup

from narrutils.data.settings import Loss
from narrutils.errors import InputError
from narrutils.models.classifier import load_classifier
from narrutils.models.learner import Phase
from narrutils.models.reading import read_logits
from narrutils.models.settings import Body, Lora
from narrutils.training import neural
from narrutils.training.examples import Examples, plan_batches
from narrutils.training.losses import AbstractionLoss
from narrutils.training.neural import NeuralLearner
from narrutils.training.other_losses import SoftF1Loss
from narrutils.training.recipe import Recipe

pytestmark = pytest.mark.slow

RECIPE = Recipe(max_tokens=24, batch_size=4, precision="float32", learning_rate=1e-3, seed=5)
N_SOFT, N_HARD = 10, 7
SOFT_TEXTS = word_texts(TOY, N_SOFT, seed=1).set_axis(uids(N_SOFT, "g"))
SOFT = Phase(SOFT_TEXTS, random_probabilities(TOY, SOFT_TEXTS.index), 1, soft=True)
LABELS = random_labels(TOY, N_HARD)
HARD = Phase(word_texts(TOY, N_HARD, seed=2), TOY.to_targets(LABELS), 3)


@pytest.fixture(scope="module")
def learner(tiny_bert):
    return NeuralLearner(TOY, Body(tiny_bert), recipe=RECIPE)


class Recorder(torch.optim.AdamW):
    """AdamW that keeps the rates and gradients of every step of the latest training."""

    rates: list = []
    grads: list = []

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        Recorder.rates, Recorder.grads = [], []

    def step(self, *args, **kwargs):
        Recorder.rates.append([group["lr"] for group in self.param_groups])
        Recorder.grads.append([w.grad.clone() for group in self.param_groups for w in group["params"]])
        return super().step(*args, **kwargs)


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setattr(torch.optim, "AdamW", Recorder)
    return Recorder


@pytest.fixture
def shown(monkeypatch):
    """Row numbers of every batch that a training asks for, in order."""
    seen, collate = [], Examples.collate

    def spy(self, rows):
        seen.append(list(rows))
        return collate(self, rows)

    monkeypatch.setattr(Examples, "collate", spy)
    return seen


def test_both_phases_stand_under_one_learning_rate_curve(learner, recorder):
    learner.varied(head_learning_rate=5e-3).fit([SOFT, HARD])
    steps = 3 + 3 * 2  # batches of 4 of 10 rows, then three times of 7
    assert len(recorder.rates) == steps
    reference = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)
    curve = get_cosine_schedule_with_warmup(reference, int(np.ceil(0.2 * steps)), steps, num_cycles=0.4)
    expected = []
    for _ in range(steps):
        expected.append(curve.get_last_lr()[0])
        reference.step()
        curve.step()
    body = [min(rates) for rates in recorder.rates]
    np.testing.assert_allclose(body, expected, rtol=1e-6)
    np.testing.assert_allclose([max(rates) for rates in recorder.rates], 5 * np.array(expected), rtol=1e-6)
    peak = int(np.argmax(body))
    assert body[0] == 0
    assert peak == 2
    assert (np.diff(body[peak:]) < 0).all()
    assert curve.get_last_lr()[0] == pytest.approx(1e-3 * 0.095, rel=0.01)


def test_phases_come_in_order_and_every_epoch_shows_every_row_once(learner, shown):
    learner.fit([SOFT, HARD])
    assert all(len({row < N_SOFT for row in batch}) == 1 for batch in shown)  # never both phases
    assert sorted(row for batch in shown[:3] for row in batch) == list(range(N_SOFT))
    for epoch in range(3):
        batches = shown[3 + 2 * epoch : 5 + 2 * epoch]
        assert sorted(row for batch in batches for row in batch) == list(range(N_SOFT, N_SOFT + N_HARD))
    assert len(shown) == 9
    assert shown[3:5] != shown[5:7]


def test_a_plan_has_full_batches_of_like_length_in_random_order():
    phases = [Phase(word_texts(TOY, n), random_probabilities(TOY, uids(n)), e) for n, e in ((21, 1), (9, 2))]
    lengths = np.random.default_rng(0).integers(1, 100, 30).tolist()
    epochs = plan_batches(phases, lengths, 4, seed=1)
    assert [len(epoch) for epoch in epochs] == [6, 3, 3]
    assert [sorted(r for b in e for r in b) for e in epochs] == [list(range(21))] + 2 * [list(range(21, 30))]
    assert all(sorted(map(len, e))[1:] == [4] * (len(e) - 1) for e in epochs)
    longest_first = sorted(epochs[0], key=lambda b: max(lengths[r] for r in b))
    for short, long in pairwise(longest_first):
        assert max(lengths[r] for r in short) <= min(lengths[r] for r in long)
    assert longest_first not in (epochs[0], epochs[0][::-1])
    assert plan_batches(phases, lengths, 4, 1) == epochs != plan_batches(phases, lengths, 4, 2)


@pytest.mark.parametrize("batch_size", [8, 4])
def test_the_first_gradient_is_that_of_the_mean_loss_however_it_is_accumulated(learner, recorder, batch_size):
    """AdamW hides a wrong scale in its first update, so the gradient itself is compared."""
    learner = learner.varied(batch_size=batch_size, accumulation=8 // batch_size, warmup=0.0)
    rows = Phase(word_texts(TOY, 8), TOY.to_targets(random_labels(TOY, 8)))
    starts = []
    keep = neural.train

    def spy(classifier, *args):
        starts.append({n: w.detach().clone() for n, w in classifier.named_parameters()})
        return keep(classifier, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neural, "train", spy)
        model = learner.fit([rows])
    model.classifier.load_state_dict(starts[0])
    examples = Examples([rows], model.tokenizer, learner.recipe)
    batch = examples.collate(list(range(8)))
    logits = model.classifier(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    loss = AbstractionLoss(TOY, 0.1)(logits, batch["targets"], batch["soft"])
    model.classifier.zero_grad()
    loss.backward()
    expected = float(torch.stack([w.grad.norm() for w in model.classifier.parameters()]).norm())
    (grads,) = recorder.grads
    got = float(torch.stack([g.norm() for g in grads]).norm())
    assert 0.02 < expected < 0.99  # else clipping at 1 would hide the scale
    assert got == pytest.approx(expected, rel=1e-3)
    assert model.history[0]["loss"] == pytest.approx(loss.item(), abs=2e-3)


def test_accumulated_and_plain_batches_give_the_same_model(learner):
    rows = Phase(word_texts(TOY, 8), TOY.to_targets(random_labels(TOY, 8)))
    one, two = (
        learner.varied(batch_size=b, accumulation=8 // b, warmup=0.0).fit([rows]).predict(HARD.texts)
        for b in (8, 4)
    )
    pd.testing.assert_frame_equal(one, two, atol=1e-4)


def test_same_seed_same_numbers(learner):
    first, second = (learner.fit([SOFT, HARD]).predict(HARD.texts) for _ in range(2))
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    other = learner.varied(seed=6).fit([SOFT, HARD]).predict(HARD.texts)
    assert (first - other).abs().max().max() > 1e-4


def test_every_epoch_leaves_an_entry_and_a_line(learner, capsys):
    history = learner.fit([SOFT, HARD], "gemma fold1").history
    assert [(h["phase"], h["epoch"], h["rows"]) for h in history] == [
        (0, 1, 10),
        (1, 2, 7),
        (1, 3, 7),
        (1, 4, 7),
    ]
    assert all(np.isfinite(h["loss"]) and 0 < h["loss"] < 5 and h["seconds"] >= 0 for h in history)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("gemma fold1")]
    assert len(lines) == 4
    assert "epoch 4/4" in lines[-1]


def test_every_epoch_leaves_an_entry_under_accumulation_too(learner):
    history = learner.varied(accumulation=2).fit([SOFT, HARD]).history
    assert [h["epoch"] for h in history] == [1, 2, 3, 4]


def test_epochs_shorter_than_an_accumulated_step_leave_their_entries_too(learner):
    history = learner.varied(batch_size=16, accumulation=4).fit([SOFT, HARD]).history
    assert [h["epoch"] for h in history] == [1, 2, 3, 4]


def test_the_head_starts_at_the_training_rates(learner):
    class Head:
        head = torch.nn.Linear(2, TOY.width)

    targets = TOY.to_targets(LABELS)
    neural.set_prevalence_bias(Head, TOY, targets)
    start = TOY.from_logits(Head.head.bias.detach().numpy()[None], uids(1)).iloc[0]
    for v in TOY.variables:
        classes = len(v.columns) if not v.is_binary else 2
        for column in v.columns:
            assert start[column] == pytest.approx((targets[column].sum() + 1) / (N_HARD + classes), rel=1e-5)


def test_rates_of_the_head_are_those_of_the_labels_that_are_given():
    class Head:
        head = torch.nn.Linear(2, TOY.width)

    biases = []
    partly = LABELS.astype("Int64")
    partly.loc["u003", "Sad"], partly["Note"] = pd.NA, pd.NA
    for labels in (LABELS.drop("u003"), partly):
        neural.set_prevalence_bias(Head, TOY, TOY.to_targets(labels))
        biases.append(Head.head.bias.detach().clone())
    assert biases[0][0] == biases[1][0]
    assert biases[1][TOY.columns.index("Note")] == 0


def test_prevalence_bias_comes_from_the_last_phase_and_can_be_left_out(learner, monkeypatch):
    seen = []
    monkeypatch.setattr(
        neural, "set_prevalence_bias", lambda classifier, schema, targets: seen.append(targets)
    )
    learner.fit([SOFT, HARD])
    learner.varied(head_start="zero").fit([SOFT, HARD])
    assert len(seen) == 1
    assert seen[0] is HARD.targets


@pytest.mark.parametrize("lora", [Lora(), Lora(8, 16)], ids=["encoder", "lora causal"])
def test_it_learns_what_the_words_say(tiny_bert, tiny_gemma_folder, lora):
    """The word of a case decides its codes; a model that learns is sure of them in a few epochs."""
    labels = random_labels(TOY, 48)
    texts = pd.DataFrame(
        {
            "First": [f"w{r.Sad} w{2 + r.Place}" for r in labels.itertuples()],
            "Second": [f"w{10 + r.Note} w{20 + r.Tool}" for r in labels.itertuples()],
        },
        index=labels.index,
    )
    recipe = Recipe(
        max_tokens=16,
        batch_size=8,
        precision="bfloat16" if lora.lora_rank else "float32",
        learning_rate=1e-2,
        seed=1,
    )
    backbone = Body(tiny_gemma_folder if lora.lora_rank else tiny_bert, precision="bfloat16")
    model = NeuralLearner(TOY, backbone, lora, recipe).fit([Phase(texts, TOY.to_targets(labels), 30)])
    losses = [h["loss"] for h in model.history]
    assert losses[-1] < 0.8 * losses[0]
    assert (TOY.to_labels(model.predict(texts)) == labels).mean().min() > 0.85


def test_only_what_learns_has_moved(tiny_gemma_folder):
    learner = NeuralLearner(TOY, Body(tiny_gemma_folder), Lora(2, 4), RECIPE)
    starts = {}
    keep = neural.train

    def spy(classifier, *args):
        starts.update({n: w.detach().clone() for n, w in classifier.named_parameters()})
        return keep(classifier, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neural, "train", spy)
        moved = dict(learner.fit([HARD]).classifier.named_parameters())
    for name, weight in moved.items():
        learns = "lora_" in name or name.startswith("head.")
        assert torch.equal(weight, starts[name]) == (not learns), name


def test_readings_keep_the_order_of_the_cases_and_ignore_the_batch(learner):
    model = learner.fit([HARD])
    texts = word_texts(TOY, 20, seed=9)
    texts["First"] = [" ".join(t.split()[: n % 7]) for n, t in enumerate(texts["First"])]
    table = model.predict(texts)
    assert table.index.equals(texts.index)
    shuffled = texts.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(model.predict(shuffled).loc[texts.index], table, atol=1e-5)
    pd.testing.assert_frame_equal(model.predict(texts[5:6]), table[5:6], atol=1e-5)
    assert read_logits(model.classifier, model.tokenizer, texts[:0], RECIPE).shape == (0, TOY.width)


def test_dropout_is_for_training_alone(learner):
    model = learner.varied(head_dropout=0.5).fit([HARD])
    pd.testing.assert_frame_equal(model.predict(HARD.texts), model.predict(HARD.texts), check_exact=True)
    plain = learner.fit([HARD]).history[0]["loss"]
    assert model.history[0]["loss"] != plain


def test_the_last_epochs_may_have_a_loss_of_their_own(learner, shown, monkeypatch):
    """Epochs, batches and the learning-rate curve stay; only what is aimed at changes."""
    used = []
    for name, loss in (("cross_entropy", AbstractionLoss), ("f1", SoftF1Loss)):
        real = loss.forward
        spy = lambda self, *args, name=name, real=real: used.append(name) or real(self, *args)  # noqa: E731
        monkeypatch.setattr(loss, "forward", spy)
    history = learner.varied(finetune_loss="f1", finetune_epochs=2).fit([SOFT, HARD]).history
    assert used == ["cross_entropy"] * 5 + ["f1"] * 4
    assert [(h["phase"], h["epoch"], h["rows"]) for h in history] == [
        (0, 1, 10),
        (1, 2, 7),
        (2, 3, 7),
        (2, 4, 7),
    ]
    assert len(shown) == 9
    named = replace(HARD, loss="f1")
    assert named.key() != HARD.key()
    used.clear()
    learner.fit([SOFT, named])
    assert used == ["cross_entropy"] * 3 + ["f1"] * 6
    with pytest.raises(InputError, match="finetune_epochs is 4, but the last phase has only 3"):
        learner.varied(finetune_loss="f1", finetune_epochs=4).fit([SOFT, HARD])


@pytest.mark.parametrize("loss", get_args(Loss))
def test_every_loss_trains(learner, loss):
    model = learner.varied(loss=loss).fit([SOFT, HARD])
    assert all(np.isfinite(h["loss"]) for h in model.history)
    TOY.check_probabilities(model.predict(HARD.texts))


@pytest.mark.parametrize("head_start", ["rates", "probe"])
@pytest.mark.parametrize("loss", get_args(Loss))
def test_labels_that_are_not_given_are_not_learned(learner, loss, head_start, recorder):
    """Of a variable that nobody labelled the head has no gradient, and says what it said before."""
    labels = with_holes(LABELS, 0.3).assign(Note=pd.NA, Place=pd.NA)
    partly = Phase(HARD.texts, TOY.to_targets(labels), 2)
    model = learner.varied(loss=loss, head_start=head_start).fit([partly])
    assert all(np.isfinite(entry["loss"]) for entry in model.history)
    unknown = ["Note", *TOY["Place"].columns]
    columns = [TOY.columns.index(name) for name in unknown]
    heads = [g for grads in recorder.grads for g in grads if len(g) == TOY.width]
    assert heads and all((g[columns] == 0).all() for g in heads)
    assert any((g != 0).any() for g in heads)
    np.testing.assert_allclose(
        model.predict(SOFT_TEXTS)[unknown], [[1 / 2, 1 / 3, 1 / 3, 1 / 3]] * N_SOFT, atol=0.2
    )


def test_empty_texts_are_trained_on_and_read(learner, tmp_path):
    empty = Phase(HARD.texts.assign(First="", Second=" "), HARD.targets)
    for inputs in ("joined", "separate"):
        model = learner.varied(inputs=inputs).fit([empty])
        table = TOY.check_probabilities(model.predict(empty.texts))
        np.testing.assert_allclose(table, np.tile(table.iloc[0], (N_HARD, 1)), atol=1e-6)


def test_two_dropout_passes_are_held_together(learner, shown):
    """R-Drop shows each batch once, passed twice; its divergence is 0 without dropout's noise."""
    rows = Phase(word_texts(TOY, 8), TOY.to_targets(random_labels(TOY, 8)))
    noisy = learner.varied(head_dropout=0.5, batch_size=8)
    light, heavy = (noisy.varied(r_drop=r).fit([rows]).history[0]["loss"] for r in (1e-6, 1e4))
    assert heavy > light + 0.1  # the passes' cross-entropy is the same, their divergence is not 0
    assert [sorted(batch) for batch in shown] == [list(range(8))] * 2
    with pytest.raises(InputError, match="r_drop compares two dropout passes"):
        learner.varied(r_drop=5.0).fit([rows])


def test_the_mean_of_the_weights_is_what_reads_and_what_is_saved(learner, tmp_path):
    last, mean = learner.fit([SOFT, HARD]), learner.varied(ema=0.9).fit([SOFT, HARD])
    assert [h["loss"] for h in last.history] == [h["loss"] for h in mean.history]
    assert (last.predict(HARD.texts) - mean.predict(HARD.texts)).abs().max().max() > 1e-4
    mean.save(tmp_path)
    loaded = read_logits(*load_classifier(tmp_path), HARD.texts, RECIPE)
    np.testing.assert_allclose(TOY.from_logits(loaded, HARD.texts.index), mean.predict(HARD.texts), atol=1e-5)


def test_a_trained_model_survives_the_disk(learner, tmp_path):
    model = learner.fit([HARD])
    model.save(tmp_path)
    classifier, tokenizer = load_classifier(tmp_path)
    before, after = (
        read_logits(c, t, HARD.texts, RECIPE)
        for c, t in ((model.classifier, model.tokenizer), (classifier, tokenizer))
    )
    np.testing.assert_allclose(after, before, atol=1e-6)
    pd.testing.assert_frame_equal(
        TOY.from_logits(after, HARD.texts.index), model.predict(HARD.texts), atol=1e-5
    )


def test_empty_phases_are_passed_over(learner):
    nothing = Phase(SOFT_TEXTS[:0], SOFT.targets[:0], 1, soft=True)
    never = Phase(SOFT_TEXTS, SOFT.targets, 0, soft=True)
    plain, same = learner.fit([HARD]), learner.fit([nothing, never, HARD])
    assert [h["loss"] for h in plain.history] == [h["loss"] for h in same.history]


def test_settings_vary_by_name_and_stand_in_the_key(learner):
    other = learner.varied(layers=1, lora_rank=4, seed=9)
    assert (other.body.layers, other.lora.lora_rank, other.recipe.seed) == (1, 4, 9)
    assert other.config() != learner.config() == NeuralLearner(TOY, learner.body, recipe=RECIPE).config()
    assert learner.base == ""
    assert other.base.startswith("tiny-bert-")
    with pytest.raises(InputError, match="unknown name lerning_rate; did you mean learning_rate"):
        learner.varied(lerning_rate=1)
