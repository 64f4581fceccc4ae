"""A profile fits what the notebooks declare, or one line says what does not and what would."""

import json
import shutil
from pathlib import Path

import pytest

from narrutils.data.settings import fitting
from narrutils.errors import InputError
from narrutils.paths import PROJECT
from narrutils.pipeline.parameters import declared, parse_parameters
from narrutils.pipeline.profiles import NOTEBOOKS, PATHS, find_stage, load_profile

FIXTURES = Path(__file__).parents[1] / "notebooks"


@pytest.fixture
def load(tmp_path):
    """Load a profile's text against the notebooks 01_makes, 02_uses and 03_trains."""
    shutil.copy(FIXTURES / "makes.ipynb", tmp_path / "01_makes.ipynb")
    shutil.copy(FIXTURES / "uses.ipynb", tmp_path / "02_uses.ipynb")
    shutil.copy(FIXTURES / "trains.ipynb", tmp_path / "03_trains.ipynb")

    def load(text="", *overrides):
        path = tmp_path / "toy.yaml"
        path.write_text(text or "description: toy")
        return load_profile(path, overrides, tmp_path)

    return load


def test_declarations_carry_default_type_and_help():
    source = 'epochs: int = 3  # passes\nrate = 1e-4\nnames: list[str] = [\n    "a",\n]  # who\n'
    found = parse_parameters(source, "n", {})
    assert [(p.default, p.kind, p.help) for p in found.values()] == [
        (3, int, "passes"),
        (1e-4, float, ""),
        (["a"], list[str], "who"),
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [("untagged", "parameters"), ("computes_parameter", "line 3"), ("lacks_run_dir", "run_dir")],
)
def test_a_notebook_that_declares_badly_is_refused(name, said):
    with pytest.raises(InputError, match=said) as caught:
        declared(FIXTURES / f"{name}.ipynb")
    assert name in str(caught.value)


def test_override_beats_section_beats_shared_beats_default(load):
    text = "shared: {rows: 4}\n02_uses: {rows: 5}\n"
    assert load("run: x").parameters["01_makes"]["rows"] == 3
    rows = lambda *pairs: [p["rows"] for p in load(text, *pairs).parameters.values() if "rows" in p]  # noqa: E731
    assert rows() == [4, 5]
    assert rows(("rows", "6")) == [6, 6]
    assert rows(("02.rows", "6")) == [4, 6]
    assert rows(("02_uses.rows", "null")) == [4, None]


def test_a_setting_in_a_mapping_is_named_like_any_other(load):
    texts = [
        "shared: {r_drop: 0.5, at_once: 2}",
        "03_trains: {options: {r_drop: 0.5}, compute: {at_once: 2}}",
    ]
    pairs = (
        [("r_drop", "0.5"), ("03.compute.at_once", "2")],
        [("options", "{r_drop: 0.5}"), ("03.at_once", "2")],
    )
    for profile in (*map(load, texts), *(load("", *some) for some in pairs)):
        values = profile.parameters["03_trains"]
        assert (values["options"], values["compute"]) == ({"warmup": 0.1, "r_drop": 0.5}, {"at_once": 2})
        assert profile.injected("03_trains").keys() == {"options", "compute"}
    values = load("", ("options", "{smoothing: 0.1}")).parameters["03_trains"]  # has a parameter of its own
    assert (values["smoothing"], values["options"]) == (0.1, {"warmup": 0.1})


def test_only_what_differs_from_the_default_is_injected(load):
    profile = load("shared: {rows: 3}\n01_makes: {rate: 1e-1}")
    assert profile.injected("01_makes") == {"rate": 0.1}
    assert profile.injected("02_uses") == {"rows": 3}
    assert "run_dir" not in profile.parameters["01_makes"]


def test_run_is_named_by_the_profile_its_file_or_an_override(load):
    assert load().run == "toy"
    assert load("run: other").run == "other"
    assert load("run: other", ("run", "third")).run == "third"


@pytest.mark.parametrize("run", ["010", "NO", "1.10", "2024-01-05", "true", "null", "1e3", "~"])
def test_a_run_is_called_as_it_is_written(load, run):
    profile = load(f"run: {run}\ndescription: {run}")
    assert (profile.run, profile.description) == (run, run)
    assert load("run: other", ("run", run)).run == run


