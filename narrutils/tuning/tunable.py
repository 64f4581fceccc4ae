"""Which stages can be tuned, and how the model of each is made of its parameters over a frame's folds."""

from collections.abc import Mapping
from dataclasses import replace

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import Phases
from narrutils.crossfit.student import asked, curriculum, make_student
from narrutils.tuning.frames import Frame
from narrutils.tuning.trial import Build


def student(frame: Frame, parameters: Mapping[str, object], name: str) -> tuple[CrossFit, Phases]:
    """The model of 04, encoder or linear, and what its folds learn from, as the notebook has them.

    Soft labels are told by the frame's TF-IDF models, whoever teaches in a run: a previous run's models
    have seen the cases that are scored here.
    """
    teacher = frame.teacher if asked(parameters).soft_epochs else None
    phases = curriculum(frame.study, parameters, frame.corrected, teacher)
    return replace(make_student(frame.study, parameters), name=name, at_once=1), phases


#: Stage -> how its model is made.
TUNABLE: dict[str, Build] = {"04_deberta": student}


def default_space(stage: str, parameters: Mapping[str, object]) -> str:
    """The search space of a stage where none is named, a file of `params/spaces`."""
    linear = stage == "04_deberta" and asked(parameters).student == "linear"
    return "04_linear.yaml" if linear else f"{stage}.yaml"
