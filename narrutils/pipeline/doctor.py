"""What this machine can run: all that a profile needs, looked at, with the mend for what is amiss.

Nothing is changed, loaded or fetched; the profile can run if there is no problem among the findings.
"""

from collections.abc import Iterator
from pathlib import Path

import psutil

from narrutils.errors import InputError
from narrutils.models.hub import backbones, values_under
from narrutils.models.precision import has_gpu, slow
from narrutils.pipeline.estimates import cost
from narrutils.pipeline.machine import (
    GOOD,
    NOTE,
    PROBLEM,
    Finding,
    eight_bit,
    machine,
    model,
    software,
)
from narrutils.pipeline.preflight import Job, preflight, settled
from narrutils.pipeline.profiles import NOTEBOOKS, Profile
from narrutils.report.tables import duration


def examine(profile: Profile, outputs: Path) -> int:
    """Print what is found for a profile; 0 if it can run here, else 1."""
    findings = []
    for title, group in groups(profile, outputs):
        print(f"\n{title}")
        found = list(group)
        width = max([len(finding.what) for finding in found], default=0)
        print("\n".join(line(finding, width) for finding in found), flush=True)
        findings += found
    problems = sum(finding.mark == PROBLEM for finding in findings)
    name = f"{profile.name} ({profile.path})"
    said = "can run here" if not problems else f"cannot run here yet: mend the {problems} marked {PROBLEM}"
    print(f"\n{name} {said}")
    return int(problems > 0)


def line(finding: Finding, width: int) -> str:
    """A finding as it is printed: mark, subject, what was found, and the mend below it."""
    text = f"  {finding.mark} {finding.what:<{width}}  {finding.found}"
    return text + (f"\n{'':<{width + 6}}→ {finding.mend}" if finding.mend else "")


def groups(profile: Profile, outputs: Path) -> Iterator[tuple[str, Iterator[Finding]]]:
    """The parts of the report, each looked at when it is its turn."""
    yield "Software", software()
    yield "Machine", machine(outputs)
    yield f"Models of {profile.name}", models(profile)
    yield f"The profile {profile.name}", demands(profile, outputs)


def models(profile: Profile) -> Iterator[Finding]:
    """Each model that the profile names: found, to be made or fetched, or missing, and where it is sought."""
    for name in backbones(profile.parameters):
        yield model(name)
    if values_under(profile.parameters, lambda key: key == "quantization"):
        yield eight_bit()


def demands(profile: Profile, outputs: Path) -> Iterator[Finding]:
    """Whether its data are there and right; its precision, and its time and memory on this machine."""
    try:
        yield precision(settled(profile, outputs / profile.run))
    except InputError as error:
        yield Finding(PROBLEM, "precision", str(error), "`-p precision auto`")
        return
    try:
        yield Finding(GOOD, "data and schema", _data(preflight(profile, NOTEBOOKS, outputs)))
    except InputError as error:
        mend = "give `-p data_dir FOLDER`, or mend what the line names"
        yield Finding(PROBLEM, "data and schema", str(error), mend)
    costs = [cost(profile, outputs / profile.run, stage) for stage in profile.stages]
    seconds = [figures["seconds"] for figures in costs if "seconds" in figures]
    gigabytes = [figures["gigabytes"] for figures in costs if "gigabytes" in figures]
    by = "by the processor alone, less with the GPU" if has_gpu() else "here"
    yield Finding(GOOD, "time", f"about {duration(sum(seconds))} {by}" if seconds else "never measured")
    yield memory(max(gigabytes, default=None), psutil.virtual_memory())


def precision(profile: Profile) -> Finding:
    """What the notebooks compute in, which is named in the profile by now, and whether that is slow here."""
    named = {values["precision"] for values in profile.parameters.values() if "precision" in values}
    late = [said for said in map(slow, sorted(named)) if said]
    if late:
        mend = "leave it to `-p precision auto`; a run folder that began so, under another `-p run NAME`"
        return Finding(NOTE, "precision", "; ".join(late), mend)
    return Finding(GOOD, "precision", ", ".join(sorted(named)))


def memory(needed: float | None, here) -> Finding:
    """The largest need of a notebook, in GB, against the machine's `total` and `available` bytes."""
    if needed is None:
        return Finding(NOTE, "memory needed", "never measured")
    found = f"{needed:.1f} GB at most"
    if needed * 1e9 > here.total:
        mend = "a smaller model, fewer tokens or smaller batches; or a larger machine"
        return Finding(PROBLEM, "memory needed", f"{found}; there are {here.total / 1e9:.1f} GB", mend)
    if needed * 1e9 > here.available:
        mend = "close other programs before the run"
        return Finding(NOTE, "memory needed", f"{found}; {here.available / 1e9:.1f} GB are free now", mend)
    return Finding(GOOD, "memory needed", found)


def _data(job: Job) -> str:
    about = job.data
    if about.get("embedded"):
        return f"the embedded corpus, {about['cases']} cases, schema {about['schema']}"
    return f"{about.get('folder')}, schema {about.get('schema')}"
