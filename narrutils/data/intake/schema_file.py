"""A schema's file: every word read as it is written, and every fault told before anything is built on it."""

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Literal

from narrutils.data.intake.sheets import shown
from narrutils.data.intake.yaml_files import load_yaml
from narrutils.data.schema import COLUMN_LISTS, PLACE, UNKNOWN, Schema, TextColumn, Variable
from narrutils.data.settings import fitting
from narrutils.errors import InputError, concerning, did_you_mean
from narrutils.paths import locate

#: Columns that the program itself puts beside the text columns, variables or probabilities of a case: in
#: tables of cases; of generated rows, where screening adds its own; of readings, of codes, of pictures.
OF_CASES = ("uid", "split", "fold", "cluster", "twin")
OF_ROWS = ("pool", "model", "backend", "seed", "chunk", "seen_folds", "example_uids", "finished", "kept",
           "reason", "copied_words", "domain_similarity", "agreement")  # fmt: skip
RESERVED = (*OF_CASES, *OF_ROWS, "held_out_fold", "flag", "doubt", "review", "group", "inclusion_probability")
#: What stands beside the uid in the file of evidence that `predict` writes.
OF_EVIDENCE = ("variable", "text", "start", "end", "effect", "sentence")

CODE = re.compile("-?[0-9]{1,9}")
ExtraColumns = Literal["refuse", "ignore", "keep"]
Flag = Literal["true", "false"]
NESTED = ("text", "variables", "classes", "missing", *COLUMN_LISTS)  # no plain words


def load_schema(path: str | Path) -> Schema:
    """Read a schema file; every word in it is taken as it is written.

    Raises:
        InputError: the file is missing or faulty, or see `parse_schema`.
    """
    path = locate(path)
    if not path.is_file():
        raise InputError(f"{path}: no such schema file; params/schemas/nvdrs.yaml is an example")
    return parse_schema(load_yaml(path, words=True), path)


def parse_schema(raw: object, source: str | Path) -> Schema:
    """A schema from what its file holds, words and lists and mappings of words.

    Args:
        source: names the file in errors.

    Raises:
        InputError: a key is unknown, missing or empty, a code or title stands twice or is none, a
            description does not fit its kind, a name or column is taken, or every variable is auxiliary.
    """
    with concerning(str(source)):
        if not isinstance(raw, Mapping):
            raise InputError("a schema is a mapping with `text` and `variables`")
        raw = _entry(raw, Schema, "", "missing")
        for key in ("text", "variables"):
            if not isinstance(raw.get(key), list) or not raw[key]:
                raise InputError(f"`{key}` must be a list of at least one entry")
        missing = _missing(raw.get("missing"), UNKNOWN)
        schema = Schema(
            name=raw.get("name") or Path(source).stem,
            title=raw.get("title") or raw.get("name") or Path(source).stem,
            uid=raw.get("uid") or "uid",
            text=tuple(_text(entry, n) for n, entry in enumerate(raw["text"], 1)),
            variables=tuple(_variable(entry, n, missing) for n, entry in enumerate(raw["variables"], 1)),
            note=raw.get("note", ""),
            caution=raw.get("caution", ""),
            extra_columns=fitting(raw.get("extra_columns", "ignore"), ExtraColumns, "extra_columns"),
            **{key: _columns(raw, key) for key in COLUMN_LISTS},
        )
        if not schema.scored.variables:
            raise InputError("every variable is auxiliary; one at least must be scored")
        _check_distinct(schema)
        _check_free(schema)
    return schema


def _entry(given: object, kind: type, where: str, *further: str) -> Mapping:
    """A mapping of the fields of a class, and words where a word belongs."""
    if not isinstance(given, Mapping) or ("name" not in given and kind is not Schema):
        raise InputError(f"{where}has no `name`")
    known = [*(f.name for f in fields(kind)), *further]
    for key, value in given.items():
        if key not in known:
            mend = did_you_mean(key, known, f"it may be {', '.join(known)}")
            raise InputError(f"{where}unknown key {shown(str(key))}; {mend}")
        if key not in NESTED and not isinstance(value, str):
            raise InputError(f"{where}`{key}` is no text; put it between quotes")
        if key in ("name", "title", "column") and kind is not Schema:
            _check_word(value, f"{where}`{key}`")
    return given


def _text(entry: object, number: int) -> TextColumn:
    entry = _entry(entry, TextColumn, f"entry {number} of `text`: ")
    return TextColumn(entry["name"], entry.get("title", entry["name"]), entry.get("column", ""))


