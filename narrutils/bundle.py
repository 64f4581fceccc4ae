"""The competition's code-execution archive: a finished run's models and the code that reads them.

Unpacked anywhere, `python main.py` reads `data/test_features.csv`, and `data/submission_format.csv`
if that is there, and writes `submission.csv`. It needs the packages that its `requirements.txt`
lists, and neither network nor an installed narrutils. The same run gives the same bytes. No
narrative goes in, and no uid.

Linear members run in the competition's public runtime, whose Python and packages are older than
ours; `lacking` says what that lacks for other members. Exported to ONNX, encoders need neither torch
nor transformers.
"""

import ast
import importlib.metadata
import re
import shutil
import zipfile
from collections.abc import Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from narrutils.crossfit.deployed import ENSEMBLE, Deployed
from narrutils.crossfit.stored import EXPORTED, kind
from narrutils.data.files import atomic, check_contents, read_json
from narrutils.data.sources import PACKAGE, imported, modules_behind
from narrutils.data.store import base_folder
from narrutils.errors import InputError

MAIN = PACKAGE / "report" / "templates" / "main.py"
#: Kinds of members that read with torch.
NEURAL = {"frozen", "neural"}
#: What `load_model` imports for the members of each kind.
READERS = {
    "linear": ("narrutils.models.tfidf",),
    "exported": ("narrutils.models.exported.reading",),
} | dict.fromkeys(NEURAL, ("narrutils.models.frozen", "narrutils.models.reading"))
#: What only members that read with torch need of what the others import too.
WITH_TORCH = ("narrutils.models.backbones",)
#: What `predict` imports where several processes share the work, as none does there.
ALONE = ("narrutils.workers", "narrutils.cluster")
#: The competition's public runtime, by its lock file (drivendataorg/youth-mental-health-runtime).
RUNTIME = "Python 3.10, torch 2.1.2, transformers 4.44.2, no peft"
#: Model types that its transformers does not know, of those that this project names.
NEWER = ("gemma3", "gemma3_text", "modernbert", "qwen3")
#: How files of weights end, which hardly shrink.
WEIGHTS = (".safetensors", EXPORTED)
#: Earliest date that a zip file can hold: the same for every file of every archive.
DATE = (1980, 1, 1, 0, 0, 0)


def bundle(run: str | Path, out: str | Path, overwrite: bool = False, onnx: str = "") -> list[str]:
    """Write the archive of a run.

    Args:
        overwrite: whether a file may be replaced that is no such archive.
        onnx: `float32` or `int8`: encoders are exported to ONNX with such weights, and read without torch.
            What was found of the export is printed.

    Returns:
        What the competition's public runtime lacks for it, see `lacking`.

    Raises:
        InputError: the run has not run to its end, a hub model is not in the local hub cache, or
            `out` is no zip file that can be written, or is there and is something else; or a member
            cannot be exported, or its export reads otherwise.
    """
    out = Path(out)
    if out.is_dir() or out.suffix != ".zip":
        raise InputError(f"{out}: name a file that ends in .zip")
    if out.exists() and not overwrite and not _is_bundle(out):
        raise InputError(f"{out}: is there and is no such archive; name another file, or add --overwrite")
    deployed = Deployed.open(run)
    with TemporaryDirectory() as room:
        if onnx:
            deployed = _exported(deployed, onnx, Path(room) / "run")
        files = contents(deployed)
        with atomic(out) as part, zipfile.ZipFile(part, "w") as archive:
            for name in sorted(files):
                _add(archive, name, files[name])
        return lacking(deployed)


def _exported(deployed: Deployed, weights: str, folder: Path) -> Deployed:
    """The run with ONNX files in place of its encoders."""
    from narrutils.crossfit.exported import export_run
    from narrutils.report.say_export import lines

    for path in deployed.folders:
        check_contents(path)
    export = export_run(deployed, weights, folder)
    sizes = [megabytes(contents(each)) for each in (deployed, export.deployed)]
    print("\n".join(lines(export, *sizes)), flush=True)
    return export.deployed


def megabytes(files: Mapping[str, Path | bytes]) -> float:
    """Of the run folder's part of an archive."""
    paths = [path for name, path in files.items() if name.startswith("run/")]
    return sum(path.stat().st_size for path in paths) / 1e6


