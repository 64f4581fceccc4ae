"""Narratives that nobody coded: no model learns from the twin of a case that it is tested on."""

import pandas as pd
import pytest
from toys import TOY, random_labels, random_probabilities, uids, word_texts

from narrutils.crossfit.phases import Corrected, draw_rows
from narrutils.crossfit.soft_labels import SoftLabels, two_phases
from narrutils.data.clusters import triples
from narrutils.data.folds import PLAIN, allowed, singles, stack
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.data.unlabelled import PREFIX, take_unlabelled
from narrutils.errors import InputError

TRAIN = word_texts(TOY, 12, seed=1, words=20)
TEST = word_texts(TOY, 4, seed=2, words=20).set_axis(uids(4, "t"))
NEW = word_texts(TOY, 3, seed=3, words=20).set_axis(uids(3, "n"))
FOLDS = pd.Series([n % 3 for n in range(12)], TRAIN.index, name="fold")


def make(folder, schema=TOY, **groups) -> Run:
    """A run with cases, folds, and perhaps columns of groups."""
    run, labels = Run(folder, "01_eda"), random_labels(TOY, 12)
    run.write("schema.json", schema.to_dict())
    run.write(
        "cases.parquet", pd.concat([TRAIN.join(labels).assign(split="train"), TEST.assign(split="test")])
    )
    run.write("folds.parquet", FOLDS.rename_axis("uid").reset_index())
    if groups:
        run.write("groups.parquet", pd.DataFrame(groups, [*TRAIN.index, *TEST.index]).rename_axis("uid"))
    return run


def given(folder, *tables, name="more.csv", **columns):
    path = folder / name
    pd.concat(tables).rename_axis("uid").reset_index().assign(**columns).to_csv(path, index=False)
    return path


def nearly(texts: pd.DataFrame, uid: str) -> pd.DataFrame:
    """The same cases with one word more, under other uids."""
    changed = texts.assign(Second=texts["Second"] + " indeed")
    return changed.set_axis(pd.Index([f"{uid}{n}" for n in range(len(texts))], name="uid"))


def test_a_narrative_has_the_folds_of_the_cases_it_belongs_to(tmp_path):
    run = make(tmp_path / "run")
    twins, tested = nearly(TRAIN.iloc[[4, 5]], "a"), nearly(TEST.iloc[[1]], "b")
    counts = take_unlabelled(run, TOY, given(tmp_path, NEW, twins, tested, TRAIN.iloc[[2]]), 0.7)
    rows = run.unlabelled(TOY)
    assert {uid: list(seen) for uid, seen in rows["seen_folds"].items()} == {
        **{f"{PREFIX}{uid}": [] for uid in NEW.index},
        f"{PREFIX}a0": [1],
        f"{PREFIX}a1": [2],
        f"{PREFIX}{TRAIN.index[2]}": [2],  # the case itself, as in the table of a whole archive
    }
    assert counts.tolist() == [7, 0, 1, 6, 3]
    assert run.path("unlabelled.parquet").stat().st_mode & 0o077 == 0


def test_it_has_all_folds_of_what_hangs_together_by_further_narratives_too(tmp_path):
    run = make(tmp_path / "run")
    first, second = TRAIN.iloc[0], TRAIN["Second"].iloc[0].split()
    bridge = NEW.iloc[[0]].assign(First=first["First"], Second=" ".join(second[:14]))
    far = bridge.assign(Second=" ".join(second[:8])).set_axis(["far"])
    alike = lambda a, b: len(a & b) / len(a | b)  # noqa: E731
    told = [triples((row["First"] + " " + row["Second"]).split()) for row in (first, *bridge.iloc, *far.iloc)]
    assert alike(*told[:2]) >= 0.7 <= alike(*told[1:]) and alike(told[0], told[2]) < 0.7
    take_unlabelled(run, TOY, given(tmp_path, bridge, far), 0.7)
    assert [list(seen) for seen in run.unlabelled(TOY)["seen_folds"]] == [[0], [0]]


def test_no_text_need_be_alike_where_a_column_keeps_cases_together(tmp_path):
    from dataclasses import replace

    schema = replace(TOY, keep_together=("site",))
    sites = [f"s{n}" for n in range(12)] + ["tested", "", "", ""]
    run = make(tmp_path / "run", schema, site=sites)
    new = [word_texts(TOY, 3, seed=9, words=20).set_axis(uids(3, "n")), nearly(TRAIN.iloc[[0]], "both")]
    take_unlabelled(run, schema, given(tmp_path, *new, site=["s4", "tested", "", "s1"]), 0.7)
    assert [list(seen) for seen in run.unlabelled(TOY)["seen_folds"]] == [[1], [], [0, 1]]
    assert list(run.unlabelled(TOY).columns) == [*TOY.text_columns, "seen_folds"]


