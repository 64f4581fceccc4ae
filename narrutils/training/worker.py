"""One process of a training in several: `accelerate launch … -m narrutils.training.worker FOLDER`.

`launching` fills the folder and starts this; the training is the very one of a single process.
"""

import os
import sys
from pathlib import Path

import torch
from accelerate import DistributedType, PartialState

from narrutils.errors import InputError
from narrutils.models.classifier import learned
from narrutils.models.settings import Body, Lora
from narrutils.training.divergence import Diverged
from narrutils.training.launching import read_job, write_outcome
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Recipe


def main(folder: Path) -> None:
    """Train what the folder asks for; the main process writes what was learned into it."""
    # First of all: it joins the processes, and gives each the GPU on which models are then loaded.
    state = PartialState(cpu=not torch.cuda.is_available())
    weights, history, trouble = {}, [], {}
    try:
        check_strategy(state)
        model = train(folder)
        weights, history = learned(model.classifier), model.history
    except Diverged as error:  # on every process alike: all see the same loss and gradient norm
        trouble = {"diverged": str(error)}
    except InputError as error:
        trouble = {"wrong": str(error)}
    if state.is_main_process:
        write_outcome(folder, weights, history, **trouble)
    state.wait_for_everyone()
    state.destroy_process_group()


def check_strategy(state: PartialState) -> None:
    """Refuse what accelerate would turn into something else without a word, or what trains otherwise.

    Raises:
        InputError: FSDP without GPUs, where accelerate runs DDP; or its version 1.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false") != "true":
        return
    if state.distributed_type is DistributedType.MULTI_CPU:
        raise InputError("launch: FSDP divides a model between GPUs, and there is none; leave use_fsdp out")
    if os.environ.get("FSDP_VERSION") != "2":
        # Version 1 flattens all weights to vectors: which of them are matrices, and decay, is lost.
        raise InputError("launch: fsdp_version is 1; it takes 2")


def train(folder: Path):
    """The model of a folder's job."""
    schema, parts, phases, label = read_job(folder)
    learner = NeuralLearner(schema, Body(**parts["body"]), Lora(**parts["lora"]), Recipe(**parts["recipe"]))
    return learner.fit(phases, label)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
