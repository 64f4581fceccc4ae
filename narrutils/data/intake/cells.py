"""What the cells of a label file say: a code, however it is written, or that there is no label.

A reading is taken where it is the only one: a code as it stands in the schema, a number
written otherwise, yes or no of a binary variable, the name of a class. All else is a fault.
"""

import re
from collections import Counter

import pandas as pd

from narrutils.data.intake.sheets import Sheet
from narrutils.data.schema import Schema, Variable
from narrutils.errors import InputError

NUMBER = re.compile(r"([+-]?[0-9]{1,18})([.,]0*)?")
WORDS = {
    "written like TRUE": {"true": 1, "t": 1, "false": 0, "f": 0},
    "written like Yes": {"yes": 1, "y": 1, "no": 0, "n": 0},
}
NAMES = "given by the names of classes"

#: A code, or None for no label; and its form, "" as the schema has it.
Reading = tuple[int | None, str]


def read_labels(sheet: Sheet, schema: Schema) -> tuple[pd.DataFrame, list[str]]:
    """The codes of all variables by uid (`Int64`, null without a label), and a remark on each form of them.

    An auxiliary variable may have no column: then no case has a label of it, which a remark says.

    Raises:
        InputError: see `read_codes`.
    """
    forms: dict[str, Counter] = {}
    codes = {}
    for v in schema.variables:
        if v.auxiliary and v.heading not in sheet.header:
            codes[v.name] = pd.array([pd.NA] * len(sheet.rows), dtype="Int64")
            continue
        codes[v.name], counts = read_codes(sheet, v)
        for form, n in counts.items():
            forms.setdefault(form, Counter())[v.name] += n
    told = [f"labels {form} are read as codes: {_listed(forms[form])}" for form in sorted(forms) if form]
    lacking = [v.heading for v in schema.variables if v.heading not in sheet.header]
    told += [f"no column of the auxiliary {', '.join(lacking)}"] if lacking else []
    return pd.DataFrame(codes, pd.Index(list(sheet.uids), name="uid", dtype=str)), told


def missing_labels(codes: pd.DataFrame) -> list[str]:
    """A remark on the labels that are missing, if any are."""
    lacking = codes.isna().sum()
    if not lacking.any():
        return []
    bare = int(codes.isna().all(axis=1).sum())
    among = f"of {len(codes)} cases" + (f", {bare} of them without any" if bare else "")
    return [f"labels are missing: {_listed(lacking[lacking > 0].to_dict())} ({among})"]


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items())


def read_codes(sheet: Sheet, variable: Variable) -> tuple[pd.api.extensions.ExtensionArray, Counter]:
    """The codes of a variable in file order, null without a label, and how many stood in which form.

    Raises:
        InputError: a cell is none of its codes, or may be two; the line names it and quotes no words.
    """
    cells = [cell.strip() for cell in sheet.column(variable.heading)]
    known: dict[str, Reading] = {str(code): (code, "") for code in variable.codes}
    forms: Counter = Counter()
    for cell, n in Counter(cells).items():
        if cell not in known:
            try:
                known[cell] = read_label(cell, variable)
            except ValueError as fault:
                raise InputError(f"{_where(sheet, variable, cells, cell)}: {fault}") from None
        forms[known[cell][1]] += n
    titles = _titles(variable) if NAMES in forms else {}  # then 1 may be meant as the name of another class
    for cell in dict.fromkeys(cells):
        if any(title == cell and code != known[cell][0] for code, title in titles.items()):
            fault = _fault(cell, variable, ambiguous=True)
            raise InputError(f"{_where(sheet, variable, cells, cell)}: {fault}")
    return pd.array([known[cell][0] for cell in cells], dtype="Int64"), forms


def _where(sheet: Sheet, variable: Variable, cells: list[str], cell: str) -> str:
    return sheet.records.at(sheet.lines[cells.index(cell)], variable.heading)


def _titles(variable: Variable) -> dict[int, str]:
    """Code -> name of the class, as cells are compared with it."""
    return {code: title.strip().casefold() for code, title in (variable.classes or {}).items()}


def read_label(cell: str, variable: Variable) -> Reading:
    """What a cell says of a variable.

    Raises:
        ValueError: nothing, or two things; the message quotes numbers only.
    """
    word, number = cell.casefold(), NUMBER.fullmatch(cell)
    found = {(code, NAMES) for code, title in _titles(variable).items() if title == word}
    if word in variable.missing or (number and str(int(number[1])) in variable.missing):
        found.add((None, ""))
    elif number and int(number[1]) in variable.codes:
        found.add((int(number[1]), "written like 1.0" if number[2] else "written like 02"))
    elif variable.is_binary:
        found |= {(codes[word], form) for form, codes in WORDS.items() if word in codes}
    if len({code for code, _ in found}) == 1:
        return min(found, key=str)
    raise ValueError(_fault(cell, variable, ambiguous=bool(found)))


def _fault(cell: str, variable: Variable, ambiguous: bool) -> str:
    said = cell if re.fullmatch(r"[0-9.,eE+-]{1,12}", cell) else "the label"
    if ambiguous:
        what = "may mean two things; write its code"
    elif not cell:
        what = "is empty"
    elif NUMBER.fullmatch(cell):
        what = "is out of range"
    else:
        what = "is not an integer" if variable.is_binary else "is neither an integer nor the name of a class"
    codes = ", ".join(map(str, variable.codes))
    none = "an empty cell" if "" in variable.missing else ", ".join(variable.missing)
    none = f"a case without a label has {none}" if none else "every case has one"
    return f"{said} {what}; its codes are {codes}, and {none}"
