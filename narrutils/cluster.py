"""A Ray cluster that others can neither reach nor read.

One that is started here listens on loopback alone, asks for a token of its own, reports nothing,
keeps its files in a folder that its owner alone may enter, and ends with the block. One that is
named runs elsewhere: it is used if it asks for a token, and what cannot be seen from here is said.
Ray sends functions, pickled, over its ports: whoever reaches them without a token runs what they like.
"""

import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import psutil

from narrutils.errors import InputError
from narrutils.paths import environment

LOCAL = "local"
#: In the environment of every process of ours that uses Ray: it asks for a token, and reports nothing.
QUIET = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
#: What makes Ray take loopback for its own address; asked for 127.0.0.1, it takes another.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
#: Of a cluster of this machine: workers have the driver's priority, since they do its work (Ray gives them
#: the next to lowest, so that any other process takes their core), and none is started before it is asked
#: for (those that Ray starts ahead have another environment than ours: none would be used).
WORK = {"RAY_worker_niceness": "0", "RAY_prestart_worker_first_driver": "0"}
#: What starts those processes of a cluster of this machine that work for nobody: one reads logs for the
#: driver, which does not show them, one asks a cloud for machines, one serves the dashboard, whose page is
#: off. Each imports for a second or more, and Ray has no setting against them.
UNASKED = ("start_log_monitor", "start_monitor", "start_api_server")
STORE = 100 * 2**20  # bytes of the object store, which holds part numbers and counts
PREFIX = "narray-"  # of its folder, with the process that made it: Ray's sockets need a short path
#: Asks a cluster, without a token, what a stranger may ask; the error of one who is refused; seconds to wait.
STRANGER = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1])"
REFUSED, PATIENCE = "AuthenticationError", 60
#: What a worker on another machine takes over from the environment of the driver.
PASSED = (
    *("NARRUTILS_CACHE", "HF_HOME", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"),
    *("DO_NOT_TRACK", "TOKENIZERS_PARALLELISM"),
)
SHORT = "/tmp"  # where there is one, Ray's sockets have a short path

_joined = ("", "")  # what `joined` was asked for by whom this process is connected, and the cluster's address


@contextmanager
def joined(address: str, cpus: int) -> Iterator[ModuleType]:
    """Ray, connected for the length of the block; within another such block for the address, that connection.

    Args:
        address: `local` starts a cluster of this machine, which ends with the block; else that of a cluster,
            as the nodes of it name it: `HOST:PORT`, or `auto` on one of them.
        cpus: of a local cluster, how many its workers may ask for together.

    Raises:
        InputError: Ray is not installed, no cluster answers there, it lets strangers in, or this process
            is connected to another one.
    """
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        if _joined != (address, ray.get_runtime_context().gcs_address):
            raise InputError(
                f"Ray at {address}: this process is connected to Ray already, by other means or elsewhere; "
                "call ray.shutdown() first, or start a new process"
            )
        yield ray
    elif address == LOCAL:
        with (
            _own_folder() as folder,
            environment(QUIET | LOOPBACK | WORK | _token(folder)),
            _alone(),
            _connected(LOCAL, num_cpus=cpus, **_local(folder)) as ray,
        ):
            yield ray
    else:
        with environment(QUIET), _connected(address, address=_checked(address)) as ray:
            _check_strangers(address, ray.get_runtime_context().gcs_address)
            print(
                f"Ray at {address}: it wants a token. Whether its ports and logs are closed to others, and "
                "its usage reports off, can only be seen on its nodes; what it sends is not encrypted"
            )
            yield ray


def _ray() -> ModuleType:
    try:
        import ray
    except ImportError:
        raise InputError("Ray is not installed; pip install 'narrutils[scale]'") from None
    return ray


@contextmanager
def _connected(name: str, **how) -> Iterator[ModuleType]:
    """Ray, started or found as `ray.init` is told, and left at the end of the block."""
    global _joined
    ray, main = _ray(), threading.current_thread() is threading.main_thread()
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = name != LOCAL  # read once from what `LOOPBACK` sets
    _read_again(ray)
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **how)
        if main:
            signal.signal(signal.SIGTERM, before)  # Ray put one of its own there
        _joined = name, ray.get_runtime_context().gcs_address
        yield ray
    except (ConnectionError, RuntimeError, ray.exceptions.AuthenticationError) as error:
        if ray.is_initialized():
            raise
        raise InputError(f"Ray at {name}: {first_line(error)}") from None
    finally:
        _joined = ("", "")
        ray.shutdown()


@contextmanager
def _alone() -> Iterator[None]:
    """Have Ray start a cluster without what is `UNASKED`."""
    _ray()
    from ray._private.node import Node

    before = {name: getattr(Node, name) for name in UNASKED}
    for name in UNASKED:
        setattr(Node, name, lambda *_, **__: None)
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(Node, name, method)


def _read_again(ray: ModuleType) -> None:
    """Let Ray read token and mode from the environment, of which it keeps what it read first."""
    ray._raylet.Config.initialize("")
    ray._raylet.AuthenticationTokenLoader.instance().reset_cache()


