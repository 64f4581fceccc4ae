"""Whether the settings of a profile can hold together, and whether what they name will be there.

All of it is told before a model loads, from the profile, the notebooks' source and the files that
are at hand.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from narrutils.crossfit.phases import Student, Teaching
from narrutils.crossfit.teachers import Teachers
from narrutils.data.run import Run
from narrutils.data.schema import Schema
from narrutils.data.settings import Fields, Seed, Teacher, fitting, settings
from narrutils.errors import InputError, concerning, did_you_mean
from narrutils.evaluation.ensemble import ENSEMBLE, normalise
from narrutils.findings.settings import LINEAR
from narrutils.models.hub import backbones, config_at_hand, values_under
from narrutils.models.packaged import PACKAGED, require
from narrutils.models.settings import Body, Lora
from narrutils.pipeline.machine import PROBLEM, eight_bit, model
from narrutils.pipeline.parameters import Parameter, read_cells
from narrutils.pipeline.profiles import NOTEBOOKS, Profile
from narrutils.training.recipe import Recipe, by_name, together, varied


def check_settings(
    profile: Profile,
    previous: Mapping[str, Path],
    notebooks: Path = NOTEBOOKS,
    chosen: Iterable[str] = (),
    run: Run | None = None,
) -> None:
    """Make all settings that the notebooks will make of their parameters, and look for the models they name.

    Args:
        previous: stage -> folder of the run that it starts from, whose models may teach.
        chosen: the stages that are to run, all unless given; the others' models are those of `run`.

    Raises:
        InputError: some of them cannot hold together, or there is no such teacher, member or model
            whose evidence is asked for.
    """
    taken_over = previous or any(values.get("cycle") for values in profile.parameters.values())
    pools = [str(p.get("pool")) for values in profile.parameters.values() for p in values.get("pools", [])]
    published, refit, silent = {}, False, False
    for stage, values in profile.parameters.items():
        with concerning(stage):
            made = settings_of(values, profile.declared[stage])
            if Teaching in made and stage not in previous and not taken_over:
                fitting(made[Teaching].round_pools, list[list[Literal[*(pools or [""])]]], "round_pools")
            if Student in made:
                refit, silent = made[Student].refit, not made[Student].listens
            if Teaching in made and refit and (silent or stage not in previous):
                raise InputError(
                    "round 0 learns from the soft labels of 04, whose model with a refit teaches nobody; "
                    "leave this notebook out, set refit to false, or name a previous_run and soft_epochs"
                )
        published[stage] = publishes(values, made, notebooks / f"{stage}.ipynb")
    everything, chosen = _together(published.values()), list(chosen or published)
    there = _together(published[stage] for stage in chosen)
    if there and run and len(chosen) < len(published):
        there |= {*run.models()}
    for stage, values in profile.parameters.items():
        teachers = {*Run(previous[stage]).models()} if stage in previous else everything
        with concerning(stage):
            _named([n for n, p in profile.declared[stage].items() if p.kind is Teacher], values, teachers)
            if stage in chosen:
                _named(["evidence_model"], values, there)
                _named(["sources_model"], values.get("findings", {}), there and there | {LINEAR})
                _weighed(values.get("weights"), there)


def check_teachers(profile: Profile, previous: Mapping[str, Path]) -> None:
    """Whether the models of previous runs that are named as teachers have nested teachers to do it by.

    A model that learns from no teacher needs none.

    Raises:
        InputError: one has none; it would be told long after the first notebook began.
    """
    for stage, folder in previous.items():
        made = settings_of(profile.parameters[stage], profile.declared[stage])
        listens = Student not in made or made[Student].listens
        if "teacher" in profile.parameters[stage] and listens:
            with concerning(f"{stage}: previous_run"):
                schema = Schema.from_dict(Run(folder).read("schema.json"))
                Teachers(Run(folder), profile.parameters[stage]["teacher"], schema).check_nested()


def publishes(values: Mapping, made: Mapping[type, object], notebook: Path) -> set[str] | None:
    """Names of the models that a stage publishes; None where they cannot be told.

    Args:
        made: class -> the settings of the stage.
    """
    code = "\n".join(cell["source"] for cell in read_cells(notebook) if cell["cell_type"] == "code")
    found = set(re.findall(r'CrossFit\(\s*\w+,\s*"(\w+)"', code))
    if "companions" in values:
        found |= {"tfidf", *values["companions"]}
    if "weights" in values:
        found |= {ENSEMBLE}
    if Student in made:
        found |= {made[Student].name}
    if Teaching in made:
        how = made[Teaching]
        rounds = {f"gemma_round{n}" for n in range(1, how.rounds + 1)}
        found |= {"gemma", *rounds, *by_name(how.finals)}
    unknown = not found and re.search(r"\.publish\(|\.write_pr(obabilities|edictions)\(", code)
    return None if unknown else found


def _together(parts: Iterable[set[str] | None]) -> set[str]:
    """All of these models; none where a stage has some that cannot be told."""
    parts = list(parts)
    return set() if None in parts else set().union(*parts)


def _named(names: Iterable[str], values: Mapping, models: set[str]) -> None:
    """Check that each of these parameters, where it is there, names one of the models, if they are known."""
    for name in names:
        if models and name in values:
            fitting(values[name], Literal[*sorted(models)], name)


def _weighed(weights: Mapping | None, models: set[str]) -> None:
    """Check the ensemble's weights: of models that there will be, and not all 0."""
    if weights is not None:
        normalise(weights)
        members = sorted(models - {ENSEMBLE})
        for name in (name for name in weights if members and name not in members):
            mend = did_you_mean(name, members, f"there will be {', '.join(members)}")
            raise InputError(f"weights: no notebook makes a model {name!r}; {mend}")


