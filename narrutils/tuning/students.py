"""Which stages can be tuned: how the model of each is made of its parameters, over the folds of a frame."""

from collections.abc import Mapping

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import Phases, with_requested
from narrutils.crossfit.soft_labels import two_phases
from narrutils.data.settings import settings
from narrutils.tuning.frames import Frame
from narrutils.tuning.trial import Build


def encoder(frame: Frame, parameters: Mapping[str, object], name: str) -> tuple[CrossFit, Phases]:
    """The model of 04 and what its folds learn from, without generated rows."""
    from narrutils.models.settings import Body
    from narrutils.models.tfidf import TfidfLearner
    from narrutils.training import mlm
    from narrutils.training.neural import NeuralLearner
    from narrutils.training.recipe import Pretraining, Recipe

    study, options = frame.study, parameters["options"]
    learner_of = None
    if options.get("student") == "linear":
        learner = TfidfLearner(study.schema)
    else:
        body, recipe = settings(Body, parameters, options), settings(Recipe, parameters, options)
        learner = NeuralLearner(study.schema, body, recipe=recipe, states=study.run.states)
        learner_of = mlm.pretrained(study, learner, settings(Pretraining, parameters, options))
    taught = frame.teacher if parameters["soft_epochs"] else None
    epochs = parameters["soft_epochs"], parameters["epochs"]
    phases = two_phases(study, study.pool, taught, frame.corrected, epochs)
    model = CrossFit(study, name, learner, learner_of=learner_of)
    return model, with_requested(phases, study.pool, study.schema, parameters["requested_epochs"])


#: Stage -> how its model is made.
TUNABLE: dict[str, Build] = {"04_deberta": encoder}
