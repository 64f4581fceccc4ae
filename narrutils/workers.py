"""The same work over parts in this process, in several, or by the actors of a Ray cluster.

Every part is done once, by a function that writes what it made to disk, whole or not at all, and gives
back counts. Only numbers of parts and counts travel between processes: no text goes through a pipe or an
object store. What is done is what stands on disk, so a worker that dies costs the parts in hand, and
a driver that dies too: the next one asks for what is missing.
"""

import os
import pickle
import platform
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from narrutils.cluster import joined
from narrutils.errors import InputError
from narrutils.versions import versions

T = TypeVar("T")

#: Libraries read these while they load.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
#: What a worker on another machine takes over from the environment of the driver.
PASSED = ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "TOKENIZERS_PARALLELISM")
#: How often a part is tried whose worker dies: it may be the part that kills.
TRIES = 3


@dataclass(frozen=True)
class Workers:
    """Who does the parts."""

    count: int = 1  # processes, or Ray actors
    ray: str = ""  # address of a cluster; "local" starts one here; empty: no Ray
    threads: int = 0  # of each worker; 0: the cores that this process may use, divided among the workers

    def __post_init__(self):
        if self.count < 1 or self.threads < 0:
            raise InputError(
                f"workers: {self.count} of {self.threads} threads; it takes 1 or more of 0 or more"
            )

    @property
    def alone(self) -> bool:
        """Whether this process does the work itself."""
        return self.count == 1 and not self.ray and not self.threads

    @property
    def each(self) -> int:
        """Threads of each."""
        return self.threads or max(1, _cores() // self.count)


#: This process.
ALONE = Workers()


def spread(
    make: Callable[[], Callable[[int], T]], parts: Sequence[int], workers: Workers
) -> Iterator[tuple[int, T]]:
    """Do every part once and yield (part, what came of it) as they end, in any order.

    A generator: nothing is started before the first is asked for, and all that was started ends with it.

    Args:
        make: called once in each worker, gives the function of a part's number. It can be pickled (a module's
            function, a partial of one, an instance of a module's class), holds no text, and names files by
            absolute paths, which all machines of a cluster see.
        parts: their numbers, each once.

    Raises:
        InputError: a worker cannot work as the driver asks, or one part killed its worker again and again.
        Exception: what `make` or the function raises, of the first part that does.
    """
    if not parts:
        return
    if workers.alone:
        score = make()
        yield from ((part, score(part)) for part in parts)
    elif workers.ray:
        yield from _on_ray(make, parts, workers)
    else:
        yield from _in_processes(make, parts, workers)


def _in_processes(make: Callable, parts: Sequence[int], workers: Workers) -> Iterator[tuple[int, T]]:
    """With fresh processes for what is left whenever one of them died, unless that brings on no part."""
    left, fruitless = dict.fromkeys(parts), 0
    while left:
        before = len(left)
        for part, told in _round(make, list(left), workers):
            del left[part]
            yield part, told
        fruitless = fruitless + 1 if len(left) == before else 0
        if fruitless == TRIES:
            raise InputError(
                f"none of {before} parts was finished before a worker was killed, {TRIES} times, most likely "
                f"for want of memory; give fewer workers than {workers.count}"
            )
        if left:
            print(
                f"a worker was killed, most likely for want of memory; {len(left)} parts are taken up again"
            )


def _round(make: Callable, parts: list[int], workers: Workers) -> Iterator[tuple[int, T]]:
    """The parts that processes finish before one of them dies."""
    from joblib.externals.loky import FIRST_COMPLETED, BrokenProcessPool, ProcessPoolExecutor, wait

    threads = workers.each
    count = min(workers.count, len(parts))
    begin = (os.getpid(), pickle.dumps(make), threads, versions())
    pool = ProcessPoolExecutor(count, env=_limits(threads), initializer=_begin, initargs=begin)
    waiting, asked = iter(parts), {}
    try:
        while True:
            # Two parts a worker: the second is at hand when the first is done.
            asked |= {pool.submit(_do, part): part for part in islice(waiting, 2 * count - len(asked))}
            if not asked:
                return
            for done in wait(asked, return_when=FIRST_COMPLETED).done:
                part = asked.pop(done)
                if not isinstance(done.exception(), BrokenProcessPool):
                    yield part, done.result()
    except BrokenProcessPool:  # of the pool itself, which takes no more parts
        return
    finally:
        pool.shutdown(kill_workers=True)


def _on_ray(make: Callable, parts: Sequence[int], workers: Workers) -> Iterator[tuple[int, T]]:
    """By actors of Ray Data, which starts one anew that died, and gives it the parts that it had in hand."""
    cpus = max(_cores(), workers.count * max(workers.threads, 1))
    with joined(workers.ray, cpus) as ray:
        count = min(workers.count, len(parts))
        gpus = int("GPU" in ray.cluster_resources())
        threads = _threads(ray.nodes(), workers, gpus)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray 2.60 deprecates `max_task_retries`, and has nothing else
            done = ray.data.from_items(list(parts), override_num_blocks=len(parts)).map_batches(
                Actor,
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=count, max_tasks_in_flight_per_actor=2),
                fn_constructor_args=(pickle.dumps(make), threads, versions(), sys.path),
                num_cpus=threads,
                num_gpus=gpus,
                max_task_retries=TRIES - 1,
                runtime_env={"env_vars": _environment(threads)},
            )
        try:
            with closing(iter(done.iter_rows())) as rows:  # left early, it gives the actors back
                for row in rows:
                    told, error = pickle.loads(row["told"])
                    if error is not None:
                        raise error
                    yield row["part"], told
        except ray.exceptions.RayError as error:
            raise InputError(
                f"Ray gave up a part whose worker died {TRIES} times, or could start none "
                f"({type(error).__name__}); if memory is short give fewer workers, or smaller parts"
            ) from None