def _variable(entry: object, number: int, missing: tuple[str, ...]) -> Variable:
    entry = _entry(entry, Variable, f"entry {number} of `variables`: ")
    name = entry["name"]
    with concerning(f"variable {name}"):
        classes = _classes(entry["classes"]) if "classes" in entry else None
        default = f"{name} applies." if classes is None else f"{name} is {{class}}."
        description = entry.get("description") or default
        if (PLACE in description) != (classes is not None):
            fault = "needs" if classes else "has no `classes`, so leave out"
            raise InputError(f"its description {fault} {PLACE}, which stands for the title of the class")
        missing = _missing(entry.get("missing"), missing)
        auxiliary = fitting(entry.get("auxiliary", "false"), Flag, "auxiliary") == "true"
        v = Variable(name, description, classes, entry.get("column", ""), missing, auxiliary)
        titles = [title.lower() for title in (classes or {}).values()]
        both = next((w for w in missing if w in titles or (CODE.fullmatch(w) and int(w) in v.codes)), None)
        if both is not None:
            mend = "rename the class, or write `missing: refuse` here"
            raise InputError(f"{both} is a class and a cell without a label too; {mend}")
    return v


def _classes(given: object) -> dict[int, str]:
    """Code -> title."""
    if not isinstance(given, Mapping) or len(given) < 2:
        raise InputError("`classes` must map at least two codes to titles, such as {1: home, 2: street}")
    classes = {}
    for word, title in given.items():
        if not CODE.fullmatch(str(word)):
            raise InputError(f"code {shown(str(word))}: write a whole number, as in `1: home`")
        code = int(word)
        if code in classes:
            raise InputError(f"code {code} stands twice; every class needs one of its own")
        _check_word(title, f"the title of class {code}")
        if title in classes.values():
            raise InputError(f"two classes have the title {title}; every class needs one of its own")
        classes[code] = title
    return classes


def _missing(given: object, known: tuple[str, ...]) -> tuple[str, ...]:
    """Cells that leave a case without a label: those known before and these, or none of them."""
    if given is None:
        return known
    if given == "refuse":
        return ()
    if not isinstance(given, list) or not all(isinstance(word, str | int) for word in given):
        raise InputError("`missing` is a list of codes, such as [9, 99], or refuse")
    return tuple(dict.fromkeys([*known, *(str(word).strip().lower() for word in given)]))


def _columns(raw: Mapping, key: str) -> tuple[str, ...]:
    """The columns that a key names: a word, or a list of words."""
    given = raw.get(key, [])
    words = given if isinstance(given, list) else [given]
    for word in words:
        _check_word(word, f"a column in `{key}`")
    return tuple(dict.fromkeys(words))


def _check_word(word: object, what: str) -> None:
    if not isinstance(word, str) or not word:
        raise InputError(f"{what} is empty or no word; write one, between quotes where it is needed")
    if word != word.strip() or re.search("[\0-\x1f\x7f-\x9f\u2028\u2029]", word):
        raise InputError(f"{what} has a blank at its end, or a line break or control character; remove it")


def _check_distinct(schema: Schema) -> None:
    """That no name, and no column of a file, is meant twice."""
    _check_word(schema.uid, "`uid`")
    names = [*schema.text_columns, *schema.names]
    headings = [schema.uid, *(entry.heading for entry in (*schema.text, *schema.variables))]
    for words in (names, headings):
        twice = sorted({word for word in words if words.count(word) > 1})
        if twice:
            raise InputError(f"{', '.join(twice)} is named twice")
    if len(set(schema.columns)) < schema.width:
        raise InputError("two variables share a probability column; rename one of them")
    for key in COLUMN_LISTS:
        taken = [c for c in getattr(schema, key) if c in (*names, *headings, *OF_CASES)]
        if taken:
            raise InputError(f"{key}: {taken[0]} is taken; name another column of the features")


def _check_free(schema: Schema) -> None:
    """That every table of the program can hold these columns beside its own."""
    for kind, entries in (("text column", schema.text), ("variable", schema.variables)):
        for entry in entries:
            if entry.name in RESERVED:
                mend = f"give the {kind} another `name`, and `column: {entry.heading}` beside it"
                raise InputError(f"{entry.name} is a name that the program itself uses; {mend}")
    if schema.uid in {*RESERVED, *OF_EVIDENCE, *schema.columns} - {"uid"}:
        raise InputError(f"uid: {schema.uid} is a name that the program itself uses; rename the column")
