"""The study: which settings were tried and what each gave, in an SQLite file that Optuna reads and writes.

The sampler of a trial is seeded by the study's seed and the number of trials that ended before it, and one
trial is under way at a time. So a study that was killed goes on with the very setting that it was killed in,
and ends as if it had not been. Nothing is pickled.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from narrutils.data.files import atomic
from narrutils.errors import InputError
from narrutils.paths import shown
from narrutils.tuning.frames import seed_of
from narrutils.tuning.space import Dimension, Space
from narrutils.tuning.trial import GivenUp, Report

Trials = Any  # an `optuna.Study`; the library is imported where it is needed, as some environments lack it
#: Trials at random, the first ones among them, before the sampler learns from those that ended, and before
#: any is given up early. Fixed, so that a study that goes on to more trials is that of more trials.
STARTUP = 5
KEY = "key"  # user attribute of a study: digest of all that decides what a trial gives
TROUBLE = "trouble"  # and of a trial that could not be carried out: why

Score = Callable[[Mapping[str, object], Report], float]


def optuna() -> ModuleType:
    """The library, which says nothing by itself.

    Raises:
        InputError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise InputError("tuning needs optuna; pip install 'narrutils[tuning]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def open_study(path: Path, name: str, key: str) -> Trials:
    """The study of this name in an SQLite file, made if it is not there.

    Raises:
        InputError: it was made under another key.
    """
    library = optuna()
    if not path.exists():
        with atomic(path) as part:  # whole: a file that was being laid out when it was killed is none
            storage = library.storages.RDBStorage(f"sqlite:///{part}")
            storage.remove_session()
            storage.engine.dispose()
    made = library.create_study(
        storage=f"sqlite:///{path}", study_name=name, direction="maximize", load_if_exists=True
    )
    if not made.trials and KEY not in made.user_attrs:
        made.set_user_attr(KEY, key)
    if made.user_attrs.get(KEY) != key:
        raise InputError(
            f"{shown(path)}: its trials are of another space, other settings, data or code; remove "
            f"{shown(path.parent)} to begin anew, or tune a run of another name"
        )
    return made


def ended(study: Trials) -> list:
    """The trials that ended, given up or not, in order; those that were killed left out."""
    state = optuna().trial.TrialState
    return [trial for trial in study.trials if trial.state in (state.COMPLETE, state.PRUNED)]


def first_of(study: Trials, trials: int) -> Trials:
    """A study in memory of the first so many trials that ended, where an earlier search went further."""
    part = optuna().create_study(study_name=study.study_name, direction="maximize")
    part.add_trials(ended(study)[:trials])
    return part


def scored(study: Trials) -> list:
    """The trials that were carried out over all folds, the best first; of equal ones the earlier."""
    state = optuna().trial.TrialState
    whole = [trial for trial in study.trials if trial.state == state.COMPLETE]
    return sorted(whole, key=lambda trial: (-trial.value, trial.number))


def run_trials(
    study: Trials,
    space: Space,
    trials: int,
    seed: int,
    score: Score,
    known: Sequence[Mapping[str, object]],
    told: Callable[[int, object], None] = lambda number, trial: None,
) -> None:
    """Carry out trials until so many have ended.

    Args:
        score: what a setting gives; asked after each fold whether to go on. An `InputError` of a setting
            that the sampler proposed ends this trial alone.
        known: the settings of the first trials.
        told: called as each trial ended, with its number from 0 on and itself.

    Raises:
        InputError: one of the known settings cannot be carried out.
    """
    library = optuna()
    state = library.trial.TrialState
    for left in study.get_trials(states=(state.RUNNING,)):
        study.tell(left.number, state=state.FAIL)
    space_of = {name: distribution(dimension) for name, dimension in space.dimensions.items()}
    study.pruner = library.pruners.MedianPruner(n_startup_trials=STARTUP)
    while (number := len(ended(study))) < trials:
        study.sampler = library.samplers.TPESampler(
            seed=seed_of("trial", seed, number), n_startup_trials=STARTUP
        )
        if number < len(known) and not study.get_trials(states=(state.WAITING,)):
            study.enqueue_trial(dict(known[number]))
        trial = study.ask(space_of)
        try:
            value = score(trial.params, lambda step, now: _give_up(trial, step, now))  # noqa: B023
            study.tell(trial, value)
        except GivenUp:
            study.tell(trial, state=state.PRUNED)
        except InputError as error:
            if number < len(known):
                raise
            trial.set_user_attr(TROUBLE, str(error))
            study.tell(trial, state=state.PRUNED)
        told(number, ended(study)[-1])


def _give_up(trial, step: int, value: float) -> bool:
    trial.report(value, step)
    return trial.should_prune()


def distribution(dimension: Dimension):
    """A dimension as Optuna draws from it."""
    library = optuna().distributions
    if dimension.choices:
        return library.CategoricalDistribution(tuple(dimension.choices))
    whole = isinstance(dimension.low, int)
    kind = library.IntDistribution if whole else library.FloatDistribution
    return kind(dimension.low, dimension.high, log=dimension.log)


def table(study: Trials) -> pd.DataFrame:
    """A row a trial that ended: `study`, `trial` (from 0 on), its setting, `folds` that were trained, the
    score `so_far` after the last fold that was reported, `average_f1` (NaN where it was given up),
    `given_up`, `trouble`, `seconds`.
    """
    rows = []
    for number, trial in enumerate(ended(study)):
        given_up, told = trial.state.name == "PRUNED", trial.intermediate_values
        row = {
            "study": study.study_name,
            "trial": number,
            **trial.params,
            "folds": len(told) + (not given_up),
        }
        row |= {"so_far": told[max(told)] if told else None}
        row |= {"average_f1": None if given_up else trial.value, "given_up": given_up}
        row |= {"trouble": trial.user_attrs.get(TROUBLE, ""), "seconds": trial.duration.total_seconds()}
        rows.append(row)
    floats = dict.fromkeys(("so_far", "average_f1", "seconds"), float)
    return pd.DataFrame(rows).astype(floats)


def importance(study: Trials) -> dict[str, float]:
    """Share of the variance of the score that each setting explains (fANOVA, Hutter et al. 2014), seeded.

    Of trials over all folds; empty where fewer than four are there, or all score alike.
    """
    library, whole = optuna(), scored(study)
    if len(whole) < 4 or whole[0].value == whole[-1].value:
        return {}
    found = library.importance.get_param_importances(
        study, evaluator=library.importance.FanovaImportanceEvaluator(seed=0)
    )
    return {name: float(share) for name, share in found.items()}
