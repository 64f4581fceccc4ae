"""The archive runs alone: unpacked anywhere, no network, no installed narrutils."""

import ast
import os
import shutil
import subprocess
import sys
import zipfile

import pandas as pd
import pytest
from deployments import TEST, features, finished_run
from toys import TOY

from narrutils import bundle as module
from narrutils.bundle import bundle
from narrutils.crossfit.deployed import Deployed
from narrutils.data.files import read_json, write_json
from narrutils.data.run import Run
from narrutils.data.sources import imported, modules_behind
from narrutils.errors import InputError
from narrutils.models.settings import Body
from narrutils.models.tfidf import TfidfLearner
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Recipe

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("hasty")]

#: What the competition's machine does not have: the installed narrutils, packages that only
#: notebooks and training need, and the network.
LACKING = {"iterstrat", "datasketch", "cleanlab", "papermill", "seaborn", "ipywidgets"}
ELSEWHERE = """
import socket, sys

class Missing:
    names = NAMES
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}")

def refuse(*_):
    raise OSError("no network here")

sys.meta_path[:] = [Missing(), *(f for f in sys.meta_path if "editable" not in repr(f))]
sys.path[:] = [p for p in sys.path if p != PROJECT]
socket.socket.connect = refuse
"""


def unpacked(archive, room):
    """An empty folder with the archive's files and the competition's data beside them."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(room)
    (room / "data").mkdir()
    features(room / "data", TEST, "test_features.csv")
    form = pd.DataFrame(0, index=TEST.index[::-1], columns=TOY.names).rename_axis("uid").reset_index()
    form.to_csv(room / "data/submission_format.csv", index=False)
    return room


def run_main(room, site, lacking=LACKING):
    """`python main.py` in a folder, as on a machine that knows nothing of this project."""
    site.mkdir()
    project = str(module.PACKAGE.parent)
    (site / "sitecustomize.py").write_text(
        ELSEWHERE.replace("PROJECT", repr(project)).replace("NAMES", repr(lacking))
    )
    kept = {
        name: os.environ[name]
        for name in ("PATH", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")
        if name in os.environ
    }
    return subprocess.run(
        [sys.executable, "main.py"],
        cwd=room,
        env=kept | {"PYTHONPATH": str(site), "HOME": str(room)},
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_unpacked_it_writes_the_runs_submission_in_the_formats_order(deployed_run, tmp_path):
    bundle(deployed_run.folder, tmp_path / "submission.zip")
    room = unpacked(tmp_path / "submission.zip", tmp_path / "room")
    done = run_main(room, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    found = pd.read_csv(room / "submission.csv")
    right = pd.read_csv(deployed_run.path("submission.csv"))
    pd.testing.assert_frame_equal(found, right[::-1].reset_index(drop=True))


def test_without_its_own_copy_there_is_no_narrutils(tfidf_run, tmp_path):
    """The test above means something: that subprocess finds no other narrutils."""
    bundle(tfidf_run.folder, tmp_path / "submission.zip")
    room = unpacked(tmp_path / "submission.zip", tmp_path / "room")
    shutil.rmtree(room / "narrutils")
    done = run_main(room, tmp_path / "site")
    assert "No module named 'narrutils'" in done.stderr
    assert not (room / "submission.csv").exists()


def test_the_same_run_gives_the_same_bytes(tfidf_run, tmp_path):
    moved = shutil.copytree(tfidf_run.folder, tmp_path / "moved")
    for path in moved.rglob("*"):
        os.utime(path, (1, 1))
    bundle(tfidf_run.folder, tmp_path / "a.zip")
    bundle(moved, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_no_text_and_no_uid_goes_in(deployed_run, tmp_path):
    bundle(deployed_run.folder, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        names = archive.namelist()
        told = b"".join(archive.read(n) for n in names if not n.endswith(".safetensors"))
    assert not [n for n in names if n.endswith((".parquet", ".csv", ".ipynb"))]
    assert not [uid for uid in TEST.index if uid.encode() in told]
    assert TEST["First"].iloc[-1].encode() not in told
    assert "main.py" in names
    assert "run/models/adapters/fold2/body/adapter_model.safetensors" in names


def test_of_a_member_with_a_refit_nothing_else_goes_in(refit_run, tmp_path):
    bundle(refit_run.folder, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        models = {
            tuple(name.split("/")[2:4]) for name in archive.namelist() if name.startswith("run/models/")
        }
    for name in ("tfidf", "encoder", "student"):
        assert {at for member, at in models if member == name} == {"about.json", "all"}
    assert {f"fold{k}" for k in range(3)} == {at for name, at in models if name == "frozen"} - {"about.json"}


def told(archive, name):
    with zipfile.ZipFile(archive) as file:
        return file.read(name).decode()


def test_linear_members_need_neither_torch_nor_the_code_that_wants_it(tfidf_run, tmp_path):
    """So they run in the competition's public runtime, and nothing is said of it."""
    assert bundle(tfidf_run.folder, tmp_path / "a.zip") == []
    names = {line.split("==")[0] for line in told(tmp_path / "a.zip", "requirements.txt").splitlines()}
    assert {"numpy", "pandas", "scikit-learn", "safetensors"} <= names
    assert not {"torch", "transformers", "peft", "huggingface-hub"} & names
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        code = [name for name in file.namelist() if name.endswith(".py")]
        trees = [ast.parse(file.read(name), feature_version=(3, 10)) for name in code]
    assert "narrutils/models/tfidf.py" in code and "narrutils/models/reading.py" not in code
    imports = set().union(*(imported(tree, at_once=True) for tree in trees))
    assert not {name.split(".")[0] for name in imports} & {"torch", "transformers", "tomllib"}
    assert not imports & {"typing.dataclass_transform", "typing.Self", "datetime.UTC", "enum.StrEnum"}


