"""YAML as it is written: no word becomes a date, an octal number or a truth value by surprise.

YAML 1.1, which PyYAML reads, makes False of `NO`, 8 of `010` and a word of `1e-5`. Here a plain
scalar is what YAML 1.2 calls it: `true` and `false`, `null`, decimal numbers; or, of a file of
words, always the word. A key is the word as written, and stands once.
"""

import re
from pathlib import Path

import yaml

from narrutils.data.intake.sheets import shown
from narrutils.errors import InputError, concerning

PLAIN = "plain"  # the tag of a scalar without quotes and without a tag of its own
STR, MERGE = "tag:yaml.org,2002:str", "<<"
WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
FLOAT = re.compile(r"[-+]?((\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)")
#: What an escape within double quotes can bring in and no table or page can hold.
BROKEN = re.compile("[\0-\x08\x0b-\x1f\x7f\ud800-\udfff]")
QUOTE = "put the text between quotes"
#: What the parser says of a fault -> the mend; the first that is found in its words holds.
MENDS = {
    "escape": "within double quotes a backslash is doubled; single quotes leave it as it is",
    "quoted scalar": "its quotes are not closed",
    "mapping values": f"`: ` begins a value; {QUOTE}",
    "undefined alias": f"`*` begins the name of another value; {QUOTE}",
    "start any token": f"no text can begin with this character; {QUOTE}",
    "flow": "a bracket is not closed, or a comma is missing",
    "single document": "a second document begins here; one file holds one",
}


def load_yaml(path: Path, words: bool = False) -> object:
    """The content of a YAML file; None of an empty one.

    Args:
        words: every scalar is the word as written, `""` where there is none.

    Raises:
        InputError: the file is not UTF-8 or not valid YAML, a key stands twice, or something is tagged;
            the line names the file and its line.
    """
    with concerning(str(path)):
        raw = path.read_bytes()
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            raise InputError(f"line {line} is not UTF-8; save the file as UTF-8") from None
        return parse_yaml(text, words)


def parse_yaml(text: str, words: bool = False) -> object:
    """The value of a text; see `load_yaml`."""
    try:
        node = yaml.compose(text, Loader=_Loader)
        return None if node is None else _Reading(words).value(node)
    except yaml.YAMLError as error:
        raise InputError(_fault(error, text)) from None
    except RecursionError:
        raise InputError("the YAML is nested too deeply, or a value holds itself") from None


class _Loader(yaml.BaseLoader):
    """PyYAML's parser, which tells a plain scalar from one that is quoted or tagged."""

    def resolve(self, kind, value, implicit):
        plain = kind is yaml.ScalarNode and implicit[0]
        return PLAIN if plain else super().resolve(kind, value, implicit)


class _Reading:
    """From parsed nodes to values; what is named by `&` and meant again by `*` is made once."""

    def __init__(self, words: bool):
        self.words, self.made = words, {}

    def value(self, node: yaml.Node) -> object:
        make = {yaml.ScalarNode: self._scalar, yaml.SequenceNode: self._list, yaml.MappingNode: self._mapping}
        if node.tag not in (PLAIN, STR, _Loader.DEFAULT_SEQUENCE_TAG, _Loader.DEFAULT_MAPPING_TAG):
            raise InputError(f"line {_line(node)}: `!` begins a tag, and none is read; {QUOTE}")
        if id(node) not in self.made:
            self.made[id(node)] = make[type(node)](node)
        return self.made[id(node)]

    def _scalar(self, node: yaml.ScalarNode) -> object:
        word = node.value
        if BROKEN.search(word):
            raise InputError(f"line {_line(node)} holds a control character; remove it")
        if self.words or node.tag == STR:
            return word
        if word.lower() in WORDS and word in (word.lower(), word.title(), word.upper()):
            return WORDS[word.lower()]
        if INTEGER.fullmatch(word):
            return int(word)
        return float(word) if FLOAT.fullmatch(word) else word

    def _list(self, node: yaml.SequenceNode) -> list:
        return [self.value(part) for part in node.value]

    def _mapping(self, node: yaml.MappingNode) -> dict:
        found, lines, merged = {}, {}, {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise InputError(f"line {_line(key)}: a key is one word; {QUOTE}")
            word = key.value
            if word in lines:
                first = lines[word]
                raise InputError(
                    f"line {_line(key)}: {shown(word)} stands twice, first in line {first}; remove one"
                )
            lines[word] = _line(key)
            if word == MERGE and key.tag == PLAIN:
                merged = self._merged(value)
            else:
                found[word] = self.value(value)
        return merged | found

    def _merged(self, node: yaml.Node) -> dict:
        """What `<<` brings in: of several mappings the first that has a key."""
        given = self.value(node)
        parts = given if isinstance(given, list) else [given]
        if not all(isinstance(part, dict) for part in parts):
            raise InputError(f"line {_line(node)}: << takes a mapping, such as *name")
        return {key: value for part in reversed(parts) for key, value in part.items()}


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


def _fault(error: yaml.YAMLError, text: str) -> str:
    """The parser's fault in one line: where, and the mend."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"line {line} holds a control character; remove it, and save the file as UTF-8"
    said = f"{error.context} {error.problem}"
    opened = error.context_mark if "quoted scalar" in said or "flow" in said else None
    line = (opened or error.problem_mark).line
    written = text.splitlines()[line] if line < len(text.splitlines()) else ""
    mend = next((mend for words, mend in MENDS.items() if words in said), "")
    if re.match(r"\s*\t", written):
        mend = "it begins with a tab; indent with blanks"
    return f"line {line + 1} is not valid YAML; {mend or f'mend its indentation, or {QUOTE}'}"
