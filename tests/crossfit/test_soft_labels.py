"""Pseudo-labelling without a leak: the whole chain is run twice, with one fold's data changed.

`HashLearner` answers otherwise as soon as one letter or one target of what it
learned from is another. So if fold k's texts and labels are replaced and the model
tested on fold k is the same to the last digit, then nothing of fold k reached it.
"""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from toys import TOY, HashLearner, random_labels, uids, word_texts

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import Corrected, Teaching, corrected_labels, given_labels
from narrutils.crossfit.rounds import pool_of_round, run_finals, run_rounds
from narrutils.crossfit.soft_labels import (
    SoftLabels,
    nested_readings,
    next_teacher,
    read_soft_labels,
    soft_labels_of,
    two_phases,
)
from narrutils.crossfit.teachers import Teachers
from narrutils.data.files import digest
from narrutils.data.folds import for_fold, learns_from
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.errors import InputError
from narrutils.labels.correction import correct_by_fold

pytestmark = pytest.mark.slow

N, K = 60, 4
FOLDS = pd.Series(np.arange(N) % K, index=uids(N), name="fold")
NO_POOL = pd.DataFrame(columns=["seen_folds", *TOY.text_columns], index=uids(0))
TEST = word_texts(TOY, 4, seed=2).set_axis(uids(4, "t"))


