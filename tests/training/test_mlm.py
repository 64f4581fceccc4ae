"""Pretraining on masks: it learns, it is stored once, and nothing of a held-out fold reaches a body."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from toys import TOY, random_labels, save_tiny_bert, tokenizer, uids, word_texts

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import given_labels
from narrutils.crossfit.stored import load_model
from narrutils.data.files import read_json
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.errors import InputError
from narrutils.models.backbones import load_body, load_masked, resolve
from narrutils.models.settings import Body, Lora
from narrutils.training.mlm import Blocks, pretrained
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Pretraining, Recipe

pytestmark = pytest.mark.slow

N, K = 24, 3
FOLDS = pd.Series(np.arange(N) % K, index=uids(N), name="fold")
TEXTS, LABELS = word_texts(TOY, N, words=12), random_labels(TOY, N)
TEST = word_texts(TOY, 4, seed=2).set_axis(uids(4, "t"))
POOL = (
    word_texts(TOY, 6, seed=3, words=12).set_axis(uids(6, "g")).assign(seen_folds=[[n % K] for n in range(6)])
)
MLM = Pretraining(2, mlm_block=32, mlm_batch_size=4, mlm_learning_rate=3e-3, precision="float32")
#: A head that moves fast: models that read all cases alike would be trained again and again.
RECIPE = Recipe(max_tokens=40, precision="float32", learning_rate=1e-3, head_learning_rate=0.3, warmup=0.0)
MASKING = tokenizer(pad_token="<pad>", cls_token="[CLS]", sep_token="[SEP]", mask_token="<mask>")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """Folder of a tiny encoder whose tokenizer can mask."""
    folder = tmp_path_factory.mktemp("masking") / "tiny-bert"
    save_tiny_bert(folder)
    MASKING.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def learner(backbone):
    return NeuralLearner(TOY, Body(backbone), recipe=RECIPE)


def study_of(run, texts=TEXTS, pool=POOL) -> Study:
    return Study(run, TOY, texts, FOLDS, TEST, LABELS, pool=pool)


def body_of(run: Run, fold: str) -> dict[str, torch.Tensor]:
    return load_file(run.path(f"models/mlm/{fold}/model.safetensors"))


def crossfit(run, learner, texts=TEXTS, pool=POOL, settings=MLM) -> CrossFit:
    learner_of = pretrained(study_of(run, texts, pool), learner, settings)
    model = CrossFit(study_of(run, texts, pool), "deberta", learner, pool, learner_of)
    return model.fit(given_labels(model.study))


def test_the_loss_falls_and_the_body_moves(learner, tmp_path):
    run = Run(tmp_path, "04_test")
    start = pretrained(study_of(run, TEXTS, POOL), learner, replace(MLM, mlm_epochs=12))((0,)).start
    losses = read_json(start.folder() / "training.json")["loss"]
    assert len(losses) == 12
    assert losses[-1] < losses[0] - 0.2
    before = load_body(resolve(learner.body.backbone), torch.float32).state_dict()
    after = load_body(resolve(str(start.folder())), torch.float32).state_dict()
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("generated", [False, True])
def test_nothing_of_a_fold_reaches_the_body_of_the_model_tested_on_it(learner, tmp_path, generated):
    """Texts of fold 1, and of the generated rows that saw it, are replaced: its own body is the same."""
    settings, runs = replace(MLM, mlm_generated=generated), [Run(tmp_path / name, "04_test") for name in "ab"]
    texts, pool = TEXTS.copy(), POOL.copy()
    texts[FOLDS == 1] = word_texts(TOY, N, seed=9, words=12)[FOLDS.eq(1).to_numpy()].to_numpy()
    seen = [1 in folds for folds in pool["seen_folds"]]
    pool.loc[seen, TOY.text_columns] = word_texts(TOY, sum(seen), seed=8, words=12).to_numpy()
    models = [
        crossfit(runs[0], learner, settings=settings),
        crossfit(runs[1], learner, texts, pool, settings),
    ]
    for k in range(K):
        bodies = [body_of(run, f"fold{k}") for run in runs]
        same = all(torch.equal(bodies[0][name], bodies[1][name]) for name in bodies[0])
        assert same == (k == 1)  # the others did learn from fold 1, so the proof has teeth
        tested = [model.fold_on_test(k) for model in models]
        assert tested[0].equals(tested[1]) == (k == 1)


def test_a_nested_teacher_has_a_body_that_left_two_folds_out(learner, tmp_path):
    run = Run(tmp_path, "04_test")
    learner_of = pretrained(study_of(run, TEXTS, POOL), learner, replace(MLM, mlm_generated=True))
    model = CrossFit(Study(run, TOY, TEXTS, FOLDS, TEST), "deberta", learner, POOL, learner_of=learner_of)
    model.fit(given_labels(model.study, 1, labels=LABELS), [(0, 2)])
    assert read_json(run.path("models/mlm/pair0_2/training.json")) | {"loss": 0} == {
        "held_out": [0, 2],
        "cases": 8 + 2,  # of fold 1: its cases, and the generated rows that saw no other
        "loss": 0,
    }
    keys = {h: learner_of(h).start.key for h in [(0,), (2,), (0, 2)]}
    assert len(set(keys.values())) == 3


def test_generated_rows_take_part_only_if_wanted(learner, tmp_path):
    run, cases = Run(tmp_path, "04_test"), {}
    for generated in (False, True):
        settings = replace(MLM, mlm_epochs=1, mlm_generated=generated)
        start = pretrained(study_of(run, TEXTS, POOL), learner, settings)((0,)).start
        cases[generated] = read_json(start.folder() / "training.json")["cases"]
    assert cases == {False: 16, True: 16 + 4}


def test_a_classifier_is_trained_anew_when_its_body_was_and_resumes_without_it(learner, tmp_path, capsys):
    import shutil

    run = Run(tmp_path, "04_test")
    first = crossfit(run, learner).fold_on_test(0)
    shutil.rmtree(run.path("models/mlm"))  # nothing needs it once its classifier is there
    capsys.readouterr()
    crossfit(run, learner)
    assert capsys.readouterr().out.count("already trained") == K
    assert not run.has("models/mlm")
    other = crossfit(run, learner, settings=replace(MLM, mlm_epochs=3)).fold_on_test(0)
    assert not other.equals(first)
    plain = crossfit(run, learner, settings=Pretraining()).fold_on_test(0)
    assert not plain.equals(first)
    again = crossfit(run, learner).fold_on_test(0)
    pd.testing.assert_frame_equal(again, first, check_exact=True)


def test_a_body_that_is_there_gives_the_classifier_that_a_new_one_does(learner, tmp_path):
    """Pretraining draws random numbers: the head's start must not depend on whether it just ran."""
    runs = [Run(tmp_path / name, "04_test") for name in "ab"]
    pretrained(study_of(runs[1], TEXTS, POOL), learner, MLM)((0,)).start.folder()
    fresh, ready = (crossfit(run, learner).fold_on_test(0) for run in runs)
    pd.testing.assert_frame_equal(fresh, ready, check_exact=True)


