"""A schema is what its file says, word for word, or one line tells the fault and the mend."""

import pytest

from narrutils.data.intake.schema_file import OF_EVIDENCE, RESERVED, load_schema, parse_schema
from narrutils.data.schema import UNKNOWN
from narrutils.errors import InputError
from narrutils.generation.screening import VERDICT

TEXT = "text: [{name: Report}]\n"
PLACE = "{1: home, 2: street}"


def variable(**more) -> dict:
    """A schema of one text column and one variable."""
    return {"text": [{"name": "Report"}], "variables": [{"name": "Place"} | more]}


def place(classes: str, more: str = "") -> str:
    return f"{TEXT}variables: [{{name: Place, classes: {classes}{more}}}]\n"


@pytest.fixture
def load(tmp_path):
    def load(text: str | bytes):
        path = tmp_path / "my.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_schema(path)

    return load


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ("{1: On, 2: Off, 3: N}", {1: "On", 2: "Off", 3: "N"}),
        ("{0: No, 1: Yes}", {0: "No", 1: "Yes"}),
        ("{1: NO, 2: no, 3: No}", {1: "NO", 2: "no", 3: "No"}),
        ("{01: home, 010: street, 3: 0x1F}", {1: "home", 10: "street", 3: "0x1F"}),
        ("{1: 1.10, 2: 2024-01-05, 3: ~, 4: null}", {1: "1.10", 2: "2024-01-05", 3: "~", 4: "null"}),
        ('{1: "below $5_000", 2: "<b>more</b>", 3: "010"}', {1: "below $5_000", 2: "<b>more</b>", 3: "010"}),
        ("{-9: not known, 0: home}", {-9: "not known", 0: "home"}),
    ],
)
def test_classes_are_read_as_written(load, classes, expected):
    (v,) = load(place(classes)).variables
    assert v.classes == expected
    assert v.codes == tuple(expected)
    assert v.sentence(v.codes[-1]) == f"Place is {expected[v.codes[-1]]}."


def test_every_other_word_is_read_as_written_too(load):
    text = "name: 010\ntitle: Yes\nuid: NO\nnote: 1.0\ntext: [{name: on, title: off}]\nvariables: [{name: 1}]"
    schema = load(text)
    assert (schema.name, schema.title, schema.uid, schema.note) == ("010", "Yes", "NO", "1.0")
    assert (schema.text[0].name, schema.text[0].title, schema.names) == ("on", "off", ["1"])
    bare = load(f"title:\n{TEXT}variables: [{{name: Fall, description: }}]")
    assert (bare.name, bare.title, bare["Fall"].description) == ("my", "my", "Fall applies.")


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ([], "a schema is a mapping"),
        (None, "a schema is a mapping"),
        ({"text": [], "variables": [{"name": "A"}]}, "`text` must be a list"),
        ({"text": [{"name": "T"}]}, "`variables` must be a list"),
        ({"text": [{"name": "T"}], "variables": [{"title": "A"}]}, "entry 1 of `variables`: has no `name`"),
        ({"text": ["T"], "variables": [{"name": "A"}]}, "entry 1 of `text`: has no `name`"),
        (variable(name="Report"), "Report is named twice"),
        (variable(column="Report"), "Report is named twice"),
        (variable(name="uid"), "uid is named twice"),
        (variable() | {"uid": "Place"}, "Place is named twice"),
        (variable(classes={1: "x"}), "at least two codes"),
        (variable(classes=["x", "y"]), "at least two codes"),
        (variable(classes=""), "at least two codes"),
        (variable() | {"titel": "x"}, "unknown key titel; did you mean title?"),
        (variable() | {"id": "x"}, "unknown key id; did you mean uid?"),
        (
            variable(descripton="x"),
            "entry 1 of `variables`: unknown key descripton; did you mean description?",
        ),
        (variable(clases={1: "a", 2: "b"}), "unknown key clases; did you mean classes?"),
        (variable() | {"text": [{"name": "T", "titel": "x"}]}, "entry 1 of `text`: unknown key titel"),
        (variable(description=["x"]), "`description` is no text"),
        (variable(name=""), "`name` is empty"),
        (variable(name=" Place"), "blank at its end"),
        (variable(name="Pla\nce"), "line break"),
        (variable(column="Place\t"), "blank at its end"),
        (variable() | {"text": [{"name": "T", "title": ""}]}, "`title` is empty"),
        (variable() | {"uid": "a\u2028b"}, "`uid` has a blank at its end, or a line break"),
        (variable(classes={"1.0": "a", "2": "b"}), "Place: code 1.0: write a whole number"),
        (variable(classes={"a": "1", "b": "2"}), "code a: write a whole number"),
        (variable(classes={True: "a", False: "b"}), "code True: write a whole number"),
        (variable(classes={"9" * 10: "a", 1: "b"}), "write a whole number"),
        (variable(classes={"1": "a", "01": "b"}), "code 1 stands twice"),
        (variable(classes={1: "", 2: "b"}), "the title of class 1 is empty"),
        (variable(classes={1: {"a": "b"}, 2: "b"}), "the title of class 1 is empty or no word"),
        (variable(classes={1: "a", 2: "b", 3: "a"}), "two classes have the title a"),
        (
            variable(classes={1: "a", 2: "b"}, description="It was so."),
            "Place: its description needs {class}",
        ),
        (variable(description="It was {class}."), "has no `classes`, so leave out {class}"),
        (variable(missing="9"), "Place: `missing` is a list of codes"),
        (variable(missing="refused"), "`missing` is a list of codes"),
        (variable(missing=[["9"]]), "`missing` is a list of codes"),
        (variable(missing=["01"]), "01 is a class and a cell without a label"),
        (variable(classes={1: "a", 9: "b"}) | {"missing": ["9"]}, "9 is a class and a cell"),
        (variable(classes={1: "a", 2: "NA"}), "na is a class and a cell without a label"),
        (variable(auxiliary=True), "`auxiliary` is no text"),
        (variable(auxiliary="yes"), "Place: auxiliary is 'yes'.*true"),
        (variable(auxiliary="true"), "every variable is auxiliary; one at least must be scored"),
        (variable() | {"extra_columns": "kep"}, "extra_columns is 'kep'.*did you mean keep?"),
        (variable() | {"groups": "Report"}, "groups: Report is taken"),
        (variable(column="Where") | {"groups": ["Site", "Where"]}, "groups: Where is taken"),
        (variable() | {"keep_together": ["uid"]}, "keep_together: uid is taken"),
        (variable() | {"uid": "case", "groups": ["uid"]}, "groups: uid is taken"),
        (variable() | {"groups": {"Site": 1}}, "a column in `groups` is empty or no word"),
        (variable() | {"groups": ["Site", ""]}, "a column in `groups` is empty"),
        (
            variable() | {"variables": [{"name": "A_1"}, {"name": "A", "classes": {1: "x", 2: "y"}}]},
            "share a probability column",
        ),
    ],
)
def test_a_broken_schema_is_one_line(raw, told):
    with pytest.raises(InputError, match=told) as raised:
        parse_schema(raw, "my.yaml")
    assert str(raised.value).startswith("my.yaml: ")
    assert "\n" not in str(raised.value)