def _local(folder: Path) -> dict:
    """What `ray.init` is told to start a cluster."""
    return {"include_dashboard": False, "_temp_dir": str(folder / "ray"), "object_store_memory": STORE}


def _token(folder: Path) -> dict[str, str]:
    """A new token of the cluster that is started in a folder."""
    path = folder / "token"
    with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    return {"RAY_AUTH_TOKEN_PATH": str(path), "RAY_AUTH_TOKEN": ""}


def _place() -> Path:
    """The folder of temporary ones with the shortest path."""
    return Path(min((p for p in (tempfile.gettempdir(), SHORT) if os.path.isdir(p)), key=len))


@contextmanager
def _own_folder() -> Iterator[Path]:
    """A folder that its owner alone may enter, gone at the end; those of killed processes go first.

    Ray opens its own folder to everybody, so that lies within.
    """
    place = _place()
    for left in place.glob(f"{PREFIX}*"):
        pid = left.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=place))
    try:
        yield folder
    finally:
        for _ in range(50):  # processes of the cluster that are just ending may still write a log
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            time.sleep(0.1)


def _checked(address: str) -> str:
    """The address of a cluster, for which there is a token here."""
    if "://" in address:
        raise InputError(
            f"Ray at {address}: run the command on a node of the cluster, with its HOST:PORT or auto"
        )
    ray = _ray()
    _read_again(ray)
    if not ray._raylet.AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True):
        raise InputError(
            f"Ray at {address}: there is no token; start the cluster with RAY_AUTH_MODE=token and give its "
            "token here too, in RAY_AUTH_TOKEN_PATH (`ray get-auth-token --generate` makes one)"
        )
    return address


def _check_strangers(name: str, address: str) -> None:
    """That a cluster refuses whoever comes without its token.

    Raises:
        InputError: it does not, or that cannot be found out.
    """
    alone = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")} | {
        "RAY_AUTH_MODE": "disabled"
    }
    call = [sys.executable, "-c", STRANGER, address]
    try:
        asked = subprocess.run(call, env=alone, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        said = f"no answer within {PATIENCE} seconds"
    else:
        said = last_line(asked.stderr)
        if asked.returncode == 0:
            raise InputError(
                f"Ray at {name}: the cluster lets in whoever reaches it; start it anew with "
                "RAY_AUTH_MODE=token"
            )
        if REFUSED in asked.stderr:
            return
    raise InputError(
        f"Ray at {name}: whether it refuses strangers cannot be found out ({said}); see that this machine "
        "reaches it and has its version of Ray"
    )


def passed() -> dict[str, str]:
    """What of this process's environment a worker takes over."""
    return {name: os.environ[name] for name in PASSED if name in os.environ}


def room(nodes: list[dict], count: int, threads: int, gpus: int) -> int:
    """Threads of each of `count` workers: as asked for, or with 0 the most for which a cluster has room.

    Args:
        nodes: as `ray.nodes` tells them.
        gpus: of each worker, 0 or 1.

    Raises:
        InputError: it has no room.
    """
    have = [node["Resources"] for node in nodes if node["Alive"]]

    def fit(threads: int) -> int:
        cores = [int(one.get("CPU", 0) // threads) for one in have]
        return sum(min(n, int(one.get("GPU", 0))) if gpus else n for n, one in zip(cores, have))

    most = int(max((one.get("CPU", 0) for one in have), default=0))
    threads = threads or next((n for n in range(most, 0, -1) if fit(n) >= count), 1)
    if fit(threads) < count:
        kind = "a GPU and " if gpus else ""
        raise InputError(
            f"the cluster has room for {fit(threads)} workers with {kind}{threads} threads each, not for "
            f"{count}; give fewer workers or threads"
        )
    return threads


def node_cores() -> int:
    """Cores that Ray gives away on the machine of this worker."""
    import ray

    own = ray.get_runtime_context().get_node_id()
    return int(next(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["NodeID"] == own))


def what_ended(kinds: ModuleType, error: Exception) -> str:
    """What to say of an error of Ray's own, which no part raised; of its kinds some are deaths."""
    name = type(error).__name__
    if isinstance(error, kinds.RayActorError) and error.actor_init_failed:
        return f"a worker could not start ({last_line(error)}); all machines need this package and its extras"
    if isinstance(error, kinds.NodeDiedError | kinds.LocalRayletDiedError):
        return f"a machine of the Ray cluster went away ({name}); start again, what is done is kept"
    if isinstance(error, kinds.RayActorError | kinds.WorkerCrashedError | kinds.OutOfMemoryError):
        return (
            f"Ray gave up: a worker died again and again, at its start or by a part ({name}), most likely "
            "for want of memory; give fewer workers, or smaller parts"
        )
    return f"Ray could not go on ({name}: {first_line(error)}); start again, what is done is kept"


def first_line(error: Exception) -> str:
    """The first line of what Ray says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def last_line(said: object) -> str:
    """The last line of a traceback, which names its error."""
    return (str(said).strip() or "no error is told").splitlines()[-1]
