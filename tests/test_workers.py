"""The same parts by one process, several, and a real Ray cluster of this machine, whoever dies."""

import os
import pickle
import re
import signal
import stat
import subprocess
import sys
import time
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import joblib
import parts
import psutil
import pytest
from deployments import TEST, features
from dying import Dying

from narrutils import cluster, workers
from narrutils import predict as predicting
from narrutils.cluster import joined
from narrutils.crossfit import coding
from narrutils.data.outputs import Outputs
from narrutils.errors import InputError
from narrutils.predict import predict
from narrutils.workers import Workers, spread

pytestmark = pytest.mark.slow

CORES = joblib.cpu_count()
KINDS = ["", "local"]
each_kind = pytest.mark.parametrize("ray", KINDS, ids=["processes", "ray"])


@pytest.fixture(scope="module")
def local():
    """A cluster that tests share: its start takes most of their time. Its environment asks for 3 threads."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        for name in workers.THREADS:
            patch.setenv(name, "3")
        with joined("local", 2) as ray:
            assert signal.getsignal(signal.SIGTERM) is before
            yield ray


@pytest.fixture
def one(request, ray):
    """A worker of a kind: each that Ray starts takes seconds."""
    if ray:
        request.getfixturevalue("local")
    return Workers(1, ray, 1)


@pytest.fixture
def two(one):
    """Two workers of a kind."""
    return replace(one, count=2)


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("*.txt")}


def done(folder: Path, who: Workers, count: int = 12, **how) -> list[tuple[int, dict]]:
    return list(spread(partial(parts.squares, folder, **how), range(count), who))


def test_one_process_does_the_parts_in_order(tmp_path):
    told = done(tmp_path, Workers())
    assert [part for part, _ in told] == list(range(12)) and {one["pid"] for _, one in told} == {os.getpid()}
    assert files(tmp_path) == SQUARES


SQUARES = {f"{n}.txt": str(n * n) for n in range(12)}


@each_kind
def test_parts_are_done_once_though_a_worker_is_killed_and_each_has_its_threads(two, tmp_path):
    """Which are told once; workers know how many share their memory, and have the driver's priority."""
    settled = []
    make = partial(parts.squares, tmp_path, kill=7, seconds=0.05, look="late")
    told = list(spread(make, range(12), two, settled=settled.append))
    assert (tmp_path / "killed").read_text() == "x"
    assert sorted(part for part, _ in told) == list(range(12)) and files(tmp_path) == SQUARES
    assert len({one["pid"] for _, one in told} - {os.getpid()}) >= 2
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    assert settled == [1] and all(one["threads"] | threads == one["threads"] for _, one in told)
    assert {1} <= {one["threads"].get("torch") for _, one in told} <= {None, 1}
    assert {one["sharers"] for _, one in told} == {2} and workers.sharers() == 1
    assert {one["priority"] for _, one in told} == {os.nice(0)}


@each_kind
def test_cases_are_coded_alike_by_one_process_and_by_two_workers_of_whom_one_is_killed(
    two, promising_run, tmp_path, monkeypatch
):
    """Byte for byte, in four parts, and with the same counts of what a person should decide and of drift."""
    monkeypatch.setattr(coding, "LARGE_PART", 4)
    path, ends = features(tmp_path, TEST), {}
    for who in (Workers(), two):
        folder = tmp_path / str(who.count)
        folder.mkdir()
        outputs = Outputs(folder / "codes.csv", folder / "probabilities.parquet", folder / "evidence.csv")
        counts = predict(promising_run.folder, path, outputs, progress=False, workers=who)
        ends[who] = counts, [file.read_bytes() for file in outputs.files.values()]
        monkeypatch.setattr(predicting, "Coding", Dying)
    assert (
        (folder / "killed").exists() and counts["rows"] == 15 and counts["reviewed"] and "differs" in counts
    )
    assert ends[Workers()] == ends[two]


@each_kind
def test_a_part_that_kills_every_worker_is_given_up_and_the_others_stand(two, tmp_path, capsys):
    """In processes it comes last, so that all others are done; on Ray it stays with one worker."""
    who, count = (replace(two, count=1), 4) if two.ray else (two, 30)
    with pytest.raises(InputError, match="killed|died") as told:
        done(tmp_path, who, count=count, kill=2, always=True)
    kills = len((tmp_path / "killed").read_text())
    assert 1 <= kills <= workers.TRIES
    if not two.ray:
        assert kills == workers.TRIES
        assert "killed 3 times at part 2, at last with no other beside it" in str(told.value)
        assert len(files(tmp_path)) == 29
        left = [int(line.split("; ")[1].split()[0]) for line in capsys.readouterr().out.splitlines()]
        assert left[1] < 8