def test_a_stored_model_needs_nothing_of_its_pretraining(learner, tmp_path):
    import shutil

    run = Run(tmp_path, "04_test")
    model = crossfit(run, learner)
    shutil.rmtree(run.path("models/mlm"))
    read = load_model(run.path("models/deberta/fold0"), TOY).predict(TEST)
    pd.testing.assert_frame_equal(read, model.fold_on_test(0), atol=1e-6)


def test_without_epochs_the_learner_is_the_one_that_was_given(learner, tmp_path):
    learner_of = pretrained(study_of(Run(tmp_path, "04_test"), TEXTS, POOL), learner, Pretraining())
    assert learner_of((0,)) is learner


def test_of_empty_texts_nothing_is_learned(learner, tmp_path):
    empty = TEXTS.assign(First="", Second="")
    crossfit(run := Run(tmp_path, "04_test"), learner, empty, POOL[:0])
    before = load_masked(resolve(learner.body.backbone), torch.float32).base_model.state_dict()
    assert all(torch.equal(weight, before[name]) for name, weight in body_of(run, "fold0").items())


def test_fewer_layers_are_pretrained_where_fewer_are_kept(learner, tmp_path):
    run, cut = Run(tmp_path, "04_test"), learner.varied(layers=1)
    crossfit(run, cut)
    assert read_json(run.path("models/mlm/fold0/config.json"))["num_hidden_layers"] == 1


@pytest.mark.parametrize("length", [8, 32, 1000])
def test_blocks_hold_every_token_once_between_start_and_end(length):
    texts = TEXTS.copy()
    texts.iloc[3, 0] = ""
    blocks = Blocks(texts, MASKING, length, repair=False, seed=1)
    cls, sep = MASKING.cls_token_id, MASKING.sep_token_id
    assert all(ids[0] == cls and ids[-1] == sep for ids in blocks.ids)
    assert all(len(ids) == length for ids in blocks.ids[:-1])
    told = [t for ids in blocks.ids for t in ids[1:-1] if t != sep]
    given = [
        t
        for column in texts
        for text in texts[column]
        for t in MASKING(text, add_special_tokens=False).input_ids
    ]
    assert sorted(told) == sorted(given)
    assert blocks.ids == Blocks(texts, MASKING, length, False, seed=1).ids
    assert blocks.ids != Blocks(texts, MASKING, length, False, seed=2).ids


def test_who_cannot_learn_from_masks_is_told_in_one_line(learner, tiny_bert, tiny_gemma_folder, tmp_path):
    faults = {
        "is no encoder": replace(learner, body=Body(tiny_gemma_folder)),
        "has no mask token": replace(learner, body=Body(tiny_bert)),
        "frozen base of adapters": replace(learner, lora=Lora(2, 4)),
    }
    for fault, wrong in faults.items():
        with pytest.raises(InputError, match=f"{fault}.*; set mlm_epochs to 0"):
            pretrained(study_of(Run(tmp_path, "04_test"), TEXTS, POOL), wrong, MLM)


def test_a_fresh_head_is_said(backbone, capsys):
    load_masked(resolve(backbone), torch.float32)
    assert "weights start at random, such as cls.predictions" in capsys.readouterr().out
    load_body(resolve(backbone), torch.float32)
    assert capsys.readouterr().out == ""