def test_what_has_no_word_or_was_said_before_is_left_out(tmp_path):
    run = make(tmp_path / "run")
    empty = NEW.iloc[[0, 1]].assign(First=["", " .. "], Second=" ").set_axis(["e0", "e1"])
    again = NEW.iloc[[0]].assign(First=NEW["First"].iloc[0].upper()).set_axis(["again"])
    counts = take_unlabelled(run, TOY, given(tmp_path, NEW, empty, again), 0)
    assert [*run.unlabelled(TOY).index] == [PREFIX + uid for uid in NEW.index]
    assert counts.tolist() == [6, 3, 0, 3, 0]


@pytest.mark.parametrize("similarity", [0, 0.7])
def test_an_equal_text_belongs_together_however_texts_are_compared(tmp_path, similarity):
    run = make(tmp_path / "run")
    take_unlabelled(run, TOY, given(tmp_path, TRAIN.iloc[[7]], NEW), similarity)
    assert [*map(list, run.unlabelled(TOY)["seen_folds"])] == [[1], [], [], []]


def test_faults_are_one_line_and_collisions_are_refused(tmp_path):
    run = make(tmp_path / "run")
    for table, line in (
        (NEW.drop(columns="Second"), "column Second is missing"),
        (pd.concat([NEW, NEW]), "is in line 2 already"),
    ):
        with pytest.raises(InputError, match=line):
            take_unlabelled(run, TOY, given(tmp_path, table), 0.7)
    cases = run.read("cases.parquet")
    run.write("cases.parquet", cases.replace({"uid": {"t000": f"{PREFIX}n001"}}))
    with pytest.raises(InputError, match="called unlabelled:n001"):
        take_unlabelled(run, TOY, given(tmp_path, NEW), 0.7)
    assert take_unlabelled(make(tmp_path / "other"), TOY, "", 0.7).sum() == 0
    assert not (tmp_path / "other/unlabelled.parquet").exists()


def test_a_twin_of_a_case_is_not_among_what_its_model_learns(tmp_path):
    """The leak proof: from the file of narratives to the phases of each fold's model."""
    run = make(tmp_path / "run")
    take_unlabelled(run, TOY, given(tmp_path, nearly(TRAIN, "twin"), nearly(TEST, "test"), NEW), 0.7)
    study = Study.open(run)
    soft = {h[0]: random_probabilities(TOY, study.train.index) for h in singles(FOLDS)}
    soft = {k: table[(k != FOLDS).to_numpy()] for k, table in soft.items()}
    pool = {h[0]: random_probabilities(TOY, allowed(study.pool, h).index) for h in singles(FOLDS)}
    hard = TOY.to_targets(study.labels)
    corrected = Corrected(stack({k: hard for k in (PLAIN, 0, 1, 2)}))
    phases_of = two_phases(study, study.pool, SoftLabels(stack(soft), stack(pool), "x"), corrected, (1, 1))
    taught = 0
    for (fold,) in singles(FOLDS):
        told = pd.concat([phase.texts for phase in phases_of((fold,))])
        assert not set(told["First"]) & {*TRAIN["First"][fold == FOLDS], *TEST["First"]}
        taught += told.index.str.startswith(PREFIX).sum()
        assert set(told["First"]) >= set(NEW["First"])
    assert taught == 12 * 2 + 3 * 3  # each twin teaches two of three models


def test_they_join_the_rows_that_are_soft_labelled_and_no_pool(tmp_path):
    run = make(tmp_path / "run")
    made = word_texts(TOY, 2, seed=5).set_axis(["p-0", "p-1"]).rename_axis("uid").reset_index()
    made = made.assign(
        pool="p", kept=True, reason="", seen_folds=[[0], [1]], **random_labels(TOY, 2).reset_index()
    )
    run.write("generated/p.parquet", made.assign(uid=["p-0", "p-1"]))
    take_unlabelled(run, TOY, given(tmp_path, NEW), 0.7)
    study = Study.open(run)
    assert [*study.pool.index] == ["p-0", "p-1", *(PREFIX + uid for uid in NEW.index)]
    assert [*run.pools(TOY).index] == ["p-0", "p-1"]
    assert len(draw_rows(study.pool, TOY, (2,), {"labelled": 0})) == 3
    assert len(draw_rows(study.pool, TOY, (2,), {"unlabelled": 1})) == 3
    other = Run(tmp_path / "next", "02_generation")
    assert other.take_pools(run) == ["p"] and other.unlabelled(TOY).empty
