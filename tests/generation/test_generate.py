"""Generation: shares of the folds, chunks that survive a kill, labels asked for at their own fold's rates."""

import multiprocessing
import os
import random
import signal
import stat
import sys
import time
import weakref

import pandas as pd
import pytest
from scribblers import Fake, Mortal
from toys import random_labels, with_holes
from tqdm import tqdm as real

from narrutils.data.intake.schema_file import load_schema
from narrutils.data.run import Run
from narrutils.errors import InputError
from narrutils.generation import chunks as stored
from narrutils.generation import generate
from narrutils.generation.engines import Sampling
from narrutils.generation.generate import generate_pool
from narrutils.generation.pools import Adapting, Pool
from narrutils.generation.screening import Screener
from narrutils.generation.writing import UNSCREENED, Scribe, chunk_seed
from narrutils.models.backbones import Backbone
from narrutils.workers import ALONE, Workers

SCHEMA = load_schema("params/schemas/nvdrs.yaml")
CASES = pd.DataFrame(
    {
        column: [f"V{n} was found. A friend told the {column}." for n in range(24)]
        for column in SCHEMA.text_columns
    },
    index=pd.Index([f"c{n:02d}" for n in range(24)], name="uid"),
)
FOLDS = pd.Series(range(24), index=CASES.index) % 4
LABELS = random_labels(SCHEMA, 24).set_axis(CASES.index)
POOL = Pool("p", "smollm2-135m", rows=12, seed=1)


def chunks(run, backend, cases=CASES, labels=LABELS, chunk_size=5, workers=ALONE, **changes):
    pool = Pool(**vars(POOL) | changes)
    return generate_pool(
        run, SCHEMA, pool, cases, FOLDS, labels, chunk_size, workers=workers, backend=backend
    )


def make(run, backend=None, **changes):
    return pd.concat(chunks(run, backend or Fake(), **changes), ignore_index=True)


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "run", "02_generation")


def fresh(run):
    """A run folder of which nothing is there."""
    return Run(run.folder.with_name(f"{run.folder.name}_"), "02_generation")


def test_the_pool_keeps_the_contract(run):
    table = make(run)
    assert table.columns.tolist() == [
        *("uid", "NarrativeLE", "NarrativeCME", "pool", "model", "backend", "seed", "chunk"),
        *("seen_folds", "example_uids", "finished", "kept", "reason"),
    ]
    assert table["uid"].tolist() == [f"p-{n:06d}" for n in range(12)]
    assert table["chunk"].tolist() == [0] * 5 + [1] * 5 + [2] * 2
    assert not table["kept"].any() and set(table["reason"]) == {UNSCREENED}
    assert table["NarrativeLE"][6] == f"Part 1 of {chunk_seed(1, 1)}."
    assert set(table["NarrativeCME"]) == {"Other part."}
    assert table["finished"].tolist() == [n % 2 == 0 for size in (5, 5, 2) for n in range(size)]
    about = table[["pool", "model", "backend", "seed"]].drop_duplicates().values.tolist()
    assert about == [["p", "smollm2-135m", "fake", 1]]


def test_every_fold_has_an_equal_share_and_its_own_examples(run):
    table = make(run)
    assert [list(f) for f in table["seen_folds"]] == [[n % 4] for n in range(12)]
    for seen, uids in zip(table["seen_folds"], table["example_uids"], strict=True):
        assert len(uids) and set(FOLDS[list(uids)]) == set(seen)


def test_a_labelled_pool_carries_the_codes_that_were_asked_for(run):
    backend = Fake()
    table = make(run, backend, labelled=True)
    assert table.columns[-len(SCHEMA.names) :].tolist() == SCHEMA.names
    for row, prompt in zip(table.to_dict("records"), backend.prompts, strict=True):
        assert {name: row[name] for name in SCHEMA.names} == prompt.requested
    assert table[SCHEMA.names].dtypes.map(pd.api.types.is_integer_dtype).all()
    assert len(table[SCHEMA.names].drop_duplicates()) == 12
    SCHEMA.to_targets(table)  # every code is one of its variable's