def settings_of(values: dict, parameters: Mapping[str, Parameter]) -> dict:
    """Class -> the settings of a stage.

    Args:
        values: of its parameters; `parameters`: those that it declares.

    Raises:
        InputError: some of them cannot hold together.
    """
    if "seed" in values:
        fitting(values["seed"], Seed, "seed")
    kinds = [(kind, values[name]) for name, p in parameters.items() for kind in Fields.of(p.kind).kinds]
    made = {kind: settings(kind, values, rarer) for kind, rarer in kinds}
    if {Body, Recipe} <= made.keys() and values.get("reader") != "tfidf":  # which trains nobody by it
        parts = [made[Body], made.get(Lora, Lora()), made[Recipe]]
        together(*parts)
        check_layers(made[Body])
        tuned, epochs = made[Recipe].finetune_epochs, values.get("epochs")
        if epochs is not None and tuned > epochs:
            raise InputError(f"finetune_epochs is {tuned} of {epochs} epochs")
        for name, changes in by_name(made[Teaching].finals if Teaching in made else []).items():
            with concerning(f"finals: {name}"):
                check_layers(varied(parts, **changes)[0])
    return made


def check_layers(body: Body) -> None:
    """Hold the layers that are asked for against those that the backbone has, where its config is at hand.

    Raises:
        InputError: it has fewer.
    """
    config = config_at_hand(body.backbone)
    total = config.get("num_hidden_layers") or config.get("text_config", {}).get("num_hidden_layers")
    if total and body.layers > total:
        raise InputError(f"layers is {body.layers}; {body.backbone} has {total}")
    total = body.layers or total
    if total and body.top_layers >= total:
        raise InputError(
            f"top_layers is {body.top_layers}; of the {total} layers of {body.backbone} it takes "
            f"1 to {total - 1}, or 0 for all"
        )


def check_models(parameters: Mapping[str, Mapping]) -> None:
    """Look for every backbone that stages name, and for the GPU that a quantised one needs.

    Raises:
        InputError: one is neither packaged, nor in a folder, nor to be had from the hub.
    """
    require([name for name in backbones(list(parameters.values())) if name in PACKAGED])
    for stage, values in parameters.items():
        found = [model(name) for name in backbones(values)]
        if values_under(values, lambda key: key == "quantization"):
            found.append(eight_bit())
        for finding in found:
            if finding.mark == PROBLEM:
                raise InputError(f"{stage}: {finding.what}: {finding.found}; {finding.mend}")


def check_cases(values: Mapping, cases: int) -> None:
    """Hold what a stage asks of the training cases against how many there are.

    Raises:
        InputError: more cases are to be drawn than there are, or more folds.
    """
    asked = values.get("train_cases", 0)
    if asked > cases:
        raise InputError(f"train_cases is {asked}, but there are {cases} training cases; 0 takes all")
    if values.get("folds", 0) > (asked or cases):
        raise InputError(f"folds is {values['folds']}, but there are {asked or cases} training cases")
