"""Settings of a training that make no sense are refused before anything is trained."""

import pytest

from narrutils.errors import InputError
from narrutils.training.recipe import Recipe


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "f2"}, "loss is 'f2'; it takes cross_entropy, f1, lovasz"),
        ({"loss": ""}, "loss is ''"),
        ({"finetune_loss": "hinge", "finetune_epochs": 1}, "finetune_loss is 'hinge'"),
        ({"finetune_loss": "f1"}, "finetune_epochs is 0; give both"),
        ({"finetune_epochs": 2}, "give both, or neither"),
        ({"finetune_loss": "f1", "finetune_epochs": -1}, "give both"),
        ({"r_drop": -0.1}, "r_drop is -0.1"),
        ({"r_drop": float("nan")}, "r_drop is nan"),
        ({"ema": 1.0}, "ema is 1.0"),
    ],
)
def test_a_setting_out_of_its_range_is_named(settings, message):
    with pytest.raises(InputError, match=message):
        Recipe(**settings)


def test_what_other_winners_had_is_off_by_default():
    recipe = Recipe()
    assert (recipe.loss, recipe.finetune_loss, recipe.finetune_epochs) == ("cross_entropy", "", 0)
    assert (recipe.r_drop, recipe.ema) == (0, 0)