def test_labels_that_are_not_given_leave_the_floor_to_ask_at(run):
    labels = with_holes(LABELS, 0.3).assign(**{SCHEMA.names[0]: pd.NA})
    table = make(run, labels=labels, labelled=True, rows=200, floor=0.3)
    assert not table[SCHEMA.names].isna().any(axis=None)
    assert table[SCHEMA.names[0]].mean() == pytest.approx(0.3, abs=0.08)


def test_labels_are_asked_for_at_the_rates_of_the_rows_own_fold(run):
    labels = LABELS.assign(SuicideNote=(FOLDS == 1).astype(int), Argument=0)
    options = {"labelled": True, "floor": 0.0, "floors": {"Argument": 1.0}, "rows": 24}
    table = make(run, labels=labels, **options)
    fold = table["seen_folds"].map(lambda seen: seen[0])
    assert (table["SuicideNote"] == (fold == 1)).all()
    assert (table["Argument"] == 1).all()


def test_other_folds_labels_and_texts_leave_a_labelled_row_as_it_was(run):
    """Of a row of fold f, neither the labels that were asked for nor its prompt know another fold."""
    others = FOLDS != 2
    labels = LABELS.copy()
    labels.loc[others] = random_labels(SCHEMA, 24, seed=9).set_axis(CASES.index)[others]
    cases = CASES.mask(others, CASES + " More was noted.")
    before, after = Fake(), Fake()
    one = make(run, before, labelled=True, rows=24)
    two = make(run, after, labelled=True, rows=24, labels=labels, cases=cases)
    assert len(after.seeds) == len(before.seeds)
    own = [n for n in range(24) if n % 4 == 2]
    assert one.loc[own, SCHEMA.names].equals(two.loc[own, SCHEMA.names])
    assert not one[SCHEMA.names].equals(two[SCHEMA.names])
    assert [before.prompts[n] for n in own] == [after.prompts[n] for n in own]


def test_prompts_are_those_of_the_pool(run):
    backend = Fake()
    make(run, backend, max_examples=2, max_words=10**6)
    assert {len(p.example_uids) for p in backend.prompts} == {2}
    assert len({p.example_uids for p in backend.prompts}) > 4
    assert {p.form for p in backend.prompts} == {"chat"}


def test_a_killed_run_resumes_at_the_next_chunk_with_the_same_rows(run):
    with pytest.raises(KeyboardInterrupt):
        make(run, Fake(lives=2))
    rest = Fake()
    table = make(run, rest)
    assert rest.seeds == [chunk_seed(1, 2)]
    assert table.equals(make(fresh(run)))


def test_the_generator_is_closed_though_it_fails_and_not_asked_if_all_is_there(run):
    dying = Fake(lives=1)
    with pytest.raises(KeyboardInterrupt):
        make(run, dying)
    assert dying.closed
    make(run)
    idle = Fake(lives=0)
    make(run, idle)
    assert idle.closed and not idle.seeds


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"max_words": 60},
        {"max_examples": 2},
        {"temperature": 0.5},
        {"backbone": "gemma3-270m"},
        {"engine": {"quantization": "fp8"}},
        {"cases": CASES.replace(CASES.iloc[3, 1], "Another account.")},
        {"labelled": True, "floor": 0.3},
        {"labelled": True, "floors": {"Argument": 0.4}},
        {"labelled": True, "labels": LABELS.assign(Argument=1 - LABELS["Argument"])},
    ],
    ids=lambda change: ", ".join(change),
)
def test_whatever_decides_the_rows_remakes_the_chunks(run, change):
    make(run, labelled=change.get("labelled", False))
    again = Fake()
    make(run, again, **change)
    assert len(again.seeds) == 3
    assert len(list(run.path("generated/.p").iterdir())) == 3  # those of before are gone


def test_labels_that_no_prompt_speaks_of_remake_nothing(run):
    make(run)
    again = Fake()
    make(run, again, labels=LABELS.assign(Argument=1 - LABELS["Argument"]))
    assert not again.seeds


