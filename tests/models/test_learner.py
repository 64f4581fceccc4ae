"""What all models have: several of one class read together as each does alone."""

import pytest
from toys import TOY, HashModel, word_texts

from narrutils.models.learner import in_groups

TEXTS = word_texts(TOY, 5)


def test_models_that_share_nothing_are_read_one_after_the_other():
    models = [HashModel(TOY, name) for name in ("a", "b", "c")]
    for model, found in zip(models, HashModel.predict_together(models, TEXTS), strict=True):
        assert found.equals(model.predict(TEXTS))


def test_what_groups_give_comes_back_in_the_order_of_the_models():
    models, groups = [HashModel(TOY, name) for name in ("b1", "a1", "b2", "c1", "a2")], []

    def read(some):
        groups.append([model.state for model in some])
        return [model.state.upper() for model in some]

    assert in_groups(models, lambda model: model.state[0], read) == ["B1", "A1", "B2", "C1", "A2"]
    assert groups == [["b1", "b2"], ["a1", "a2"], ["c1"]]
    with pytest.raises(ValueError):  # one too few
        in_groups(models, lambda model: 0, lambda some: ["only"])
    assert in_groups([], id, read) == []
