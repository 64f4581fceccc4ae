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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from types import ModuleType
from typing import TypeVar

from joblib import cpu_count
from joblib.externals import loky

from narrutils.cluster import joined, node_cores, passed, room, what_ended
from narrutils.errors import InputError
from narrutils.versions import versions

T = TypeVar("T")

#: Libraries read these while they load.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
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
                f"--workers {self.count}, --threads {self.threads}: give 1 or more, and 0 or more (0: as fit)"
            )

    @property
    def alone(self) -> bool:
        """Whether this process does the work itself."""
        return self.count == 1 and not self.ray and not self.threads

    @property
    def each(self) -> int:
        """Threads of each."""
        return self.threads or max(1, cpu_count() // self.count)


#: This process.
ALONE = Workers()


def spread(
    make: Callable[[], Callable[[int], T]],
    parts: Sequence[int],
    workers: Workers,
    neural: bool = True,
    settled: Callable[[int], object] | None = None,
) -> Iterator[tuple[int, T]]:
    """Do every part once and yield (part, what came of it) as they end, in any order.

    A generator: nothing is started before the first is asked for, and all that was started ends with it.

    Args:
        make: called once in each worker, gives the function of a part's number. It can be pickled (a module's
            function, a partial of one, an instance of a module's class), holds no text, and names files by
            absolute paths, which all machines of a cluster see.
        parts: their numbers, each once.
        neural: whether a worker uses a GPU where there is one; in a cluster with GPUs each gets its own.
        settled: told the threads of each worker once they are known, before the first part.

    Raises:
        InputError: a worker cannot work as the driver asks, or was killed again and again.
        Exception: what `make` or the function raises, of the first part that does.
    """
    if not parts:
        return
    settled = settled or (lambda threads: None)
    if workers.ray:
        yield from _on_ray(make, parts, workers, neural, settled)
    elif workers.alone:
        settled(workers.each)
        score = make()
        yield from ((part, score(part)) for part in parts)
    else:
        settled(workers.each)
        yield from _in_processes(make, parts, workers)


def _in_processes(make: Callable, parts: Sequence[int], workers: Workers) -> Iterator[tuple[int, T]]:
    """With fresh processes whenever one died, which ends all of them.

    What was in hand then comes after all else, and at last one at a time with nobody beside it: so
    everything is done but the parts that kill, and those are known.
    """
    killed, fruitless = dict.fromkeys(parts, 0), 0  # of what is left, how often it was in hand
    while killed:
        if min(killed.values()) == TRIES:
            raise InputError(
                f"a worker was killed {TRIES} times at part {', '.join(map(str, killed))}, at last with no "
                "other beside it, most likely for want of memory; go on where there is more of it"
            )
        if fruitless == 2 * TRIES:
            raise InputError(
                f"none of {len(killed)} parts was done before a worker was killed, {fruitless} times, most "
                "likely for want of memory; give fewer workers"
            )
        before = len(killed)
        yield from _round(make, killed, workers)
        fruitless = fruitless + 1 if len(killed) == before else 0
        if killed:
            print(f"a worker was killed, most likely for want of memory; {len(killed)} parts are left")


def _round(make: Callable, killed: dict[int, int], workers: Workers) -> Iterator[tuple[int, T]]:
    """The parts that processes finish before one of them dies, which leave `killed`."""
    shared = sorted((part for part in killed if killed[part] < TRIES - 1), key=killed.get)
    parts = shared or [part for part in killed if killed[part] == TRIES - 1]
    count = min(workers.count, len(shared)) or 1
    hands = 2 * count if shared else 1  # two parts a worker: the second is at hand when the first is done
    begin = (os.getpid(), pickle.dumps(make), workers.each, versions(), count)
    pool = loky.ProcessPoolExecutor(count, env=_limits(workers.each), initializer=_begin, initargs=begin)
    waiting, asked = iter(parts), {}
    try:
        while True:
            asked |= {pool.submit(_do, part): part for part in islice(waiting, hands - len(asked))}
            if not asked:
                return
            done = loky.wait(asked, return_when=loky.FIRST_COMPLETED).done
            for one in done:
                if not isinstance(one.exception(), loky.BrokenProcessPool):
                    del killed[asked[one]]
                    yield asked.pop(one), one.result()
            if not done.isdisjoint(asked):
                raise loky.BrokenProcessPool
    except loky.BrokenProcessPool:  # raised too by the pool itself, which takes no more parts
        for part in asked.values():
            killed[part] += 1
    finally:
        pool.shutdown(kill_workers=True)


def _on_ray(
    make: Callable, parts: Sequence[int], workers: Workers, neural: bool, settled: Callable[[int], object]
) -> Iterator[tuple[int, T]]:
    """By actors of Ray, which starts one anew that died, and gives it the parts that it had in hand."""
    cpus = max(cpu_count(), workers.count * max(workers.threads, 1))
    with joined(workers.ray, cpus) as ray:
        count = min(workers.count, len(parts))
        gpus = int(neural and "GPU" in ray.cluster_resources())
        threads = room(ray.nodes(), workers.count, workers.threads, gpus)
        settled(threads)
        kind = ray.remote(Actor).options(
            num_cpus=threads,
            num_gpus=gpus,
            max_restarts=-1,
            max_task_retries=TRIES - 1,
            runtime_env={"env_vars": _limits(threads) | passed()},
        )
        told = 1 if gpus else count, pickle.dumps(make), threads, versions(), sys.path
        actors = [kind.remote(*told) for _ in range(count)]
        try:
            yield from _handed(ray, actors, parts)
        except ray.exceptions.RayError as error:
            raise InputError(what_ended(ray.exceptions, error)) from None
        finally:
            for actor in actors:  # it ends after what it has in hand: of one killed, Ray says that it died
                actor.__ray_terminate__.options(max_task_retries=0).remote()


def _handed(ray: ModuleType, actors: list, parts: Sequence[int]) -> Iterator[tuple[int, T]]:
    """What actors make of the parts. One that has not found its place yet is given none."""
    waiting, left = iter(parts), len(parts)
    asked = {actor.begun.remote(): (actor, None) for actor in actors}
    while left:
        (done,), _ = ray.wait(list(asked))
        (actor, part), sent = asked.pop(done), ray.get(done)
        hands = 2 if part is None else 1  # two parts a worker: the second is at hand when the first is done
        asked |= {actor.do.remote(next_one): (actor, next_one) for next_one in islice(waiting, hands)}
        if part is not None:
            left -= 1
            told, error = pickle.loads(sent)
            if error is not None:
                raise error
            yield part, told


def _limits(threads: int) -> dict[str, str]:
    """Threads of a worker's libraries. vLLM would bind its own to cores, those of all workers to the same."""
    return dict.fromkeys(THREADS, str(threads)) | {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}


@contextmanager
def interruptible(process: ProcessPoolExecutor) -> Iterator[ProcessPoolExecutor]:
    """Around a wait for child processes: an interrupt ends them, which would else work on."""
    try:
        yield process
    except KeyboardInterrupt:
        end(process)
        raise


def end(process: ProcessPoolExecutor) -> None:
    """Kill its child processes, whatever they do."""
    for child in process._processes.values():
        child.kill()


# What follows runs in the workers.

_sharers = 1


def sharers() -> int:
    """How many workers share the memory that this process has: 1 unless it is one of several."""
    return _sharers


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


def _sent(error: Exception) -> Exception:
    """The error, or one of its words if it cannot travel: that would look as if the worker had died."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _check(threads: int, wanted: dict[str, str]) -> None:
    have = versions()
    other = [
        f"{name} {have.get(name)}, not {value}" for name, value in wanted.items() if have.get(name) != value
    ]
    if cpu_count() < threads:
        other.append(f"{cpu_count()} cores, fewer than {threads} threads")
    if other:
        raise InputError(f"a worker on {platform.node()} has {'; '.join(other)}")


class Actor:
    """A worker as Ray calls one: the errors of its parts travel as values, others are Ray's own.

    Args:
        count: how many workers there are that may come to share a machine's memory.
        make, threads, …: see `Worker`.
    """

    def __init__(self, count: int, make: bytes, threads: int, *told):
        global _sharers
        _sharers = min(count, max(1, node_cores() // threads)) if count > 1 else 1
        self.worker = Worker(make, threads, *told)

    def begun(self) -> None:
        """Tell that it is there."""

    def do(self, part: int) -> bytes:
        """What came of a part and the error that it raised, pickled; one of the two is None."""
        try:
            told = self.worker(part), None
        except Exception as error:
            told = None, _sent(error)
        return pickle.dumps(told)


def settle(parent: int) -> None:
    """Begin a process of loky's: it ends with its parent and no earlier."""
    # loky would start one anew that holds 300 MB more than at first, as a loaded model does.
    loky.process_executor._USE_PSUTIL = False
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()


_worker = None  # of a process


def _begin(parent: int, make: bytes, threads: int, wanted: dict[str, str], count: int) -> None:
    """Make the worker of a process, one of so many."""
    global _worker, _sharers
    settle(parent)
    _sharers = count
    _worker = Worker(make, threads, wanted)


def _do(part: int):
    try:
        return _worker(part)
    except Exception as error:
        raise _sent(error)  # noqa: B904 (mostly the same one)


def end_with(parent: int) -> None:
    """End this process once its parent has gone, even one that was killed and could not say so."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
