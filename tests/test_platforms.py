"""Nothing in the package ties it to one operating system; here, what would stop a start on Windows."""

import builtins
import importlib
import pkgutil
import platform
import re
import subprocess
import sys
from pathlib import Path

import in_process
import pytest

ROOT = Path(__file__).parents[1]

#: Modules that only POSIX systems have.
ABSENT = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}


def import_all() -> None:
    """Every module of the package anew, as Windows would: it finds none of `ABSENT`."""
    for name in [name for name in sys.modules if name.split(".")[0] == "narrutils"]:
        del sys.modules[name]
    found = builtins.__import__

    def look_for(name, globals=None, *rest, **options):
        if name.split(".")[0] in ABSENT and str((globals or {}).get("__name__")).startswith("narrutils"):
            raise ModuleNotFoundError(f"{globals['__name__']} wants {name}")
        return found(name, globals, *rest, **options)

    builtins.__import__ = look_for
    import narrutils

    for module in pkgutil.walk_packages(narrutils.__path__, "narrutils."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    print("all")


@pytest.mark.slow
def test_every_module_imports_without_what_only_posix_has():
    done = in_process.forked(import_all)
    assert done.stdout == "all\n"


def test_no_date_is_written_with_a_code_of_one_system():
    """`%-d` is glibc's and the BSDs', `%#d` is Windows'."""
    files = [path for kind in ("py", "j2") for path in (ROOT / "narrutils").rglob(f"*.{kind}")]
    assert not [path for path in files if re.search(r"%[-#_^][a-zA-Z]\b", path.read_text(encoding="utf-8"))]


#: Pages that 20 arrays of 8 MB fetch from the system where as many were freed before.
FETCHED = """
import resource, numpy, narrutils
fetched = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(2):
    before = fetched()
    parts = [numpy.ones(2**20) for _ in range(20)]
    del parts
print(fetched() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has other ways")
def test_memory_that_was_freed_is_used_again():
    done = subprocess.run(
        [sys.executable, "-c", FETCHED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 20 * 2**23 / 4096 / 10