def _is_bundle(path: Path) -> bool:
    """Whether a file is an archive of this kind."""
    if not zipfile.is_zipfile(path):
        return not path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return {"main.py", f"run/{ENSEMBLE}"} <= set(archive.namelist())


def contents(deployed: Deployed) -> dict[str, Path | bytes]:
    """Name in the archive -> the file, or its content."""
    kinds = set(map(kind, deployed.models))
    used = {name for each in kinds for name in READERS[each]}
    others = [name for names in READERS.values() for name in names if name not in used]
    neural = bool(kinds & NEURAL)
    without = (*ALONE, *others, *(() if neural else WITH_TORCH))
    modules = list(modules_behind("narrutils.predict", without=without).values())
    files: dict[str, Path | bytes] = {"main.py": MAIN, "requirements.txt": requirements(modules, not neural)}
    files |= {f"narrutils/{path.relative_to(PACKAGE).as_posix()}": path for path in modules}
    for folder in deployed.folders:
        check_contents(folder)
    for path in deployed.files:
        files[f"run/{path.relative_to(deployed.run.folder).as_posix()}"] = path
    for member, base in deployed.bases.items():
        note = deployed.base_folder(member) / "hub.json"
        if note.exists():
            files |= {f"run/{base_folder(base)}/{path.name}": path for path in hub_files(**read_json(note))}
    return files


def lacking(deployed: Deployed) -> list[str]:
    """A line for each member that cannot run in the competition's public runtime, and why."""
    lines = []
    for member in deployed.members:
        folders = deployed.siblings(member)
        kinds = set(map(kind, folders))
        if "exported" in kinds:
            lines.append(f"{member} needs onnxruntime")
        if kinds & NEURAL:
            wants = [f"transformers {importlib.metadata.version('transformers')}"]
            wants += ["peft"] if any(folders[0].rglob("adapter_config.json")) else []
            bodies = [*folders[:1], *([deployed.base_folder(member)] if member in deployed.bases else [])]
            types = {read_json(path)["model_type"] for body in bodies for path in body.rglob("config.json")}
            wants += [f"the model type {name}" for name in sorted(types.intersection(NEWER))]
            lines.append(f"{member} needs {', '.join(wants)}")
    return lines


def hub_files(id: str, revision: str) -> list[Path]:
    """Config and safetensors weights of a hub model in the local hub cache.

    Raises:
        InputError: they are not all there.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    wanted = ["config.json", "*.safetensors", "*.safetensors.index.json"]
    try:
        folder = snapshot_download(id, revision=revision, allow_patterns=wanted, local_files_only=True)
    except LocalEntryNotFoundError:
        folder = ""
    found = sorted(p for pattern in wanted for p in Path(folder).glob(pattern)) if folder else []
    if not any(p.suffix == ".safetensors" for p in found):
        raise InputError(f"{id}: its weights are not in the local hub cache; run `narrutils predict` once")
    return found


def requirements(modules: list[Path], at_once: bool = False) -> bytes:
    """The distributions that these modules import, in the versions that are installed here.

    Args:
        at_once: only those that are imported with the modules, as members without torch need no others.
    """
    owners = _owners()
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in modules]
    tops = {name.split(".")[0] for tree in trees for name in imported(tree, at_once)} - {"narrutils"}
    names = {owner for top in tops for owner in owners.get(top, [])}
    # Without the local part of a version: a build for CPUs and one for GPUs serve alike.
    lines = {f"{_normal(name)}=={importlib.metadata.version(name).split('+')[0]}" for name in names}
    return ("\n".join(sorted(lines)) + "\n").encode()


@cache
def _owners() -> Mapping[str, list[str]]:
    """Distributions of each top-level package; the metadata of all are read for it."""
    return importlib.metadata.packages_distributions()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _add(archive: zipfile.ZipFile, name: str, content: Path | bytes) -> None:
    """One file, streamed; weights as they are."""
    info = zipfile.ZipInfo(name, DATE)
    info.external_attr = 0o644 << 16
    info.compress_type = zipfile.ZIP_STORED if name.endswith(WEIGHTS) else zipfile.ZIP_DEFLATED
    source = BytesIO(content) if isinstance(content, bytes) else content.open("rb")
    with source, archive.open(info, "w", force_zip64=True) as target:
        shutil.copyfileobj(source, target, 2**20)
