"""YAML is read as it is written, or one line says in which line of the file what is wrong."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from narrutils.data.intake.yaml_files import load_yaml, parse_yaml
from narrutils.errors import InputError


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("3", 3),
        ("-3", -3),
        ("0", 0),
        ("1e-5", 1e-5),
        (".5", 0.5),
        ("2.0", 2.0),
        *((word, word) for word in ("NO", "No", "no", "yes", "On", "off", "y", "n", "nUll")),
        *((word, word) for word in ("010", "01", "0x1F", "0o7", "1_000", "190:20:30", "2024-01-01")),
        *((word, word) for word in (".inf", ".nan", "1e", "1.2.3", "<<", "$5_000", "<b>", "9" * 5000)),
        ("'3'", "3"),
        ('"true"', "true"),
        ("!!str 3", "3"),
    ],
)
def test_a_scalar_is_what_it_looks_like_and_in_a_file_of_words_a_word(word, value):
    (found,) = parse_yaml(f"[{word}]" if word else "[~]")
    assert found == value and type(found) is type(value)
    plain = word.removeprefix("!!str ").strip("'\"")
    assert parse_yaml(f"key: {word}", words=True) == {"key": plain}


def test_a_key_is_the_word_as_written():
    assert parse_yaml("{010: 1, NO: 2, 1: 3, ~: 4}") == {"010": 1, "NO": 2, "1": 3, "~": 4}


def test_what_is_named_once_may_be_meant_again():
    text = "a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, x: 3}\nd: {<<: [{y: 5}, *a], z: 1}"
    found = parse_yaml(text)
    assert found["b"] == {"x": 1, "y": 2}
    assert found["c"] == {"x": 3, "y": 2}
    assert found["d"] == {"x": 1, "y": 5, "z": 1}


@pytest.mark.parametrize(
    ("text", "line", "mend"),
    [
        ("a: 1\nb: 2\na: 3", 3, "a stands twice, first in line 1"),
        ("x:\n  1: home\n  '1': street", 3, "1 stands twice, first in line 2"),
        ("a: 1\nb: place: home", 2, "quotes"),
        ("a: 1\nb: {class} was it", 2, "quotes"),
        ("a: 'open\nb: 1\n", 1, "quotes are not closed"),
        ("a: 1\nb: [1, 2\n", 2, "bracket"),
        ("a:\n\tb: 1", 2, "tab"),
        ("a: 1\nb: @home", 2, "quotes"),
        ("a: *home", 1, "quotes"),
        ("a: !home x", 1, "tag"),
        ("a: !!int 3", 1, "tag"),
        ('a: "\\d"', 1, "backslash"),
        ('a: 1\nb: "\\0"', 2, "control character"),
        ('a: "\\ud800"', 1, "control character"),
        ("a: 1\nb: \x07", 2, "control character"),
        ("a: 1\n---\nb: 2", 2, "second document"),
        ("? [a]\n: 1", 1, "key"),
        ("a: 1\n<<: 3", 2, "mapping"),
    ],
)
def test_a_fault_names_its_line_and_the_mend(tmp_path, text, line, mend):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_yaml(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: line {line}") and mend in said
    assert "\n" not in said and "token" not in said and "block" not in said


@pytest.mark.parametrize(
    ("raw", "line"), [("a: 1\nb: café\n".encode("cp1252"), 2), ("a: 1\n".encode("utf-16"), 1)]
)
def test_a_file_that_is_not_utf8_is_told_with_its_line(tmp_path, raw, line):
    path = tmp_path / "x.yaml"
    path.write_bytes(raw)
    with pytest.raises(InputError, match=f"^{path}: line {line} is not UTF-8; save the file as UTF-8$"):
        load_yaml(path)
    path.write_bytes("\ufeffa: café\r\n".encode())
    assert load_yaml(path) == {"a": "café"}


@pytest.mark.parametrize("text", ["[" * 400, "&a [*a]", "a: &a {b: *a}"])
def test_what_has_no_end_is_one_line(text):
    with pytest.raises(InputError, match="nested|bracket"):
        parse_yaml(text)


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20)


@given(st.dictionaries(TEXT, TEXT, max_size=3))
@settings(max_examples=50, deadline=None, derandomize=True, database=None)
def test_words_that_were_dumped_come_back(words):
    assert parse_yaml(yaml.safe_dump(words, allow_unicode=True), words=True) == words


@given(
    st.one_of(st.binary(max_size=60), st.text("ab:-{}[]'\"&*!|>%@#,? \n\t\0é", max_size=40).map(str.encode))
)
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path_factory, raw):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(raw)
    for words in (False, True):
        try:
            load_yaml(path, words)
        except InputError as error:
            assert "\n" not in str(error)