@pytest.mark.parametrize("text", ["1e-5", "0.00001", "1.0e-5"])
def test_a_number_is_read_as_it_is_written_in_a_profile_and_beside_p(load, text):
    rates = [
        load(f"01_makes: {{rate: {text}}}").parameters["01_makes"]["rate"],
        load("", ("rate", text)).parameters["01_makes"]["rate"],
        load(f"03_trains: {{r_drop: {text}}}").parameters["03_trains"]["options"]["r_drop"],
    ]
    assert rates == [1e-5] * 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("shared: {rwos: 3}", ["rwos", "did you mean rows?"]),
        ("01_make: {rows: 3}", ["01_make", "did you mean 01_makes?"]),
        ("01_makes: {scale: 3}", ["scale", "02_uses declares it"]),
        ("01_makes: {rats: 3}", ["01_makes", "rats", "did you mean rate?"]),
        ("01_makes: {rate: fast}", ["01_makes", "rate", "'fast'", "number", "share"]),
        ("shared: {smoothing: 0.6}", ["smoothing", "0.6", "0.5", "of labels"]),
        ("03_trains: {precision: flot32}", ["03_trains", "did you mean float32?"]),
        ("03_trains: {options: {r_drp: 0.5}}", ["03_trains", "r_drp", "did you mean r_drop?"]),
        ("03_trains: {options: {r_drop: -1}}", ["03_trains", "r_drop is -1"]),
        ("03_trains: {options: 3}", ["03_trains", "options is 3"]),
        ("01_makes: {r_drop: 0.5}", ["r_drop", "03_trains declares it"]),
        ("01_makes: [rate]", ["01_makes", "mapping"]),
        ("leave_out: [02_uss]", ["leave_out 02_uss", "did you mean 02_uses?"]),
        ("leave_out: 02_uses", ["leave_out", "list"]),
        ("leave_out: ['01', '02', '03']", ["leave_out names every notebook"]),
        ("leave_out: [02_uses]\nshared: {scale: 2}", ["scale", "02_uses declares it, which leave_out names"]),
        ("leave_out: [02_uses]\n02_uses: {rows: 2}", ["section 02_uses", "leave_out"]),
        ("leave_out: [02_uses]\nestimate: {02_uses: {seconds: 2}}", ["estimate", "02_uses"]),
        ("needs: [backbon]", ["needs", "did you mean backbone?"]),
        ("needs: [backbone]\n03_trains: {backbone: ''}", ["needs backbone", "`-p backbone VALUE`"]),
        ("shared: {run_dir: /tmp}", ["run_dir"]),
        ("estimate: {01_makes: 30}", ["estimate", "01_makes"]),
        ("run: ../demo", ["run", "folder name"]),
        ("shared: {rows: 3, rows: 4}", ["line 1", "rows", "twice"]),
        ("shared: {rows: 010}", ["rows is '010'", "integer"]),
        ("01_makes: {rate: 'fast'}", ["rate", "'fast'", "number"]),
        ("01_makes: {show_text: no}", ["show_text is 'no'", "true or false"]),
        ("run:", ["run is ''"]),
        ("run: [demo]", ["run", "folder name"]),
        ("run: .hidden", ["run", "folder name"]),
        ('run: "a\\nb"', ["run", "folder name"]),
        ("- rows", ["mapping"]),
        ("shared: {", ["line 1", "YAML"]),
    ],
)
def test_a_profile_that_does_not_fit_is_one_line(load, text, said):
    with pytest.raises(InputError) as caught:
        load(text)
    line = str(caught.value)
    assert "\n" not in line
    assert "toy.yaml" in line
    for part in said:
        assert part in line


def test_a_notebook_that_is_left_out_is_no_stage(load):
    profile = load("leave_out: ['02']\nshared: {rows: 4}", ("rows", "5"))
    assert profile.stages == ["01_makes", "03_trains"] and profile.left_out == ["02_uses"]
    assert profile.parameters["01_makes"]["rows"] == 5
    for key in ("scale", "02.rows"):
        with pytest.raises(InputError, match="-p"):
            load("leave_out: [02_uses]", (key, "3"))
    assert load("leave_out:").left_out == []