def test_workers_that_all_die_at_their_start_are_given_up(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="none of 30 parts was done before a worker was killed, 2 times"):
        monkeypatch.setattr(workers, "TRIES", 1)
        list(spread(partial(parts.stillborn, tmp_path), range(30), Workers(2)))


@each_kind
def test_an_error_of_a_part_is_told_as_it_is(one, tmp_path):
    with pytest.raises(InputError, match="^part 3: the mend$"):
        done(tmp_path, one, fail=3)


@pytest.mark.parametrize("kind", [parts.Unpicklable, parts.Unreadable])
@each_kind
def test_an_error_that_cannot_travel_is_told_in_its_words(one, tmp_path, kind):
    with pytest.raises(RuntimeError, match=f"^{kind.__name__}: part 3: the mend$"):
        done(tmp_path, one, fail=3, kind=kind)
    with pytest.raises(RuntimeError, match=f"^{kind.__name__}: at once$"):
        list(spread(partial(parts.failing, kind), range(2), one))


@pytest.mark.parametrize(("count", "threads"), [(0, 0), (1, -1)])
def test_no_workers_or_fewer_than_no_threads_are_refused(count, threads):
    with pytest.raises(InputError, match=f"--workers {count}, --threads {threads}: give 1 or more, and 0"):
        Workers(count, threads=threads)


def test_this_process_shares_its_memory_with_nobody_and_tells_its_threads(tmp_path):
    threads = []
    ((_, told),) = spread(partial(parts.squares, tmp_path), [4], Workers(), settled=threads.append)
    assert told["sharers"] == 1 and threads == [CORES]


@pytest.mark.parametrize(("cores", "sharing"), [(64, 6), (16, 4), (2, 1)])
def test_actors_share_a_machine_as_many_as_its_cores_have_room_for(monkeypatch, tmp_path, cores, sharing):
    monkeypatch.setattr(workers, "node_cores", lambda: cores)
    monkeypatch.setattr(workers, "_sharers", 1)
    make = pickle.dumps(partial(parts.squares, tmp_path))
    workers.Actor(6, make, 4, {})
    assert workers.sharers() == sharing
    workers.Actor(1, make, 4, {})
    assert workers.sharers() == 1


def test_only_neural_work_asks_a_cluster_for_gpus(monkeypatch):
    asked = []
    fake = SimpleNamespace(cluster_resources=lambda: {"GPU": 1}, nodes=lambda: [])
    monkeypatch.setattr(workers, "joined", lambda *_: nullcontext(fake))
    monkeypatch.setattr(workers, "room", lambda nodes, count, threads, gpus: asked.append(gpus) or 1 / 0)
    for neural in (True, False):
        with pytest.raises(ZeroDivisionError):
            list(spread(parts.squares, [1], Workers(1, "local"), neural))
    assert asked == [1, 0]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("ActorDiedError", "Ray gave up: a worker died again and again, .* .ActorDiedError., "),
        ("WorkerCrashedError", "Ray gave up: a worker died again and again, .* .WorkerCrashedError., "),
        ("OutOfMemoryError", "Ray gave up: a worker died again and again, .* .OutOfMemoryError., "),
        ("NodeDiedError", "a machine of the Ray cluster went away"),
        ("ObjectStoreFullError", "Ray could not go on \\(ObjectStoreFullError: "),
    ],
)
def test_errors_of_ray_are_told_as_what_they_are(kind, said):
    kinds = pytest.importorskip("ray.exceptions")
    error, told = getattr(kinds, kind), {"ActorDiedError": [], "WorkerCrashedError": []}.get(kind, ["one"])
    assert re.match(said, cluster.what_ended(kinds, error(*told)))


def test_a_worker_that_could_not_start_is_no_death():
    """Such as one on a machine without this package."""
    kinds = pytest.importorskip("ray.exceptions")
    error = kinds.RayActorError("a", "It died.\n  Traceback\nModuleNotFoundError: no narrutils", True)
    assert cluster.what_ended(kinds, error).startswith("a worker could not start (ModuleNotFoundError: no n")


