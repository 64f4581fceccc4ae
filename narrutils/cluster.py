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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import psutil

from narrutils.errors import InputError

LOCAL = "local"
#: In the environment of every process of ours that uses Ray: it asks for a token, and reports nothing.
QUIET = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_USAGE_DISABLED": "1",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}
#: What makes Ray take loopback for its own address; asked for 127.0.0.1, it takes another.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
STORE = 100 * 2**20  # bytes of the object store, which holds part numbers and counts
PREFIX = "narray-"  # of its folder, with the process that made it: Ray's sockets need a short path
#: Asks a cluster, without a token, what a stranger may ask.
STRANGER = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1])"


@contextmanager
def joined(address: str, cpus: int) -> Iterator[ModuleType]:
    """Ray, connected for the length of the block; within another such block, that connection.

    Args:
        address: `local` starts a cluster of this machine, which ends with the block; else that of a cluster,
            as the nodes of it name it: `HOST:PORT`, or `auto` on one of them.
        cpus: of a local cluster, how many its workers may ask for together.

    Raises:
        InputError: Ray is not installed, no cluster answers there, or it lets strangers in.
    """
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        yield ray
    elif address == LOCAL:
        with (
            _own_folder() as folder,
            _environment(QUIET | LOOPBACK | _token(folder)),
            _connected(LOCAL, num_cpus=cpus, **_local(folder)) as ray,
        ):
            yield ray
    else:
        with _environment(QUIET), _connected(address, address=_checked(address)) as ray:
            _check_strangers(address, ray.get_runtime_context().gcs_address)
            print(
                f"Ray at {address}: it wants a token. Whether its ports and logs are closed to others, and "
                "its usage reports off, can only be seen on its nodes; what it sends is not encrypted"
            )
            yield ray


def _ray() -> ModuleType:
    try:
        import ray.data
    except ImportError:
        raise InputError("Ray is not installed; pip install 'narrutils[scale]'") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


@contextmanager
def _connected(name: str, **how) -> Iterator[ModuleType]:
    """Ray, started or found as `ray.init` is told, and left at the end of the block."""
    ray, main = _ray(), threading.current_thread() is threading.main_thread()
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = name != LOCAL  # read once from what `LOOPBACK` sets
    _read_again(ray)
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **how)
        if main:
            signal.signal(signal.SIGTERM, before)  # Ray put one of its own there
        yield ray
    except (ConnectionError, RuntimeError, ray.exceptions.AuthenticationError) as error:
        if ray.is_initialized():
            raise
        raise InputError(f"Ray at {name}: {_line(error)}") from None
    finally:
        ray.shutdown()


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


@contextmanager
def _own_folder() -> Iterator[Path]:
    """A folder that its owner alone may enter, gone at the end; those of killed processes go first.

    Ray opens its own folder to everybody, so that lies within.
    """
    place = Path(min(tempfile.gettempdir(), "/tmp", key=len))
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


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


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
        InputError: it does not.
    """
    alone = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")} | {
        "RAY_AUTH_MODE": "disabled"
    }
    asked = subprocess.run(
        [sys.executable, "-c", STRANGER, address], env=alone, capture_output=True, check=False
    )
    if asked.returncode == 0:
        raise InputError(
            f"Ray at {name}: the cluster lets in whoever reaches it; start it anew with RAY_AUTH_MODE=token"
        )


def _line(error: Exception) -> str:
    """The first line of what Ray says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