def test_another_backend_or_another_version_of_it_remakes_the_chunks(run, monkeypatch):
    make(run)
    for name, value in {"settings": {"size": 2}, "name": "other"}.items():
        monkeypatch.setattr(Fake, name, value)
        again = Fake()
        make(run, again)
        assert len(again.seeds) == 3


def test_more_rows_reuse_the_full_chunks(run):
    make(run, rows=10)
    more = Fake()
    table = make(run, more, rows=17)
    assert more.seeds == [chunk_seed(1, 2), chunk_seed(1, 3)]
    assert table.equals(make(fresh(run), rows=17))


def test_fewer_rows_leave_no_chunk_behind(run):
    make(run)
    table = make(run, rows=5)
    assert len(table) == 5 and len(list(run.path("generated/.p").iterdir())) == 1


def test_narratives_are_readable_by_their_owner_alone(run):
    make(run)
    folder = run.path("generated/.p")
    assert {stat.S_IMODE(f.stat().st_mode) for f in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


class Slow(Fake):
    """Tells how far it is, as engines do, before it answers."""

    def generate(self, prompts, seed):
        for share in (0.25, 0.5, 0.75):
            self.watch(share, int(share * 1000))
            self.shown.append((self.bar().n, self.bar().postfix))
        return super().generate(prompts, seed)


def test_the_bar_moves_while_a_chunk_is_made(run, monkeypatch):
    """Forty rows in a chunk of forty looked hung."""
    bars = []
    monkeypatch.setattr(stored, "tqdm", lambda *a, **k: bars.append(real(*a, **k)) or bars[-1])
    backend = Slow()
    backend.shown, backend.bar = [], lambda: bars[-1]
    make(run, backend, chunk_size=12)
    assert [rows for rows, _ in backend.shown] == [3, 6, 9]
    assert all("tokens/s" in told and not told.startswith("0 ") for _, told in backend.shown)


def test_a_narrative_of_any_length_is_shortened_to_the_prompts_words(run):
    long = CASES.copy()
    long.iloc[:, 0] = " ".join(f"law{n}" for n in range(100_000))
    backend = Fake()
    make(run, backend, cases=long, max_words=500)
    for prompt in backend.prompts:
        words = [m["content"].split() for m in prompt.messages]
        assert sum(map(len, words)) < 500 + 250  # the request itself
        assert prompt.example_uids and "coroner" in " ".join(prompt.messages[1]["content"].split()).lower()


def test_a_prompt_is_shortened_until_the_models_window_holds_it(run):
    long = CASES.copy()
    long.iloc[:, 0] = " ".join(f"law{n}" for n in range(3000))
    backend = Fake()
    backend.window = 400
    table = make(run, backend, cases=long, max_words=2000)
    assert all(backend.filled(prompt) <= 1 for prompt in backend.prompts)
    assert len(backend.prompts) == 12 and set(table["reason"]) == {UNSCREENED}


def test_a_row_that_no_window_holds_is_refused_with_its_reason_and_the_others_are_made(run, monkeypatch):
    backend = Fake()
    fits = backend.filled
    monkeypatch.setattr(backend, "filled", lambda prompt: 2.0 if prompt.seen_folds == (1,) else fits(prompt))
    table = make(run, backend, labelled=True)
    unmade = [seen == [1] for seen in map(list, table["seen_folds"])]
    assert sum(unmade) == 3 and len(table) == 12
    assert table.loc[unmade, SCHEMA.text_columns].isna().all(axis=None)
    assert table[SCHEMA.names].notna().all(axis=None)
    screened = Screener(CASES, FOLDS, SCHEMA).screen(table)
    assert not screened.loc[unmade, "kept"].any()
    assert screened.loc[unmade, "reason"].str.startswith("unmade: ").all()
    assert not screened.loc[[not one for one in unmade], "reason"].str.startswith("unmade: ").any()


@pytest.mark.parametrize("labelled", [False, True])
def test_without_a_case_to_show_every_row_is_refused_and_nothing_ends(run, labelled):
    backend, empty = Fake(), CASES.assign(NarrativeCME=" ")
    table = make(run, backend, cases=empty, labelled=labelled)
    assert not backend.prompts and len(table) == 12 and not any(map(len, table["seen_folds"]))
    screened = Screener(empty, FOLDS, SCHEMA).screen(table)
    assert screened["reason"].str.startswith("unmade: no case").all() and not screened["kept"].any()


def test_folds_without_a_case_to_show_leave_the_rows_to_the_others(run):
    cases = CASES.copy()
    cases.loc[FOLDS == 2, "NarrativeLE"] = ""
    table = make(run, cases=cases)
    assert {tuple(seen) for seen in table["seen_folds"]} == {(0,), (1,), (3,)}


def test_a_chunk_of_which_no_row_can_be_made_asks_the_engine_nothing(run):
    backend = Fake()
    backend.window = 1
    table = make(run, backend)
    assert not backend.prompts and len(table) == 12 and table["reason"].str.startswith("unmade").all()


def test_a_bar_shows_rows_and_tokens_a_second(run, capsys):
    make(run, Fake(seconds=0.05))
    shown = capsys.readouterr().err.split("\r")
    assert shown[-1].startswith("p: 100%") and "12/12" in shown[-1]
    rates = [int(line.split(" tokens/s")[0].split()[-1]) for line in shown if "tokens/s" in line]
    assert 0 < rates[-1] <= 12 * 10 / 0.15


def test_one_chunk_is_held_at_a_time(run):
    held = []
    for table in chunks(run, Fake(), rows=40, chunk_size=4):
        assert [r() is not None for r in held] == [False] * len(held)
        held.append(weakref.ref(table))
        del table
    assert len(held) == 10


@pytest.mark.models  # named only, but the first use of the name converts it
def test_an_adapted_generator_goes_on_with_a_document_and_each_row_has_its_folds_adapter(run, monkeypatch):
    asked = []

    def adapters(run, name, backbone, examples, labelled, adapting, precision, seed):
        asked.append((name, backbone.name, labelled, adapting, seed))
        folders = {fold: run.path(f"models/{name}/on_fold{fold}") for fold in examples.uids}
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "key.json").write_text("{}")
        return folders

    monkeypatch.setattr(generate, "adapt", adapters)
    backend = Fake()
    backend.form = "completion"
    pool = {"adapt": Adapting(lora_rank=4), "max_examples": 0}
    make(run, backend, labelled=True, **pool)
    assert asked == [("generator_p", "smollm2-135m", True, Adapting(lora_rank=4), 1)]
    assert [p.adapter for p in backend.prompts] == [
        str(run.path(f"models/generator_p/on_fold{n % 4}")) for n in range(12)
    ]
    assert [p.seen_folds for p in backend.prompts] == [(n % 4,) for n in range(12)]
    sampling = generate._sampling(
        Pool(**vars(POOL) | pool | {"temperature": 0.7, "engine": {"a": 1}}), "bfloat16"
    )
    assert sampling == Sampling(3000, 0.7, None, "completion", {"a": 1}, lora_rank=4, precision="bfloat16")
    assert generate._sampling(Pool(**vars(POOL) | {"form": "completion"}), "float32").form == "completion"
    run.path("models/generator_p/on_fold3/key.json").write_text('{"key": "another"}')
    monkeypatch.setattr(
        generate, "adapt", lambda *_: {n: run.path(f"models/generator_p/on_fold{n}") for n in range(4)}
    )
    again = Fake()
    again.form = "completion"
    make(run, again, labelled=True, **pool)
    assert len(again.seeds) == 3


