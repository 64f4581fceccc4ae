"""The whole of it: studies on inner folds, the setting that is chosen, what it is honestly worth, how results
swing.

Everything that takes long lies in `work/` under keys until the end, so that a search that was killed goes on
where it was.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from narrutils.data.files import digest
from narrutils.data.folds import singles
from narrutils.data.study import Study
from narrutils.evaluation.metrics import Counts
from narrutils.tuning import honest, proxy
from narrutils.tuning.frames import Correcting, Frame, drawn, inner_frame, run_frame
from narrutils.tuning.space import Space
from narrutils.tuning.trial import Build, Report, tried
from narrutils.tuning.trials import TROUBLE, first_of, importance, open_study, run_trials, scored, table

ALL = "all"  # the study on all training cases, whose setting ships
FIRST, OWN, CHOSEN = "first", "profile", "chosen"

Setting = Mapping[str, object]


@dataclass(frozen=True)
class Found:
    """What a study found.

    Attributes:
        setting: the best one.
        scores: on inner folds at full size, of it and of the known ones, by name.
        frame: the inner folds at full size.
        trials: a row each, see `study.table`.
        carried: of a study by proxy.
    """

    setting: Setting
    scores: dict[str, float]
    frame: Frame
    trials: pd.DataFrame
    importance: dict[str, float]
    carried: proxy.Carried | None = None


@dataclass(frozen=True)
class Search:
    """A search for the settings of a stage of a run.

    Attributes:
        study: of the run.
        folder: where all is written, `tuning/<stage>` of the run.
        own: the profile's own setting; None where it lies outside the space.
        parameters: a setting -> the parameters of the stage, all checked.
        key: digest of all that decides what a trial gives, but for its setting.
        repeats: further trainings of the chosen setting under other seeds.
    """

    study: Study
    folder: Path
    stage: str
    space: Space
    own: Setting | None
    parameters: Callable[[Setting], Mapping[str, object]]
    build: Build
    correcting: Correcting
    key: str
    trials: int
    seed: int = 0
    repeats: int = 3

    @cached_property
    def known(self) -> dict[str, Setting]:
        """The settings of the first trials, by name."""
        own = {OWN: self.own} if self.own is not None and self.own != self.space.first else {}
        return {FIRST: self.space.first} | (own if self.trials > 1 else {})

    @cached_property
    def tested(self) -> pd.Index:
        """The test cases that no trial read: those with a label that is scored and no twin in training."""
        labels = self.study.scored.test_labels
        if labels is None:
            return self.study.test.index[:0]
        alone = self.study.run.clusters()["twin"].reindex(labels.index).eq("")
        return labels.index[alone & labels.notna().any(axis=1)]

    @property
    def on_test(self) -> bool:
        """Whether such cases tell the honest score; else a study for each fold does."""
        return bool(len(self.tested))

    @property
    def work(self) -> Path:
        """Where lies what is under way; private, as models and states can tell of texts."""
        return self.folder / "work"

    @property
    def studies(self) -> dict[str, pd.Index]:
        """Name of each study -> the training cases that take no part in it."""
        folds, train = self.study.folds, self.study.train.index
        without = {f"without_fold{k}": folds.index[folds == k] for (k,) in singles(folds)}
        return {ALL: train[:0]} | ({} if self.on_test else without)

    def trainings(self) -> dict[str, int]:
        """How many models are trained at most, by what for; cheap ones, of terms, are not counted."""
        folds, studies = self.study.folds.nunique(), len(self.studies)
        again = min(proxy.BEST + proxy.SPREAD + len(self.known), self.trials) if self.space.has_proxy else 0
        return {
            "trials": studies * self.trials * folds,
            "proxies scored again at full size": studies * again * folds,
            "the honest score": (len(self.known) + 1) * folds,
            "other seeds": self.repeats * folds,
        }

    def carry_out(self) -> tuple[dict, pd.DataFrame]:
        """The record of the search, and the table of its trials.

        Raises:
            InputError: the folder holds trials of another search, or a known setting cannot be trained.
        """
        self.work.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = {name: self._found(name, outer) for name, outer in self.studies.items()}
        whole = found[ALL]
        settings = self._compared(found)
        record = {
            "chosen": whole.setting,
            "known": self.known,
            "judged_on": "test" if self.on_test else "folds",
            "tested": len(self.tested),
            "settings": settings.astype(object).where(settings.notna(), None).to_dict("records"),
            "optimism": float(settings.set_index("setting").at[CHOSEN, "difference"]),
            "swing": self._swing(whole),
            "importance": whole.importance,
            "by_study": {name: {"setting": f.setting, "scores": f.scores} for name, f in found.items()},
            "proxy": _carried(whole.carried),
        }
        return record, pd.concat([f.trials for f in found.values()], ignore_index=True)

    def finish(self) -> None:
        """Remove what was under way."""
        shutil.rmtree(self.work, ignore_errors=True)

    def _found(self, name: str, outer: pd.Index) -> Found:
        uids = self.study.train.index.difference(outer, sort=False)
        outer = self.study.test.index if outer.empty else outer
        study, known = open_study(self.folder / "study.db", name, self.key), list(self.known.values())
        some = drawn(uids, self.space.cases, self.seed)
        frame = self._frame(some, outer, f"{name}/proxy" if self.space.has_proxy else name)

        def score(setting: Setting, report: Report) -> float:
            parameters = self.parameters({**self.space.proxy, **setting})
            return tried(frame, self.build, parameters, "trial", report)

        def told(number: int, trial) -> None:
            said = f"{name}, trial {number + 1} of {self.trials}: {in_words(trial.params)}"
            print(f"{said} · {outcome(trial)}{self._left(name, number, trial)}", flush=True)
            shutil.rmtree(frame.study.run.path("models/trial"), ignore_errors=True)

        run_trials(study, self.space, self.trials, self.seed, score, known, told)
        study = first_of(study, self.trials)
        by_trial = [(trial.params, trial.value) for trial in scored(study)]
        found = {"trials": table(study), "importance": importance(study)}
        if not self.space.has_proxy:
            return Found(*self._best(by_trial), frame, **found)
        full = self._frame(uids, outer, name)
        carried = proxy.carry_over(by_trial, known, lambda setting: self._at_full_size(full, setting))
        at_full = list(zip(carried.settings, carried.table["full"]))
        return Found(*self._best(at_full), full, carried=carried, **found)

    def _left(self, name: str, number: int, trial) -> str:
        """After the first trial, whose trainings tell what the others take: how long is left at most."""
        if (name, number) != (ALL, 0):
            return ""
        folds, total = self.study.folds.nunique(), sum(self.trainings().values())
        minutes = trial.duration.total_seconds() * (total / folds - 1) / 60
        cheap = ", were all by proxy" if self.space.has_proxy else ""
        return f"; at this pace at most {minutes:.0f} min more{cheap}"

    def _frame(self, uids: pd.Index, outer: pd.Index, name: str) -> Frame:
        return inner_frame(self.study, uids, outer, self.work / name, self.correcting, self.seed, self.stage)

    def _best(self, scores: Sequence[tuple[Setting, float]]) -> tuple[Setting, dict[str, float]]:
        """The setting that scores highest, of equal ones the first; its score and that of the known ones."""
        setting, value = max(scores, key=lambda pair: pair[1])
        of_known = {
            name: next(v for tried_one, v in scores if tried_one == one) for name, one in self.known.items()
        }
        return setting, of_known | {CHOSEN: value}

    def _at_full_size(self, frame: Frame, setting: Setting, **more) -> float:
        """The inner score of a setting at full size; its models stay until the end."""
        parameters, name = self.parameters({**setting, **more}), f"full_{digest(setting, more)}"
        return tried(frame, self.build, parameters, name, lambda step, value: False)

    def _compared(self, found: Mapping[str, Found]) -> pd.DataFrame:
        """The known settings and the chosen one, inside and outside; see `honest.compared`."""
        anew = None if self.on_test else self.correcting
        frame = run_frame(self.study, self.work / "run", self.stage, anew)
        names = [*self.known, CHOSEN]
        if self.on_test:
            settings = {**self.known, CHOSEN: found[ALL].setting}
            outer = {name: self._on_test(frame, settings[name]) for name in names}
            return honest.compared(found[ALL].scores, outer)
        without = {k: found[f"without_fold{k}"] for (k,) in singles(self.study.folds)}
        inner = pd.DataFrame([one.scores for one in without.values()]).mean().to_dict()
        outer = {}
        for name in names:
            settings = {k: self.known.get(name, one.setting) for k, one in without.items()}
            parameters = {k: self.parameters(setting) for k, setting in settings.items()}
            outer[name] = honest.by_fold(frame, self.build, parameters, f"outer_{name}")
        return honest.compared(inner, outer)

    def _on_test(self, frame: Frame, setting: Setting) -> Counts:
        name = f"outer_{digest(setting)}"
        return honest.on_test(frame, self.build, self.parameters(setting), name, self.tested)

    def _swing(self, found: Found) -> dict:
        """How the inner score on all training cases swings: over trials, and over other seeds."""
        over = {"trials": honest.swing(found.trials["average_f1"].dropna())}
        base = self.parameters(found.setting)
        drawing = self.build(found.frame, base, CHOSEN)[0].learner.seed is not None
        if drawing and self.repeats:
            seeds = [base["seed"] + n for n in range(1, self.repeats + 1)]
            scores = [self._at_full_size(found.frame, found.setting, seed=seed) for seed in seeds]
            over["seeds"] = honest.swing(scores)  # without that of the chosen training, which is a maximum
        return over


def in_words(setting: Setting) -> str:
    """`learning_rate 0.0001, epochs 3`."""
    return ", ".join(f"{name} {f'{v:.4g}' if isinstance(v, float) else v}" for name, v in setting.items())


def outcome(trial) -> str:
    """What came of a trial."""
    if trial.state.name == "COMPLETE":
        return f"{trial.value:.3f}"
    trouble = trial.user_attrs.get(TROUBLE)
    return f"not possible: {trouble}" if trouble else f"given up after fold {len(trial.intermediate_values)}"


def _carried(carried: proxy.Carried | None) -> dict | None:
    """What is kept of whether a proxy carries over."""
    if carried is None:
        return None
    return {"rank": carried.rank, "gains": carried.gains, "candidates": carried.table.to_dict("records")}
