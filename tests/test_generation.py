"""Generation: shares of the folds, resumable chunks, and sampling with transformers."""

import stat

import pandas as pd
import pytest
import torch

from narrutils.artifacts import Run
from narrutils.backbones import keep_layers, resolve
from narrutils.backends import Answer, Sampler, TransformersBackend, render
from narrutils.generation import UNSCREENED, chunk_seed, generate_pool
from narrutils.prompts import few_shot
from narrutils.schema import load_schema

SCHEMA = load_schema("params/schemas/nvdrs.yaml")
CASES = pd.DataFrame(
    {
        column: [f"V{n} was found. A friend told the {column}." for n in range(24)]
        for column in SCHEMA.text_columns
    },
    index=pd.Index([f"c{n:02d}" for n in range(24)], name="uid"),
)
FOLDS = pd.Series(range(24), index=CASES.index) % 4


class Fake:
    """Answers with the chunk's seed and the row's place; dies after `lives` chunks."""

    name, form, settings = "fake", "chat", {"size": 1}

    def __init__(self, lives=99):
        self.lives, self.seeds = lives, []

    def generate(self, prompts, seed):
        if len(self.seeds) == self.lives:
            raise KeyboardInterrupt
        self.seeds.append(seed)
        return [f"Part {n} of {seed}.\n\nOther part." for n in range(len(prompts))]

    def count_tokens(self, texts):
        return 10 * len(texts)


def make(run, backend, rows=12, seed=1, **options):
    return generate_pool(
        run, SCHEMA, "p", "smollm2-135m", CASES, FOLDS, rows, seed, 5, backend=backend, **options
    )


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "run", "02_generation")


def test_the_pool_keeps_the_contract(run):
    table = make(run, Fake())
    assert run.pools(SCHEMA, kept=False).equals(table.set_index("uid"))
    assert table.columns.tolist() == [
        *("uid", "NarrativeLE", "NarrativeCME", "pool", "model", "backend", "seed", "chunk"),
        *("seen_folds", "example_uids", "kept", "reason"),
    ]
    assert table["uid"].tolist() == [f"p-{n:06d}" for n in range(12)]
    assert table["chunk"].tolist() == [0] * 5 + [1] * 5 + [2] * 2
    assert not table["kept"].any() and set(table["reason"]) == {UNSCREENED}


def test_every_fold_has_an_equal_share_and_its_own_examples(run):
    table = make(run, Fake())
    assert [list(f) for f in table["seen_folds"]] == [[n % 4] for n in range(12)]
    for seen, uids in zip(table["seen_folds"], table["example_uids"], strict=True):
        assert set(FOLDS[list(uids)]) == set(seen)


def test_a_killed_run_resumes_at_the_next_chunk_with_the_same_rows(run, tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        make(run, Fake(lives=2))
    assert not run.has("generated/p.parquet")
    rest = Fake()
    table = make(run, rest)
    assert rest.seeds == [chunk_seed(1, 2)]
    assert table.equals(make(Run(tmp_path / "other", "02_generation"), Fake()))
    assert "12/12 rows" in capsys.readouterr().out


def test_another_seed_data_or_option_remakes_the_chunks(run):
    make(run, Fake())
    for change in ({"seed": 2}, {"max_words": 60}, {"max_examples": 2}):
        again = Fake()
        make(run, again, **change)
        assert len(again.seeds) == 3
    assert len(list(run.path("generated/.p").iterdir())) == 3


def test_more_rows_reuse_the_full_chunks(run):
    make(run, Fake(), rows=10)
    more = Fake()
    make(run, more, rows=15)
    assert more.seeds == [chunk_seed(1, 2)]


def test_narratives_are_readable_by_their_owner_alone(run):
    make(run, Fake())
    files = [run.path("generated/p.parquet"), *run.path("generated/.p").iterdir()]
    assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}
    assert run.written_by("02_generation") == ["generated/p.parquet"]


