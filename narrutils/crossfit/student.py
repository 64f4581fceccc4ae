"""The model of 04: a student of what `03_relabeling` corrected, and of a teacher where one is named."""

from narrutils.crossfit.soft_labels import SoftLabels
from narrutils.crossfit.teachers import Teachers
from narrutils.data.run import Run
from narrutils.data.study import Study


def first_teacher(
    study: Study, previous_run: str, model: str, nested: str = "deberta", plain: bool = False
) -> SoftLabels:
    """Who teaches a run's student: `model` of the previous run, or else the run's own TF-IDF models.

    Its soft labels are kept as `labels/soft/before.parquet`.

    Args:
        nested, plain: see `Teachers.soft_labels`.

    Raises:
        InputError: see `Teachers.check`; or it has no soft labels of the official rows.
    """
    run = Run(previous_run) if previous_run else study.run
    teachers = Teachers(run, model if previous_run else "tfidf", study.schema)
    made = teachers.check(study.train, study.folds).soft_labels(study.pool, nested, plain)
    made.save(study.run, "before", study.schema)
    return made
