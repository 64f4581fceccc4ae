"""Distillation: the fast profile, started from a finished run whose ensemble teaches.

Nothing is done here that `narrutils run params/fast.yaml` would not do: the cases, folds and ways of the
finished run become `-p` pairs, and the runner does the rest.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from narrutils.data.run import Run
from narrutils.errors import InputError
from narrutils.paths import PROJECT, shown
from narrutils.pipeline.profiles import NOTEBOOKS, Profile, load_profile

FAST = PROJECT / "params/fast.yaml"
FIRST = "01_eda"
#: What decides cases and folds: of the first notebook alone.
CASES = ("schema", "data_dir", "unlabelled", "demo_cases", "train_cases", "folds", "duplicate_similarity")
CASES += ("seed",)
FREE = ("unlabelled", "data_dir", "schema")  # of these, what may differ: files may have moved
#: What the two runs do alike, in every notebook.
ALIKE = ("precision", "threshold_search", "show_text")


def fast_profile(
    folder: str | Path,
    overrides: Iterable[tuple[str, str]] = (),
    params: str | Path = FAST,
    notebooks: str | Path = NOTEBOOKS,
) -> Profile:
    """The fast profile with the cases and folds of a finished run, which teaches; its name is `<run>_fast`.

    Args:
        overrides: pairs that are laid over what that run gives.

    Raises:
        InputError: there is no such run, another version made it, or a pair does not fit, or asks for other
            cases or folds than the teacher's.
    """
    folder, overrides = Path(folder), list(overrides)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such run folder; name one, such as outputs/demo")
    for key, _ in overrides:
        stage, _, name = key.rpartition(".")
        if name in CASES and name not in FREE and stage[:2] in ("", FIRST[:2]):
            mend = "train a teacher with others, and name its run"
            raise InputError(f"-p {key}: a student has the cases and folds of its teacher; {mend}")
    given = {"run": f"{folder.resolve().name}_fast", "previous_run": str(folder.resolve())}
    return load_profile(params, [*_taken(folder), *given.items(), *overrides], notebooks)


def _taken(folder: Path) -> list[tuple[str, str]]:
    """The pairs that make a run of the same cases and folds."""
    if not Run(folder).has("run.json"):
        raise InputError(f"{shown(folder)}: holds no run.json; name the folder of a finished run")
    known = Run(folder).record().get("parameters", {}).get(FIRST, {})
    missing = [name for name in (*CASES, *ALIKE) if name not in known and name != "unlabelled"]
    if missing:
        told = f"its run.json does not tell {missing[0]} of {FIRST}"
        raise InputError(f"{shown(folder)}: {told}: unfinished, or of another version; run its notebooks")
    pairs = [(f"{FIRST[:2]}.{name}", _typed(known[name])) for name in CASES if name in known]
    return pairs + [(name, _typed(known[name])) for name in ALIKE]


def _typed(value: object) -> str:
    """A value as it is typed beside `-p`."""
    return value if isinstance(value, str) else json.dumps(value)
