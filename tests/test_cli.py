"""Exit codes and lines of the command-line tool; it starts without the heavy libraries."""

import errno
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from narrutils import paths
from narrutils.cli import main
from narrutils.data import demo
from narrutils.data.outputs import Outputs
from narrutils.paths import OUTPUTS
from narrutils.pipeline import runner
from narrutils.pipeline.runner import RunFailed
from narrutils.workers import Workers

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def profile(tmp_path, monkeypatch):
    """A stand-in for loading a profile: what `run` was asked, by name."""
    asked = {}
    monkeypatch.setattr(
        "narrutils.pipeline.profiles.load_profile",
        lambda path, overrides: asked.update(path=path, p=overrides),
    )
    monkeypatch.setattr(runner, "run_profile", lambda profile, **choice: asked.update(choice))
    monkeypatch.setattr(runner, "dry_run", lambda profile, **choice: asked.update(choice, dry=True))
    return asked


def test_run_passes_on_what_was_asked(profile):
    words = ["run", "params/x.yaml", "--from", "04", "--force", "-p", "epochs", "3", "-p", "04.lr", "1e-5"]
    assert main([*words, "--outputs", "there"]) == 0
    assert profile["path"] == "params/x.yaml"
    assert profile["p"] == [("epochs", "3"), ("04.lr", "1e-5")]
    assert (profile["start"], profile["only"], profile["force"], profile["outputs"]) == (
        "04",
        None,
        True,
        "there",
    )
    assert "dry" not in profile


def test_dry_run_only_tells(profile):
    assert main(["run", "x", "--dry-run", "--only", "06"]) == 0
    assert profile["dry"]
    assert profile["only"] == "06"


def test_a_failed_notebook_is_exit_1(profile, monkeypatch, capsys):
    def fail(profile, **choice):
        raise RunFailed("04 failed\n  resume so", code=1)

    monkeypatch.setattr(runner, "run_profile", fail)
    assert main(["run", "x"]) == 1
    assert capsys.readouterr().err == "narrutils: 04 failed\n  resume so\n"


