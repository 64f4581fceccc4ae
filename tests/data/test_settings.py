"""A setting that does not fit is one line: what it is, what it should be, and the nearest right name."""

import subprocess
import sys
from dataclasses import replace
from typing import get_args

import pytest

from narrutils.data import settings as types
from narrutils.data.settings import Fields, fitting, settings
from narrutils.errors import InputError
from narrutils.evaluation.thresholds import SEARCHES
from narrutils.labels.correction import METHODS
from narrutils.models.classifier import POOLINGS
from narrutils.models.settings import Body, Lora
from narrutils.models.tfidf import LINEAR
from narrutils.training.recipe import Recipe


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (float, 2, 2.0),
        (int | None, None, None),
        (list[float], [1, 2e-1], [1.0, 0.2]),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (dict, {"a": [1]}, {"a": [1]}),
        (bool, False, False),
        (str | None, "x", "x"),
        (list[Fields[Body, Lora]], [{"dropout": 0}], [{"dropout": 0.0}]),
    ],
)
def test_values_that_fit(kind, value, expected):
    found = fitting(value, kind, "x")
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (float, "fast"),
        (float, "1e-5"),
        (float, True),
        (float, "nan"),
        (float, float("inf")),
        (float, [1]),
        (float, None),
        (int, 1.0),
        (int, "3"),
        (int, True),
        (bool, 1),
        (bool, "true"),
        (str, 3),
        (list[int], ["a"]),
        (list, "a"),
        (dict, []),
        (int | None, "x"),
        (types.Smoothing, 0.5),
        (types.Share, -0.1),
        (types.Folds, 2),
        (types.Seed, -1),
        (Fields[Body], {"lora_rank": 4}),
        (Fields[Body, Lora], {"lora_rank": "4"}),
    ],
)
def test_values_that_do_not_fit(kind, value):
    with pytest.raises(InputError) as raised:
        fitting(value, kind, "x")
    assert "\n" not in str(raised.value)


def test_a_choice_or_a_name_that_is_misspelt_is_told_the_nearest():
    with pytest.raises(InputError, match="threshold_search is 'shrnk'.*did you mean shrunk?"):
        fitting("shrnk", types.ThresholdSearch, "threshold_search")
    with pytest.raises(InputError, match="dropuot.*did you mean dropout?"):
        fitting({"dropuot": 0.1}, Fields[Body], "options")
    with pytest.raises(InputError, match="top_layer.*did you mean top_layers?"):
        Body("minilm", top_layer=1)
    with pytest.raises(InputError, match="backbone must be given"):
        Body()


def test_settings_are_picked_by_name_and_the_later_value_holds():
    found = settings(Lora, {"lora_rank": 4, "epochs": 3, "lora_alpha": 8}, {"lora_alpha": 16})
    assert found == Lora(4, 16)


def test_settings_cannot_be_changed_but_into_others_that_fit():
    with pytest.raises(AttributeError):
        Lora(4).lora_rank = 8
    assert replace(Lora(4), lora_alpha=2) == Lora(4, 2)
    with pytest.raises(InputError, match="lora_rank is -1"):
        replace(Lora(4), lora_rank=-1)


def test_every_choice_has_what_it_chooses():
    assert get_args(types.ThresholdSearch) == tuple(SEARCHES)
    assert get_args(types.Method) == tuple(METHODS)
    assert get_args(types.Companion) == (*LINEAR, "frozen")
    assert get_args(Fields((Body,)).known["pooling"]) == ("", *POOLINGS)
    assert get_args(types.AnyPrecision) == ("auto", *get_args(types.Precision))


def test_settings_of_a_training_are_made_without_torch():
    """So that a profile is held against all of them in a moment."""
    code = (
        "import sys, narrutils.generation.pools, narrutils.training.recipe; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert Recipe().max_tokens == 256


def test_a_value_is_told_as_a_profile_has_it():
    with pytest.raises(InputError, match="^x is null; it should be a valid integer$"):
        fitting(None, int, "x")
    with pytest.raises(InputError, match="^x is true; it should be a valid number$"):
        fitting(True, float, "x")
    with pytest.raises(InputError, match="^x is 'a'; it should be null$"):
        fitting("a", None, "x")
