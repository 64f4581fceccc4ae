"""Settings of a training that make no sense are refused before anything is trained."""

import pytest

from narrutils.errors import InputError
from narrutils.models.settings import Body, Lora
from narrutils.training.recipe import Computing, Recipe, by_name, together, varied


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"loss": "f2"}, "loss"),
        ({"loss": ""}, "loss"),
        ({"finetune_loss": "hinge", "finetune_epochs": 1}, "finetune_loss"),
        ({"finetune_loss": "f1"}, "finetune_epochs"),
        ({"finetune_epochs": 2}, "finetune_loss"),
        ({"finetune_loss": "f1", "finetune_epochs": -1}, "finetune_epochs"),
        ({"r_drop": -0.1}, "r_drop"),
        ({"r_drop": float("nan")}, "r_drop"),
        ({"ema": 1.0}, "ema"),
        ({"smoothing": 0.5}, "smoothing"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"head_start": "probe", "inputs": "separate"}, "inputs"),
        ({"truncation": "left"}, "truncation"),
        ({"precision": "auto"}, "precision"),
    ],
)
def test_a_setting_out_of_its_range_is_named(settings, name):
    with pytest.raises(InputError, match=name) as raised:
        Recipe(**settings)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("body", "recipe", "name"),
    [
        ({"pooling": "parts"}, {"inputs": "separate"}, "pooling"),
        ({"quantization": "8bit"}, {}, "LoRA rank"),
        ({"dropout": 0.0}, {"r_drop": 1.0}, "r_drop"),
    ],
)
def test_settings_that_cannot_both_hold_are_refused(body, recipe, name):
    with pytest.raises(InputError, match=name):
        together(Body("minilm", **body), Lora(), Recipe(**recipe))


@pytest.mark.parametrize(
    ("body", "lora", "recipe"),
    [
        ({}, {}, {}),
        ({"dropout": 0.1}, {}, {}),
        ({"dropout": 0.0}, {"lora_dropout": 0.1}, {}),
        ({"dropout": 0.0}, {}, {"head_dropout": 0.1}),
    ],
)
def test_two_dropout_passes_may_differ_in_body_adapters_or_head(body, lora, recipe):
    together(Body("minilm", **body), Lora(4, 8, **lora), Recipe(r_drop=1.0, **recipe))


def test_what_other_winners_had_is_off_by_default():
    recipe = Recipe()
    assert (recipe.loss, recipe.finetune_loss, recipe.finetune_epochs) == ("cross_entropy", "", 0)
    assert (recipe.r_drop, recipe.ema) == (0, 0)


PARTS = [Body("gemma3-270m"), Lora(4, 8), Recipe()]


def test_a_name_varies_every_part_that_has_it():
    body, lora, recipe = varied(PARTS, precision="bfloat16", lora_rank=2, seed=3)
    assert (body.precision, recipe.precision, lora, recipe.seed) == ("bfloat16", "bfloat16", Lora(2, 8), 3)


def test_further_models_have_names_of_their_own():
    assert by_name([{"name": "a", "seed": 1}, {"name": "b"}]) == {"a": {"seed": 1}, "b": {}}
    for finals in ([{"seed": 1}], [{"name": "a"}, {"name": "a"}]):
        with pytest.raises(InputError, match="a name of its own"):
            by_name(finals)


@pytest.mark.parametrize(
    ("changes", "line"), [({"lora_rnk": 4}, "did you mean lora_rank"), ({"max_tokens": 0}, "max_tokens is 0")]
)
def test_a_variation_that_is_none_is_told_in_one_line(changes, line):
    with pytest.raises(InputError, match=line):
        varied(PARTS, **changes)


def test_options_of_accelerate_are_checked_by_name():
    assert Computing({"num_processes": 2}).at_once == 0
    with pytest.raises(InputError, match="num_process.*did you mean num_processes?"):
        Computing({"num_process": 2})
