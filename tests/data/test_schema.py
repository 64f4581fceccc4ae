"""The target matrix: every column belongs to one variable, and no other module counts columns."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, random_probabilities, uids

from narrutils.data.intake.schema_file import load_schema, parse_schema
from narrutils.data.schema import Schema, Variable
from narrutils.errors import InputError

ONE_TEXT = parse_schema(
    {"text": [{"name": "Report"}], "variables": [{"name": "Kind", "classes": {3: "a", 7: "b"}}]}, "one.yaml"
)
THREE_TEXTS = parse_schema(
    {"uid": "case", "text": [{"name": n} for n in "ABC"], "variables": [{"name": "X"}, {"name": "Y"}]},
    "three.yaml",
)
OSHA = load_schema("params/schemas/osha.yaml")


def test_nvdrs_is_21_binary_variables_then_6_places_and_12_weapons(nvdrs):
    assert (len(nvdrs.variables), len(nvdrs.binary), nvdrs.width) == (23, 21, 39)
    assert nvdrs.text_columns == ["NarrativeLE", "NarrativeCME"]
    assert nvdrs.names[0] == "DepressedMood"
    assert nvdrs.names[-2:] == ["InjuryLocationType", "WeaponType1"]
    assert nvdrs.slices["InjuryLocationType"] == slice(21, 27)
    assert nvdrs.slices["WeaponType1"] == slice(27, 39)
    assert nvdrs.binary_index.tolist() == list(range(21))
    assert nvdrs.columns[20:22] == ["DisclosedToFriend", "InjuryLocationType_1"]
    assert nvdrs.columns[-1] == "WeaponType1_12"
    assert nvdrs["InjuryLocationType"].codes == tuple(range(1, 7))


@pytest.mark.parametrize("schema", [TOY, ONE_TEXT, THREE_TEXTS, OSHA], ids=lambda s: s.name)
class TestAnySchema:
    def test_slices_tile_the_width_without_gap_or_overlap(self, schema):
        positions = [p for v in schema.variables for p in range(schema.width)[schema.slices[v.name]]]
        assert positions == list(range(schema.width))
        assert [schema.columns[p] for p in positions] == [c for v in schema.variables for c in v.columns]
        assert [schema.columns[p] for p in schema.binary_index] == [v.name for v in schema.binary]

    def test_codes_survive_the_way_to_targets_and_back(self, schema):
        labels = random_labels(schema, 50)
        targets = schema.to_targets(labels)
        assert targets.shape == (50, schema.width)
        assert targets.columns.tolist() == schema.columns
        pd.testing.assert_frame_equal(schema.to_labels(targets), labels, check_dtype=False)
        for v in schema.categorical:
            assert (targets[list(v.columns)].sum(axis=1) == 1).all()
            for code in v.codes:
                assert (targets[f"{v.name}_{code}"] == (labels[v.name] == code)).all()

    def test_logits_become_probabilities_whose_classes_sum_to_one(self, schema):
        logits = np.random.default_rng(0).normal(0, 50, (20, schema.width))
        table = schema.from_logits(logits, uids(20))
        for v in schema.categorical:
            np.testing.assert_allclose(table[list(v.columns)].sum(axis=1), 1)
            assert (
                table[list(v.columns)].to_numpy().argmax(1) == logits[:, schema.slices[v.name]].argmax(1)
            ).all()
        for v in schema.binary:
            assert ((table[v.name] > 0.5) == (logits[:, schema.slices[v.name].start] > 0)).all()
        pd.testing.assert_frame_equal(schema.check_probabilities(table[schema.columns[::-1]]), table)


def test_each_code_has_the_probability_that_its_column_speaks_of():
    table = pd.DataFrame(
        {"Sad": [0.2, 0.7], "Place_1": [0.5, 0.1], "Place_2": [0.3, 0.2], "Place_3": [0.2, 0.7]}
    )
    sad, place = TOY["Sad"], TOY["Place"]
    assert (sad.column_of(0), sad.column_of(1), place.column_of(3)) == ("Sad", "Sad", "Place_3")
    np.testing.assert_allclose(sad.of_codes(table, [0, 1]), [0.8, 0.7])
    np.testing.assert_allclose(place.of_codes(table, pd.Series([3, 2])), [0.2, 0.2])
    np.testing.assert_allclose(place.of_codes(table, pd.Series([None, 2], dtype="Int64")), [np.nan, 0.2])


def test_from_logits_is_sigmoid_and_softmax():
    row = TOY.from_logits(np.log([[3.0, 1, 2, 5, 1, 1, 4]]), uids(1)).iloc[0]
    expected = [3 / 4, 1 / 8, 2 / 8, 5 / 8, 1 / 2, 1 / 5, 4 / 5]
    np.testing.assert_allclose(row, expected)


def test_a_variable_is_1_only_above_its_threshold():
    table = TOY.to_targets(random_labels(TOY, 3))
    table["Sad"], table["Note"] = [0.3, 0.31, 0.9], [0.3, 0.6, 0.9]
    labels = TOY.to_labels(table, {"Sad": 0.3, "Note": 0.85})
    assert labels["Sad"].tolist() == [0, 1, 1]
    assert labels["Note"].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("variable", "value", "takes"), [("Note", 2, "0, 1"), ("Place", 4, "1, 2, 3"), ("Tool", 1, "0, 5")]
)
def test_a_bad_code_is_one_line_that_names_case_and_variable(variable, value, takes):
    labels = random_labels(TOY, 4)
    labels.loc["u002", variable] = value
    with pytest.raises(InputError, match=rf"^{variable} of case u002 is {value}; it takes {takes}$"):
        TOY.to_targets(labels)


def test_a_variable_without_a_label_has_no_targets_and_the_others_keep_theirs():
    labels = random_labels(TOY, 3)
    whole = TOY.to_targets(labels)
    labels = labels.astype("Int64")
    labels.loc["u001", "Place"] = pd.NA
    targets = TOY.to_targets(labels)
    gone = targets.isna()
    assert gone.loc["u001", list(TOY["Place"].columns)].all()
    assert gone.to_numpy().sum() == len(TOY["Place"].columns)
    pd.testing.assert_frame_equal(targets.where(~gone, whole), whole)


@pytest.mark.parametrize(
    ("column", "value", "line"),
    [("Sad", 1.2, "outside"), ("Sad", np.nan, "outside"), ("Place_2", 0.0, "Place sum to")],
)
def test_a_table_that_is_not_probabilities_is_refused(column, value, line):
    table = random_probabilities(TOY, uids(5))
    table.loc["u003", column] = value
    with pytest.raises(ValueError, match=line):
        TOY.check_probabilities(table)


def test_a_partial_table_may_lack_whole_variables_and_nothing_else():
    table = random_probabilities(TOY, uids(5))
    table.loc["u001", ["Sad", *TOY["Place"].columns]] = np.nan
    pd.testing.assert_frame_equal(TOY.check_probabilities(table, partial=True), table)
    for column, value, line in [
        ("Note", 1.2, "outside"),
        ("Tool_0", np.nan, "outside"),
        ("Place_2", 0, "sum"),
    ]:
        broken = table.copy()
        broken.loc["u003", column] = value
        with pytest.raises(ValueError, match=line):
            TOY.check_probabilities(broken, partial=True)
    with pytest.raises(ValueError, match="not a number"):
        TOY.check_probabilities(table)


def test_a_missing_probability_column_is_named():
    with pytest.raises(ValueError, match="Tool_5"):
        TOY.check_probabilities(random_probabilities(TOY, uids(2)).drop(columns="Tool_5"))


def test_a_sentence_names_the_class(nvdrs):
    assert OSHA["EventType"].sentence(5) == "The type of event was: shock."
    assert nvdrs["DepressedMood"].sentence() == "The decedent was perceived as depressed at the time."


def test_a_schema_survives_json_and_one_of_an_earlier_version_is_read():
    whole = parse_schema(
        {
            "uid": "case",
            "text": [{"name": "Report", "column": "text"}],
            "variables": [
                {"name": "Fall", "missing": ["9"], "auxiliary": "true"},
                {"name": "Place", "column": "Where", "classes": {"01": "home", "2": "NO"}},
            ],
            "groups": ["Site", "Year"],
            "keep_together": "Incident",
            "extra_columns": "keep",
        },
        "whole.yaml",
    )
    stored = json.loads(json.dumps(whole.to_dict()))
    assert Schema.from_dict(stored) == whole
    for entry in (*stored["text"], *stored["variables"]):
        entry.pop("column"), entry.pop("missing", None), entry.pop("auxiliary", None)
    for key in ("groups", "keep_together", "extra_columns"):
        stored.pop(key)
    before = Schema.from_dict(stored)
    assert before.headings == {"Report": "Report", "Fall": "Fall", "Place": "Place"}
    assert before["Place"] == Variable("Place", "Place is {class}.", {1: "home", 2: "NO"})
    assert (before.groups, before.keep_together, before.extra_columns) == ((), (), "ignore")


def test_what_is_scored_is_the_schema_without_its_auxiliary_variables():
    assert TOY.scored is TOY  # so nothing can change for a task without any
    some = replace(TOY, variables=tuple(replace(v, auxiliary=v.name == "Place") for v in TOY.variables))
    assert some.width == TOY.width
    assert some.scored.columns == ["Sad", "Note", "Tool_0", "Tool_5"]
    assert some.scored == replace(TOY, variables=tuple(v for v in TOY.variables if v.name != "Place"))


def test_given_codes_are_whole_numbers_where_all_are_there_and_none_where_none_is():
    codes = random_labels(TOY, 4).astype("Int64").assign(more="x")
    assert (TOY.given(codes).dtypes == "int64").all() and list(TOY.given(codes)) == TOY.names
    codes.loc["u001", "Note"] = pd.NA
    assert (TOY.given(codes).dtypes == "Int64").all()
    codes[TOY.names] = pd.NA
    assert TOY.given(codes) is None


def test_in_a_file_columns_bear_their_headings_and_the_uid_comes_first():
    schema = parse_schema(
        {
            "uid": "case",
            "text": [{"name": "Report"}],
            "variables": [{"name": "A", "column": "B"}, {"name": "B", "column": "A"}, {"name": "C"}],
        },
        "x.yaml",
    )
    codes = pd.DataFrame({"A": [1], "B": [2], "C": [3]}, index=uids(1))
    pd.testing.assert_frame_equal(
        schema.in_file(codes),
        pd.DataFrame({"case": ["u000"], "B": [1], "A": [2], "C": [3]}),
        check_dtype=False,
    )
