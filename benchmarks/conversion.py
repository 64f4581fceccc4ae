"""Seconds to make a packaged GGUF model ready: as transformers reads the file, and as the project does.

    python -m benchmarks.conversion [--models gemma3-270m smollm2-135m] [--cases 2000]

Processor time of one thread, one way after the other, modules imported before. The old way opens the
joined file through `gguf_file=`, for the weights and again for the tokenizer. The new way begins with the
installed packages: it joins, checks the SHA-256 and converts. Both must agree: weights bit for bit, and
the token ids of both narratives of made cases.
"""

import argparse
import os
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from narrutils.data.demo import write_demo_data
from narrutils.models import packaged
from narrutils.models.backbones import quiet
from narrutils.models.packaged import PACKAGED, WEIGHTS, folder_of

from .demo_corpus import show


def old_way(gguf: Path, folder: Path) -> None:
    """Through transformers alone: it builds the reader of the whole file for each of its parts."""
    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    quantised = GgufConfig(dequantize=True)
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(
            **where, dtype=torch.bfloat16, quantization_config=quantised
        )
        tokenizer = AutoTokenizer.from_pretrained(**where)
        tokenizer.add_bos_token = model.config.model_type.startswith("gemma")
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def seconds(work: Callable, *given) -> float:
    """Processor time, which with one thread is the time on a machine that does nothing else."""
    start = time.process_time()
    work(*given)
    return time.process_time() - start


def compare(name: str, texts: list[str], work: Path) -> dict:
    """One model's times, their ratio, and in how much both ways agree."""
    gguf = packaged._store(packaged._parts(name, None), work / f"{name}.gguf", name)
    old, new = seconds(old_way, gguf, work / name), seconds(folder_of, name)
    places = work / name, folder_of(name)
    first, second = (load_file(place / WEIGHTS) for place in places)
    ids = [AutoTokenizer.from_pretrained(place)(texts)["input_ids"] for place in places]
    return {
        "old": old,
        "new": new,
        "old / new": old / new,
        "weights": len(first),
        "equal weights": sum(torch.equal(first[key], second[key]) for key in first.keys() & second.keys()),
        "texts": len(texts),
        "equal ids": sum(a == b for a, b in zip(*ids)),
    }


def main() -> None:
    """Convert each model both ways in a cache of its own, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    installed = [name for name, package in PACKAGED.items() if package.is_gguf and not package.fetched]
    parser.add_argument("--models", nargs="+", default=installed, choices=installed)
    parser.add_argument("--cases", type=int, default=2000, help="made ones; each has two texts")
    given = parser.parse_args()
    torch.set_num_threads(1)
    import_module("narrutils.models.gguf_files")  # before any time is taken
    with TemporaryDirectory() as folder:
        os.environ["NARRUTILS_CACHE"] = folder
        write_demo_data(Path(folder) / "data", cases=given.cases)
        cases = pd.read_csv(Path(folder) / "data" / "train_features.csv", index_col=0, keep_default_na=False)
        texts = cases[["NarrativeLE", "NarrativeCME"]].to_numpy().ravel().tolist()
        rows = {name: compare(name, texts, Path(folder)) for name in given.models}
        show("Processor seconds of a conversion", pd.DataFrame(rows).T)


if __name__ == "__main__":
    main()
