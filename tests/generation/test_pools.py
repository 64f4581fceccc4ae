"""Pools as a profile names them: read whole, or refused with the mend."""

import pytest
from toys import TOY

from narrutils.data.intake.schema_file import load_schema
from narrutils.errors import InputError
from narrutils.generation.pools import Adapting, Pool, read_pools
from narrutils.paths import PROJECT
from narrutils.pipeline.profiles import load_profile

ENTRY = {"pool": "one", "backbone": "smollm2-135m", "rows": 8, "seed": 3}


def read(entry=None, **more):
    return read_pools([ENTRY | (entry or {})], TOY, **more)[0]


def test_an_entry_takes_the_defaults_of_what_it_leaves_out():
    pool = read({"max_words": 50}, max_words=900, max_new_tokens=77, temperature=0.9)
    assert pool == Pool("one", "smollm2-135m", 8, 3, max_words=50, max_new_tokens=77, temperature=0.9)
    assert (pool.floor, pool.max_examples, pool.labelled, pool.adapt) == (0.2, 7, False, None)


def test_pools_keep_their_order_and_do_not_share_settings():
    pools = read_pools([ENTRY, ENTRY | {"pool": "two", "floors": {"Sad": 0.4}}], TOY)
    assert [p.pool for p in pools] == ["one", "two"]
    assert [p.floors for p in pools] == [{}, {"Sad": 0.4}]
    assert read_pools([], TOY) == []


def test_a_whole_number_is_a_number_and_null_leaves_the_models_own():
    pool = read({"temperature": 1, "top_p": None})
    assert (pool.temperature, pool.top_p) == (1.0, None)


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"max_wrods": 5}, "pools: one: unknown name max_wrods; did you mean max_words"),
        ({"zzz": 5}, "pools: one: unknown name zzz; it may be pool, backbone, rows, .*, engine$"),
        ({"rows": 0}, "pools: one: rows is 0"),
        ({"rows": "8"}, "rows is '8'"),
        ({"rows": True}, "rows is true"),
        ({"seed": -1}, "seed is -1"),
        ({"max_examples": 1.5}, "max_examples is 1.5"),
        ({"max_new_tokens": None}, "max_new_tokens is null"),
        ({"backbone": 5}, "backbone is 5"),
        ({"labelled": "yes"}, "labelled is 'yes'"),
        ({"temperature": "hot"}, "temperature is 'hot'"),
        ({"floor": "high"}, "floor is 'high'"),
        ({"floor": "2.0e-1"}, "floor is '2.0e-1'"),
        ({"floors": ["Sad"]}, "floors is "),
        ({"floors": {"Sad": "high"}}, r"floors\[Sad\] is 'high'"),
        ({"engine": "fast"}, "engine is 'fast'"),
        ({"floors": {"Place": 0.4}}, "floors names Place, which is no binary variable"),
        ({"floor": 2}, "floor is 2"),
        ({"form": "poem"}, "pools: one: form is 'poem'"),
        ({"form": "chat", "adapt": {}}, "an adapted generator writes completions; leave form out"),
        ({"pool": "a/b"}, "a pool's name takes letters, digits, _ and -"),
        ({"pool": ".hidden"}, "a pool's name takes"),
        ({"pool": ""}, "a pool's name takes"),
        ({"max_examples": 0}, "max_examples 0 needs a generator that was adapted; give adapt"),
        ({"adapt": {"lora_rnk": 4}}, "pools: one: unknown name lora_rnk; did you mean lora_rank"),
        ({"adapt": {"lora_rank": "four"}}, "pools: one: lora_rank is 'four'"),
        ({"adapt": {"epochs": 1.5}}, "epochs is 1.5"),
        ({"adapt": {"lora_rank": 0}}, "lora_rank is 0"),
        ({"adapt": {"warmup": -0.1}}, "warmup is -0.1"),
        ({"adapt": True}, "adapt is true"),
    ],
)
def test_a_mistake_gets_one_line_that_names_the_pool_or_the_value(entry, line):
    with pytest.raises(InputError, match=line) as raised:
        read(entry)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("missing", sorted(ENTRY))
def test_what_must_be_given_is_named(missing):
    with pytest.raises(InputError, match=f"{missing} must be given"):
        read_pools([{k: v for k, v in ENTRY.items() if k != missing}], TOY)


def test_no_name_stands_twice():
    with pytest.raises(InputError, match="one stands twice"):
        read_pools([ENTRY, ENTRY | {"seed": 4}], TOY)


def test_a_later_cycle_has_names_and_seeds_of_its_own():
    cycles = [read(cycle=n) for n in range(3)]
    assert [p.pool for p in cycles] == ["one", "one_c1", "one_c2"]
    assert cycles[0].seed == 3 and len({p.seed for p in cycles}) == 3
    assert cycles[1] == read(cycle=1)
    assert all(type(p.seed) is int and p.rows == 8 for p in cycles)


def test_settings_of_adapters():
    assert read({"adapt": {}}).adapt == Adapting()
    adapted = read({"adapt": {"lora_rank": 4, "learning_rate": 1e-3}, "max_examples": 0})
    assert adapted.adapt == Adapting(lora_rank=4, learning_rate=1e-3) and adapted.max_examples == 0


@pytest.mark.parametrize("path", sorted((PROJECT / "params").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_pools_of_every_shipped_profile_can_be_read(path):
    parameters = load_profile(path, [("previous_run", "demo")] if path.stem == "fast" else []).parameters
    values, schema = parameters["02_generation"], load_schema(parameters["01_eda"]["schema"])
    limits = {name: values[name] for name in ("max_examples", "max_words", "max_new_tokens")}
    pools = read_pools(values["pools"], schema, **limits)
    if path.stem == "full":
        assert [(p.labelled, p.rows, p.seed) for p in pools] == [
            (True, 4000, 1222), (True, 4000, 1255), (False, 2000, 11041), (False, 4000, 10271),
            (False, 4000, 10291), (False, 8000, 44564),
        ]  # fmt: skip