TORCH = {"torch", "transformers", "peft", "accelerate", "onnx", "onnxscript", "sentencepiece"}


@pytest.fixture(scope="module")
def exported(thin_bert, tmp_path_factory):
    """A finished run of a linear model and of an encoder with a refit, and its archive with ONNX files."""
    recipe = Recipe(max_tokens=14, learning_rate=1e-2, head_learning_rate=0.3)
    models = {
        "tfidf": TfidfLearner(TOY, min_df=1),
        "encoder": NeuralLearner(TOY, Body(thin_bert), recipe=recipe),
    }
    folder = tmp_path_factory.mktemp("exported")
    run = finished_run(folder / "run", models, refits=["encoder"])
    assert bundle(run.folder, folder / "a.zip", onnx="float32") == ["encoder needs onnxruntime"]
    return run, folder / "a.zip"


def test_an_exported_encoder_reads_where_there_is_no_torch(exported, tmp_path):
    run, archive = exported
    room = unpacked(archive, tmp_path / "room")
    done = run_main(room, tmp_path / "site", LACKING | TORCH)
    assert done.returncode == 0, done.stderr
    right = pd.read_csv(run.path("submission.csv"))
    found = pd.read_csv(room / "submission.csv")
    pd.testing.assert_frame_equal(found, right[::-1].reset_index(drop=True))
    bundle(run.folder, tmp_path / "torch.zip")
    other = unpacked(tmp_path / "torch.zip", tmp_path / "other")
    assert "No module named" in run_main(other, tmp_path / "site2", LACKING | TORCH).stderr


def test_its_archive_neither_lists_nor_imports_torch(exported):
    _, archive = exported
    names = {line.split("==")[0] for line in told(archive, "requirements.txt").splitlines()}
    assert {"numpy", "pandas", "onnxruntime", "tokenizers", "scikit-learn"} <= names and not names & TORCH
    with zipfile.ZipFile(archive) as file:
        code = {name for name in file.namelist() if name.endswith(".py")}
        trees = [ast.parse(file.read(name), feature_version=(3, 10)) for name in code]
    models = {name.removeprefix("narrutils/models/") for name in code}
    assert {"exported/reading.py", "text.py", "tfidf.py"} <= models
    assert not models & {"classifier.py", "backbones.py", "reading.py", "frozen.py", "exported/making.py"}
    imports = set().union(*(imported(tree, at_once=True) for tree in trees))
    assert not {name.split(".")[0] for name in imports} & TORCH


def test_an_exported_run_gives_the_same_bytes_and_tells_of_no_case(exported, tmp_path):
    run, archive = exported
    bundle(run.folder, tmp_path / "b.zip", onnx="float32")
    assert (tmp_path / "b.zip").read_bytes() == archive.read_bytes()
    with zipfile.ZipFile(archive) as file:
        content = b"".join(file.read(name) for name in file.namelist())
    texts = TEST["First"][TEST["First"].str.split().str.len() > 3]
    assert len(texts) and not [text for text in (*TEST.index, *texts) if text.encode() in content]
    assert str(module.PACKAGE.parent).encode() not in content


