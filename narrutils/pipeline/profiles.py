"""Profiles: one YAML file names the run and gives the notebooks their parameters.

    run: demo                    # outputs/<run>; the file's name unless given
    description: one line
    estimate:                    # what --dry-run says before the run has been timed
      01_eda: {seconds: 30, teraflops: 2, gigabytes: 0.6} # scaled to the machine, see `estimates`
    leave_out: [05_gemma_lora]   # notebooks that are no stages of it
    needs: [previous_run]        # what it cannot do without, and `-p` must give
    shared:                      # for every notebook that declares the parameter
      schema: params/schemas/nvdrs.yaml
    04_deberta:                  # for one notebook
      epochs: 5

A setting that a notebook keeps in a mapping of rarer ones, such as `options`, is named like any
other: `r_drop: 0.5`, and `options: {r_drop: 0.5}` means the same. Everything is held against what
the notebooks declare before anything runs; a name or value that does not fit is one line with the
nearest right name.
"""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

from narrutils.data.intake.yaml_files import load_yaml, parse_yaml
from narrutils.data.settings import Fields, fitting
from narrutils.errors import InputError, did_you_mean
from narrutils.paths import PROJECT, locate, shown
from narrutils.pipeline.parameters import INJECTED, Parameter, declared, settable

TOP = ("run", "description", "estimate", "leave_out", "needs", "shared")
PATHS = ("data_dir", "schema", "review_file", "unlabelled")  # found from here, else beside the project
ESTIMATED = Literal["seconds", "teraflops", "gigabytes"]
NOTEBOOKS = PROJECT / "notebooks"

Declared = dict[str, dict[str, Parameter]]


@dataclass(frozen=True)
class Profile:
    """A checked profile.

    Attributes:
        parameters: of every notebook that is a stage of it, each declared parameter with its value
            (defaults filled in), `run_dir` left out.
        declared: of every notebook, those that it leaves out among them.
        overrides: the `-p` pairs that it was loaded with.
    """

    name: str
    path: Path
    run: str
    description: str
    estimate: dict[str, dict[str, float]]
    parameters: dict[str, dict[str, object]]
    declared: Declared = field(repr=False)
    overrides: tuple[tuple[str, str], ...] = ()

    @property
    def stages(self) -> list[str]:
        return list(self.parameters)

    @property
    def left_out(self) -> list[str]:
        """The notebooks that are no stages of it."""
        return [stage for stage in self.declared if stage not in self.parameters]

    @property
    def command(self) -> str:
        """What runs it, as it can be typed from here."""
        pairs = [word for key, value in self.overrides for word in ("-p", key, value)]
        return shlex.join(["narrutils", "run", shown(self.path), *pairs])

    def injected(self, stage: str) -> dict[str, object]:
        """What differs from the notebook's own defaults, paths made absolute."""
        values, defaults = self.parameters[stage], self.declared[stage]
        chosen = {k: v for k, v in values.items() if v != defaults[k].default or k in PATHS}
        return {k: str(locate(v).resolve()) if k in PATHS and v else v for k, v in chosen.items()}


def load_profile(
    path: str | Path,
    overrides: Iterable[tuple[str, str]] = (),
    notebooks: str | Path = NOTEBOOKS,
) -> Profile:
    """Read a profile, lay `-p key value` pairs over it, and check every name and value.

    A key is `name` (every notebook that declares it), `04.name` or `04_deberta.name`,
    or `run`. Precedence: notebook's default, `shared`, section, override.

    Raises:
        InputError: a file is missing or unreadable, a key is unknown, a value does not fit, or what the
            profile needs is not given.
    """
    path, overrides = locate(path), tuple(overrides)
    raw = _read(path)
    known = read_declared(notebooks)
    stages = _stages(raw, known, path)
    _check_sections(raw, stages, list(known), path)
    values = {stage: {n: p.default for n, p in known[stage].items() if n != INJECTED} for stage in stages}
    names = {stage: settable(parameters) for stage, parameters in known.items()}
    for section in ("shared", *stages):
        of_section, where = [s for s in stages if section in ("shared", s)], f"{path}: {section}"
        for name, value in raw.get(section, {}).items():
            for stage in _declaring(name, names, of_section, where):
                _set(values[stage], names[stage], name, [value], where)
    run = raw["run"]
    for key, text in overrides:
        if key == "run":
            run = text
        else:
            _override(values, names, key, text)
    _check_needs(raw["needs"], values, names, path)
    return Profile(
        name=path.stem,
        path=path,
        run=_run_name(run, path),
        description=raw["description"],
        estimate=raw["estimate"],
        parameters=values,
        declared=known,
        overrides=overrides,
    )


