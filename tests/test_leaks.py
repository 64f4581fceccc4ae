"""Generated rows leak nothing: generation, adapters, screening and training, run twice.

The second time one fold's texts and labels are replaced. Every text that the stub
generator writes depends on each letter of its prompt and on all that its adapter
learned; `HashLearner` depends on each letter and target that it was taught. So if the
model tested on that fold is the same to the last digit, nothing of the fold reached it
through prompts, requested labels, adapters, screening teachers or soft labels.
"""

import numpy as np
import pandas as pd
import pytest
from toys import TOY, HashLearner, random_labels, uids, word_texts

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import generated_phase, official_phase
from narrutils.data.files import digest, read_json, write_json
from narrutils.data.folds import allowed
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.generation import generate
from narrutils.generation.adapters import documents
from narrutils.generation.engines import Answer
from narrutils.generation.pools import read_pools
from narrutils.generation.reference import Limits
from narrutils.generation.screening import Screener, own_fold_teachers

pytestmark = pytest.mark.slow

N, K, ROWS = 64, 4, 48
FOLDS = pd.Series(np.arange(N) % K, index=uids(N), name="fold")
TEST = word_texts(TOY, 4, seed=2).set_axis(uids(4, "t"))

#: Everything passes but what a teacher contradicts: that rule is the one that has read labels.
LOOSE = Limits(
    foreign_letters=1, known_words=0, distinct_fours=0, loop=99, length_slack=99, domain_slack=1e9,
    copied_floor=999, similarity=0.9, told_words=99,
)  # fmt: skip


class Stub:
    """Writes words that a digest of the prompt, and of what the adapter learned, decides."""

    name, form, settings = "stub", "completion", {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def begin(self):
        pass

    def filled(self, prompt):
        return 0.0

    def generate(self, prompts, seed):
        return [self.answer(p) for p in prompts]

    def answer(self, prompt):
        learned = read_json(f"{prompt.adapter}/key.json") if prompt.adapter else ""
        rng = np.random.default_rng(int(digest(prompt.text, learned), 16))
        parts = [" ".join(f"w{i}" for i in rng.integers(0, 40, 6)) for _ in TOY.text]
        return Answer(f"{parts[0]}\n\n{prompt.following[0]}\n{parts[1]}", 12, True)


def stub_adapters(run, name, backbone, examples, labelled, adapting, precision, seed):
    """As `indomain.adapt`, but an adapter is no more than a digest of what it was taught."""
    folders = {}
    for fold in examples.uids:
        folders[fold] = run.path(f"models/{name}/on_fold{fold}")
        write_json(folders[fold] / "key.json", digest(documents(examples, fold, labelled, seed)))
    return folders


def chain(folder, texts, labels, monkeypatch):
    """Two pools, one of them labelled and adapted, screened and learned from; the fold models."""
    monkeypatch.setattr(generate, "adapt", stub_adapters)
    monkeypatch.setattr(generate, "resolve", lambda name: name)
    run = Run(folder, "02_test")
    common = {"backbone": "stub", "rows": ROWS, "max_examples": 2}
    entries = [
        {"pool": "plain", "seed": 1, **common},
        {"pool": "asked", "seed": 2, "labelled": True, "adapt": {}, **common},
    ]
    screener = Screener(texts, FOLDS, TOY, LOOSE, own_fold_teachers(TOY, texts, labels, FOLDS))
    for pool in read_pools(entries, TOY):
        made = generate.generate_pool(run, TOY, pool, texts, FOLDS, labels, 7, backend=Stub())
        run.write_stream(f"generated/{pool.pool}.parquet", screener.stream(made))
    pool, learner = run.pools(TOY), HashLearner(TOY)
    targets = TOY.to_targets(labels)

    def official(held_out):
        return official_phase(texts, targets, FOLDS, held_out, 1)

    teacher = CrossFit(Study(run, TOY, texts, FOLDS, TEST), "teacher", learner, pool)
    teacher.fit(lambda h: [official(h)])
    soft = teacher.pool_soft_labels()

    def phases(held_out):
        mine = soft.xs(held_out[0], level="held_out_fold")
        return [generated_phase(pool, mine, held_out, TOY.text_columns, 1), official(held_out)]

    model = CrossFit(Study(run, TOY, texts, FOLDS, TEST), "model", learner, pool).fit(phases)
    return model, run.pools(TOY, kept=False), learner


@pytest.fixture
def world():
    return word_texts(TOY, N, seed=1), random_labels(TOY, N)


def disturbed(world, k):
    """The same cases with the texts and labels of fold k replaced."""
    texts, labels, own = world[0].copy(), world[1].copy(), FOLDS.eq(k).to_numpy()
    texts.loc[own] = word_texts(TOY, N, seed=9)[own].to_numpy()
    labels.loc[own] = random_labels(TOY, N, seed=8)[own].to_numpy()
    return texts, labels


@pytest.mark.parametrize("k", [0, 2])
def test_nothing_of_a_fold_reaches_the_model_tested_on_it_through_generated_rows(
    world, tmp_path, monkeypatch, k
):
    model, rows, _ = chain(tmp_path / "a", *world, monkeypatch)
    other, changed, _ = chain(tmp_path / "b", *disturbed(world, k), monkeypatch)
    pd.testing.assert_frame_equal(allowed(changed, (k,)), allowed(rows, (k,)))
    for j in range(K):
        same = other.fold_on_test(j).equals(model.fold_on_test(j))
        assert same == (j == k)  # everyone else did learn from fold k, so the proof has teeth


def test_both_pools_and_the_screening_teacher_take_part(world, tmp_path, monkeypatch):
    _, rows, learner = chain(tmp_path, *world, monkeypatch)
    asked = rows[rows["pool"] == "asked"]
    assert asked["agreement"].notna().all() and 0 < asked["kept"].mean() < 1
    for k in range(K):
        learned = learner.learned[f"model fold{k}"]
        used = rows.loc[[uid for uid in learned if "-" in uid]]
        assert set(used["pool"]) == {"plain", "asked"}
        assert not any(k in seen for seen in used["seen_folds"])
