"""The made corpus: files, planted truth, planted errors, and what its words may not say."""

import re
from random import Random

import pandas as pd
import pytest

from narrutils.data.cases import load_data
from narrutils.data.demo import phrases, write_demo_data
from narrutils.data.demo.cases import PUBLISHED_CASES, Case
from narrutils.data.demo.corpus import draw_corpus, n_train
from narrutils.data.demo.groups import HASTY, draw_groups
from narrutils.data.demo.phrases import facts, fill, parse, pick, read, sentence
from narrutils.data.demo.plan import Mention, Outline, outline, sayable
from narrutils.data.demo.tell import Teller, listing
from narrutils.data.intake.folder import KNOWN
from narrutils.data.intake.schema_file import load_schema
from narrutils.errors import InputError

SCHEMA = load_schema("params/schemas/nvdrs.yaml")
CASES = 800
# Words that would turn the category of a cause into a detail of method.
BANNED = (
    "ammunition|barrel|belts?|blades?|bottles?|bought|bridge|caliber|carbon|cliff|cord|exhaust|fentanyl|gallon|"
    "grams?|handgun|helium|knife|knot|ligature|milligrams?|mg|noose|overpass|pills?|pistol|purchased?|razor|"
    "revolver|rifle|roof|rooftop|rope|scarf|sheet|shotgun|strap|tablets?|trigger|tylenol|veins?|wrists?"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    write_demo_data(folder, CASES, seed=3)
    return folder


@pytest.fixture(scope="module")
def files(folder):
    return {
        name.removesuffix(".csv"): pd.read_csv(folder / name, index_col="uid", keep_default_na=False)
        for name in KNOWN
    }


@pytest.fixture(scope="module")
def drawn():
    """A corpus that is never told: cases, outlines, true and given labels."""
    return draw_corpus(SCHEMA, 5000, seed=1)


def test_same_seed_same_bytes_and_another_seed_another_corpus(folder, tmp_path):
    write_demo_data(tmp_path / "again", CASES, seed=3)
    write_demo_data(tmp_path / "other", CASES, seed=4)
    for name in KNOWN:
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
        assert (tmp_path / "other" / name).read_bytes() != (folder / name).read_bytes()
    assert sorted(p.name for p in folder.iterdir()) == sorted(KNOWN)


def test_files_have_the_competitions_columns_and_valid_codes(files):
    for name in ("train_features", "test_features"):
        assert list(files[name]) == [*SCHEMA.text_columns, *SCHEMA.optional_groups]
    for name in ("train_labels", "test_labels", "submission_format", "truth"):
        assert list(files[name]) == SCHEMA.names
        SCHEMA.to_targets(files[name])  # raises on a code that is not the variable's


def test_four_fifths_train_and_every_uid_once(files):
    train, test = files["train_features"].index, files["test_features"].index
    assert (len(train), len(test)) == (CASES * 4 // 5, CASES // 5)
    assert train.append(test).is_unique
    assert all(re.fullmatch("[a-z]{4}", uid) for uid in train.append(test))
    assert files["train_labels"].index.equals(train)
    assert files["test_labels"].index.equals(test)
    assert files["submission_format"].index.equals(test)
    assert files["truth"].index.equals(train.append(test))


def test_the_package_reads_the_corpus_as_it_reads_any_other(folder):
    data = load_data(folder, SCHEMA)
    assert len(data.train) + len(data.test) == len(data.truth) == CASES


@pytest.mark.parametrize("cases", [0, 9, 26**4 + 1])
def test_a_silly_number_of_cases_is_refused(cases, tmp_path):
    with pytest.raises(InputError, match=str(cases)):
        write_demo_data(tmp_path, cases)


IMPLIES = {
    "MentalHealthProblem": [v.name for v in SCHEMA.binary if v.name.startswith("Diagnosis")],
    "HistoryMentalIllnessTreatmnt": ["MentalIllnessTreatmentCurrnt"],
    "SuicideIntentDisclosed": [v.name for v in SCHEMA.binary if v.name.startswith("DisclosedTo")],
    "SuicideThoughtHistory": ["SuicideIntentDisclosed"],
}


@pytest.mark.parametrize(("name", "causes"), IMPLIES.items())
def test_what_follows_by_definition_holds_in_the_truth(name, causes, drawn):
    assert causes
    for cause in causes:
        assert (drawn.truth[name] >= drawn.truth[cause]).all(), f"{cause} without {name}"


def test_the_truth_file_holds_the_truth_and_the_label_files_the_errors(files):
    made = draw_corpus(SCHEMA, CASES, seed=3)
    assert files["truth"].equals(made.truth[SCHEMA.names])
    assert pd.concat([files["train_labels"], files["test_labels"]]).equals(made.given[SCHEMA.names])
    assert not made.truth.equals(made.given)


def test_given_rates_are_within_two_points_of_the_published_ones(drawn):
    given = drawn.given
    for v in SCHEMA.binary:
        published = read("rates")["binary"][v.name]["positives"] / PUBLISHED_CASES
        assert given[v.name][: n_train(5000)].mean() == pytest.approx(published, abs=0.02), v.name


def test_errors_are_planted_at_the_stated_rates(drawn):
    truth, given = drawn.truth, drawn.given
    for v in SCHEMA.binary:
        missed = 1 - given[v.name][truth[v.name] == 1].mean()
        assert 0.04 - 0.01 <= missed <= 0.20 + 0.01, v.name
        assert missed == pytest.approx(read("rates")["binary"][v.name]["missed"], abs=0.01), v.name
        assert given[v.name][truth[v.name] == 0].mean() == pytest.approx(0.005, abs=0.001), v.name
    for v in SCHEMA.categorical:
        assert 0.01 <= (given[v.name] != truth[v.name]).mean() <= 0.02, v.name


def test_facts_that_are_hard_to_see_are_missed_more_often(drawn):
    truth, given = drawn.truth, drawn.given
    hard, easy = [], []
    for v in SCHEMA.binary:
        risk = pd.Series([o.risk(v.name) for o in drawn.outlines], index=truth.index)
        wrong = (given[v.name] == 0)[truth[v.name] == 1]
        hard += wrong[risk > 1].to_list()
        easy += wrong[risk == 1].to_list()
    assert sum(hard) / len(hard) > 1.5 * sum(easy) / len(easy) > 0


def test_risk_grows_with_inference_a_single_mention_and_contradiction():
    def risk(*ways):
        made = Outline()
        made.mentions["LE"] = [Mention("Argument", way) for way in ways] + [Mention("SuicideNote", "not")]
        return made.risk("Argument")

    assert risk("says", "says") == 1.0
    assert risk("inferred", "inferred") > risk("says", "inferred") == 1.0
    assert risk("says") > risk("says", "says")
    assert risk("says", "says", "not") > risk("says", "says")
    assert risk() == risk("inferred")


def test_every_true_fact_is_told_or_implied_by_one_that_is(drawn):
    carried_by = read("telling")["carried_by"]
    for case, plan in zip(drawn.cases, drawn.outlines, strict=True):
        told = {m.variable for mentions in plan.mentions.values() for m in mentions}
        for v in SCHEMA.binary:
            if case.truth[v.name] and v.name not in told:
                assert any(case.truth[carrier] for carrier in carried_by[v.name]), v.name


def test_a_phrase_is_said_only_of_cases_that_it_is_true_of():
    case = Case(19, True, {v.name: 0 for v in SCHEMA.binary}, in_test=False)
    knowing = Case(19, True, case.truth | {"SuicideThoughtHistory": 1}, in_test=False)
    misdated = sayable("SuicideIntentDisclosed", "near", knowing)
    assert any(p.needs == "SuicideThoughtHistory" for p in misdated)
    assert all(p.needs is None for p in sayable("SuicideIntentDisclosed", "near", case))


def test_some_wordings_occur_in_the_test_part_only(drawn):
    part = {True: 0, False: 0}
    for case, plan in zip(drawn.cases, drawn.outlines, strict=True):
        part[case.in_test] += sum(m.way == "test_only" for told in plan.mentions.values() for m in told)
    assert part[False] == 0
    assert part[True] > 50


def test_a_fifth_are_near_duplicates_and_few_narratives_are_empty(files, drawn):
    texts = pd.concat([files["train_features"], files["test_features"]])[SCHEMA.text_columns]
    words = texts.map(lambda text: set(re.findall(r"\w{4,}", text)))
    same = [len(a & b) > 0.7 * len(a | b) for a, b in words.itertuples(index=False)]
    assert 0.13 <= sum(same) / len(same) <= 0.27
    empty = texts == ""
    assert not empty.all(axis=1).any()
    assert 0 < sum(o.empty is not None for o in drawn.outlines) / 5000 < 0.02


def test_texts_have_the_traits_of_real_ones(files):
    texts = files["train_features"][SCHEMA.text_columns]
    words = texts.map(lambda text: len(text.split()))
    assert 100 <= words["NarrativeLE"].median() <= 140
    assert 85 <= words["NarrativeCME"].median() <= 125
    assert words.to_numpy().max() > 3 * words["NarrativeLE"].median()
    everything = "\n".join(texts.to_numpy().ravel())
    assert re.search(r"[a-z]\.[A-Z]", everything), "no full stop lacks its space"
    assert re.search(r"\bV\b", everything)
    assert re.search(r"\bXX\b", everything)


def test_few_sentences_are_said_of_two_cases(files):
    cases = pd.concat([files["train_features"], files["test_features"]])[SCHEMA.text_columns].agg(
        " ".join, axis=1
    )
    said = cases.str.split(r"(?<=[a-z])\.\s*(?=[A-Z])", regex=True).map(set).explode()
    assert (said.value_counts() == 1).mean() > 0.7


def test_sites_differ_in_what_is_missed_and_in_nothing_else(drawn):
    groups = draw_groups(SCHEMA, drawn, seed=1)
    assert groups.equals(draw_groups(SCHEMA, drawn, seed=1))
    true = drawn.truth[[v.name for v in SCHEMA.binary]] == 1
    missed = true & (drawn.given[true.columns] == 0)
    facts, lost = (table.sum(axis=1).groupby(groups["site"]).agg(["sum", "mean"]) for table in (true, missed))
    share = lost["sum"] / facts["sum"]
    assert share[HASTY] > 1.8 * share.drop(HASTY).max()
    assert facts["mean"].max() < 1.1 * facts["mean"].min()
    minor = pd.Series([case.age < 18 for case in drawn.cases], groups.index)
    assert ((groups["age_group"] == "under 18") == minor).all()


def templates(node):
    """All strings in a parsed YAML file."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, (list, dict)):
        for child in node.values() if isinstance(node, dict) else node:
            yield from templates(child)


PHRASE_FILES = ("slots", "frames", "scene", "background", "history", "diagnoses", "stressors", "disclosure")


@pytest.mark.parametrize("name", PHRASE_FILES)
def test_no_phrase_gives_a_detail_of_method(name):
    banned = re.compile(rf"\b({BANNED})\b", re.I)
    for template in templates(read(name)):
        assert not banned.search(template), template


@pytest.mark.parametrize("name", PHRASE_FILES)
def test_every_template_can_be_filled(name):
    case = Case(16, False, {v.name: v.codes[0] for v in SCHEMA.variables}, in_test=False)
    teller = Teller(case, Random(0))
    given = dict.fromkeys(("fact", "some", "none", "place", "cause", "other", "other_he"), "word")
    for template in templates(read(name)):
        for _ in range(5):
            assert not re.search(r"[<>|]|  ", teller.say(template, **given)), template


def test_facts_cover_the_schema_and_need_known_variables():
    binary = {v.name for v in SCHEMA.binary}
    assert set(facts()) == set(read("rates")["binary"]) == binary
    assert set(read("rates")["categorical"]) == {v.name for v in SCHEMA.categorical}
    for groups in facts().values():
        assert {p.needs for group in groups.values() for p in group} <= binary | {None}
    for kind, variable in (("places", "InjuryLocationType"), ("causes", "WeaponType1")):
        assert tuple(read("scene")[kind]) == SCHEMA[variable].codes


def test_the_phrase_language(monkeypatch):
    monkeypatch.setattr(phrases, "lists", lambda: {"who": ["<his> aunt"]})
    said = {fill("(a (big|small) |)<who> came", {"his": "her"}, Random(n)) for n in range(50)}
    assert said == {"her aunt came", "a big her aunt came", "a small her aunt came"}
    assert sentence("a  old friend , XX, . ") == "An old friend, XX."
    assert sentence("it is a unit of a 18 year old") == "It is a unit of an 18 year old."
    assert listing(["a", "b", "c"], "or") == "a, b or c"
    for broken in ("(a|b", "a)", "a|b", "<who", "who>"):
        with pytest.raises(ValueError, match="bracket"):
            parse(broken)


def test_lists_have_a_long_tail():
    rng = Random(0)
    drawn = pd.Series([pick("abcdefghij", rng) for _ in range(5000)]).value_counts()
    assert drawn.index[0] == "a"
    assert set(drawn.index) == set("abcdefghij")
    assert drawn["a"] > 10 * drawn["j"]


def test_an_outline_can_be_drawn_for_a_case_of_which_nothing_is_true():
    case = Case(21, True, {v.name: v.codes[0] for v in SCHEMA.variables}, in_test=True)
    texts = Teller(case, Random(1)).narratives(outline(case, Random(1)))
    assert set(texts) == {"LE", "CME"}
    assert all(texts.values())