def varied(profile: Profile, stage: str, settings: Mapping[str, object]) -> Profile:
    """The profile with other values for settings of one stage, checked as its own were.

    Raises:
        InputError: a name is unknown, or a value does not fit; the line opens with the stage.
    """
    names, values = settable(profile.declared[stage]), dict(profile.parameters[stage])
    for name, value in settings.items():
        _declaring(name, {stage: names}, [stage], stage)
        _set(values, names, name, [value], stage)
    return replace(profile, parameters=profile.parameters | {stage: values})


def effective(profile: Profile, stage: str) -> dict[str, object]:
    """Every setting of a stage by name, those that its mappings of settings leave at their defaults too."""
    values, found = profile.parameters[stage], {}
    for p in profile.declared[stage].values():
        for kind in Fields.of(p.kind).kinds:
            found |= {f.name: f.default for f in fields(kind) if f.default is not MISSING}
    for name, value in values.items():
        if Fields.of(profile.declared[stage][name].kind).kinds:
            found |= value
    return found | values


def read_declared(notebooks: str | Path) -> Declared:
    """Stage name -> declared parameters, for the numbered notebooks of a folder, in order."""
    paths = sorted(Path(notebooks).glob("[0-9]*.ipynb"))
    if not paths:
        raise InputError(f"{notebooks}: no numbered notebooks (01_….ipynb) there")
    return {path.stem: declared(path) for path in paths}


def find_stage(word: str, stages: Iterable[str], option: str) -> str:
    """The stage that `04` or `04_deberta` names.

    Raises:
        InputError: none, or more than one, does.
    """
    stages = list(stages)
    found = [s for s in stages if s == word] or [s for s in stages if s.startswith(word) and word]
    if len(found) != 1:
        raise InputError(f"{option} {word}: no such stage{_near(word, stages)}; they are {', '.join(stages)}")
    return found[0]


def _read(path: Path) -> dict:
    if not path.is_file():
        known = sorted(p.name for p in (PROJECT / "params").glob("*.yaml"))
        raise InputError(f"{path}: no such profile{_near(path.name, known)}")
    raw = load_yaml(path)
    if not isinstance(raw, dict):
        raise InputError(f"{path}: a profile is a mapping with `run`, `shared` and a section a notebook")
    words = load_yaml(path, words=True)  # a run may be called 010
    empty = {"estimate": {}, "leave_out": [], "needs": [], "shared": {}}
    raw = {key: empty.get(key, {}) if raw.get(key) is None else raw[key] for key in empty | raw}
    return raw | {"run": words.get("run", path.stem), "description": str(words.get("description", ""))}


def _stages(raw: dict, known: Declared, path: Path) -> list[str]:
    """The notebooks that a profile does not leave out."""
    words = fitting(raw["leave_out"], list[str], f"{path}: leave_out")
    left = {find_stage(word, known, f"{path}: leave_out") for word in words}
    if left == {*known}:
        raise InputError(f"{path}: leave_out names every notebook; keep one at least")
    return [stage for stage in known if stage not in left]


