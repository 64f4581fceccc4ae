"""Backends: answers written by parts, engines chosen by name, and two engines that really sample."""

import multiprocessing
import os
import platform
import re
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import psutil
import pytest
import torch
from jinja2 import TemplateError
from parts import endless
from peft import LoraConfig, get_peft_model
from toys import TOY, random_labels, save_tiny_writer, word_texts

from narrutils.data.run import Run
from narrutils.errors import InputError
from narrutils.generation import generate, transformers_engine, vllm_engine
from narrutils.generation.engines import STOPS, Answer, Backend, Sampling, render
from narrutils.generation.generate import generate_pool, has_vllm, open_backend
from narrutils.generation.pools import Pool
from narrutils.generation.prompts import Prompt
from narrutils.generation.transformers_engine import BATCH, TransformersBackend
from narrutils.generation.vllm_engine import BOUND, SPINS, VllmBackend, _allowed_rank, openmp
from narrutils.models.backbones import keep_layers, load_causal, load_tokenizer, resolve
from narrutils.paths import PROJECT

CHAT = [
    Prompt(
        "chat",
        (),
        (),
        messages=(
            {"role": "system", "content": "Reply in few words."},
            {"role": "user", "content": f"Describe town {n}." + " It has a river." * n},
        ),
    )
    for n in range(4)
]
COMPLETION = [
    Prompt("completion", (), (), text=f"Towns.\n\n### Case {n}\n\nSite:\n", following=("People:", "Trade:"))
    for n in range(3)
]


#: A model where none is loaded: it is used as its package brings it, no conversion comes before.
NAMED = "minilm"


class Letters:
    """A tokenizer of one token a letter."""

    chat_template = None

    def __call__(self, texts, add_special_tokens):
        return {"input_ids": [[ord(c) for c in text] for text in texts]}


class Scripted(Backend):
    """Gives the parts that a script holds, turn by turn, and notes what it was asked."""

    name, version, window = "scripted", "1", 10**6

    def __init__(self, *turns, sampling=None):
        super().__init__(resolve(NAMED), sampling or Sampling())
        self.turns, self.asked, self.seeds, self.stops, self.adapters = list(turns), [], [], [], []
        self.forgot = []

    tokenizer = Letters()

    def sample(self, asked, seeds, stops, adapters):
        self.asked.append(["".join(map(chr, ids)) for ids in asked])
        self.seeds.append(seeds)
        self.stops.append(stops)
        self.adapters.append(adapters)
        return self.turns[len(self.asked) - 1]

    def forget(self):
        self.forgot.append(len(self.asked))

    def close(self):
        self.closed = True


def parts(*texts, tokens=1, finished=True):
    return [Answer(text, tokens, finished) for text in texts]


