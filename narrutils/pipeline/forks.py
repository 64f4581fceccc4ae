"""Kernels forked from a process that has imported what notebooks import, which takes each of them seconds.

On Linux alone, and not beside a GPU, whose driver does not survive a fork: there, and wherever something is
amiss, kernels start as Jupyter starts them.
"""

import ast
import atexit
import gc
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from narrutils.pipeline.parameters import read_cells

#: matplotlib reads it while it loads; a kernel that starts alone finds it there.
INLINE = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
#: Where there is one of these, there is a GPU.
GPUS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
SERVE = "import sys; del sys.path[0]; from narrutils.pipeline.forks import serve; serve(int(sys.argv[1]))"
KERNEL = "ipykernel_launcher"


class Nursery:
    """From where a run's kernels are forked; it ends with the block.

    Args:
        notebooks: those that kernels are forked for; without any, nothing is begun.
    """

    def __init__(self, notebooks: Sequence[Path] = ()):
        self._notebooks, self._read, self._line = notebooks, {}, None

    def __enter__(self) -> "Nursery":
        return self

    def __exit__(self, *_) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
            self._process.kill()  # it may be importing yet
            self._process.wait()

    def begin(self, env: Mapping[str, str]) -> None:
        """Begin to import what the notebooks import, if that is not begun and a fork is safe here."""
        gpu = shutil.which("nvidia-smi") or any(map(os.path.exists, GPUS))
        if self._line is not None or gpu or sys.platform != "linux" or not self._notebooks:
            return
        ours, theirs = socket.socketpair()
        with theirs:
            call, number = [sys.executable, "-c", SERVE], theirs.fileno()
            self._process = subprocess.Popen(
                [*call, str(number)],
                stdin=subprocess.DEVNULL,
                env={**env, **INLINE},
                pass_fds=[number],
                start_new_session=True,
            )
        self._line, self._read = _Line(ours), _libraries_read(env)
        self._line.write(imported(self._notebooks))

    def fork(self, command: list[str], cwd: str, env: Mapping[str, str]) -> "Forked | None":
        """A kernel, once all is imported; None where it has to start by itself.

        Libraries read their part of the environment while they load, so it has to be the same.

        Args:
            command: by which it would be started.
        """
        if self._line is None or _libraries_read(env) != self._read or KERNEL not in command:
            return None
        try:
            arguments = command[command.index(KERNEL) + 1 :]
            self._line.write({"arguments": arguments, "cwd": cwd, "env": dict(env)})
            return Forked(self._line, self._line.read())
        except (OSError, EOFError):  # it could not import something, as the kernel will tell, or was killed
            return None


class Forked:
    """A forked kernel, as Jupyter knows a process: by the words of `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, line: "_Line", pid: int):
        self.pid, self._line, self._code = pid, line, None

    def poll(self) -> int | None:
        return self._code if self._code is not None or not self._line.waits() else self.wait()

    def wait(self) -> int:
        if self._code is None:
            try:
                self._code = self._line.read()
            except (OSError, EOFError):  # what forked it was killed, and it ends with that
                self._code = -signal.SIGKILL
        return self._code

    def send_signal(self, signum: int) -> None:
        os.kill(self.pid, signum)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Line:
    """A line of JSON at a time, over a socket.

    Raises:
        OSError, EOFError: nobody is at the other end.
    """

    def __init__(self, over: socket.socket):
        self._over, self._text = over, over.makefile("rw", encoding="utf-8")

    def write(self, said: object) -> None:
        print(json.dumps(said), file=self._text, flush=True)

    def read(self) -> object:
        told = self._text.readline()
        if not told:
            raise EOFError
        return json.loads(told)

    def waits(self, seconds: float = 0) -> bool:
        """Whether something is to be read, or the other end has gone."""
        return bool(select.select([self._over], [], [], seconds)[0])

    def close(self) -> None:
        with suppress(OSError):
            self._text.close()
        self._over.close()


def imported(notebooks: Iterable[Path]) -> list[str]:
    """This package's modules that notebooks import; what each stands on comes with it.

    Of `from package import name` both `package` and `package.name`, which may be a module too.
    """
    return sorted({name for path in notebooks for name in _imported(path) if name.startswith("narrutils.")})


def _imported(notebook: Path) -> Iterator[str]:
    for cell in read_cells(notebook):
        try:
            tree = ast.parse(cell["source"] if cell["cell_type"] == "code" else "")
        except SyntaxError:  # a magic, or a mistake that its own kernel tells
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)


def _libraries_read(env: Mapping[str, str]) -> dict[str, str]:
    """What libraries may have read of a kernel's environment: all but what Jupyter tells each."""
    return {name: value for name, value in env.items() if not name.startswith("JPY_")}


# What follows runs in the process that kernels are forked from.


def serve(number: int) -> None:
    """Import what is asked for; then fork a kernel at each request, tell its process, and how it ended.

    Args:
        number: of the socket on which the runner asks.
    """
    line = _Line(socket.socket(fileno=number))
    for name in line.read():
        with suppress(ImportError):  # no module, but what one holds
            import_module(name)
    import_module("ipykernel.kernelapp")
    gc.freeze()
    with suppress(OSError, EOFError):
        while True:
            asked = line.read()
            pid = os.fork()
            if not pid:
                line.close()
                _become(**asked)
            line.write(pid)
            line.write(_end_of(pid, line))


def _end_of(pid: int, line: _Line) -> int:
    """The exit code of a kernel; it is killed once the runner, which says nothing meanwhile, is gone."""
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if line.waits(seconds=0.1):
            os.killpg(pid, signal.SIGKILL)


def _become(arguments: list[str], cwd: str, env: dict[str, str]) -> NoReturn:
    """In the forked process: a kernel, in a session of its own, that ends with what it was forked from."""

    def kernel() -> None:
        os.setsid()
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env | {"JPY_PARENT_PID": str(os.getppid())})
        sys.argv = [KERNEL, *arguments]
        from ipykernel.kernelapp import launch_new_instance

        launch_new_instance(arguments)

    do_and_end(kernel)


def do_and_end(work: Callable[[], object]) -> NoReturn:
    """In a forked process: some work, and then the end of an interpreter, which it would leave out."""
    code = 1
    try:
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(code)
