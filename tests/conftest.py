"""Fixtures of several test modules, and how the tests share the machine. Nothing here uses the network."""

import gc
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import joblib
import psutil
import pytest
from threadpoolctl import threadpool_limits

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

#: Started last, one of these would run on alone while the other cores have nothing to do.
LONGEST = [
    "test_end_to_end",
    "test_workers",
    "test_other_tasks",
    "test_generate",
    "test_engines",
    "test_full_profile",
    "test_runner",
    "test_seeds",
    "test_search",
    "test_sources",
    "test_distributed",
    "test_side_by_side",
    "test_bundle",
    "test_exported",
    "test_gauntlet",
]


def share_of_the_cores() -> None:
    """One of several workers keeps to its own cores, and so does all that it starts: kernels, engines."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    if workers == 1:
        return
    number = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    share = max(1, joblib.cpu_count() // workers)
    os.environ["OMP_NUM_THREADS"] = str(share)  # libraries read it as they load
    threadpool_limits(share)  # of NumPy, which has loaded; with more its threads wait awake for each other
    if hasattr(os, "sched_setaffinity"):  # Linux
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[number % len(cores) :: workers])


share_of_the_cores()


#: Where files lie in memory, and how many bytes must be free there and as many again for what runs.
MEMORY, ROOM = Path("/dev/shm"), 8 * 2**30


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config) -> None:
    """What the tests write lies in memory, where there is plenty: thousands of small files."""
    if config.option.basetemp or hasattr(config, "workerinput") or not MEMORY.is_dir():
        return
    if min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available - ROOM) > ROOM:
        config.option.basetemp = tempfile.mkdtemp(prefix="narrutils-tests-", dir=MEMORY)
        config.add_cleanup(partial(shutil.rmtree, config.option.basetemp, ignore_errors=True))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config) -> int:
    """A worker for each core that may be used; beside a GPU one, since vLLM takes all its memory."""
    return 1 if shutil.which("nvidia-smi") else min(joblib.cpu_count(), 8)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Tests that fork processes have them from one that has imported what the tests do, and ran none."""
    if "in_process" in sys.modules:
        sys.modules["in_process"].begin()


def pytest_collection_modifyitems(items) -> None:
    """The longest modules first."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


@pytest.fixture(scope="session")
def nvdrs():
    from narrutils.data.intake.schema_file import load_schema

    return load_schema("params/schemas/nvdrs.yaml")


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    """Folder of a tiny random encoder with its tokenizer."""
    import toys

    return toys.save_tiny_bert(tmp_path_factory.mktemp("bert") / "tiny-bert")


@pytest.fixture(scope="session")
def thin_bert(tmp_path_factory):
    """The same of one layer: torch takes seconds to translate each to ONNX."""
    import toys

    return toys.save_tiny_bert(tmp_path_factory.mktemp("bert") / "thin-bert", layers=1)


@pytest.fixture(scope="session")
def tiny_gemma_folder(tmp_path_factory):
    """Folder of a tiny random causal model with its tokenizer."""
    import toys

    return toys.save_tiny_gemma(tmp_path_factory.mktemp("gemma") / "tiny-gemma")


@pytest.fixture(scope="module", autouse=True)
def frozen() -> None:
    """Every training collects garbage, and need not look through all that was imported before."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def hasty() -> Iterator[None]:
    """What reads is timed thrice, and not for a second: nobody looks at the rates."""
    from narrutils.crossfit import timing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "LEAST", 0.0)
        yield


def pytest_terminal_summary(terminalreporter) -> None:
    """What was not tried, and why, in the last lines."""
    skipped = Counter(report.longrepr[2] for report in terminalreporter.stats.get("skipped", []))
    for reason, tests in skipped.items():
        terminalreporter.write_line(f"{tests} not tried: {reason.removeprefix('Skipped: ')}", yellow=True)


@dataclass
class Log:
    """What a page said and asked for: error messages, and the address of every request."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def outside(self) -> list[str]:
        """Requests that would leave the disk."""
        return [r for r in self.requests if not r.startswith(("file:", "data:", "blob:"))]


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium, headless.

    It lives for one module: its event loop would be in the way of tests that execute notebooks.
    """
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no chromium or google-chrome on the PATH; install one, and pages are tried in a browser")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def browser_page(browser):
    """(page, log) of a fresh page of 1280 by 900, light; `log` gathers errors and requests."""
    page, log = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light"), Log()
    page.on("console", lambda said: log.errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: log.errors.append(str(error)))
    page.on("request", lambda request: log.requests.append(request.url))
    yield page, log
    page.close()


@pytest.fixture(scope="session")
def deployed_run(tmp_path_factory, tiny_bert, tiny_gemma_folder):
    """A finished run of a TF-IDF model, an encoder and LoRA adapters; only read."""
    import deployments

    folder = tmp_path_factory.mktemp("runs") / "toy"
    return deployments.finished_run(folder, deployments.learners(tiny_bert, tiny_gemma_folder))


@pytest.fixture(scope="session")
def refit_run(tmp_path_factory, tiny_bert, tiny_gemma_folder):
    """A finished run of three models with a refit and one without; only read."""
    import deployments

    from narrutils.models.terms.student import SoftLearner

    kinds, folder = (
        deployments.learners(tiny_bert, tiny_gemma_folder),
        tmp_path_factory.mktemp("runs") / "refit",
    )
    members = {name: kinds[name] for name in ("tfidf", "frozen", "encoder")}
    members["student"] = SoftLearner(deployments.TOY, min_df=1)
    return deployments.finished_run(folder, members, refits=["tfidf", "encoder", "student"])


@pytest.fixture(scope="session")
def tfidf_run(tmp_path_factory):
    """A finished run of TF-IDF models alone; only read."""
    import deployments
    import toys

    folder = tmp_path_factory.mktemp("runs") / "tfidf"
    return deployments.finished_run(folder, {"tfidf": deployments.TfidfLearner(toys.TOY, min_df=1)})


@pytest.fixture(scope="session")
def promising_run(tfidf_run, tmp_path_factory):
    """The same with promises and a reference; only read."""
    import deployments

    from narrutils.data.run import Run

    folder = tmp_path_factory.mktemp("runs") / "promising"
    return deployments.promising(Run(shutil.copytree(tfidf_run.folder, folder), "06_test"))
