"""The `estimate` lines of a profile, from finished runs of it.

    python -m benchmarks.estimates outputs/demo
    python -m benchmarks.estimates outputs/demo OTHER_MACHINE/demo

Runs on machines of different speed, or in different precisions, tell how much of a notebook's time is
ordinary work and how much is multiplying; give one of each kind. A single run cannot tell: it keeps
the proportion of the profile's present estimate. A second line gives, for each run, what the new
estimate says of it over what was measured.
"""

import argparse
from collections.abc import Sequence

import numpy as np
from scipy.optimize import nnls

from narrutils.data.run import Run
from narrutils.models.speed import Speed
from narrutils.pipeline.estimates import parts, seconds
from narrutils.pipeline.profiles import load_profile


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", metavar="RUN_FOLDER", nargs="+")
    parser.add_argument("--profile", help="whose proportions a single run keeps (default: the run's own)")
    given = parser.parse_args(words)
    runs = [Run(folder).record() for folder in given.runs]
    profile = load_profile(given.profile or f"params/{runs[0]['profile']}.yaml")
    for stage in profile.stages:
        timed = [run for run in runs if was_timed(run, stage)]
        if timed:
            print("\n".join(lines(stage, timed, profile.estimate.get(stage, {}))))


def was_timed(run: dict, stage: str) -> bool:
    """Whether the stage ended, on the machine that the run's record describes."""
    figures, kind = run["stages"].get(stage, {}), run.get("processor", {}).get("kind")
    return figures.get("status") == "done" and figures.get("processor", "") == kind


def lines(stage: str, runs: list[dict], before: dict[str, float]) -> list[str]:
    """A line for the profile, and one that holds it against the runs."""
    speeds = [speed_of(run, stage) for run in runs]
    took = np.array([run["stages"][stage]["seconds"] for run in runs])
    ordinary, teraflops = fitted(np.array([parts(*speed) for speed in speeds]), took, before)
    estimate = {"seconds": ordinary, "teraflops": teraflops}
    estimate["gigabytes"] = max(run["stages"][stage]["peak_gigabytes"] for run in runs)
    written = ", ".join(f"{name}: {value:.3g}" for name, value in estimate.items())
    over = ", ".join(f"{seconds(estimate, *speed) / t:.2f} of {t:.0f} s" for speed, t in zip(speeds, took))
    return [f"  {stage}: {{{written}}}", f"  # {over}"]


def speed_of(run: dict, stage: str) -> tuple[Speed, str, int]:
    """What `parts` takes, of the machine that a run was on."""
    here = run["processor"]
    speed = Speed(here["float32"], here["bfloat16"], here["ordinary"])
    precision = {name: p["precision"] for name, p in run["parameters"].items() if "precision" in p}
    return speed, precision.get(stage) or next(iter(precision.values()), "float32"), here["cores"]


def fitted(costs: np.ndarray, took: np.ndarray, before: dict[str, float]) -> tuple[float, float]:
    """Seconds and teraflops, 0 or more, of least relative error; of one run, in the proportion of before.

    Args:
        costs: what a second and a teraflop take in each run, `[runs, 2]`.
        took: seconds of each run.
    """
    if len(took) > 1:
        return tuple(nnls(costs / took[:, None], np.ones(len(took)))[0])
    former = np.array([before.get("seconds", 0.0), before.get("teraflops", 0.0)])
    former = former if former.any() else np.array([1.0, 0.0])
    return tuple(former * took[0] / (costs[0] @ former))


if __name__ == "__main__":
    main()
