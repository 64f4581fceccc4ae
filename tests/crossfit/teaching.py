"""Finished runs whose models teach, and series of them, over toy cases."""

from dataclasses import replace

import numpy as np
import pandas as pd
from toys import TOY, HashLearner, random_labels, uids, word_texts

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import Corrected, given_labels
from narrutils.crossfit.soft_labels import soft_labels_of, two_phases
from narrutils.crossfit.teachers import Teachers
from narrutils.data.files import digest
from narrutils.data.folds import PLAIN, singles, stack
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.evaluation.ladder import read_steps
from narrutils.evaluation.stacking import form

N, K = 48, 4
FOLDS = pd.Series(np.arange(N) % K, index=uids(N), name="fold")
TEXTS, LABELS = word_texts(TOY, N, seed=1), random_labels(TOY, N)
TEST = word_texts(TOY, 6, seed=2, words=30).set_axis(uids(6, "t"))
POOL = word_texts(TOY, 2 * K, seed=3).set_axis(uids(2 * K, "g"))
POOL = POOL.assign(seen_folds=[[n % K] for n in range(2 * K)])


def begun(folder, texts=TEXTS, labels=LABELS, folds=FOLDS):
    """A run folder with cases and folds."""
    run = Run(folder, "01_test")
    run.write("schema.json", TOY.to_dict())
    train = texts.join(labels).assign(split="train")
    run.write("cases.parquet", pd.concat([train, TEST.assign(split="test")]))
    run.write("folds.parquet", folds.rename_axis("uid").reset_index())
    return run


def finished(folder, learner, name="tfidf", nested=True, pool=POOL[:0]):
    """A run with one model, its nested teachers too where `nested`; the fitted model."""
    model = CrossFit(Study(begun(folder), TOY, TEXTS, FOLDS, TEST), name, learner, pool)
    model.fit(given_labels(model.study, labels=LABELS))
    if nested:
        model.fit_pairs(given_labels(model.study, labels=LABELS))
    model.publish(name)
    return model


def close(one, other):
    pd.testing.assert_frame_equal(one, other, check_names=False, atol=1e-6, rtol=0)


def other_folds():
    return FOLDS.replace({0: 1, 1: 0})


def disturbed(k):
    """The same cases with the texts and labels of fold k replaced."""
    texts, labels, own = TEXTS.copy(), LABELS.copy(), FOLDS.eq(k)
    texts.loc[own] = word_texts(TOY, N, seed=9)[own.to_numpy()].to_numpy()
    labels.loc[own] = random_labels(TOY, N, seed=8)[own.to_numpy()].to_numpy()
    return texts, labels


def written_from(texts, labels, number):
    """Two generated rows a fold whose text depends on all that fold's texts and labels."""
    rows = []
    for k in range(K):
        own = FOLDS.index[FOLDS.eq(k)]
        told = digest(texts.loc[own], labels.loc[own], number)
        rows += [{"First": f"{told} {n}", "Second": told, "seen_folds": [k]} for n in range(2)]
    return pd.DataFrame(rows, index=uids(2 * K, "g"))


def series(folder, texts, labels, runs=3):
    """Runs that each learn from generated rows as the last one's teachers read them; the students."""
    students, targets = [], stack({k: TOY.to_targets(labels) for k in range(K)})
    for number in range(runs):
        run, pool = begun(folder / f"run{number}", texts, labels), written_from(texts, labels, number)
        student = CrossFit(Study(run, TOY, texts, FOLDS, TEST), "student", HashLearner(TOY), pool)
        given = given_labels(student.study, labels=labels)
        if students:
            teacher = Teachers(students[-1].study.run, "student", TOY).check(texts, FOLDS)
            student.fit(
                two_phases(
                    student.study, pool, teacher.soft_labels(pool, "student"), Corrected(targets), (1, 1)
                )
            )
        else:
            student.fit(given)
        student.fit_pairs(given)
        soft_labels_of(student).save(run, "student", TOY)
        students.append(student)
    return students


def taught_by_an_ensemble(folder, texts, labels):
    """What a student learns of an ensemble with fitted weights and calibrated members; its phases by fold."""
    run, pool, models = begun(folder, texts, labels), written_from(texts, labels, 0), {}
    study = Study(run, TOY, texts, FOLDS, TEST, labels)
    for n, name in enumerate(("one", "two")):
        models[name] = CrossFit(study, name, HashLearner(TOY, setting=n), pool)
        models[name].fit(given_labels(study)).fit_pairs(given_labels(study)).publish(name)
    steps = read_steps(replace(study, run=Run(folder)))
    made = form(TOY, steps, dict.fromkeys(models, 1.0), labels, FOLDS, "fitted", calibrate=True)
    run.write("ensemble.json", made.to_dict())
    teacher = Teachers(run, "ensemble", TOY).check(texts, FOLDS)
    soft = teacher.soft_labels(pool, "student", plain=True)
    corrected = Corrected(stack({k: TOY.to_targets(labels) for k in (PLAIN, *range(K))}))
    phases_of = two_phases(study, pool, soft, corrected, (1, 1))
    return {h: [phase.key() for phase in phases_of(h)] for h in [(), *singles(FOLDS)]}, soft, run
