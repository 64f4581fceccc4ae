"""A share of the gauntlet: damage is read right or refused in one line, and a kill changes no end."""

import in_process
import pytest

from benchmarks.gauntlet import Tally, try_files, try_folders
from benchmarks.toy_task import SENTINEL, Task
from narrutils.errors import InputError


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A finished task; its notebooks were executed in a process of their own."""
    folder = tmp_path_factory.mktemp("gauntlet") / "task"
    made = in_process.module("benchmarks.toy_task", str(folder))
    assert made.returncode == 0, made.stdout
    return Task(folder)


@pytest.mark.slow
@pytest.mark.parametrize("damage", [try_files, try_folders])
def test_what_is_damaged_is_read_right_or_refused_in_one_line(task, damage):
    tally = Tally()
    damage(task, 60 if damage is try_files else 24, 0, tally)
    assert not tally.failures
    done = tally.table().sum(numeric_only=True)
    assert done["read"] > 5 and done["refused"] > 5


@pytest.mark.slow
def test_a_prediction_that_was_killed_ends_as_if_it_had_not_been():
    words = ["benchmarks.kills", "--works", "predict", "--step", "8", "--moments", "5"]
    done = in_process.module(*words)
    assert done.returncode == 0, done.stdout
    assert "another end" not in done.stdout and "predict" in done.stdout


def test_a_fault_is_seen_for_what_it_is():
    tally = Tally()

    def ends(error):
        def door():
            raise error

        return door

    tally.judge("a", "", lambda: "")
    tally.judge("a", "", ends(InputError("line 3: mend it")))
    for wrong in (
        ends(InputError("two\nlines")),
        ends(InputError(f"it says {SENTINEL}")),
        ends(KeyError("x")),
    ):
        tally.judge("a", "", wrong)
    tally.judge("a", "", lambda: print(SENTINEL) or "")
    assert tally.table().iloc[0].tolist() == ["a", 1, 1, 4]
