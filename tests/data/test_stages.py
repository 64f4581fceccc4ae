"""Stages that do not belong together are refused, with the one at fault and the command that mends it."""

import shutil

import pytest
from deployments import record

from narrutils.data.files import write_json
from narrutils.data.run import Run
from narrutils.data.stages import check_whole, fault, has_ended, recorded, unfinished
from narrutils.errors import InputError
from narrutils.paths import OUTPUTS

STAGES = ("01_a", "02_b", "03_c")


@pytest.fixture
def run(tmp_path):
    """A folder whose three stages wrote a file each, and all of them another."""
    run = Run(tmp_path / "toy", "01_a")
    run.write("run.json", {"run": "toy", "command": "narrutils run toy.yaml -p rate 2", "stages": {}})
    for number, stage in enumerate(STAGES):
        write(run, stage)
        record(run, stage, f"{stage}.json", "shared.json", before=STAGES[:number])
    return run


def write(run, stage, value=1):
    for name in (f"{stage}.json", "shared.json"):
        run.write(name, {"by": stage, "value": value})


def key(run, stage):
    return run.path(f".stages/{stage}.key.json")


def refused(run, **how):
    with pytest.raises(InputError) as caught:
        check_whole(run, **how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_whole_run_is_read_and_so_is_one_that_has_no_records(run):
    check_whole(run, finished=True)
    run.path("02_b.json").write_text("{}")
    shutil.rmtree(run.path(".stages"))
    check_whole(run, finished=True)


def test_a_stage_that_ran_before_an_earlier_one_wrote_something_else(run):
    run.write("01_a.json", {"value": 2})
    record(run, "01_a", "01_a.json", "shared.json")
    assert "toy: 02_b ran before 01_a wrote something else; to mend it: " in refused(run)
    record(run, "02_b", "02_b.json", "shared.json", before=STAGES[:1])
    assert "03_c ran before 01_a" in refused(run)
    record(run, "03_c", "03_c.json", "shared.json", before=STAGES[:2])
    check_whole(run)


@pytest.mark.parametrize("name, by", [("01_a.json", "01_a"), ("03_c.json", "03_c"), ("shared.json", "03_c")])
def test_a_file_that_was_changed_is_told_of_the_last_stage_that_wrote_it(run, name, by):
    run.path(name).write_text(run.path(name).read_text().replace("1", "2"))
    assert f"{name} is not as {by} wrote it" in refused(run)
    assert f"--from {by[:2]}" in refused(run)


def test_a_file_that_is_gone_is_told_by_who_needs_it(run):
    run.path("01_a.json").unlink()
    check_whole(run, finished=True)
    assert unfinished(run, STAGES) == "01_a"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "3", '{"parts": []}', '{"parts": {"earlier": 1}, "files": {}}']
)
def test_a_damaged_record_is_none(run, content):
    key(run, "02_b").write_text(content)
    assert recorded(run, "02_b") == {"parts": {}, "files": {}}
    assert not has_ended(run, "02_b")
    assert "02_b did not run to its end" in refused(run)


def test_what_stopped_half_way_is_refused_where_something_of_before_is_left(run):
    for stage in ("02_b", "03_c"):
        kept = key(run, stage).read_text()
        write_json(key(run, stage), {"parts": {}, "files": {f"{stage}.json": "", "shared.json": ""}})
        assert fault(run) == (stage, f"{stage} did not run to its end")
        key(run, stage).write_text(kept)


def test_the_last_stages_may_be_under_way_for_the_first_time_but_not_where_all_must_have_ended(run):
    run.path("shared.json").unlink()
    write_json(key(run, "03_c"), {"parts": {}, "files": {}})
    check_whole(run)
    assert "03_c did not run to its end" in refused(run, finished=True)
    write_json(key(run, "02_b"), {"parts": {}, "files": {}})
    check_whole(run)
    record(run, "03_c", before=STAGES[:2])
    assert "02_b did not run to its end" in refused(run)


def test_a_record_that_is_gone_of_a_stage_that_ran_is_missed(run):
    key(run, "03_c").unlink()
    run.path("shared.json").unlink()
    check_whole(run, finished=True)  # a person may have run that notebook
    run.write("run.json", run.record() | {"stages": dict.fromkeys(STAGES, {})})
    assert "03_c did not run to its end" in refused(run, finished=True)


def test_a_notebook_that_is_no_more_is_left_out(run):
    run.path("03_c.json").write_text("{}")
    assert fault(run)
    parameters = {"01_a": {}, "02_b": {}}
    run.write("run.json", run.record() | {"parameters": parameters})
    write(run, "02_b")
    assert fault(run) is None


def test_the_line_gives_the_command_that_mends_it(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run.path("02_b.json").write_text("{}")
    assert refused(run).endswith("narrutils run toy.yaml -p rate 2 --from 02 --outputs .")
    other = Run(shutil.copytree(run.folder, tmp_path / "deep/other"))
    assert refused(other).endswith("-p rate 2 --from 02 -p run other --outputs deep")
    run.write("run.json", {"stages": {}})  # of an earlier version
    assert refused(run).endswith("narrutils run PROFILE --from 02 --outputs .")
    monkeypatch.setattr("narrutils.data.stages.OUTPUTS", tmp_path)
    assert tmp_path != OUTPUTS and refused(run).endswith("narrutils run PROFILE --from 02")
