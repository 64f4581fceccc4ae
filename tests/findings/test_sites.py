"""Sites compared by training: equal sizes, never on the fold that is read, and what is planted is found."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
from toys import TOY, HashLearner, random_labels, uids, with_holes, word_texts

from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.errors import InputError
from narrutils.findings import sites
from narrutils.models.tfidf import TfidfLearner

pytestmark = pytest.mark.slow

N = 120
LABELS = random_labels(TOY, N)
TEXTS = word_texts(TOY, N)
FOLDS = pd.Series(np.arange(N) % 3, LABELS.index, name="fold")
SITE = pd.Series(np.random.default_rng([3, 3]).choice(["a", "b", "c"], N), LABELS.index, name="site")
ALONE = pd.Series(range(N), LABELS.index)


def study(tmp_path, labels=LABELS, texts=TEXTS) -> Study:
    folds = pd.Series(np.arange(len(labels)) % 3, labels.index)
    return Study(Run(tmp_path), TOY, texts, folds, texts[:0], labels)


@dataclass
class Watching:
    """Learns nothing much, and keeps what each model learned from and read."""

    inner: HashLearner
    seen: list = field(default_factory=list)

    def fit(self, phases, label=""):
        model, learned = self.inner.fit(phases, label), set(phases[0].texts.index)

        def predict(texts):
            self.seen.append((learned, set(texts.index)))
            return model.predict(texts)

        return type("Read", (), {"predict": staticmethod(predict)})


def test_no_model_learns_from_what_it_reads_and_both_from_equally_many(tmp_path):
    learner = Watching(HashLearner(TOY))
    sites.compare(study(tmp_path), SITE, ALONE, draws=2, learner=learner)
    assert len(learner.seen) == 3 * 3 * 3  # sites, folds, one without and two with
    ours = {level: set(SITE.index[SITE.eq(level)]) for level in "abc"}
    of_each = {k: set(FOLDS.index[FOLDS.eq(k)]) for k in range(3)}
    for n, (learned, read) in enumerate(learner.seen):
        fold, level = of_each[n % 9 // 3], SITE.value_counts().index[n // 9]
        assert read == fold and not learned & fold
        without, *drawn = [seen for seen, _ in learner.seen[n - n % 3 : n - n % 3 + 3]]
        assert not without & ours[level]
        assert all(len(other) == len(without) and ours[level] - fold <= other for other in drawn)
        assert drawn[0] != drawn[1]


def test_what_is_held_out_decides_nothing_of_its_reading(tmp_path):
    """With labels and texts of one fold changed, only losses of that fold and models of others change."""
    plain, changed = Watching(HashLearner(TOY)), Watching(HashLearner(TOY))
    labels, texts, fold = LABELS.copy(), TEXTS.copy(), FOLDS == 0
    labels.loc[fold] = random_labels(TOY, N, 9).loc[fold]
    texts.loc[fold] = word_texts(TOY, N, 9).loc[fold]
    for learner, given in ((plain, (LABELS, TEXTS)), (changed, (labels, texts))):
        sites.gains_of(study(tmp_path, *given), SITE == "a", 1, learner)
    trained = [list(learner.inner.learned.items()) for learner in (plain, changed)]
    assert trained[0] == trained[1]
    for learner in (plain, changed):
        for learned, read in learner.seen:
            assert not learned & read


def test_a_site_with_more_than_half_of_the_cases_lends_as_many_as_fit(tmp_path):
    own = pd.Series(np.arange(N) % 4 > 0, LABELS.index)
    without, *drawn = sites.trained_on(study(tmp_path), own, (0,), 2)
    assert [len(one) for one in drawn] == [len(without)] * 2
    assert all(own[one].all() for one in drawn)


def test_brier_by_hand():
    targets = pd.DataFrame([[1.0, 0, 1, 0, np.nan, 1, 0]], columns=TOY.columns, index=["u"])
    read = pd.DataFrame([[0.6, 0.2, 0.5, 0.3, 0.4, 0.25, 0.75]], columns=TOY.columns, index=["u"])
    found = sites.brier(TOY, targets, read).loc["u"]
    assert found["Sad"] == pytest.approx(0.16)
    assert found["Place"] == pytest.approx((0.04 + 0.25 + 0.09) / 2)
    assert np.isnan(found["Note"]) and found["Tool"] == pytest.approx(0.75**2)


def told(n: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Texts whose first word says how `Sad` is coded, and those labels."""
    rng = np.random.default_rng([seed, 5])
    texts, labels = word_texts(TOY, n, seed), random_labels(TOY, n, seed)
    index = uids(n)
    says = rng.random(n) < 0.5
    texts = texts.set_axis(index).assign(First=np.where(says, "bicycle ", "dog ") + texts["First"].to_numpy())
    return texts, labels.set_axis(index).assign(Sad=says.astype(int))


