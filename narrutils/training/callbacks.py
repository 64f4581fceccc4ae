"""What is made of a training's log while it runs: a line and an entry an epoch, and a watch on it."""

import time

import numpy as np
from transformers import TrainerCallback

from narrutils.training.divergence import Watch


class EpochLines(TrainerCallback):
    """Prints one line an epoch of the curriculum, and keeps its figures."""

    def __init__(self, ends: dict[int, dict], label: str):
        self.ends, self.label = ends, label  # last step of an epoch -> which phase and epoch it was
        self.history: list[dict] = []
        self.losses: list[float] = []
        self.started = time.perf_counter()

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" not in (logs or {}):
            return
        self.losses.append(logs["loss"])
        if state.global_step in self.ends:
            seconds = time.perf_counter() - self.started
            entry = self.ends[state.global_step] | {"loss": float(np.mean(self.losses)), "seconds": seconds}
            self.history.append(entry)
            self.losses = []
            if state.is_world_process_zero:
                print(
                    f"{self.label} · epoch {entry['epoch']}/{len(self.ends)} · {entry['rows']} rows · "
                    f"loss {entry['loss']:.4f} · {seconds:.0f} s",
                    flush=True,
                )


class Watching(TrainerCallback):
    """Ends a training that has diverged, by raising `Diverged`."""

    def __init__(self, ends: dict[int, dict]):
        self.ends, self.watch = ends, Watch()

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in (logs or {}):
            step = state.global_step
            phase = next(end["phase"] for last, end in self.ends.items() if step <= last)
            norm = logs.get("grad_norm")
            if args.fp16 and norm is not None and not np.isfinite(norm):
                norm = None  # the scaler skips this step, and scales the loss less from now on
            self.watch.see(step, phase, logs["loss"], norm)
