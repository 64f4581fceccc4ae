"""From codes to findings: prevalences, differences and ratios that hold, of machine and human codes.

    narrutils estimate --run outputs/demo --features all.csv --draw 200 --out to_code.csv
    narrutils estimate --run outputs/demo --features all.csv --human to_code.csv --by site --out table.csv

Without human codes the training labels of the run serve as such: then every case is read by models
that did not learn from it (`findings.estimates.population`). Results hold uids, names, levels and
numbers, no text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from narrutils.crossfit.deployed import Deployed
from narrutils.data.clusters import joined
from narrutils.data.intake.incoming import mend
from narrutils.data.intake.sheets import read_sheet
from narrutils.data.outputs import Outputs
from narrutils.data.schema import Schema
from narrutils.data.tables import by_uid, read_table, write_table
from narrutils.errors import InputError, did_you_mean
from narrutils.findings.coded import cleaned
from narrutils.findings.estimates import population as people
from narrutils.findings.estimates.human_codes import read_human_codes
from narrutils.findings.estimates.population import Population
from narrutils.findings.estimates.sampling import INCLUSION, draw
from narrutils.findings.estimates.three_ways import ADJUST, check_reference, estimate_all
from narrutils.report.findings.estimated import lines


@dataclass(frozen=True)
class Asked:
    """What the command was asked, by the names of its options.

    Attributes:
        by: group column -> its level of reference, "" where none was named.
        weight: column of `human` with inclusion probabilities; empty: `INCLUSION` where it is there.
    """

    run: Path
    features: Path | None = None
    probabilities: Path | None = None
    human: Path | None = None
    weight: str = ""
    variables: Sequence[str] = ()
    by: Mapping[str, str] = field(default_factory=dict)
    adjust: str = ""
    width: float = 0.0


def answer(
    asked: Asked, out: Path | None = None, overwrite: bool = False, size: int | None = None, seed: int = 0
) -> list[str]:
    """Do what was asked; what a person is told, a line each.

    Args:
        out: where the table goes, or the sample.
        size: how many cases to draw for people to code; None: estimate.

    Raises:
        InputError: see `estimate` and `draw_sample`; or the result cannot be written there.
    """
    check_out(asked, out, overwrite)
    if size is None:
        table, notes = estimate(asked)
        said = [*lines(table), *notes]
    elif out is None:
        raise InputError("--draw: name the file that people fill in as --out")
    else:
        table = draw_sample(asked, size, seed)
        fill = f"fill in the empty columns, leave {INCLUSION} as it is, and hand it back as --human"
        said = [f"{len(table)} cases to be coded: {out}; {fill}"]
    if out is not None:  # a sample holds group values of single cases
        write_table(out, table, private=True)
    return said


def estimate(asked: Asked) -> tuple[pd.DataFrame, list[str]]:
    """The table of `findings.estimates.three_ways.estimate_all`, and what to know of it, a line each.

    Raises:
        InputError: the run folder, a file, a column or an option is not what it must be.
    """
    check_options(asked)
    deployed = Deployed.open(asked.run)
    check_variables(deployed.schema, asked.variables)
    cases, notes = _with_human_codes(asked, deployed) if asked.human else _with_labels(asked, deployed)
    coded = [name for name in deployed.schema.names if cases.human[name].notna().any()]
    table = estimate_all(cases, asked.variables or coded, asked.by, asked.adjust, asked.width)
    return table, notes


def check_options(asked: Asked) -> None:
    """That the options belong together.

    Raises:
        InputError: they do not; the line says how they would.
    """
    if asked.adjust and asked.adjust not in ADJUST:
        raise InputError(f"--adjust {asked.adjust}: it may be {', '.join(ADJUST)}")
    if not 0 <= asked.width < 1:
        raise InputError(f"--width {asked.width:g}: a width of a prevalence's interval lies between 0 and 1")
    if asked.probabilities and not (asked.features and asked.human):
        raise InputError(
            "--probabilities: needs --features, the cases that they are of, and --human, codes of cases that "
            "trained nothing; without these the models of each fold read the cases themselves"
        )
    if asked.weight and not asked.human:
        raise InputError("--weight: names a column of --human; name that file too")


def check_variables(schema: Schema, names: Sequence[str]) -> None:
    for name in names:
        if name not in schema.names:
            near = did_you_mean(name, schema.names, f"there are {', '.join(schema.names)}")
            raise InputError(f"--variable {name}: no variable of schema {schema.name}; {near}")


def draw_sample(asked: Asked, size: int, seed: int = 0) -> pd.DataFrame:
    """A sample of cases for people to code: uid, group columns, empty labels, inclusion probability.

    It is of the features, or of the run's test cases, less those that trained models.

    Raises:
        InputError: see `estimate`, and `findings.estimates.sampling.draw`.
    """
    idle = [f"--{name}" for name in ("human", "weight", "adjust", "width") if getattr(asked, name)]
    if idle:
        raise InputError(f"--draw: draws a sample and estimates nothing; leave out {', '.join(idle)}")
    deployed = Deployed.open(asked.run)
    schema = deployed.schema
    check_variables(schema, asked.variables)
    cases = Cases.of(asked, deployed)
    wanted = [*asked.by, *schema.groups, *schema.optional_groups]
    groups = cases.groups[[column for column in dict.fromkeys(wanted) if column in cases.groups]]
    sample = draw(groups, size, list(asked.by), seed)
    labels = {schema[name].heading: "" for name in asked.variables or schema.names}
    table = sample.drop(columns=INCLUSION).assign(**labels, **{INCLUSION: sample[INCLUSION]})
    return table.rename_axis(schema.uid).reset_index()


def check_out(asked: Asked, out: Path | None, overwrite: bool) -> None:
    """That a result can be written as CSV and replaces nothing, before anything is read.

    Raises:
        InputError: it cannot, or something is there.
    """
    if out is not None:
        if out.suffix != ".csv":
            raise InputError(f"{out}: unknown kind of file; name it .csv")
        outputs = Outputs(out, overwrite=overwrite)
        for path in filter(None, (asked.features, asked.human, asked.probabilities)):
            outputs.check(path)
        outputs.check_free()


@dataclass(frozen=True)
class Cases:
    """The cases that something is asked of, less those that trained models.

    Attributes:
        texts, groups: text columns, and further columns as text, indexed by uid.
        trained: uids that were left out: training cases of the run, by their uid or by their words.
        source: where they stand.
    """

    texts: pd.DataFrame
    groups: pd.DataFrame
    trained: pd.Index
    source: str

    @classmethod
    def of(cls, asked: Asked, deployed: Deployed, words: bool = True) -> "Cases":
        """Those of the features, or the run's test cases.

        Args:
            words: whether a case that has the words of a training case counts as one that trained models.

        Raises:
            InputError: the file is faulty, or nothing is left.
        """
        run, schema = deployed.run, deployed.schema
        if asked.features:
            texts, groups, source = *read_features(asked.features, schema), asked.features.name
        else:
            texts, source = run.cases("test")[schema.text_columns], "the test cases of the run"
            groups = cleaned(run.groups().loc[texts.index])
        trained = trained_on(run.cases("train"), texts, schema, words)
        check_reference(groups, asked.by)
        if len(trained) == len(texts):
            raise InputError(f"{source}: no case that trained no model; name further ones as --features")
        return cls(texts.drop(index=trained), groups.drop(index=trained), trained, source)

    @property
    def notes(self) -> list[str]:
        left = len(self.trained)
        return [f"left out, since the models learned from them: {left} cases"] if left else []


def trained_on(train: pd.DataFrame, texts: pd.DataFrame, schema: Schema, words: bool) -> pd.Index:
    """uids of the cases that are training cases, by their uid or by their words."""
    known = set(people.told_by(train, schema)) - {""} if words else set()
    same = texts.index.isin(train.index) | people.told_by(texts, schema).isin(known).to_numpy(dtype=bool)
    return texts.index[same]


def read_features(path: Path, schema: Schema) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Texts and further columns of a table of cases, as text, indexed by uid.

    Raises:
        InputError: it is no such table.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; name the table of all cases")
    names = {t.heading: t.name for t in schema.text}
    sheet = read_sheet(path, [schema.uid, *names], schema.uid, further="keep")
    index = pd.Index(list(sheet.uids), name="uid", dtype=str)
    texts = pd.DataFrame({name: [*map(mend, sheet.column(h))] for h, name in names.items()}, index)
    known = {schema.uid, *names, *(v.heading for v in schema.variables)}
    others = [h for h in sheet.header if h not in known]
    return texts, cleaned(pd.DataFrame({h: sheet.column(h) for h in others}, index))


def _with_labels(asked: Asked, deployed: Deployed) -> tuple[Population, list[str]]:
    """The training labels of the run as human codes, every case read by models that did not learn from it."""
    run, schema = deployed.run, deployed.schema
    said = "human codes are the run's training labels, which holds if those cases are a random part of all"
    check_reference(cleaned(run.groups()), asked.by if not asked.features else dict.fromkeys(asked.by, ""))
    if not asked.features:
        return people.of_run(run, schema), [said]
    cases = Cases.of(asked, deployed, words=False)  # `with_training` lets other models read their twins
    return people.with_training(run, schema, cases.texts, cases.groups), [said]


def _with_human_codes(asked: Asked, deployed: Deployed) -> tuple[Population, list[str]]:
    """Human codes of cases that trained nothing, all read by the deployed ensemble."""
    schema, cases = deployed.schema, Cases.of(asked, deployed)
    uids, trained = cases.texts.index, cases.trained.union(deployed.run.cases("train").index)
    human, chances = read_human_codes(
        asked.human, schema, uids, cases.source, trained, asked.weight, asked.variables
    )
    notes = cases.notes
    if chances.eq(1).all():
        notes.append("every case is taken as drawn with the same chance; --weight names a column of others")
    machine, codes = deployed_readings(asked, deployed, cases.texts)
    clusters = together(schema, cases.groups)
    return Population(schema, human, machine, codes, cases.groups, chances, clusters), notes


def deployed_readings(asked: Asked, deployed: Deployed, texts: pd.DataFrame) -> people.Readings:
    """Calibrated probabilities of cases that trained nothing, and their codes as targets.

    Raises:
        InputError: the run has no calibration, or the table of probabilities lacks a case or a column.
    """
    schema = deployed.schema
    if not deployed.can_flag:
        raise InputError(f"{asked.run}: has no calibration; run its 06_ensemble")
    if asked.probabilities:
        machine = _stored_probabilities(asked.probabilities, schema).loc[lambda t: t.index.isin(texts.index)]
        machine = by_uid(machine, texts.index, asked.probabilities.name)
        scales, cuts = deployed.calibration.scales, deployed.made["thresholds"]
        cuts = {name: scales[name].at(cut) for name, cut in cuts.items()}
        return machine, schema.to_targets(schema.to_labels(machine, cuts))
    if asked.features:
        read = deployed.read(texts)
    else:
        read = deployed.run.read_probabilities("predictions/ensemble_test.parquet", schema, texts.index)
    return deployed.calibration.apply(read), schema.to_targets(deployed.decide(read))


def _stored_probabilities(path: Path, schema: Schema) -> pd.DataFrame:
    if not path.exists() or path.suffix not in (".csv", ".parquet"):
        raise InputError(
            f"{path}: no such file; name what `predict --probabilities` wrote as .csv or .parquet"
        )
    table = (
        pd.read_csv(path, dtype={schema.uid: str}, keep_default_na=False)
        if path.suffix == ".csv"
        else read_table(path)
    )
    if schema.uid not in table:
        raise InputError(f"{path}: no column {schema.uid}; name what `predict --probabilities` wrote")
    try:
        return schema.check_probabilities(table.set_index(schema.uid))
    except ValueError as fault:
        raise InputError(
            f"{path}: {fault}; name what `predict --probabilities` wrote with this run"
        ) from None


def together(schema: Schema, groups: pd.DataFrame) -> pd.Series:
    """A number for each case; those with one value of a `keep_together` column have the same."""
    columns = [column for column in schema.keep_together if column in groups]
    return joined(groups[columns].where(groups[columns] != ""))
