"""What the made corpus says that each source says: as the text has it, and for evaluation alone."""

from random import Random

import pandas as pd
import pytest

from narrutils.data.cases import load_data
from narrutils.data.demo import write_demo_data
from narrutils.data.demo.cases import Case
from narrutils.data.demo.corpus import draw_corpus
from narrutils.data.demo.phrases import read
from narrutils.data.demo.plan import SOURCES, Mention, Outline, outline
from narrutils.data.demo.said import COLUMNS, by_source, said_by_source, says
from narrutils.data.demo.tell import Teller
from narrutils.data.intake.schema_file import load_schema
from narrutils.errors import InputError

SCHEMA = load_schema("params/schemas/nvdrs.yaml")
NOTHING = {v.name: v.codes[0] for v in SCHEMA.variables}
CASE = Case(19, True, NOTHING, in_test=False)


@pytest.fixture(scope="module")
def told():
    """Of each of 400 cases who told it, how, and the two texts."""
    drawn, found = draw_corpus(SCHEMA, 400, seed=2), []
    for n, (case, plan) in enumerate(zip(drawn.cases, drawn.outlines, strict=True)):
        teller = Teller(case, Random(f"words 2 {n}"))
        found.append((teller, plan, teller.narratives(plan)))
    return found


def mentions(*ways):
    return [Mention(variable, way) for variable, way in ways]


def test_a_narrative_says_what_it_tells_and_what_implies_it():
    said = says(mentions(("DiagnosisAnxiety", "history"), ("DisclosedToFriend", "inferred")), CASE)
    follows = ["MentalHealthProblem", "SuicideIntentDisclosed", "SuicideThoughtHistory"]
    assert said == dict.fromkeys(["DiagnosisAnxiety", "DisclosedToFriend", *follows], 1)


def test_a_denial_says_not_and_relatives_and_other_times_say_nothing():
    ways = ("denied", "no_history", "no_stress", "not")
    names = ("Argument", "SuicideNote", "SchoolProblem", "DiagnosisAdhd")
    assert says(mentions(*zip(names, ways)), CASE) == dict.fromkeys(names, 0)
    assert (
        says(mentions(("Argument", "kin"), ("SuicideNote", "near"), ("DiagnosisAdhd", "kin_history")), CASE)
        == {}
    )


def test_what_is_told_and_denied_in_one_narrative_is_said_and_codes_are_the_true_ones():
    both = mentions(("Argument", "denied"), ("Argument", "says"), ("WeaponType1", "code"))
    assert says(both, CASE) == {"Argument": 1, "WeaponType1": 1}


def test_every_mention_stands_in_a_sentence_of_its_source(told):
    """But those that only a copy's missing sentence held."""
    for teller, plan, _ in told:
        for source in SOURCES:
            held = {m for s in teller.kept.get(source, []) for m in teller.mentioned.get(s, [])}
            codes = {Mention(v.name, "code") for v in SCHEMA.categorical}
            if source == plan.empty:
                assert held == set()
            elif source == "CME" and plan.near_duplicate:
                assert held <= set(plan.mentions["LE"]) | codes
            else:
                assert held == set(plan.mentions[source]) | codes


def test_what_is_said_stands_in_the_text(told):
    for teller, plan, texts in told:
        for source, kept in teller.kept.items():
            copied = source == "CME" and plan.near_duplicate  # a word of it may be changed
            assert copied or all(sentence in texts[source] for sentence in kept)


def test_an_edited_copy_does_not_say_what_it_leaves_out(told):
    lost = 0
    for teller, plan, _ in told:
        said = said_by_source(teller)
        of = {source: {v: s for (where, v), s in said.items() if where == source} for source in SOURCES}
        if plan.near_duplicate:
            gone = set(teller.kept["LE"]) - set(teller.kept["CME"])
            held = {m.variable for s in gone for m in teller.mentioned.get(s, [])}
            assert set(of["LE"]) - set(of["CME"]) <= held | set(read("telling")["carried_by"])
            lost += of["LE"] != of["CME"]
    assert lost > 5


def test_only_what_is_true_is_said_and_some_sources_disagree(told):
    apart = 0
    for teller, _, _ in told:
        said = said_by_source(teller)
        for (_, variable), answer in said.items():
            assert answer in (0, teller.case.truth[variable]), variable
        apart += sum(said.get(("LE", v)) is not None and said.get(("CME", v), answer) != answer
                     for (source, v), answer in said.items() if source == "LE")  # fmt: skip
    assert apart > 5


def test_the_table_names_text_columns_in_the_order_of_the_cases():
    plan, teller = outline(CASE, Random(3)), Teller(CASE, Random(3))
    teller.narratives(plan)
    table = by_source({"b": teller, "a": teller}, ["Police", "Office"])
    assert list(table) == COLUMNS
    assert table["uid"].drop_duplicates().tolist() == ["b", "a"]
    assert set(table["source"]) == {"Police", "Office"}
    assert by_source({"a": Teller(CASE, Random(3))}, ["Police", "Office"]).empty
    assert Outline().mentions == {"LE": [], "CME": []}


def test_the_file_is_read_whole_and_trains_nothing(tmp_path):
    write_demo_data(tmp_path, 60, seed=3)
    data = load_data(tmp_path, SCHEMA)
    file = pd.read_csv(tmp_path / "truth_by_source.csv")
    pd.testing.assert_frame_equal(data.truth_by_source, file, check_dtype=False)
    assert set(data.truth_by_source["source"]) == set(SCHEMA.text_columns)
    (tmp_path / "truth_by_source.csv").unlink()
    without = load_data(tmp_path, SCHEMA)
    assert without.truth_by_source is None
    pd.testing.assert_frame_equal(without.train, data.train)


@pytest.mark.parametrize(
    ("column", "value"), [("uid", "nobody"), ("source", "NarrativeX"), ("variable", "Mood"), ("said", "2")]
)
def test_a_faulty_cell_is_named_by_its_line(tmp_path, column, value):
    write_demo_data(tmp_path, 20, seed=3)
    file = tmp_path / "truth_by_source.csv"
    table = pd.read_csv(file, dtype=str)
    table = table[table["variable"] == "SuicideNote"]
    table.iloc[1, list(table).index(column)] = value
    table.to_csv(file, index=False)
    with pytest.raises(InputError, match=rf"truth_by_source.csv: line 3, column {column}: .*mend it"):
        load_data(tmp_path, SCHEMA)