def test_a_site_that_codes_the_other_way_is_found_and_no_other(tmp_path):
    texts, labels = told(300, 1)
    site = pd.Series(
        np.random.default_rng([4, 4]).choice(list("abc"), 300, p=[0.3, 0.35, 0.35]), labels.index, name="site"
    )
    alone, learner = pd.Series(range(300), labels.index), TfidfLearner(TOY, ngrams=(1, 1))
    nothing = sites.compare(study(tmp_path, labels, texts), site, alone, learner=learner)
    assert (nothing["p_holm"] > 0.05).all()
    labels.loc[(site == "a") & (labels["Sad"] == 1), "Sad"] = 0
    found = sites.compare(study(tmp_path, labels, texts), site, alone, learner=learner).set_index("level")
    assert list(found.index) == list(site.value_counts().index)
    assert found.loc["a", "p_holm"] < 0.01 and found.loc["a", "own_low"] > 0 > found.loc["a", "elsewhere"]
    assert found.loc["a", "variable"] == "Sad" and found.loc["a", "variable_p"] < 0.01
    assert (found.loc["a", "difference"] == found["difference"].max()) and found.loc[
        "a", "difference_low"
    ] > 0


def test_missing_labels_take_no_part(tmp_path):
    labels = with_holes(LABELS, 0.3)
    labels["Tool"] = pd.NA
    labels = labels.dropna(how="all")
    given = study(tmp_path, labels, TEXTS.loc[labels.index])
    gains = sites.gains_of(given, SITE[labels.index] == "a", 1, HashLearner(TOY))
    pd.testing.assert_frame_equal(gains.isna(), labels[TOY.names].isna())
    table = sites.compare(given, SITE[labels.index], ALONE[labels.index], learner=HashLearner(TOY))
    assert len(table) and "Tool" not in set(table["variable"])
    assert np.isfinite(table[["own", "own_low", "elsewhere", "difference", "p_holm"]].to_numpy(float)).all()


def test_few_cases_unknown_ones_and_no_sites_are_not_compared(tmp_path):
    learner = Watching(HashLearner(TOY))
    small = pd.Series(["a"] * 29 + ["b"] * 50 + [""] * (N - 79), LABELS.index, name="site")
    assert sites.compare(study(tmp_path), small, ALONE, learner=learner).empty
    assert sites.compare(study(tmp_path), None, ALONE, learner=learner).empty
    assert sites.compare(study(tmp_path), SITE, ALONE, most=0, learner=learner).empty
    assert not learner.seen
    known = pd.Series(["a"] * 40 + ["b"] * 50 + [""] * (N - 90), LABELS.index, name="site")
    assert list(sites.compare(study(tmp_path), known, ALONE, learner=learner)["level"]) == ["b", "a"]
    assert all(not (learned | read) & set(known.index[known == ""]) for learned, read in learner.seen)
    assert list(sites.compare(study(tmp_path), None, ALONE)) == sites.COLUMNS


def test_the_column_of_the_sites():
    table = pd.DataFrame({"year": ["1"], "State": ["x"]})
    assert sites.site_column(table) == "State"
    assert sites.site_column(table, "year") == "year"
    assert sites.site_column(table[["year"]]) == ""
    with pytest.raises(InputError, match="findings: site is yaer.*year"):
        sites.site_column(table, "yaer")


def test_a_site_that_shares_no_labelled_variable_with_the_others_names_none(tmp_path):
    labels = LABELS.astype("Int64")
    labels.loc[SITE == "a", ["Sad", "Note", "Place"]] = pd.NA
    labels.loc[SITE != "a", "Tool"] = pd.NA
    table = sites.compare(study(tmp_path, labels), SITE, ALONE, learner=HashLearner(TOY)).set_index("level")
    assert pd.isna(table.loc["a", ["variable", "variable_gain", "variable_p"]]).all()
    assert table.loc[["b", "c"], "variable"].notna().all()
    assert not sites.otherwise(table)["a"]


def test_only_a_gain_at_home_is_coding_otherwise():
    table = pd.DataFrame({"p_holm": [0.01, 0.01, 0.2], "difference": [1.0, -1.0, 1.0]})
    assert sites.otherwise(table).tolist() == [True, False, False]