def _threads(nodes: list[dict], workers: Workers, gpus: int) -> int:
    """Threads of each worker: as asked for, or the most with which a cluster has room for all of them.

    Raises:
        InputError: it has none.
    """
    have = [node["Resources"] for node in nodes if node["Alive"]]

    def room(threads: int) -> int:
        return sum(
            int(min(one.get("CPU", 0) // threads, one.get("GPU", 0) if gpus else sys.maxsize)) for one in have
        )

    most = int(max((one.get("CPU", 0) for one in have), default=0))
    fitting = (n for n in range(most, 0, -1) if room(n) >= workers.count)
    threads = workers.threads or next(fitting, 1)
    if room(threads) < workers.count:
        kind = "a GPU and " if gpus else ""
        raise InputError(
            f"the cluster has room for {room(threads)} workers with {kind}{threads} threads each, not for "
            f"{workers.count}; give fewer workers or threads"
        )
    return threads


def _environment(threads: int) -> dict[str, str]:
    passed = {name: os.environ[name] for name in PASSED if name in os.environ}
    return _limits(threads) | passed


def _limits(threads: int) -> dict[str, str]:
    """Threads of a worker's libraries. vLLM would bind its own to cores, those of all workers to the same."""
    return dict.fromkeys(THREADS, str(threads)) | {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}


def _cores() -> int:
    """Cores that this process may use."""
    from joblib import cpu_count

    return cpu_count()


# What follows runs in the workers.


class Worker:
    """The scorer of one worker, made once it is known to have the same code.

    What goes wrong at its start is raised with its first part.

    Raises:
        InputError: it has fewer cores than threads that it should use, or other versions than the driver.
    """

    def __init__(self, make: bytes, threads: int, wanted: dict[str, str], path: Sequence[str] = ()):
        self.error = None
        sys.path += [place for place in path if place not in sys.path]  # Ray leaves some of the driver's out
        try:
            _check(threads, wanted)
            self.score = pickle.loads(make)()
            if "torch" in sys.modules:
                sys.modules["torch"].set_num_threads(threads)
        except Exception as error:
            self.error = error

    def __call__(self, part: int):
        if self.error is not None:
            raise self.error
        return self.score(part)


def _check(threads: int, wanted: dict[str, str]) -> None:
    have = versions()
    other = [
        f"{name} {have.get(name)}, not {value}" for name, value in wanted.items() if have.get(name) != value
    ]
    if _cores() < threads:
        other.append(f"{_cores()} cores, fewer than {threads} threads")
    if other:
        raise InputError(f"a worker on {platform.node()} has {'; '.join(other)}")


class Actor:
    """A worker as Ray Data calls one: a part is a batch of one row, and its errors travel as values."""

    def __init__(self, *told):
        self.worker = Worker(*told)

    def __call__(self, batch: dict) -> dict:
        (part,) = batch["item"].tolist()
        try:
            told = self.worker(part), None
        except Exception as error:
            told = None, error
        return {"part": [part], "told": [pickle.dumps(told)]}


_worker = None  # of a process


def _begin(parent: int, *told) -> None:
    """Make the worker of a process."""
    from joblib.externals.loky import process_executor

    global _worker
    process_executor._USE_PSUTIL = False  # it would start a process anew that holds 300 MB more than at first
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    _worker = Worker(*told)


def _do(part: int):
    return _worker(part)


def end_with(parent: int) -> None:
    """End this process once its parent has gone, even one that was killed and could not say so."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