def generated(texts: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Two rows a fold whose text depends on all that fold's texts and labels."""
    rows = []
    for k in range(K):
        own = FOLDS.index[FOLDS.eq(k)]
        told = digest(texts.loc[own], labels.loc[own])
        rows += [
            {"First": f"{told} {n}", "Second": told, "seen_folds": [k], "pool": f"p{n}"} for n in range(2)
        ]
    return pd.DataFrame(rows, index=uids(2 * K, "g"))


def chain(folder, texts, labels, strict=True):
    """Teacher, correction, encoder, soft labels, two rounds of a student: notebooks 03 to 05."""
    pool, learner = generated(texts, labels), HashLearner(TOY)
    study = Study(Run(folder, "05_test"), TOY, texts, FOLDS, TEST, labels)

    def model(name):
        return CrossFit(study, name, learner, pool)

    reader = model("reader")
    given = given_labels(study)
    reader.fit(given)
    if strict:
        reader.fit_pairs(given)
    correction = correct_by_fold(TOY, labels, nested_readings(reader, strict), FOLDS, "author")
    encoder = model("encoder")
    encoder.fit(corrected_labels(study, Corrected(correction.targets), 2))
    if strict:
        encoder.fit_pairs(given_labels(study))
    teacher = soft_labels_of(encoder, strict)
    students = []
    for number in range(2):
        students.append(model(f"student{number}"))
        students[-1].fit(two_phases(study, pool, teacher, Corrected(correction.targets), (1, 2)))
        teacher = next_teacher(students[-1], teacher, pool, (1, 1), strict)
    return students, correction, learner


def state(student: CrossFit, k: int) -> str:
    return student.study.run.read(f"models/{student.name}/fold{k}/state.json")


@pytest.fixture(scope="module")
def world():
    return word_texts(TOY, N, seed=1), random_labels(TOY, N)


def disturbed(world, k):
    """The same cases with the texts and labels of fold k replaced."""
    texts, labels = world[0].copy(), world[1].copy()
    own = FOLDS.eq(k)
    texts.loc[own] = word_texts(TOY, N, seed=9)[own.to_numpy()].to_numpy()
    labels.loc[own] = random_labels(TOY, N, seed=8)[own.to_numpy()].to_numpy()
    return texts, labels


@pytest.fixture(scope="module")
def honest(world, tmp_path_factory):
    return chain(tmp_path_factory.mktemp("honest"), *world)


@pytest.mark.parametrize("k", [0, 3])
def test_nothing_of_fold_k_reaches_the_model_that_is_tested_on_it(world, honest, tmp_path, k):
    students, correction, _ = honest
    assert not any(student.optimistic for student in students)
    others, changed, _ = chain(tmp_path, *disturbed(world, k))
    pd.testing.assert_frame_equal(for_fold(changed.targets, k), for_fold(correction.targets, k))
    for student, other in zip(students, others, strict=True):
        assert state(other, k) == state(student, k)
        pd.testing.assert_frame_equal(other.fold_on_test(k), student.fold_on_test(k))
        for j in set(range(K)) - {k}:  # the proof has teeth: everyone else did learn from fold k
            assert state(other, j) != state(student, j)


def test_the_correction_had_something_to_carry(honest):
    flips = honest[1].flips
    assert flips.groupby("held_out_fold").size().min() >= 2


def test_no_model_was_ever_shown_a_held_out_uid(honest):
    learner = honest[2]
    assert {label.split()[0] for label in learner.learned} == {"reader", "encoder", "student0", "student1"}
    for label, learned in learner.learned.items():
        held_out = set(map(int, label.split()[1][4:].split("_")))
        assert not {u for u in learned if u[0] == "u" and FOLDS[u] in held_out}
        assert not {u for u in learned if u[0] == "g" and int(u[1:]) // 2 in held_out}
        assert not {u for u in learned if u[0] == "t"}
    assert "g007" in learner.learned["student0 fold0"]  # generated rows do take part


def test_the_authors_way_does_leak_which_is_why_it_is_marked(world, tmp_path):
    plain, *_ = chain(tmp_path / "a", *world, strict=False)
    other, *_ = chain(tmp_path / "b", *disturbed(world, 0), strict=False)
    assert state(other[0], 0) != state(plain[0], 0)
    assert all(student.optimistic for student in plain)


def test_the_curriculum_is_one_soft_phase_on_everything_then_the_official_rows(world, honest):
    texts, labels = world
    students, correction, _ = honest
    pool = generated(texts, labels)
    teacher = soft_labels_of(students[0])
    soft, hard = two_phases(students[0].study, pool, teacher, Corrected(correction.targets), (1, 4))((2,))
    assert (soft.epochs, soft.soft, hard.epochs, hard.soft) == (1, True, 4, False)
    official = learns_from(FOLDS, (2,))
    assert set(hard.texts.index) == set(official)
    assert set(soft.texts.index) == set(official) | (set(pool.index) - {"g004", "g005"})
    pd.testing.assert_frame_equal(
        hard.targets, for_fold(correction.targets, 2).loc[official], check_names=False
    )
    for uid in ("u000", "g000"):
        source = teacher.official if uid[0] == "u" else teacher.pool
        np.testing.assert_array_equal(soft.targets.loc[uid], source.loc[(uid, 2)])


def test_without_generated_rows_the_soft_phase_is_the_official_rows(world, honest, tmp_path):
    students, correction, _ = honest
    student = CrossFit(
        Study(Run(tmp_path, "05_test"), TOY, world[0], FOLDS, TEST), "bare", HashLearner(TOY), NO_POOL
    )
    student.fit(given_labels(student.study, labels=world[1]))
    teacher = SoftLabels(nested_readings(students[0]), student.pool_soft_labels(), "student0")
    teacher.save(student.study.run, "bare", TOY)
    teacher = read_soft_labels(student.study, "bare")
    soft, _ = two_phases(student.study, NO_POOL, teacher, Corrected(correction.targets), (1, 4))((2,))
    assert soft.soft
    assert soft.texts.index.equals(learns_from(FOLDS, (2,)))


def test_soft_labels_survive_the_disk(honest, world, tmp_path):
    student, run = honest[0][0], Run(tmp_path, "04_test")
    soft = soft_labels_of(student)
    soft.save(run, "student", TOY)
    back = read_soft_labels(replace(student.study, run=run), "student")
    assert (back.nested, back.optimistic) == ("student0", False)
    pd.testing.assert_frame_equal(back.official, soft.official)
    pd.testing.assert_frame_equal(back.pool, soft.pool)


def test_official_labels_can_stay_those_of_the_first_teacher(honest, world):
    student = honest[0][0]
    first = soft_labels_of(student)
    kept = next_teacher(honest[0][1], first, generated(*world), (1, 1), relabel=False)
    pd.testing.assert_frame_equal(kept.official, first.official)
    assert not kept.pool.equals(first.pool)
    assert kept.nested == first.nested


def test_a_rounds_nested_teachers_learn_from_the_former_ones(honest):
    """Their soft labels of generated rows come from the teacher that left out the same two folds."""
    learned = honest[2].learned
    assert "g004" in learned["student0 pair0_1"]
    assert not {"g000", "g001", "g002", "g003"} & set(learned["student0 pair0_1"])
    first, second = (nested_readings(student) for student in honest[0])
    assert not first.equals(second)


def test_each_round_learns_from_its_own_pools(world):
    pool = generated(*world)
    assert pool_of_round(pool, [], 3) is pool
    assert set(pool_of_round(pool, [["p0"], ["p0", "p1"]], 0)["pool"]) == {"p0"}
    assert len(pool_of_round(pool, [["p0"], ["p0", "p1"]], 1)) == len(pool)
    with pytest.raises(InputError, match="p9"):
        pool_of_round(pool, [["p9"]], 0)


def test_soft_labels_of_another_version_say_so(honest, tmp_path):
    student, run = honest[0][0], Run(tmp_path, "04_test")
    soft_labels_of(student).save(run, "student", TOY)
    run.write("labels/soft/student.json", {"nested": True})
    with pytest.raises(InputError, match="another version"):
        read_soft_labels(replace(student.study, run=run), "student")


@pytest.mark.parametrize("relabel", [True, False])
def test_the_last_kept_round_and_the_finals_can_teach_where_that_is_asked_for(
    world, honest, tmp_path, relabel
):
    """Also where official rows keep the first teacher's labels, so that no round needs teachers itself."""
    run = Run(shutil.copytree(honest[0][0].study.run.folder, tmp_path / "run"), "05_test")
    run.write("folds.parquet", FOLDS.reset_index())
    study, learner = replace(honest[0][0].study, run=run, pool=generated(*world)), HashLearner(TOY)
    first = soft_labels_of(CrossFit(study, "student0", learner, study.pool))
    how = Teaching(rounds=1, gaining_only=False, relabel_official=relabel, may_teach=True)
    made = run_rounds(study, learner, first, Corrected(honest[1].targets), how)
    run_finals(study, {"last": learner}, made, Corrected(honest[1].targets), how)
    taught = {label.split()[0] for label in learner.learned if "pair" in label}
    assert taught == {"gemma_round1", "last"} | ({"gemma"} if relabel else set())
    labels = Teachers(run, "last", TOY).official_soft_labels()
    assert set(for_fold(labels, 2).index) == set(learns_from(FOLDS, (2,)))
    if not relabel:  # the stored ones are the first teacher's
        assert run.read("labels/soft/gemma_round1.json")["teachers"] == "student0"
        own = nested_readings(made.students["gemma_round1"])
        pd.testing.assert_frame_equal(Teachers(run, "gemma_round1", TOY).official_soft_labels(), own)


def test_rounds_that_need_nested_teachers_ask_for_them_before_a_training(world, honest, tmp_path):
    student, learner = honest[0][0], HashLearner(TOY)
    study = replace(student.study, run=Run(tmp_path, "05_test"), pool=generated(*world))
    ways = {"relabel_official": True}, {"relabel_official": False, "may_teach": True}
    for how in ways:
        with pytest.raises(InputError, match="no nested teachers"):
            run_rounds(study, learner, soft_labels_of(student), Corrected(honest[1].targets), Teaching(**how))
    assert not study.run.path("models").exists()