def adapter(name, folder):
    """A LoRA adapter of random weights, strong enough to be heard."""
    torch.manual_seed(0)
    settings = LoraConfig(
        r=4,
        lora_alpha=64,
        target_modules=["q_proj", "v_proj", "up_proj"],
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    get_peft_model(load_causal(resolve(name), torch.bfloat16), settings).save_pretrained(folder)
    return str(folder)


# Answers by parts.


def test_every_part_is_asked_for_under_its_own_heading():
    backend = Scripted(parts(" A \n", "a", "x"), parts("B", "b ", "y"), parts("C", "c", "z\n"))
    answers = backend.generate(COMPLETION, seed=1)
    assert [a.text for a in answers] == [
        "A\n\nPeople:\nB\n\nTrade:\nC",
        "a\n\nPeople:\nb\n\nTrade:\nc",
        "x\n\nPeople:\ny\n\nTrade:\nz\n",
    ]
    for asked, heading in zip(backend.asked, ("Site:\n", "People:\n", "Trade:\n"), strict=True):
        assert all(text.endswith(heading) for text in asked)
    assert backend.asked[2][0] == f"{COMPLETION[0].text}A\n\nPeople:\nB\n\nTrade:\n"
    assert backend.stops == [STOPS] * 3


def test_an_answer_is_finished_if_all_its_parts_are_and_as_long_as_they_together():
    one, two, three = parts("1", "2", "3"), parts("1", "2", "3", tokens=5), parts("1", "2", "3", tokens=10)
    one[0] = replace(one[0], finished=False)
    three[1] = replace(three[1], finished=False)
    answers = Scripted(one, two, three).generate(COMPLETION, seed=1)
    assert [a.finished for a in answers] == [False, False, True]
    assert [a.tokens for a in answers] == [16] * 3


def test_rows_and_turns_have_seeds_of_their_own_and_adapters_go_with_their_rows():
    prompts = [replace(p, adapter=f"folder{n}" if n else "") for n, p in enumerate(COMPLETION)]
    backend, same = (Scripted(*[parts("1", "2", "3")] * 3) for _ in range(2))
    backend.generate(prompts, seed=7), same.generate(prompts, seed=7)
    seeds = [seed for turn in backend.seeds for seed in turn]
    assert len(set(seeds)) == 9 and all(0 <= seed < 2**31 for seed in seeds)
    assert backend.seeds == same.seeds
    assert backend.adapters == [["", "folder1", "folder2"]] * 3


def test_the_parts_of_a_call_share_what_was_read_and_two_calls_do_not():
    """Forgotten before the first part is asked for, and never between two."""
    backend = Scripted(*[parts("1", "2", "3")] * 6)
    backend.generate(COMPLETION, seed=7), backend.generate(COMPLETION, seed=7)
    assert len(backend.asked) == 6 and backend.forgot == [0, 3]


def test_a_case_of_one_part_needs_no_heading():
    backend = Scripted(parts("All of it."))
    (answer,) = backend.generate([replace(COMPLETION[0], following=())], seed=0)
    assert answer.text == "All of it." and len(backend.asked) == 1


def test_a_backend_closes_at_the_end_of_its_block():
    with Scripted() as backend:
        assert not hasattr(backend, "closed")
    assert backend.closed


def test_the_settings_name_the_weights_and_every_choice():
    settings = Scripted(sampling=Sampling(max_new_tokens=9, engine={"max_model_len": 64})).settings
    assert settings["model"] == NAMED and settings["weights"]
    assert settings["max_new_tokens"] == 9 and settings["engine"] == {"max_model_len": 64}
    assert settings["version"] == "1"


# Rendering and forms.


def test_a_template_without_a_system_role_says_it_as_the_user():
    class NoSystem:
        def apply_chat_template(self, messages, **_):
            if messages[0]["role"] == "system":
                raise TemplateError("System role not supported")
            return messages[0]["content"]

    assert render(CHAT[0], NoSystem()) == "Reply in few words.\n\nDescribe town 0."


@pytest.mark.models
def test_a_chat_is_rendered_by_its_template_and_a_completion_as_it_stands():
    tokenizer = load_tokenizer(resolve("smollm2-135m"))
    text = render(CHAT[0], tokenizer)
    assert text.startswith("<|im_start|>system\nReply in few words.")
    assert text.endswith("<|im_start|>assistant\n")
    assert render(COMPLETION[0], tokenizer) == COMPLETION[0].text


@pytest.mark.models
def test_a_chat_template_makes_a_chat_model_unless_told_otherwise():
    assert TransformersBackend(resolve("smollm2-135m"), Sampling()).form == "chat"
    assert TransformersBackend(resolve("smollm2-135m"), Sampling(form="completion")).form == "completion"
    assert TransformersBackend(resolve("gemma3-270m"), Sampling()).form == "completion"


# The choice of an engine.


@pytest.mark.parametrize(
    ("system", "machine", "kind"),
    [
        ("linux", "x86_64", VllmBackend),
        ("linux", "aarch64", VllmBackend),
        ("linux", "riscv64", TransformersBackend),
        ("darwin", "arm64", TransformersBackend),
        ("win32", "AMD64", TransformersBackend),
    ],
)
def test_auto_takes_vllm_wherever_it_is_made_for_the_platform(monkeypatch, system, machine, kind):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(generate, "find_spec", lambda name: object())
    assert type(open_backend("auto", resolve(NAMED), Sampling())) is kind


@pytest.mark.parametrize("name", ["auto", "vllm"])
def test_a_missing_vllm_is_an_error_and_no_silent_change_of_engine(monkeypatch, name):
    monkeypatch.setattr(generate, "has_vllm", lambda: True)
    monkeypatch.setattr(generate, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="vLLM is not installed; .*choose backend: transformers"):
        open_backend(name, resolve(NAMED), Sampling())
    assert open_backend("transformers", resolve(NAMED), Sampling()).name == "transformers"


def test_an_unknown_engine_is_refused():
    with pytest.raises(InputError, match="backend is 'vlm'.*did you mean vllm"):
        open_backend("vlm", resolve(NAMED), Sampling())


# transformers, for real.


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """The packaged chat model, cut to its first layers: its texts mean nothing, its interface is whole."""
    whole, folder = resolve("smollm2-135m"), tmp_path_factory.mktemp("cut") / "smollm2"
    keep_layers(load_causal(whole, torch.bfloat16), 2).save_pretrained(folder)
    load_tokenizer(whole).save_pretrained(folder)
    return resolve(str(folder))


@pytest.fixture(scope="module")
def short(cut):
    return TransformersBackend(cut, Sampling(max_new_tokens=6, temperature=1.0, top_p=1.0))


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    return resolve(save_tiny_writer(tmp_path_factory.mktemp("writer") / "tiny"))


@pytest.fixture(scope="module")
def tiny(writer, tmp_path_factory):
    """A backend of a tiny model, and the folder of an adapter for it."""
    folder = adapter(writer.name, tmp_path_factory.mktemp("lora") / "one")
    return TransformersBackend(writer, Sampling(max_new_tokens=8, temperature=1.0)), folder


def letters(*counts):
    """Prompts of so many letters, and so many tokens."""
    return [
        Prompt("completion", (), (), text="".join(chr(97 + n % 26) for n in range(count))) for count in counts
    ]


@pytest.mark.models
def test_transformers_same_seed_same_texts(short):
    one = short.generate(CHAT, seed=3)
    assert one == short.generate(CHAT, seed=3)
    assert one != short.generate(CHAT, seed=4)
    assert all(a.text and a.tokens == 6 and not a.finished for a in one)
    assert len(short.generate(COMPLETION, seed=3)) == 3


def test_transformers_keeps_the_rows_in_order_though_it_batches_them_by_length(tiny, monkeypatch):
    backend, folder = tiny
    batches = []
    keep = TransformersBackend._batch

    def spy(self, model, asked, stops, done):
        batches.append([len(ids) for ids in asked])
        return [Answer(str(len(ids)), 1, True) for ids in asked]

    monkeypatch.setattr(TransformersBackend, "_batch", spy)
    counts = [(7 * n) % 20 + 1 for n in range(BATCH + 4)]
    prompts = letters(*counts)
    assert [a.text for a in backend.generate(prompts, seed=0)] == [str(c) for c in counts]
    assert batches == [sorted(counts)[:BATCH], sorted(counts)[BATCH:]]
    batches.clear()
    mixed = [replace(p, adapter=folder if n % 2 else "") for n, p in enumerate(prompts)]
    assert [a.text for a in backend.generate(mixed, seed=0)] == [str(c) for c in counts]
    assert batches == [sorted(counts[::2]), sorted(counts[1::2])]
    monkeypatch.setattr(TransformersBackend, "_batch", keep)


def test_an_engine_tells_how_far_it_is_while_it_writes(tiny):
    backend, _ = tiny
    told = []
    backend.watch = lambda share, tokens: told.append((share, tokens))
    backend.generate(letters(*[3] * (BATCH + 4)), seed=0)
    shares, tokens = zip(*told)
    assert list(shares) == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    assert len(set(tokens)) > 3 and tokens[0] == BATCH


def test_the_parts_of_a_completion_each_take_their_share():
    backend, told = Scripted(parts("a", "b"), parts("c", "d", tokens=5)), []
    backend.watch = lambda share, tokens: told.append((share, tokens))
    sample = backend.sample
    backend.sample = lambda *asked: (backend._seen(0.5, 7), sample(*asked))[1]
    prompt = Prompt("completion", (), (0,), text="x", following=("More:",))
    backend.generate([prompt, prompt], seed=0)
    assert told == [(0.25, 7), (0.75, 9)]


def test_a_model_without_numbered_positions_reads_without_end(monkeypatch):
    config = SimpleNamespace(get_text_config=SimpleNamespace)  # as of BLOOM
    monkeypatch.setattr(transformers_engine, "config_of", lambda backbone: config)
    assert TransformersBackend(None, Sampling()).window == sys.maxsize


def test_a_prompt_fills_what_the_window_leaves_beside_the_answer():
    backend = Scripted(sampling=Sampling(max_new_tokens=30))
    one, two = (replace(letters(20)[0], following=titles) for titles in ((), ("More:",)))
    backend.window = 100
    assert backend.filled(one) == 20 / 70
    assert backend.filled(two) == 20 / 50  # two parts of 30 leave 40; half of the window is more
    backend.window = 40
    assert backend.filled(one) == 20 / 20


def test_transformers_answers_do_not_depend_on_padding(tiny, monkeypatch):
    """With nothing left to chance, a row in a batch of longer ones is what it is alone."""
    backend, _ = tiny
    greedy = TransformersBackend(backend.backbone, replace(backend.sampling, top_p=1e-9))
    greedy.model = backend.model.float()
    together = greedy.generate(letters(3, 12, 7), seed=0)
    alone = [greedy.generate([p], seed=0)[0] for p in letters(3, 12, 7)]
    assert together == alone
    greedy.close()
    backend.close()


@pytest.mark.models
def test_transformers_cuts_at_the_first_stop_and_knows_what_is_finished(short):
    tokenizer = short.tokenizer
    read = lambda text, more=(): short._read(tokenizer(text)["input_ids"] + list(more), STOPS)  # noqa: E731
    assert read("One.\n\nTwo ### Case").text == "One."
    assert read("One ### Case 2\n\n").text == "One "
    assert read("One.\n\nTwo").finished
    assert not read("One.").finished
    ended = read("One.", [tokenizer.eos_token_id])
    assert ended.finished and ended.text == "One."


def test_transformers_stops_a_row_at_a_stop_text(writer, monkeypatch):
    """A model that says one letter for ever ends at once where two of them are a stop."""
    with TransformersBackend(writer, Sampling(max_new_tokens=20)) as backend:
        (letter,) = backend.tokenizer("a")["input_ids"]
        monkeypatch.setattr(
            backend.model.lm_head,
            "forward",
            lambda x: torch.full((*x.shape[:2], len(backend.tokenizer)), -99.0).index_fill(
                2, torch.tensor(letter), 0.0
            ),
        )
        (free,) = backend.sample([[letter]], [0], (), [""])
        (stopped,) = backend.sample([[letter]], [0], ("aaa",), [""])
    assert free == Answer("a" * 20, 20, False)
    assert stopped == Answer("", 3, True)


def test_transformers_adapters_speak_for_their_own_rows_alone(tiny):
    backend, folder = tiny
    prompts = letters(4, 4, 9, 9)
    before = {n: w.clone() for n, w in backend.model.state_dict().items()}
    plain = backend.generate(prompts, seed=1)
    mixed = backend.generate(
        [replace(p, adapter=folder if n >= 2 else "") for n, p in enumerate(prompts)], seed=1
    )
    adapted = backend.generate([replace(p, adapter=folder) for p in prompts], seed=1)
    assert mixed[:2] == backend.generate(prompts[:2], seed=1)
    assert [a.text for a in adapted] != [a.text for a in plain]
    assert [a.text for a in mixed[2:]] != [a.text for a in plain[2:]]
    assert backend.generate(prompts, seed=1) == plain
    after = backend.model.state_dict()
    assert set(after) == set(before) and all(torch.equal(after[n], w) for n, w in before.items())


def test_transformers_frees_its_model_and_loads_it_again(writer):
    with TransformersBackend(writer, Sampling(max_new_tokens=4)) as backend:
        one = backend.generate(letters(5), seed=1)
    assert "model" not in vars(backend)
    assert backend.generate(letters(5), seed=1) == one


# vLLM, for real.


def vllm(test):
    """Mark a test that starts vLLM."""
    there = pytest.mark.skipif(not has_vllm(), reason="vLLM is not made for this platform")
    return pytest.mark.models(there(test))


TINY = Sampling(
    max_new_tokens=8,
    temperature=1.0,
    lora_rank=4,
    engine={"max_model_len": 256, "kv_cache_memory_bytes": 2**27},
)


@pytest.fixture(scope="module")
def lora(cut, tmp_path_factory):
    return adapter(cut.name, tmp_path_factory.mktemp("lora") / "smollm2")


@pytest.fixture(scope="module")
def engine(cut):
    with VllmBackend(cut, TINY) as backend:
        yield backend


@pytest.fixture(scope="module")
def told(engine):
    """What it says, the first thing of all, to the chat prompts and to the completions."""
    return engine.generate(CHAT, seed=3), engine.generate(COMPLETION, seed=3)


@vllm
def test_vllm_gives_the_same_texts_to_the_same_call(engine, told):
    chat, completion = told
    assert engine.generate(COMPLETION, seed=3) == completion
    assert engine.generate(CHAT, seed=3) == chat
    assert engine.generate(CHAT, seed=4) != chat
    assert len({a.text for a in chat}) == 4 and all(0 < a.tokens <= 8 for a in chat)


@vllm
def test_vllm_writes_completions_by_parts(told):
    for answer in told[1]:
        site, _, rest = answer.text.partition("\n\nPeople:\n")
        people, _, trade = rest.partition("\n\nTrade:\n")
        assert rest and not any(stop in part for part in (site, people, trade) for stop in STOPS)
        assert "\n\nTrade:\n" in rest and answer.tokens <= 24


@vllm
def test_vllm_adapters_speak_for_their_own_rows_alone(engine, lora):
    plain = engine.generate(CHAT, seed=3)
    mixed = engine.generate([replace(p, adapter=lora if n % 2 else "") for n, p in enumerate(CHAT)], seed=3)
    assert all(mixed[n].text != plain[n].text for n in (1, 3))
    assert engine.generate(CHAT, seed=3) == plain


@vllm
def test_a_prompt_longer_than_the_model_reads_is_one_line_without_its_words(engine, told):
    name = re.escape(engine.backbone.name)
    with pytest.raises(InputError, match=f"{name}: vLLM refused the prompts .* smaller max_words") as raised:
        engine.generate([replace(COMPLETION[0], text="Riverside " * 400)], seed=3)
    assert "\n" not in str(raised.value) and "Riverside" not in str(raised.value)
    assert engine.generate(CHAT, seed=3) == told[0]


@vllm
def test_no_telemetry_in_the_engines_process(engine):
    asked = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    assert {name: engine._process.submit(os.getenv, name).result() for name in asked} == asked


@vllm
def test_the_engines_threads_do_not_wait_awake_for_ever(engine):
    assert engine._process.submit(os.getenv, "GOMP_SPINCOUNT").result() == SPINS
    assert "GOMP_SPINCOUNT" not in os.environ


@pytest.mark.skipif(sys.platform != "linux", reason="OpenMP binds threads to cores on Linux")
def test_the_engines_threads_have_a_core_each_where_there_are_as_many(monkeypatch):
    """Bound they are as many as unbound; few of several processes would all be bound to the same cores."""
    for name in (*BOUND, "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    library = str(next(Path(torch.__file__).parent.glob("lib/libgomp*")))  # torch as a whole takes seconds
    seen = f"import ctypes, os; openmp = ctypes.CDLL({library!r}); "
    seen += "print(openmp.omp_get_max_threads(), len(os.sched_getaffinity(0)))"

    def threads(environment: dict[str, str]) -> tuple[int, int]:
        asked = [sys.executable, "-c", seen]
        ran = subprocess.run(asked, env=os.environ | environment, capture_output=True, text=True, check=True)
        return tuple(map(int, ran.stdout.split()))

    count, cores = threads({})
    as_many, place = threads(openmp())
    assert as_many == count and (place < cores or count == 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads(openmp()) == (1, cores)


@vllm
def test_parts_are_spared_the_prompt_that_their_call_has_read_but_not_an_earlier_one(engine, told):
    long = [replace(p, text=p.text + "It has a river. " * 28 + "\n\nSite:\n") for p in COMPLETION]
    engine._process.submit(_listen).result()
    one = engine.generate(long, seed=3)
    assert engine.generate(long, seed=3) == one
    known = engine._process.submit(_known).result()
    assert known[0] < 128 * len(long) <= min(known[1:3])  # whole blocks of 128 tokens are kept
    assert known[3:] == known[:3]


@vllm
def test_vllm_makes_the_same_chunk_again_in_another_process_and_closing_ends_it(
    engine, told, tmp_path, monkeypatch
):
    """A pool ends its engine, so what is missing of it later is made by another process.

    From here on the engine is that one.
    """
    run, cases, labels = Run(tmp_path / "run", "02_generation"), word_texts(TOY, 9), random_labels(TOY, 9)
    folds = pd.Series([n % 3 for n in range(9)], cases.index)
    pool = Pool("p", engine.backbone.name, rows=6, seed=1, max_examples=1, max_words=30)
    make = partial(generate_pool, run, TOY, pool, cases, folds, labels, chunk_size=3, backend=engine)
    assert engine.generate(CHAT, seed=3) == told[0]
    pid = engine._process.submit(os.getpid).result()
    assert psutil.Process(pid).ppid() == os.getpid()
    before = pd.concat(make())
    assert _gone(pid) and before[TOY.text_columns].notna().any(axis=None)
    next(run.path("generated/.p").glob("chunk00001-*")).unlink()
    monkeypatch.setattr(engine, "close", lambda: None)  # a start takes as long as all other tests of it
    pd.testing.assert_frame_equal(pd.concat(make()), before)
    assert engine.generate(CHAT, seed=3) == told[0]
    assert engine._process.submit(os.getpid).result() != pid


@vllm
def test_an_engine_that_does_not_start_is_one_line_that_names_the_model_and_its_process_ends(writer):
    backend = VllmBackend(writer, Sampling(engine={"max_model_len": 10**6}))
    backend.begin()
    (pid,) = vars(backend)["_started"][0]._processes
    with pytest.raises(InputError) as raised:
        backend.generate(letters(3), seed=0)
    line = str(raised.value)
    assert writer.name in line and "vLLM did not start" in line and "max_model_len" in line
    assert "\n" not in line and "refused" not in line and not {"_process", "_started"} & vars(backend).keys()
    assert _gone(pid)


def _listen():
    """In the engine's process: note how many tokens of each call's prompts were read before."""
    engine = vllm_engine._engine
    generate, engine.known = engine.generate, []

    def noting(*arguments, **options):
        outputs = generate(*arguments, **options)
        engine.known.append(sum(o.num_cached_tokens for o in outputs))
        return outputs

    engine.generate = noting


def _known():
    return vllm_engine._engine.known


PARENT = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor

def prepare():  # of the child alone, whose imports take seconds
    from narrutils.generation.vllm_engine import _prepare
    _prepare()

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    child = ProcessPoolExecutor(1, mp_context=context, initializer=prepare)
    print(child.submit(os.getpid).result(), flush=True)
    child.submit(time.sleep, 600)
    time.sleep(600)
"""


@pytest.mark.slow
def test_the_engines_process_ends_when_its_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    paths = os.environ | {"PYTHONPATH": str(PROJECT)}
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=paths)
    try:
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
    finally:
        parent.kill()
        parent.wait()
    assert _gone(pid)


@pytest.mark.slow
def test_closing_an_engine_that_is_starting_ends_it(writer, monkeypatch):
    """Which goes on while this process does something else."""
    monkeypatch.setattr(vllm_engine, "_start", endless)
    with VllmBackend(writer, Sampling()) as backend:
        backend.begin()
        (pid,) = vars(backend)["_started"][0]._processes
        assert psutil.Process(pid).ppid() == os.getpid()
    assert _gone(pid) and "_started" not in vars(backend)


@pytest.mark.slow
def test_a_process_that_dies_says_what_to_do(writer):
    backend = VllmBackend(writer, Sampling())
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as child:
        vars(backend)["_process"] = child
        child.submit(os._exit, 1)
        with pytest.raises(RuntimeError, match="vLLM's process died; .* too little memory"):
            backend.sample([[1]], [0], (), [""])
    assert "_process" not in vars(backend)


def test_a_lora_rank_gets_the_room_that_vllm_has_for_it():
    assert [_allowed_rank(r) for r in (1, 8, 9, 64, 200, 512)] == [8, 8, 16, 64, 256, 512]
    with pytest.raises(InputError, match="LoRA rank 513: vLLM takes at most 512"):
        _allowed_rank(513)


def _gone(pid, seconds=10):
    for _ in range(seconds * 10):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False
