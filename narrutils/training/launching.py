"""Trainings that run in several processes of their own, started by `accelerate launch`.

What is to be learned goes through a private folder, which holds narratives and is removed
at the end; the processes (`narrutils.training.worker`) train as this one would, and the weights
that they learned come back. DDP and FSDP are accelerate's options, given as it names them.
"""

import os
import subprocess
import sys
from argparse import Action
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file, save_file

from narrutils.data.files import read_json, write_json
from narrutils.data.schema import Schema
from narrutils.data.tables import read_table, write_table
from narrutils.errors import InputError, did_you_mean
from narrutils.models.learner import Phase
from narrutils.training.divergence import Diverged

#: Settings of ours beside accelerate's: where the private folder is made (a place that all
#: machines share, if there are several), and words put before the command, such as `srun …`.
OWN = ("scratch", "before")
WORKER = "narrutils.training.worker"


@dataclass(frozen=True)
class Outcome:
    """What a training in other processes gave: learned weights by name, and the history."""

    weights: dict[str, torch.Tensor]
    history: list[dict]


def train_launched(settings: dict, schema: Schema, parts: dict, phases: list[Phase], label: str) -> Outcome:
    """Train one classifier in the processes that `settings` asks for.

    Args:
        settings: options of `accelerate launch`, such as `num_processes` or `config_file`, and `OWN`.
        parts: `body`, `lora` and `recipe` of the learner, as JSON can hold them.

    Raises:
        InputError: a setting is unknown, or the training refused something that the user gave.
        Diverged: the training diverged.
        RuntimeError: the processes ended otherwise.
    """
    options = accelerate_options(settings)
    with TemporaryDirectory(prefix="narrutils-", dir=settings.get("scratch")) as name:  # mode 0700
        folder = Path(name)
        write_job(folder, schema, parts, phases, label)
        said = _run([*settings.get("before", []), *command(options), str(folder)], label)
        if not (folder / "outcome.json").exists():
            raise RuntimeError(f"{label}: the launched processes ended without a result:\n{said}")
        return read_outcome(folder)


def accelerate_options(settings: dict) -> list[str]:
    """The words of `accelerate launch` for these settings.

    Several processes without a strategy are DDP. Precision is the recipe's business, and a
    free port is taken, so that several runs share a machine.

    Raises:
        InputError: a name that `accelerate launch` does not know.
    """
    from accelerate.commands.launch import launch_command_parser

    actions = {action.dest: action for action in launch_command_parser()._actions}
    given = {name: value for name, value in settings.items() if name not in OWN}
    for name in given:
        if name not in actions:
            mend = did_you_mean(name, [*actions, *OWN], "see accelerate launch --help")
            raise InputError(f"launch: accelerate has no setting {name}; {mend}")
    if "config_file" not in given:
        given = {"num_machines": 1, "mixed_precision": "no", "dynamo_backend": "no"} | given
        if given.get("num_processes", 1) > 1 and not any(given.get(s) for s in ("use_fsdp", "use_deepspeed")):
            given.setdefault("multi_gpu", True)
        if given["num_machines"] == 1:
            given.setdefault("main_process_port", 0)
    if given.get("use_fsdp"):
        given = {"fsdp_version": 2, "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP"} | given
    return [word for name, value in given.items() for word in _words(actions[name], value)]


def _words(action: Action, value: object) -> list[str]:
    """An option as it is typed; `true` is a switch where accelerate has one."""
    if action.nargs == 0:
        return [f"--{action.dest}"] if value else []
    return [f"--{action.dest}", str(value).lower() if isinstance(value, bool) else str(value)]


def command(options: list[str]) -> list[str]:
    """`accelerate launch` of this Python, on the worker; its last word is to be the folder."""
    return [sys.executable, "-m", "accelerate.commands.launch", *options, "-m", WORKER]


def _run(words: list[str], label: str) -> str:
    """Run a command; its lines of progress are printed as they come, its last lines returned."""
    environment = dict(os.environ)
    if not torch.cuda.is_available():
        environment["ACCELERATE_USE_CPU"] = "true"  # accelerate's own switch excludes several processes
    last: deque[str] = deque(maxlen=40)
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        for line in process.stdout:
            last.append(line)
            if line.startswith(f"{label} · "):
                print(line, end="", flush=True)
    return "".join(last)


def write_job(folder: Path, schema: Schema, parts: dict, phases: list[Phase], label: str) -> None:
    """Everything that a training needs, in a folder: JSON, and a table each of texts and targets."""
    for n, phase in enumerate(phases):
        write_table(folder / f"texts{n}.parquet", phase.texts.rename_axis("uid"), private=True)
        write_table(folder / f"targets{n}.parquet", phase.targets.rename_axis("uid"), private=True)
    kinds = [{"epochs": p.epochs, "soft": p.soft, "loss": p.loss} for p in phases]
    write_json(folder / "job.json", {"schema": schema.to_dict(), **parts, "phases": kinds, "label": label})


def read_job(folder: Path) -> tuple[Schema, dict, list[Phase], str]:
    """What `write_job` wrote."""
    job = read_json(folder / "job.json")
    phases = []
    for n, kind in enumerate(job["phases"]):
        texts, targets = (
            read_table(folder / f"{what}{n}.parquet").set_index("uid") for what in ("texts", "targets")
        )
        phases.append(Phase(texts, targets, **kind))
    return Schema.from_dict(job["schema"]), job, phases, job["label"]


def write_outcome(folder: Path, weights: dict, history: list[dict], **trouble: str) -> None:
    """What the processes learned; `trouble` is `diverged` or `wrong` with a reason."""
    save_file(weights, folder / "learned.safetensors")
    write_json(folder / "outcome.json", {"history": history} | trouble)


def read_outcome(folder: Path) -> Outcome:
    """What `write_outcome` wrote.

    Raises:
        InputError, Diverged: the trouble that the processes had.
    """
    found = read_json(folder / "outcome.json")
    if found.get("wrong"):
        raise InputError(found["wrong"])
    if found.get("diverged"):
        raise Diverged(found["diverged"])
    return Outcome(load_file(folder / "learned.safetensors"), found["history"])