def test_what_a_profile_needs_may_be_given_beside_it(load):
    text = "needs: [backbone]\n03_trains: {backbone: ''}"
    assert load(text, ("backbone", "tiny")).parameters["03_trains"]["backbone"] == "tiny"


@pytest.mark.parametrize("key", ["rwos", "03.rows", "02.rate", "run_dir", "0.rows"])
def test_an_override_of_nothing_is_refused(load, key):
    with pytest.raises(InputError, match="-p"):
        load("", (key, "3"))


@pytest.mark.parametrize(("text", "value"), [("0012", "0012"), ("", ""), ("'12'", "12"), ("null", "null")])
def test_a_word_that_looks_like_a_number_stays_a_word_where_a_word_is_wanted(load, text, value):
    assert load("", ("backbone", text)).parameters["03_trains"]["backbone"] == value


def test_a_type_that_the_notebook_does_not_import_is_refused():
    with pytest.raises(InputError, match="Sharre"):
        parse_parameters("x: Sharre = 0.5", "n", {})


def test_paths_reach_the_kernel_absolute_and_empty_stays_empty(tmp_path, monkeypatch):
    shutil.copy(FIXTURES / "reads_data.ipynb", tmp_path / "01_reads_data.ipynb")
    tmp_path.joinpath("mine").mkdir()
    tmp_path.joinpath("toy.yaml").write_text("shared: {data_dir: mine}")
    monkeypatch.chdir(tmp_path)
    injected = load_profile("toy.yaml", notebooks=tmp_path).injected("01_reads_data")
    assert injected["data_dir"] == str(tmp_path / "mine")
    assert Path(injected["schema"]).is_absolute()
    assert load_profile("toy.yaml", [("data_dir", "")], tmp_path).injected("01_reads_data")["data_dir"] == ""


def test_a_missing_profile_is_named_with_the_nearest(tmp_path):
    with pytest.raises(InputError, match="no such profile"):
        load_profile(tmp_path / "dem.yaml")


def test_a_stage_is_found_by_number_or_name():
    stages = ["01_eda", "02_generation", "03_relabeling"]
    assert find_stage("02", stages, "--from") == "02_generation"
    assert find_stage("03_relabeling", stages, "--from") == "03_relabeling"
    for word in ("0", "", "07", "03_relabelling"):
        with pytest.raises(InputError, match="--from"):
            find_stage(word, stages, "--from")


def test_a_file_that_is_no_notebook_is_named(tmp_path):
    tmp_path.joinpath("01_x.ipynb").write_text(json.dumps({"cells": 3}))
    with pytest.raises(InputError, match="not a notebook"):
        declared(tmp_path / "01_x.ipynb")


def test_the_demo_is_what_the_notebooks_are_without_a_profile():
    """So that a notebook opened by hand after `make demo` finds its models trained."""
    profile = load_profile("params/demo.yaml")
    injected = [name for stage in profile.stages for name in profile.injected(stage)]
    assert set(injected) <= {"show_text", "findings", *PATHS}


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("[0-9]*.ipynb")), ids=lambda path: path.stem)
def test_every_parameter_says_what_it_is(path):
    assert [name for name, parameter in declared(path).items() if not parameter.help] == []


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("[0-9]*.ipynb")), ids=lambda path: path.stem)
def test_every_default_fits_its_own_type(path):
    for name, parameter in declared(path).items():
        assert fitting(parameter.default, parameter.kind, name) == parameter.default


@pytest.mark.parametrize("path", sorted((PROJECT / "params").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_first_notebook_counts_the_tokens_of_those_who_read_in_later_ones(path):
    profile = load_profile(path, [("previous_run", "demo")])  # which some need
    eda, encoder, gemma = map(profile.parameters.get, ("01_eda", "04_deberta", "05_gemma_lora"))
    for budget, values in zip(eda["budgets"], (encoder, gemma), strict=True):
        assert values is None or budget == {name: values[name] for name in ("backbone", "max_tokens")}
    assert eda["backbone"] == encoder["backbone"]
