"""The model of 04, made of the notebook's settings: who learns, of whom, and what.

An encoder learns from what `03_relabeling` corrected, after a teacher's soft labels where there is one.
A *student* is a fast model that a finished ensemble teaches. Scores, thresholds and weights are those of
its fold models; with `refit`, what reads new cases is one more model, of all official rows.

`values` are the notebook's parameters by name, `precision` resolved, such as its `globals()`.
"""

from collections.abc import Mapping

from narrutils.crossfit.fit import CrossFit
from narrutils.crossfit.phases import Corrected, Phases, Student, given_labels, with_requested
from narrutils.crossfit.soft_labels import SoftLabels, soft_labels_of, two_phases
from narrutils.crossfit.teachers import Teachers
from narrutils.data.run import Run
from narrutils.data.settings import settings
from narrutils.data.study import Study
from narrutils.evaluation.ensemble import ENSEMBLE
from narrutils.models.learner import Learner


def asked(values: Mapping) -> Student:
    """Who is to learn, and how long."""
    return settings(Student, values, values["options"])


def learner(study: Study, values: Mapping) -> Learner:
    """How one model is trained, but for what an encoder's body was pretrained on; see `make_student`."""
    how = asked(values)
    if how.student == "linear":
        from narrutils.models.terms.student import SoftLearner

        return SoftLearner(study.schema, inverse_regularisation=how.linear_c)
    from narrutils.models.settings import Body
    from narrutils.training.neural import NeuralLearner
    from narrutils.training.recipe import Computing, Recipe

    body, recipe = (settings(kind, values, values["options"]) for kind in (Body, Recipe))
    launch = settings(Computing, values["compute"]).launch
    return NeuralLearner(study.schema, body, recipe=recipe, launch=launch, states=study.run.states)


def make_student(study: Study, values: Mapping) -> CrossFit:
    """The model over the folds of a study, nothing of it trained yet.

    It is called `deberta`, or with `refit` `student`. Where `mlm_epochs` are set, each of its encoders
    starts from a body that was pretrained on what it may see.
    """
    how, made = asked(values), learner(study, values)
    learner_of = None
    if how.student == "encoder":
        from narrutils.training import mlm
        from narrutils.training.recipe import Pretraining

        learner_of = mlm.pretrained(study, made, settings(Pretraining, values, values["options"]))
    at_once = values["compute"].get("at_once", 0)
    return CrossFit(study, how.name, made, study.pool, learner_of, at_once, teaches=not how.refit)


def first_teacher(study: Study, how: Student, previous_run: str, teacher: str) -> SoftLabels | None:
    """Who teaches: model `teacher` of the previous run, or else the run's own TF-IDF models.

    Its soft labels are kept as `labels/soft/before.parquet`, from which 05 learns too. None, where nobody
    learns from them: see `Student.listens`.

    Raises:
        InputError: see `Teachers.check`; or it has no soft labels of the official rows.
    """
    if not (how.listens and (previous_run or how.soft_epochs)):
        return None
    run = Run(previous_run) if previous_run else study.run
    teachers = Teachers(run, teacher if previous_run else "tfidf", study.schema)
    made = teachers.check(study.train, study.folds).soft_labels(study.pool, how.name, plain=how.refit)
    made.save(study.run, "before", study.schema)
    return made


def curriculum(study: Study, values: Mapping, corrected: Corrected, teacher: SoftLabels | None) -> Phases:
    """What each model learns: soft labels of everything, labels that pools were asked for, corrected labels.

    A phase without an epoch is left out, so where `epochs` is 0 a correction changes nothing.
    """
    how = asked(values)
    phases_of = two_phases(study, study.pool, teacher, corrected, (how.soft_epochs, how.epochs))
    phases_of = with_requested(phases_of, study.pool, study.schema, how.requested_epochs)
    return lambda held_out: [phase for phase in phases_of(held_out) if phase.epochs]


def fit_student(study: Study, values: Mapping, corrected: Corrected, teacher: SoftLabels | None) -> CrossFit:
    """The fold models, with `refit` one of all rows, trained and published."""
    how, made = asked(values), make_student(study, values)
    phases_of = curriculum(study, values, corrected, teacher)
    made.fit(phases_of)
    if how.refit:
        made.fit_all(phases_of)
    made.publish(title(values))
    return made


def title(values: Mapping) -> str:
    """The ladder's step."""
    how, previous_run = asked(values), values["previous_run"]
    if not how.refit:
        return f"{'encoder' if how.student == 'encoder' else 'linear model'} on corrected labels"
    if not how.soft_epochs:
        return "one model on corrected labels"
    who = values["teacher"] if previous_run else "tfidf"
    return f"student of {'the ensemble' if who == ENSEMBLE else who}"


def hand_on(made: CrossFit, how: Student, nested: bool) -> SoftLabels | None:
    """The soft labels for 05, kept as `labels/soft/deberta.parquet`; None of a model that teaches nobody.

    Where `nested`, nested teachers are trained for it: on the given labels of the folds that
    remain, after the labelled pools where `requested_epochs` are.
    """
    study = made.study
    if how.refit:
        return None
    if nested:
        given = given_labels(study, max(1, how.epochs))
        made.fit_pairs(with_requested(given, study.pool, study.schema, how.requested_epochs))
    soft = soft_labels_of(made, nested)
    soft.save(study.run, made.name, study.schema)
    return soft