class Stuck(Fake):
    """Stands still after `lives` chunks: nothing but a kill ends it, however slow the machine is."""

    def generate(self, prompts, seed):
        if len(self.seeds) == self.lives:
            time.sleep(600)
        return super().generate(prompts, seed)


def slow_pool(folder, lives=99):
    """A labelled pool of 20 chunks, a tenth of a second each: what the kills below interrupt."""
    run = Run(folder, "02_generation")
    return make(run, Stuck(lives, seconds=0.1), rows=80, chunk_size=4, labelled=True)


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_rows_of_an_undisturbed_run(run, tmp_path, monkeypatch):
    moments, folder = random.Random(5), run.path("generated/.p")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # where the server finds what it preloads
    server = multiprocessing.get_context("forkserver")  # imports once, for all that follow
    server.set_forkserver_preload([__name__])
    before = 0
    for _ in range(3):
        process = server.Process(target=slow_pool, args=(run.folder, 6), daemon=True)
        process.start()
        while len(list(folder.glob("chunk*"))) <= before:
            assert process.is_alive()
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        before = len(list(folder.glob("chunk*")))
    assert 3 <= before < 20
    assert slow_pool(run.folder).equals(slow_pool(tmp_path / "undisturbed"))
    files = [f.name for f in folder.iterdir()]
    assert len(files) == 20 and not any(name.startswith(".") for name in files)