def test_the_nucleus_is_top_k_then_top_p():
    logits = torch.tensor([[0.05, 0.5, 0.15, 0.3]]).log()
    mass, tokens = Sampler(1.0, top_k=3, top_p=0.8).nucleus(logits)
    assert tokens.tolist() == [[1, 3, 2]] and (mass > 0).tolist() == [[True, True, False]]
    assert mass[0, 0] / mass[0, 1] == pytest.approx(0.5 / 0.3)
    assert (Sampler(1.0, top_k=3, top_p=0.99).nucleus(logits)[0] > 0).sum() == 3
    assert (Sampler(1.0, top_k=0, top_p=1.0).nucleus(logits)[0] > 0).sum() == 4


def test_a_repetition_penalty_is_heard():
    logits, said = torch.tensor([[1.0, 0.99]]), torch.tensor([[0]])
    assert Sampler(1.0, 1, 1.0, repetition_penalty=2.0).draw(logits, said).tolist() == [1]


def test_the_loop_gives_what_generate_gives_when_nothing_is_left_to_chance():
    backend = TransformersBackend(resolve("smollm2-135m"), dtype=torch.float32, max_new_tokens=12, top_p=1e-9)
    keep_layers(backend.model, 2)
    asked = [few_shot(CASES, FOLDS, n, SCHEMA, 0, n, "chat", max_examples=3 * n + 1) for n in range(2)]
    inputs = backend.tokenizer(
        [render(p, backend.tokenizer) for p in asked],
        return_tensors="pt",
        padding=True,
        add_special_tokens=False,
    )
    pad = backend.tokenizer.pad_token_id
    greedy = {
        "do_sample": False,
        "temperature": None,
        "top_p": None,
        "max_new_tokens": 12,
        "pad_token_id": pad,
    }
    expected = backend.model.generate(**inputs, **greedy)[:, inputs["input_ids"].shape[1] :]
    assert backend.generate(asked, seed=0) == backend.tokenizer.batch_decode(
        expected, skip_special_tokens=True
    )


def test_an_answer_gets_its_next_heading_and_ends_with_its_last_part():
    class Letters:
        def decode(self, tokens):
            return "".join(map(chr, tokens))

        def __call__(self, text, add_special_tokens):
            return {"input_ids": [ord(c) for c in text]}

    prompt = few_shot(CASES, FOLDS, 0, SCHEMA, 0, 0, "completion")
    answer = Answer(prompt, Letters(), ends={0})
    heading = f"{prompt.following[0]}\n"
    for letter in "\nOne.\n\n" + "?" * len(heading) + "Two.\n\n":
        assert not answer.ended
        answer.write(ord(letter))
    assert Letters().decode(answer.tokens) == f"\nOne.\n\n{heading}Two.\n\n" and answer.ended


def test_a_template_without_a_system_role_says_it_as_the_user():
    from jinja2 import TemplateError

    class NoSystem:
        def apply_chat_template(self, messages, **_):
            if messages[0]["role"] == "system":
                raise TemplateError("System role not supported")
            return messages[0]["content"]

    prompt = few_shot(CASES, FOLDS, 0, SCHEMA, 0, 0, "chat")
    assert render(prompt, NoSystem()) == "\n\n".join(m["content"] for m in prompt.messages)


def test_a_real_model_answers_and_the_same_for_the_same_seed():
    backend = TransformersBackend(resolve("smollm2-135m"), max_new_tokens=6, batch_size=2)
    assert backend.form == "chat"
    asked = [few_shot(CASES, FOLDS, n, SCHEMA, 0, n, "chat", max_examples=1) for n in range(2)]
    assert all(backend.generate(asked, seed=3))
    keep_layers(backend.model, 3)
    assert backend.generate(asked, seed=3) == backend.generate(asked, seed=3)
    assert render(asked[0], backend.tokenizer).startswith("<|im_start|>system\nYou draft invented")
    plain = [few_shot(CASES, FOLDS, n, SCHEMA, 0, n, "completion", max_examples=1) for n in range(2)]
    assert len(backend.generate(plain, seed=3)) == 2