def test_a_mistake_is_one_line_and_exit_2(capsys, tmp_path):
    assert main(["run", str(tmp_path / "none.yaml")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "none.yaml" in said.err


def test_unknown_words_are_exit_2():
    with pytest.raises(SystemExit) as caught:
        main(["runn"])
    assert caught.value.code == 2


@pytest.fixture
def cycles(monkeypatch):
    """A stand-in for planning and running cycles: what `cycle` was asked, in order."""
    asked = []
    monkeypatch.setattr("narrutils.pipeline.cycle.plan_cycles", lambda *given: asked.append(given) or "plan")
    monkeypatch.setattr("narrutils.pipeline.cycle.run_cycles", lambda *given: asked.append(given))
    monkeypatch.setattr("narrutils.pipeline.cycle.dry_run", lambda *given: asked.append(("dry", *given)))
    return asked


def test_cycle_passes_on_what_was_asked(cycles):
    assert main(["cycle", "x", "--cycles", "3", "-p", "epochs", "2", "--outputs", "there"]) == 0
    assert cycles == [("x", 3, [("epochs", "2")], "there"), ("plan", "ensemble")]
    assert main(["cycle", "x", "--cycles", "1", "--model", "gemma"]) == 0
    assert cycles[2:] == [("x", 1, [], OUTPUTS), ("plan", "gemma")]
    assert main(["cycle", "x", "--cycles", "1", "--dry-run"]) == 0
    assert cycles[-1] == ("dry", "plan")


def test_a_failed_cycle_says_how_to_go_on(cycles, monkeypatch, capsys):
    def fail(*_):
        raise RunFailed("04 failed", code=1)

    monkeypatch.setattr("narrutils.pipeline.cycle.run_cycles", fail)
    assert main(["cycle", "x", "--cycles", "1"]) == 1
    assert capsys.readouterr().err == (
        "narrutils: 04 failed\n  or start the same cycles again: they go on here\n"
    )


def test_a_mistaken_cycle_is_one_line_and_exit_2(capsys, tmp_path):
    assert main(["cycle", str(tmp_path / "none.yaml"), "--cycles", "1"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "none.yaml" in said


@pytest.fixture
def scoring(monkeypatch):
    """A stand-in for predicting and bundling: what each was asked, in order."""
    asked = []
    monkeypatch.setattr(
        "narrutils.predict.predict",
        lambda *given, precision, workers: (
            asked.append((*given, precision, workers)) or {"rows": 3, "mended": 0, "faults": 0}
        ),
    )
    monkeypatch.setattr(
        "narrutils.bundle.bundle", lambda *given: asked.append(given) or Path(given[1]).touch()
    )
    return asked


def test_predict_passes_on_what_was_asked(scoring, capsys):
    words = ["predict", "--run", "r", "--features", "f.csv", "--out", "o.csv"]
    assert main(words) == 0
    assert scoring == [("r", "f.csv", Outputs(Path("o.csv")), "", Workers())]
    assert capsys.readouterr().out == "3 cases coded: o.csv\n"
    assert main([*words, "--probabilities", "p.parquet", "--evidence", "e.csv", "--show-text"]) == 0
    assert scoring[1][2] == Outputs(Path("o.csv"), Path("p.parquet"), Path("e.csv"), show_text=True)
    assert main([*words, "--precision", "float32"]) == 0
    assert scoring[2][3] == "float32"
    assert main([*words, "--overwrite", "--faults", "x.csv"]) == 0
    assert scoring[3][2] == Outputs(Path("o.csv"), overwrite=True, faults=Path("x.csv"))
    assert main([*words, "--workers", "3", "--ray", "local", "--threads", "2"]) == 0
    assert scoring[4][4] == Workers(3, "local", 2)


def test_bundle_passes_on_what_was_asked(scoring, tmp_path, capsys):
    out = str(tmp_path / "s.zip")
    assert main(["bundle", "--run", "r", "--out", out]) == 0
    assert scoring == [("r", out, False, "")]
    assert capsys.readouterr().out == f"{out}: 0.0 MB\n"
    assert main(["bundle", "--run", "r", "--out", out, "--overwrite", "--onnx", "int8"]) == 0
    assert scoring[1] == ("r", out, True, "int8")


@pytest.mark.parametrize(
    "command", [["predict", "--features", "f.csv", "--out", "o.csv"], ["bundle", "--out", "s.zip"]]
)
def test_a_run_that_is_not_there_is_one_line_and_exit_2(command, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--run", "none"]) == 2
    said = capsys.readouterr().err
    assert said == "narrutils: none: no such run folder; name one, such as outputs/demo\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", [0, 1])
def test_the_doctor_says_by_its_exit_code_whether_it_can_run(code, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        "narrutils.pipeline.doctor.examine", lambda profile, outputs: asked.append((profile, outputs)) or code
    )
    assert main(["doctor", "-p", "run", "mine", "--outputs", str(tmp_path)]) == code
    profile, outputs = asked[0]
    assert (profile.name, profile.run, outputs) == ("demo", "mine", tmp_path)


def test_demo_data_writes_where_it_is_told(tmp_path, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(
        demo,
        "write_demo_data",
        lambda folder, cases, seed: calls.append((folder, cases, seed)),
        raising=False,
    )
    assert main(["demo-data", str(tmp_path / "d"), "--cases", "60", "--seed", "2"]) == 0
    assert calls == [(tmp_path / "d", 60, 2)]
    assert "60 made cases" in capsys.readouterr().out
    tmp_path.joinpath("file").write_text("")
    assert main(["demo-data", str(tmp_path / "file")]) == 2


@pytest.mark.parametrize("name", ["train_labels.csv", "test_features.csv", "truth.csv"])
def test_demo_data_replaces_no_file_unless_that_is_asked_for(tmp_path, capsys, name):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / name).write_text("mine")
    words = ["demo-data", str(tmp_path), "--cases", "10"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert (
        said == f"narrutils: {tmp_path / name}: is there already; name another folder, or add --overwrite\n"
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["notes.txt", name])
    assert (tmp_path / name).read_text() == "mine"
    assert main([*words, "--overwrite"]) == 0
    assert (tmp_path / name).read_text() != "mine" and (tmp_path / "notes.txt").read_text() == "mine"


def test_a_sign_that_the_output_cannot_hold_stops_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "write_demo_data", lambda folder, cases, seed: None, raising=False)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="cp1252"))
    assert main(["demo-data", str(tmp_path / "✓")]) == 0
    sys.stdout.flush()
    assert b"made cases" in sys.stdout.buffer.getvalue()


@pytest.mark.parametrize("coding", ["ascii", "cp437"])
def test_a_terminal_that_cannot_print_a_character_prints_another(coding):
    """`→` stands in the doctor's lines, `…` in a run's, bars are made of blocks."""
    code = "import sys; from narrutils import cli; sys.exit(cli.main(sys.argv[1:]))"
    bare = {"PYTHONIOENCODING": coding, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for words, code_of_exit in ((["--help"], 0), (["run", "é→….yaml"], 2)):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], cwd=ROOT, env=os.environ | bare, capture_output=True
        )
        assert done.returncode == code_of_exit
        assert b"Traceback" not in done.stderr


def refuse(number, name=None):
    def command(*_, **__):
        raise OSError(number, os.strerror(number), name)

    return command


@pytest.mark.parametrize("command", ["run", "predict", "bundle", "doctor", "cycle", "models", "demo-data"])
def test_what_the_system_refuses_is_one_line_and_exit_2(command, monkeypatch, tmp_path, capsys):
    words, place = {
        "run": (["x"], "narrutils.pipeline.profiles.load_profile"),
        "predict": (["--run", "r", "--features", "f.csv", "--out", "o.csv"], "narrutils.predict.predict"),
        "bundle": (["--run", "r", "--out", "o.zip"], "narrutils.bundle.bundle"),
        "doctor": ([], "narrutils.pipeline.doctor.examine"),
        "cycle": (["x", "--cycles", "1"], "narrutils.pipeline.cycle.plan_cycles"),
        "models": (["minilm"], "narrutils.models.packaged.make_ready"),
        "demo-data": ([str(tmp_path / "d")], "narrutils.data.demo.write_demo_data"),
    }[command]
    monkeypatch.setattr(place, refuse(errno.ENOSPC, "/there/file"), raising=False)
    assert main([command, *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("narrutils: /there/file: no space is left on its disk;") and said.count("\n") == 1


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_signal_ends_a_command_by_its_own_exit_code(name, code, profile, monkeypatch, capsys):
    number = getattr(signal, name)
    monkeypatch.setattr(runner, "run_profile", lambda *_, **__: os.kill(os.getpid(), number))
    usual = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
    before = signal.signal(number, usual)  # where tests run in the background some are ignored
    try:
        assert main(["run", "x"]) == code
        assert capsys.readouterr().err == "narrutils: interrupted\n"
        assert signal.getsignal(number) == usual
    finally:
        signal.signal(number, before)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_an_output_that_takes_nothing_more_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "narrutils", "doctor", "-p", "data_dir", "none"],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("narrutils: no space is left") and done.stderr.count("\n") == 1


def test_the_tool_starts_light():
    code = (
        "import sys; from narrutils.pipeline import preflight, profiles, runner; "
        "from narrutils.report import build; "
        "from narrutils.cli import main; "
        "heavy = {'torch', 'transformers', 'papermill', 'nbconvert', 'sklearn'} & set(sys.modules); "
        "print(sorted(heavy)); sys.exit(main(['run', 'none.yaml']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n"
    assert done.returncode == 2


def test_module_and_tool_are_one():
    done = subprocess.run(
        [sys.executable, "-m", "narrutils", "-h"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert "demo-data" in done.stdout


def test_cache_folder_can_be_moved(monkeypatch, tmp_path):
    monkeypatch.setenv("NARRUTILS_CACHE", str(tmp_path))
    assert paths.cache_folder() == tmp_path
    monkeypatch.delenv("NARRUTILS_CACHE")
    assert paths.cache_folder() == Path.home() / ".cache" / "narrutils"
