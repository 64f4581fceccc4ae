"""Which terms and settings make the best linear student of a finished run's ensemble?

    python -m benchmarks.students outputs/RUN [--passes 2 1]

Each student learns as 04's does: soft labels of the official rows, generated rows and further narratives,
made by nested teachers, and the given labels. Columns: `average_f1` out of fold, thresholds cross-fitted;
`of_ensemble`, its share of the ensemble's; `gain` over the ensemble, paired, with its 95 % interval;
`seconds`, of the processor for all folds' models.
"""

import argparse
import time

import pandas as pd

from narrutils.crossfit.phases import Corrected
from narrutils.crossfit.soft_labels import two_phases
from narrutils.crossfit.teachers import Teachers
from narrutils.data.folds import PLAIN, singles, stack
from narrutils.data.run import Run
from narrutils.data.study import Study
from narrutils.evaluation.ensemble import ENSEMBLE
from narrutils.evaluation.intervals import in_columns, paired_gain
from narrutils.evaluation.scores import score, score_stored
from narrutils.models.terms.student import SoftLearner

from .demo_corpus import show

LETTERS = {"analyzer": "char_wb", "ngrams": (3, 5), "min_df": 3, "max_terms": 60_000}
PLAIN_WORDS = {"scaled": False, "multinomial": True}
#: Name -> what the learner differs in from the default.
STUDENTS = {
    "words": PLAIN_WORDS,
    "words, C 16": PLAIN_WORDS | {"inverse_regularisation": 16.0},
    "scaled words, C 1": {"inverse_regularisation": 1.0},
    "scaled words": {},
    "scaled words, C 16": {"inverse_regularisation": 16.0},
    "scaled letters": LETTERS,
}


def out_of_fold(study: Study, learner: SoftLearner, phases_of) -> pd.DataFrame:
    """Each official row as the student that left its fold out reads it."""
    folds = study.folds.loc[study.train.index]
    parts = [learner.fit(phases_of(h)).predict(study.train[folds == h[0]]) for h in singles(folds)]
    return pd.concat(parts).loc[study.train.index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--passes", type=int, nargs=2, default=(2, 1), help="with soft and with hard labels")
    given = parser.parse_args()
    study = Study.open(Run(given.run))
    teachers = Teachers(study.run, ENSEMBLE, study.schema).check(study.train, study.folds)
    targets = study.schema.to_targets(study.labels)
    corrected = Corrected(stack({int(k): targets for k in (PLAIN, *sorted(study.folds.unique()))}))
    soft = teachers.soft_labels(study.pool, "student")
    phases_of = two_phases(study, study.pool, soft, corrected, tuple(given.passes))
    ensemble, rows = score_stored(study, ENSEMBLE), {}
    for name, how in STUDENTS.items():
        start = time.process_time()
        read = out_of_fold(study, SoftLearner(study.schema, **how), phases_of)
        seconds, found = time.process_time() - start, score(study, read)
        rows[name] = {
            "average_f1": found.average_f1,
            "of_ensemble": found.average_f1 / ensemble.average_f1,
            **in_columns("gain", paired_gain(found.counts, ensemble.counts)),
            "seconds": seconds,
        }
    show(f"students of {given.run}, whose ensemble has {ensemble.average_f1:.4f}", pd.DataFrame(rows).T)


if __name__ == "__main__":
    main()
