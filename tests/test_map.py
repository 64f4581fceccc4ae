"""The map of the package, its docstring, names every module and no other."""

import re

import narrutils
from narrutils.paths import PROJECT


def test_the_map_is_complete():
    named = re.findall(r"`(\w+)`", narrutils.__doc__)
    modules = {path.stem for path in (PROJECT / "narrutils").glob("[a-z]*.py")}
    assert len(named) == len(set(named))
    assert set(named) == modules