def test_half_a_file_that_a_kill_left_is_removed_and_never_read(run):
    folder = run.path("generated/.p")
    make(run)
    for name in sorted(f.name for f in folder.iterdir()):
        (folder / f".{name}.123.part").write_bytes(b"PAR1")
    again = Fake()
    make(run, again)
    assert not again.seeds and not list(folder.glob("*.part")) and not list(folder.glob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize("ray", ["", "local"], ids=["processes", "ray"])
def test_workers_of_whom_one_is_killed_write_what_one_process_writes(run, tmp_path, ray):
    cases = CASES.copy()
    cases.iloc[3, 0] = None
    pool = {"cases": cases, "labels": with_holes(LABELS, 0.3), "labelled": True, "rows": 30, "chunk_size": 4}
    alone, other = make(run, **pool), fresh(run)
    count = 1 if ray else 2  # each that Ray starts takes seconds, and the killed one is started anew
    abreast = make(other, Mortal(tmp_path / "mark"), workers=Workers(count, ray, 1), **pool)
    assert (tmp_path / "mark").exists() and abreast.equals(alone)
    stored = [
        {f.name.split("-")[0]: f.read_bytes() for f in one.path("generated/.p").iterdir()}
        for one in (run, other)
    ]
    assert stored[0] == stored[1] and len(stored[0]) == 8


def test_workers_make_what_is_missing_and_nothing_else(run, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        make(run, Fake(lives=2))
    asked, real_spread = [], generate.spread
    monkeypatch.setattr(
        generate,
        "spread",
        lambda make, parts, who: real_spread(make, asked.append(parts) or parts, ALONE),
    )
    make(run, workers=Workers(2))
    make(run, workers=Workers(2))
    assert asked == [[2], []]


def test_chunks_are_handed_on_in_order_whenever_they_are_made(run, monkeypatch):
    def backwards(make, parts, who):
        score = make()
        yield from ((part, score(part)) for part in reversed(parts))

    monkeypatch.setattr(generate, "spread", backwards)
    assert make(run).equals(make(fresh(run), workers=Workers(2)))


def test_a_run_folder_that_workers_do_not_see_is_told(run, monkeypatch):
    monkeypatch.setattr(generate, "spread", lambda make, parts, who: iter([(n, 1) for n in parts]))
    with pytest.raises(InputError, match="workers must see the run folder"):
        make(run, workers=Workers(2, "192.0.2.7:6379"))


@pytest.mark.parametrize("kind", ["packaged", "local"])
def test_a_model_that_a_worker_does_not_see_is_told_before_its_first_chunk(run, tmp_path, kind):
    backend = Fake()
    backend.backbone = Backbone("fake", kind, str(tmp_path / "weights"))
    held = stored.Chunks(tmp_path / "chunks", "key", 12, 5)
    scribe = Scribe(POOL, SCHEMA, {}, backend, held)
    with pytest.raises(InputError, match="weights: a worker on .* does not see the model fake; let"):
        scribe()
    (tmp_path / "weights").mkdir()
    with pytest.raises(InputError, match="its machine must see the run folder"):
        scribe()