def _check_sections(raw: dict, stages: list[str], known: list[str], path: Path) -> None:
    for section, value in raw.items():
        if section in known and section not in stages:
            raise InputError(f"{path}: section {section} is of a notebook that leave_out names; remove one")
        if section not in (*TOP, *stages):
            raise InputError(f"{path}: unknown section {section}{_near(section, [*TOP, *stages])}")
        if section not in ("run", "description", "leave_out", "needs") and not isinstance(value, dict):
            raise InputError(f"{path}: {section} must be a mapping of name to value")
    fitting(raw["estimate"], dict[Literal[*stages], dict[ESTIMATED, float]], f"{path}: estimate")


def _check_needs(needs: list, values: dict[str, dict], names: Declared, path: Path) -> None:
    """Whether everything that a profile needs was given.

    Raises:
        InputError: some notebook is without, or no notebook declares such a name.
    """
    for name in fitting(needs, list[str], f"{path}: needs"):
        stages = _declaring(name, names, list(values), f"{path}: needs")
        if not all(values[stage].get(name) for stage in stages):
            raise InputError(f"{path}: needs {name}; give it with `-p {name} VALUE`, or see the file's head")


def _run_name(run: object, path: Path) -> str:
    """The run's folder name; it may not lead out of the outputs folder."""
    word = run if isinstance(run, str) else ""
    if not word.isprintable() or word != word.strip() or set(word) & set("/\\") or word[:1] in ("", "."):
        raise InputError(f"{path}: run is {run!r}; it takes one folder name, such as demo")
    return word


def _declaring(name: str, names: Declared, stages: list[str], where: str) -> list[str]:
    """Those of some stages, one or all of a profile, where a name may be set.

    Raises:
        InputError: there are none; the line tells who else declares it, or the nearest name.
    """
    if name == INJECTED:
        raise InputError(f"{where}: {name} is set by the runner; choose the folder with `run` or --outputs")
    found = [stage for stage in stages if name in names[stage]]
    if not found:
        others = [stage for stage in names if name in names[stage]]
        told = f"; {', '.join(others)} declares it{', which leave_out names' if len(stages) > 1 else ''}"
        near = _near(name, [n for stage in stages for n in names[stage]])
        raise InputError(f"{where}: unknown name {name}{told if others else near}")
    return found


def _near(word: object, names: Iterable[str]) -> str:
    mend = did_you_mean(word, names)
    return mend and f"; {mend}"


def _set(values: dict, known: dict[str, Parameter], name: str, readings: list, where: str) -> None:
    """Set what a name stands for to the first of these readings of a value that fits."""
    parameter, faults = known[name], []
    for reading in readings:
        try:
            value = fitting(reading, parameter.kind, name)
            break
        except InputError as error:
            faults.append(error)
    else:
        meaning = f" ({parameter.help})" if parameter.help else ""
        raise InputError(f"{where}: {faults[0]}{meaning}")
    if Fields.of(parameter.kind).kinds:  # each by itself: others stay, and one may be a parameter of its own
        for inner in value:
            _set(values, known, inner, [value[inner]], where)
    elif parameter.within:
        values[parameter.within] = values[parameter.within] | {name: value}
    else:
        values[name] = value


def _override(values: dict, names: Declared, key: str, text: str) -> None:
    """Lay a pair of the command line over the values: as YAML reads it, else as it was typed."""
    *before, name = key.split(".")  # 04.name, options.name, 04.options.name
    words = [word for word in before if all(word not in parameters for parameters in names.values())]
    stages = [find_stage(words[0], values, "-p")] if words else list(values)
    try:
        parsed = parse_yaml(text)
    except InputError:
        parsed = text
    where = f"-p {stages[0]}" if words else "-p"
    for stage in _declaring(name, names, stages, where):
        within = [word for word in before if word not in words[:1]]
        if within not in ([], [names[stage][name].within]):
            raise InputError(f"{where}: {name} does not stand in {'.'.join(within)} of {stage}")
        _set(values[stage], names[stage], name, [parsed, text], f"-p {stage}")
