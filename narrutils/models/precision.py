"""In which precision this machine computes: the one place that trainings, readings and generators ask.

A profile names `auto`, or one of the others. `auto` is resolved once, when a run begins: on a
processor it is what multiplies faster there (`speed`), on a GPU bfloat16 where the card has it and
otherwise float16 under autocast with a scaled loss, which trains safely with most models. Those of
`OVERFLOWING` then compute in float32. The resolved value stands in `run.json` and in the keys of
what is made, and a run folder keeps its first one: elsewhere `auto` follows the folder.

Equality to the last bit is promised within one precision and one number of threads alone.
torch is loaded when it is first needed, and not at all to resolve `auto` where it is a build
without GPUs.
"""

import re
import sys
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path

from narrutils.data.run import Run
from narrutils.data.settings import AnyPrecision, fitting
from narrutils.errors import InputError
from narrutils.models.speed import measured

#: Beginnings of the model types whose activations leave float16's range, which ends at 65,504.
#: DeBERTa-v3's type is deberta-v2; for Gemma 2 and 3 and GLM-4 vLLM refuses float16 as well.
OVERFLOWING = ("deberta", "gemma", "glm4")
#: A precision is said to be slow here if another one is so many times as fast.
SLOW = 1.5


def resolved(wanted: str, kept: str = "") -> str:
    """The precision that is meant, a `Precision`.

    Args:
        wanted: a parameter's value: a `Precision`, or `auto`.
        kept: what the run folder keeps (`kept_by`), which `auto` follows; "": what is fastest here.

    Raises:
        InputError: there is no such precision, or it is float16 and there is no GPU.
    """
    if fitting(wanted, AnyPrecision, "precision") == "auto":
        return kept or fastest()
    if wanted == "float16" and not has_gpu():
        raise InputError(
            "precision is float16, in which only a GPU computes fast, and there is none; name float32 or "
            "bfloat16 in its place (a run folder then computes anew)"
        )
    return wanted


def precision_of(run: Run, wanted: str) -> str:
    """What a stage of a run computes in, never `auto`, which follows the folder and else this machine.

    Prints a line where this machine is slow in what the folder keeps.

    Raises:
        InputError: see `resolved`.
    """
    kept = kept_by(run)
    found = resolved(resolved(wanted, kept))  # a kept float16 is held against this machine too
    if wanted == "auto" and kept and slow(kept):
        print(f"{run.folder}: computes in {slow(kept)}", flush=True)
    return found


def kept_by(run: Run, stage: str | None = None) -> str:
    """The precision in which a run folder began, by its `run.json`; "" where it has none yet.

    Args:
        stage: whose own value goes first, where the notebooks of a run differ; the run's if None.
    """
    parameters = run.record().get("parameters", {})
    known = {name: values["precision"] for name, values in parameters.items() if "precision" in values}
    return known.get(stage or run.stage) or next(iter(known.values()), "")


def fastest() -> str:
    """What this machine computes fastest in, where it trains safely."""
    if has_gpu():
        import torch

        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    speed = measured()
    return "bfloat16" if speed.bfloat16 > speed.float32 else "float32"


def slow(precision: str) -> str:
    """Half a sentence that says how this machine is slow in a precision, or lacks it; else ""."""
    if has_gpu():
        late = precision == "float32" or (precision == "bfloat16" and fastest() != precision)
        return f"{precision}, where this GPU is faster in {fastest()}" if late else ""
    if precision == "float16":
        return "float16, in whose place a processor computes in float32"
    speed = vars(measured())
    ratio = speed[fastest()] / speed[precision]
    return f"{precision}, where {fastest()} is {ratio:.0f} times as fast here" if ratio > SLOW else ""


def suited(precision: str, config) -> str:
    """What a model computes in: float32 in place of a float16 that it cannot stand, or that no GPU is for.

    Args:
        config: of the model, whose `model_type` tells its family.
    """
    if precision != "float16":
        return precision
    return "float16" if has_gpu() and not config.model_type.startswith(OVERFLOWING) else "float32"


def autocast(precision: str, config, device: str) -> AbstractContextManager:
    """The context in which a model reads: linear layers in the precision, weights that learned in float32.

    Args:
        device: `cpu` or `cuda`.
    """
    import torch

    name = suited(precision, config)
    return torch.autocast(device, dtype=_narrow(name), enabled=name != "float32")


def weights_dtype(precision: str, config):
    """torch's type of weights that learn nothing: a frozen base's, a generator's."""
    import torch

    return getattr(torch, suited(precision, config))


def training_flags(precision: str, config) -> dict[str, bool]:
    """`TrainingArguments` that train a model in this precision; float16 brings its scaler."""
    name = suited(precision, config)
    # Without `use_cpu`, transformers refuses bfloat16 where there is no GPU.
    return {"bf16": name == "bfloat16", "fp16": name == "float16", "use_cpu": not has_gpu()}


def has_gpu() -> bool:
    """Whether torch computes on a GPU here; a build that cannot is not loaded for the answer."""
    if "torch" not in sys.modules and _for_processors():
        return False
    import torch

    return torch.cuda.is_available()


def torch_device() -> str:
    """Where models compute here, as torch names it."""
    return "cuda" if has_gpu() else "cpu"


def _for_processors() -> bool:
    """Whether the installed torch, if there is any, is a build without GPUs, as its `version.py` says."""
    found = find_spec("torch")
    if found is None or found.origin is None:
        return True
    version = Path(found.origin).with_name("version.py").read_text(encoding="utf-8")
    return re.search(r"^(?:cuda|hip)\b[^=]*= *['\"]", version, re.MULTILINE) is None


def _narrow(name: str):
    """torch's 16-bit type; autocast wants one even where it is not enabled."""
    import torch

    return torch.float16 if name == "float16" else torch.bfloat16