def test_threads_are_the_cores_divided_unless_given(tmp_path):
    for who, threads in {Workers(2): max(1, CORES // 2), Workers(1, threads=CORES): CORES}.items():
        ((_, told),) = done(tmp_path, who, count=1, look="stub")
        assert told["threads"]["torch"] == threads


def test_a_worker_of_other_versions_is_refused_by_what_differs(tmp_path, monkeypatch):
    here = workers.versions()
    wanted = here | {"numpy": "0.1", "narrutils": "abc"}
    told = f"numpy {here['numpy']}, not 0.1"
    make = pickle.dumps(partial(parts.squares, tmp_path))
    _, error = pickle.loads(workers.Actor(1, make, 1, wanted).do(3))
    assert isinstance(error, InputError) and told in str(error)
    assert f"narrutils {here['narrutils']}, not abc" in str(error) and "Python" not in str(error)
    monkeypatch.setattr(workers, "versions", lambda: wanted)
    with pytest.raises(InputError, match=told):
        done(tmp_path, Workers(2))
    assert not files(tmp_path)


def test_a_worker_with_fewer_cores_than_threads_is_refused(tmp_path):
    with pytest.raises(InputError, match=f"{CORES} cores, fewer than {CORES + 1} threads"):
        done(tmp_path, Workers(1, threads=CORES + 1))


@pytest.mark.parametrize(
    ("asked", "threads", "gpus"),
    [
        (Workers(2), 8, 0),
        (Workers(4), 5, 0),  # nodes of 16 and 8 cores: three of five on the one, one on the other
        (Workers(3, threads=8), 8, 0),
        (Workers(24), 1, 0),
        (Workers(1), 16, 1),
    ],
)
def test_threads_are_the_most_with_which_a_cluster_has_room(asked, threads, gpus):
    nodes = [{"Alive": alive, "Resources": {"CPU": c, "GPU": g}} for alive, c, g in FARM]
    assert cluster.room(nodes, asked.count, asked.threads, gpus) == threads


FARM = [(True, 16, 1), (True, 8, 0), (False, 64, 8)]


@pytest.mark.parametrize(("asked", "gpus"), [(Workers(25), 0), (Workers(4, threads=8), 0), (Workers(2), 1)])
def test_a_cluster_without_room_is_told(asked, gpus):
    nodes = [{"Alive": alive, "Resources": {"CPU": c, "GPU": g}} for alive, c, g in FARM]
    with pytest.raises(InputError, match=f"not for {asked.count}; give fewer workers"):
        cluster.room(nodes, asked.count, asked.threads, gpus)


def test_nothing_is_started_for_no_parts(monkeypatch):
    monkeypatch.setattr(workers, "joined", None)
    assert list(spread(parts.squares, [], Workers(2, "local"))) == []


# --- what others can reach or read ------------------------------------------------------------


def servers(local) -> list[psutil.Process]:
    """The two processes that a cluster starts, which start all others."""
    own = local._private.worker._global_node.all_processes.values()
    return [psutil.Process(one.process.pid) for some in own for one in some]


def listens(pid: int) -> list[str]:
    """Addresses on which a process listens; one that is ending has none."""
    try:
        connections = psutil.Process(pid).net_connections()
    except psutil.NoSuchProcess:
        return []
    return [c.laddr.ip.removeprefix("::ffff:") for c in connections if c.status == psutil.CONN_LISTEN]


def test_a_cluster_of_this_machine_listens_on_loopback_and_shows_its_owner_alone(local, tmp_path):
    with closing(spread(partial(parts.squares, tmp_path), range(2), Workers(1, "local", 1))) as told:
        (_, worker), *_ = next(told), next(told)  # it is there until the end
        certain = [os.getpid(), worker["pid"], *(one.pid for one in servers(local))]
        others = [child.pid for one in servers(local) for child in one.children(recursive=True)]
        listening = {pid: listens(pid) for pid in (*certain, *others)}
    assert len(certain) == 4 and all(listening[pid] for pid in certain)
    assert all(ip.startswith("127.") or ip == "::1" for own in listening.values() for ip in own)
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    session = Path(local._private.worker._global_node.get_session_dir_path())
    assert session.is_relative_to(token.parent)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0" and os.environ["RAY_AUTH_MODE"] == "token"
    cluster._check_strangers("here", local.get_runtime_context().gcs_address)


def test_another_cluster_than_the_one_in_use_is_refused(local):
    with (
        pytest.raises(InputError, match="Ray at 192.0.2.7:6379: this process is connected to Ray already"),
        joined("192.0.2.7:6379", 1),
    ):
        pass


def test_a_connection_that_others_made_is_refused(monkeypatch):
    context = SimpleNamespace(gcs_address="192.0.2.7:6379")
    fake = SimpleNamespace(is_initialized=lambda: True, get_runtime_context=lambda: context)
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr(cluster, "_joined", ("", ""))
    for address in ("local", "192.0.2.7:6379"):
        with (
            pytest.raises(InputError, match="connected to Ray already, by other means .* ray.shutdown"),
            joined(address, 1),
        ):
            pass
    monkeypatch.setattr(cluster, "_joined", ("auto", "192.0.2.7:6379"))
    with joined("auto", 1) as ray:
        assert ray is fake


@pytest.mark.parametrize(
    ("stranger", "said"),
    [
        ("import no_such_module", "cannot be found out \\(ModuleNotFoundError"),
        ("raise SystemExit('AuthenticationError: no')", ""),
        ("", "the cluster lets in whoever reaches it"),
        ("import time; time.sleep(60)", "cannot be found out \\(no answer within 1 seconds"),
    ],
)
def test_only_a_refusal_proves_that_strangers_are_refused(monkeypatch, stranger, said):
    monkeypatch.setattr(cluster, "STRANGER", stranger)
    monkeypatch.setattr(cluster, "PATIENCE", 1 if "sleep" in stranger else 60)
    with pytest.raises(InputError, match=f"^Ray at here: .*{said}") if said else nullcontext():
        cluster._check_strangers("here", "192.0.2.7:6379")


def test_a_folder_that_is_not_there_is_no_place_for_the_clusters(monkeypatch, tmp_path):
    monkeypatch.setattr(cluster.tempfile, "gettempdir", lambda: str(tmp_path))
    assert cluster._place() == Path("/tmp")
    monkeypatch.setattr(cluster, "SHORT", "/nil")
    assert cluster._place() == tmp_path


def test_a_worker_elsewhere_is_told_where_models_lie(monkeypatch):
    monkeypatch.setenv("NARRUTILS_CACHE", "cache")
    monkeypatch.delenv("HF_HOME", raising=False)
    assert cluster.passed()["NARRUTILS_CACHE"] == "cache" and "HF_HOME" not in cluster.passed()


OPEN = """
import ray, narrutils.cluster as cluster
wanted = cluster.QUIET | cluster.LOOPBACK
with cluster._own_folder() as folder, cluster.environment(wanted), cluster._alone():
    cluster.os.environ["RAY_AUTH_MODE"] = "disabled"
    with cluster._connected("local", num_cpus=1, **cluster._local(folder)) as ray:
        cluster._check_strangers("here", ray.get_runtime_context().gcs_address)
"""


def test_a_cluster_that_lets_strangers_in_is_refused():
    found = subprocess.run([sys.executable, "-c", OPEN], capture_output=True, text=True, check=False)
    assert "Ray at here: the cluster lets in whoever reaches it" in found.stderr


def test_an_address_without_a_token_is_refused(monkeypatch, tmp_path):
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match="there is no token; start the cluster with RAY_AUTH_MODE=token"):
        cluster._checked("192.0.2.7:6379")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
    assert cluster._checked("192.0.2.7:6379") == "192.0.2.7:6379"
    with pytest.raises(InputError, match="on a node of the cluster"):
        cluster._checked("ray://192.0.2.7:10001")


def test_without_ray_one_line_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match="pip install 'narrutils\\[scale\\]'"):
        done(tmp_path, Workers(2, "local", 1))