def test_what_the_public_runtime_lacks_is_said_of_each_member(deployed_run, tmp_path):
    lines = bundle(deployed_run.folder, tmp_path / "a.zip")
    deployed = Deployed.open(deployed_run.folder)
    neural = [m for m in deployed.members if module.kind(deployed.siblings(m)[0]) in module.NEURAL]
    assert [line.split()[0] for line in lines] == neural and 0 < len(neural) < len(deployed.members)
    assert all("transformers" in line for line in lines)
    assert ["peft" in line for line in lines] == [name in ("adapters", "top") for name in neural]


def test_without_a_submission_format_all_features_are_coded_in_their_order(tfidf_run, tmp_path):
    bundle(tfidf_run.folder, tmp_path / "a.zip")
    room = unpacked(tmp_path / "a.zip", tmp_path / "room")
    (room / "data/submission_format.csv").unlink()
    done = run_main(room, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    right = pd.read_csv(tfidf_run.path("submission.csv"))
    pd.testing.assert_frame_equal(pd.read_csv(room / "submission.csv"), right)


def test_what_is_wrong_with_its_data_is_one_line(tfidf_run, tmp_path):
    bundle(tfidf_run.folder, tmp_path / "a.zip")
    room = unpacked(tmp_path / "a.zip", tmp_path / "room")
    (room / "data/test_features.csv").write_text("uid\n1\n")
    done = run_main(room, tmp_path / "site")
    assert done.returncode == 1 and done.stderr.startswith("main.py: ") and done.stderr.count("\n") == 1


def test_requirements_are_what_reading_imports():
    lines = module.requirements(list(modules_behind("narrutils.predict").values())).decode().splitlines()
    names = {line.split("==")[0] for line in lines}
    assert {"numpy", "pandas", "torch", "transformers", "peft", "scikit-learn", "safetensors"} <= names
    assert not {"papermill", "jupyterlab", "matplotlib", "narrutils", "vllm"} & names
    assert all("==" in line and "+" not in line for line in lines)


def test_modules_are_followed_into_functions():
    names = {name.rpartition(".")[2] for name in modules_behind("narrutils.predict")}
    assert {"predict", "deployed", "stored", "tfidf", "classifier", "evidence"} <= names
    assert not {"runner", "cli", "plots", "trainer", "vllm_engine"} & names


def test_a_hub_base_comes_from_the_local_cache(deployed_run, tmp_path, monkeypatch):
    """Its files lie beside `hub.json`, and are what is read; without them the bundle is refused."""
    run = Run(shutil.copytree(deployed_run.folder, tmp_path / "run"))
    base = Deployed.open(run.folder).base_folder("adapters")
    snapshot = tmp_path / "snapshot"
    shutil.move(base, snapshot)
    base.mkdir()
    write_json(base / "hub.json", {"id": "someone/tiny", "revision": "abc"})
    assert Deployed.open(run.folder).needs_hub
    with pytest.raises(InputError, match="someone/tiny: its weights are not in the local hub cache"):
        bundle(run.folder, tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()
    found = [
        p
        for p in sorted(snapshot.iterdir())
        if p.suffix in (".safetensors", ".json") and p.name != "key.json"
    ]
    monkeypatch.setattr(module, "hub_files", lambda id, revision: found if revision == "abc" else [])
    bundle(run.folder, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path / "room")
    here = Deployed.open(tmp_path / "room/run")
    assert not here.needs_hub
    assert read_json(here.base_folder("adapters") / "hub.json")["id"] == "someone/tiny"
    pd.testing.assert_frame_equal(here.read(TEST), Deployed.open(deployed_run.folder).read(TEST))


def test_only_an_earlier_archive_is_replaced_unless_that_is_asked_for(tfidf_run, tmp_path):
    out = tmp_path / "a.zip"
    for content in (b"my photographs", None):
        if content is None:
            with zipfile.ZipFile(out, "w") as archive:
                archive.writestr("main.py", "print()")
        else:
            out.write_bytes(content)
        before = out.read_bytes()
        with pytest.raises(InputError, match="a.zip: is there .*--overwrite$"):
            bundle(tfidf_run.folder, out)
        assert out.read_bytes() == before
    bundle(tfidf_run.folder, out, overwrite=True)
    bundle(tfidf_run.folder, out)


def test_an_archive_that_cannot_be_is_refused(tfidf_run, tmp_path):
    for out in (tmp_path, tmp_path / "submission.tar"):
        with pytest.raises(InputError, match="name a file that ends in .zip"):
            bundle(tfidf_run.folder, out)
    with pytest.raises(InputError, match="no such run folder"):
        bundle(tmp_path / "none", tmp_path / "a.zip")