def test_a_schema_file_that_is_missing_or_no_yaml_is_one_line(load, tmp_path):
    with pytest.raises(InputError, match="no such schema file"):
        load_schema(tmp_path / "none.yaml")
    for text in (
        "text: [\n  name",
        place("{1: home, 2: school, 2: street}"),
        place("{1: café}").encode("cp1252"),
    ):
        with pytest.raises(InputError, match=r"my.yaml: line \d") as raised:
            load(text)
        assert "\n" not in str(raised.value)


def test_cells_without_a_label_are_the_usual_ones_and_those_that_the_schema_adds(load):
    text = f"missing: [9, ' Not Known ']\n{TEXT}variables:\n"
    text += "- {name: A}\n- {name: B, missing: [99, 9]}\n- {name: C, missing: refuse}\n"
    schema = load(text)
    assert schema["A"].missing == (*UNKNOWN, "9", "not known")
    assert schema["B"].missing == (*UNKNOWN, "9", "not known", "99")
    assert schema["C"].missing == ()
    nothing = load(f"missing: refuse\n{TEXT}variables: [{{name: A}}, {{name: B, missing: [9]}}]")
    assert (nothing["A"].missing, nothing["B"].missing) == ((), ("9",))
    assert load(place("{1: home, 2: NA}", ", missing: refuse"))["Place"].classes[2] == "NA"


def test_a_variable_is_auxiliary_only_where_it_says_so(load):
    made = load(
        f"{TEXT}variables: [{{name: A}}, {{name: B, auxiliary: true}}, {{name: C, auxiliary: false}}]\n"
    )
    assert [v.auxiliary for v in made.variables] == [False, True, False]


def test_columns_that_go_along_are_a_word_or_a_list_of_words(load):
    schema = load(
        f"groups: Site\nkeep_together: [Incident, 2019, Incident]\nextra_columns: keep\n{place(PLACE)}"
    )
    assert (schema.groups, schema.keep_together) == (("Site",), ("Incident", "2019"))
    assert schema.extra_columns == "keep"
    assert load(place(PLACE)).extra_columns == "ignore"


@pytest.mark.parametrize("name", RESERVED[1:])
def test_a_name_that_the_program_uses_is_refused_and_may_stay_a_column(name):
    for kind, raw in (
        ("variable", variable(name=name)),
        ("variable", variable(name=name, classes={1: "a", 2: "b"})),
        ("text column", variable() | {"text": [{"name": name}]}),
    ):
        mend = f"give the {kind} another `name`, and `column: {name}` beside it"
        with pytest.raises(
            InputError, match=f"^my.yaml: {name} is a name that the program itself uses; {mend}$"
        ):
            parse_schema(raw, "my.yaml")
    schema = parse_schema(variable(column=name), "my.yaml")
    assert schema.headings == {"Report": "Report", "Place": name}


@pytest.mark.parametrize("name", [*RESERVED[1:], *OF_EVIDENCE, "Place_1"])
def test_the_uid_is_no_column_that_stands_beside_it(name):
    raw = variable(classes={1: "a", 2: "b"}) | {"uid": name}
    with pytest.raises(InputError, match=f"uid: {name} is a name that the program itself uses"):
        parse_schema(raw, "my.yaml")


def test_names_that_belong_together_may_be_swapped_between_program_and_file():
    swapped = [{"name": "A", "column": "B"}, {"name": "B", "column": "A"}]
    assert parse_schema(variable() | {"variables": swapped}, "my.yaml").headings["A"] == "B"
    named = variable(name="Case", column="uid") | {"uid": "case"}
    assert parse_schema(named, "my.yaml").headings["Case"] == "uid"


def test_what_screening_says_of_a_row_is_among_the_names_of_the_program():
    assert set(VERDICT) <= set(RESERVED)