# --- what is left behind ----------------------------------------------------------------------


def begun(folder: Path, ray: str) -> tuple[subprocess.Popen, list[psutil.Process]]:
    """A process with two workers, or one of Ray's, that are at work, and all that it started."""
    call = [sys.executable, parts.__file__, str(folder), "1" if ray else "2", ray]
    driver = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert driver.stdout.readline()
    return driver, psutil.Process(driver.pid).children(recursive=True)


def left_of(driver: subprocess.Popen) -> list[Path]:
    return list(cluster._place().glob(f"{cluster.PREFIX}{driver.pid}-*"))


def wait_until(holds, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def gone(processes: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("ray", ["", "local"])
def test_all_that_was_started_ends_with_the_driver(tmp_path, ray, how):
    driver, started = begun(tmp_path, ray)
    assert len(started) >= 2
    assert len(left_of(driver)) == (1 if ray else 0)
    if how == signal.SIGKILL:  # Ray's agents, which know no text, seek their head for a minute or two
        started = [process for process in started if "Agent" not in " ".join(process.cmdline())]
    driver.send_signal(how)
    driver.communicate()
    wait_until(lambda: gone(started))
    if how == signal.SIGKILL and ray:
        with cluster._own_folder():  # of the next one, who finds what was left
            pass
    assert not left_of(driver)
