"""The prize-winning recipe end to end: `params/full.yaml` with other weights, fewer and shorter rows.

What a user's GPUs would run is run here as it stands in the file: every pool, round, nested
teacher and final model, with its architecture, rank, phases, schedule and ensemble weight.
Changed are the weights (tiny and random, `architectures`), the data (the made corpus, 40
cases, 3 folds for 5), the rows a pool asks for, the words of a prompt and the tokens that a model
reads. Added are generators of the Llama and Gemma 2 families, and Qwen 2, Mistral and Llama as
classifiers. The precision is that of `auto` on such GPUs, bfloat16, in which every family writes,
learns and is read; but not in the rounds and those of the finals that only differ from another in
their numbers, as most processors compute it many times as slowly as float32.
"""

from pathlib import Path

import architectures
import in_process
import numpy as np
import pandas as pd
import pytest
import yaml

from narrutils.data.cases import embedded_data
from narrutils.data.files import read_json, read_tensors
from narrutils.data.intake.schema_file import load_schema
from narrutils.data.settings import settings
from narrutils.paths import PROJECT
from narrutils.pipeline.profiles import load_profile
from narrutils.training.recipe import Recipe

pytestmark = pytest.mark.notebooks

FULL = yaml.safe_load((PROJECT / "params/full.yaml").read_text())
ROUNDS = ["gemma", *(f"gemma_round{n}" for n in range(1, FULL["05_gemma_lora"]["rounds"] + 1))]
FINALS = {final["name"]: final for final in FULL["05_gemma_lora"]["finals"]}
#: Family -> the hub ids that it stands for.
FAMILIES = {
    "gemma2": ["google/gemma-2-2b-it", "google/gemma-2-9b-it"],
    "qwen2": ["Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-14B-Instruct"],
    "mistral": ["mistralai/Mistral-Nemo-Instruct-2407"],
    "llama": [],
    "deberta": ["microsoft/deberta-v3-large"],
}
CASES, FOLDS, ROWS, TOKENS, WORDS = 40, 3, 6, 16, 150
ADDED = [f"{family}_lora" for family in ("qwen2", "mistral", "llama")]
#: Models of 05 over a base in bfloat16, one of each family.
NARROW = ["gemma_9b_r32", *ADDED]
SOFT_ROWS = {"unlabelled": 12, "labelled": 4}


def save_models(folder: Path) -> dict[str, str]:
    """Hub id or family -> folder of a tiny model; generators tell made cases of another draw."""
    table = pd.read_csv(embedded_data(CASES, seed=7) / "train_features.csv").dropna()
    says = list(table[["NarrativeLE", "NarrativeCME"]].itertuples(index=False, name=None))
    texts = [part for pair in says for part in pair]
    folders = {}
    for number, (family, ids) in enumerate(FAMILIES.items()):
        for name in [family, *ids]:
            path = folder / name.replace("/", "_")
            if family == "deberta":
                folders[name] = architectures.save_deberta(path, texts, seed=number)
            else:
                # Each family tells other cases, or one's rows would be near-duplicates of another's.
                folders[name] = architectures.save(path, family, texts, says[number * 10 :][:10], seed=number)
    return folders


def shrunk(models: dict[str, str]) -> dict:
    """The full profile on these models, with few and short rows, and what is added to it."""
    profile = _on(yaml.safe_load((PROJECT / "params/full.yaml").read_text()), models)
    profile["shared"] |= {"data_dir": "", "demo_cases": CASES, "folds": FOLDS, "precision": "bfloat16"}
    generation, gemma = profile["02_generation"], profile["05_gemma_lora"]
    for section in (profile["shared"], gemma, *profile["01_eda"]["budgets"]):
        section["max_tokens"] = TOKENS
    gemma["soft_rows"] = SOFT_ROWS
    gemma["precision"] = "float32"
    generation |= {"backend": "transformers", "chunk_size": 4, "max_words": WORDS}
    for pool in generation["pools"]:
        pool["rows"] = ROWS * (2 if pool.get("labelled") else 1)  # some are refused for their labels
    for family in ("llama", "gemma2"):
        generation["pools"].append(
            {"pool": family, "backbone": models[family], "rows": ROWS, "seed": 5, "max_words": WORDS}
        )
        gemma["round_pools"][-1].append(family)
    for final in gemma["finals"]:
        final["max_tokens"] = TOKENS
    more = {"lora_rank": 4, "lora_alpha": 8, "max_tokens": TOKENS, "seed": 1}
    gemma["finals"] += [
        {"name": name, "backbone": models[name.removesuffix("_lora")]} | more for name in ADDED
    ]
    for final in gemma["finals"]:
        final["precision"] = "bfloat16" if final["name"] in NARROW else "float32"
    return profile


def _on(value, models: dict[str, str]):
    """The same settings, each hub id replaced by its folder."""
    if isinstance(value, dict):
        return {key: _on(item, models) for key, item in value.items()}
    if isinstance(value, list):
        return [_on(item, models) for item in value]
    return models.get(value, value) if isinstance(value, str) else value


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def full(models, tmp_path_factory):
    """Run folder of the shrunken full profile."""
    folder = tmp_path_factory.mktemp("full")
    (folder / "full.yaml").write_text(yaml.safe_dump(shrunk(models)))
    done = in_process.called("run", str(folder / "full.yaml"), "--outputs", str(folder))
    assert done.returncode == 0, done.stdout
    return folder / "full"


def training(folder: Path, model: str, part: str = "fold0") -> dict:
    return read_json(folder / f"models/{model}/{part}/training.json")


def test_every_stage_ran_and_every_model_is_there(full):
    stages = read_json(full / "run.json")["stages"]
    assert {s["status"] for s in stages.values()} == {"done"} and len(stages) == 6
    named = ["corrector", "deberta", *ROUNDS, *FINALS, *ADDED]
    for name in named:
        assert [k for k in range(FOLDS) if not (full / f"models/{name}/fold{k}/key.json").exists()] == []
    members = [m for m in named if m != "corrector"]
    assert set(members) < {e["model"] for e in read_json(full / "ladder.json")}
    submission = pd.read_csv(full / "submission.csv")
    assert submission.notna().all(axis=None) and len(submission) == CASES // 5


def test_every_family_writes_and_its_rows_are_learned_from(full, models):
    rows = pd.concat(pd.read_parquet(p) for p in (full / "generated").glob("*.parquet"))
    assert rows["finished"].all() and len(rows) == ROWS * (2 * 2 + 4 + 2)
    wrote = rows[rows["kept"]].groupby("model").size()
    for family in ("qwen2", "mistral", "llama", "gemma2"):
        assert sum(wrote.get(models[name], 0) for name in [family, *FAMILIES[family]]) > 0, rows["reason"]
    folds = pd.read_parquet(full / "folds.parquet").set_index("uid")["fold"]
    kept = rows[rows["kept"]].set_index("uid")
    labelled = kept["DepressedMood"].notna()
    for number, name in enumerate(ROUNDS):
        of_round = kept[kept["pool"].isin(shrunk(models)["05_gemma_lora"]["round_pools"][number])]
        for k in range(FOLDS):
            clean = of_round.index[[k not in seen for seen in of_round["seen_folds"]]]
            asked = labelled[clean].sum()
            drawn = min(asked, SOFT_ROWS["labelled"]) + min(len(clean) - asked, SOFT_ROWS["unlabelled"])
            phases = training(full, name, f"fold{k}")["phases"]
            assert phases[0]["rows"] == drawn + (folds != k).sum()
            assert phases[1]["rows"] == (folds != k).sum()
    assert training(full, ROUNDS[-1])["phases"][0]["rows"] > training(full, "gemma")["phases"][0]["rows"]


def test_the_phases_are_those_of_the_recipe(full):
    recipe = FULL["05_gemma_lora"]
    for name in [*ROUNDS, *FINALS]:
        described = training(full, name)
        wanted = [(recipe["soft_epochs"], True), (recipe["epochs"], False)]
        assert [(p["epochs"], p["soft"]) for p in described["phases"]] == wanted
        assert [entry["phase"] for entry in described["history"]] == [0, 1, 1, 1, 1]
        assert all(np.isfinite(entry["loss"]) for entry in described["history"])


def test_the_models_are_those_of_the_file(full):
    """Ranks, scales, seeds, batch sizes, architecture: read back from what was trained."""
    for name, final in FINALS.items():
        config = training(full, name)["config"]
        assert {name: config["lora"][name] for name in ("lora_rank", "lora_alpha")}.items() <= final.items()
        assert config["recipe"]["seed"] == final["seed"]
        assert config["recipe"]["batch_size"] == final.get("batch_size", 8)
        assert config["recipe"]["checkpointing"] and config["recipe"]["warmup"] == 0.2
        assert (config["recipe"]["cosine_cycles"], config["recipe"]["smoothing"]) == (0.4, 0.1)
        adapter = read_json(full / f"models/{name}/fold0/body/adapter_config.json")
        assert adapter["r"] == final["lora_rank"] and len(adapter["target_modules"]) == 7
    bases = {read_json(path)["model_type"] for path in full.glob("models/base/*/config.json")}
    assert bases >= {"gemma2", "qwen2", "mistral", "llama"}
    body = read_json(full / "models/deberta/fold0/body/config.json")
    assert body["model_type"] == "deberta-v2" and body["pos_att_type"] == ["p2c", "c2p"]
    for name in ("corrector", "deberta"):
        described = training(full, name)
        assert described["config"]["recipe"]["batch_size"] == 4
        asked, alone = described["phases"]
        assert asked["rows"] > alone["rows"] and not asked["soft"]  # labelled rows, in the first two epochs
        assert (asked["epochs"], alone["epochs"]) == (2, 3)


def test_learning_weights_are_float32_over_a_bfloat16_base(full):
    for name in [*FINALS, *ADDED]:
        tensors = read_tensors(full / f"models/{name}/fold0/body/adapter_model.safetensors")
        assert {t.dtype for t in tensors.values()} == {np.dtype("float32")}
        assert any("lora_B" in key and np.abs(t).max() > 0 for key, t in tensors.items())
    for name in (*NARROW, "corrector", "deberta"):
        config = training(full, name)["config"]
        assert config["body"]["precision"] == config["recipe"]["precision"] == "bfloat16"


def test_each_round_labels_earlier_pools_and_official_rows_anew(full):
    schema = load_schema("params/schemas/nvdrs.yaml")
    read = lambda name: pd.read_parquet(full / f"labels/soft/{name}.parquet")  # noqa: E731
    before = read("deberta").set_index(["uid", "held_out_fold"])
    kept = [judged["model"] for judged in read_json(full / "rounds.json") if judged["kept"]]
    assert kept[0] == "gemma"  # a later one teaches only if it gained, which random weights may not
    for name in kept:
        after = read(name).set_index(["uid", "held_out_fold"])
        assert before.index.isin(after.index).all()
        moved = (after.loc[before.index, schema.columns] - before[schema.columns]).abs().max(axis=1)
        assert (moved > 0).all()
        before = after
        assert (full / f"models/{name}/pair0_1/training.json").exists()


def test_the_ensemble_has_the_weights_of_the_file(full):
    made = read_json(full / "ensemble.json")
    wanted = FULL["06_ensemble"]["weights"]
    assert made["weights"] == pytest.approx({m: w / sum(wanted.values()) for m, w in wanted.items()})
    assert made["thresholds_from"] == "members"


def test_the_file_says_what_the_author_did(nvdrs):
    """The numbers of the published recipe, held against the profile as the notebooks get it."""
    given = load_profile("params/full.yaml").parameters
    told = ("lora_rank", "lora_alpha", "max_tokens", "seed")
    finals = {name: tuple(final[key] for key in told) for name, final in FINALS.items()}
    assert list(finals.values()) == [
        (128, 256, 2560, 58), (64, 128, 1280, 2048), (32, 64, 1280, 43), (48, 128, 2048, 214),
    ]  # fmt: skip
    assert list(given["06_ensemble"]["weights"].values()) == [0.29, 1.11, 0.29, 1.13]
    assert set(given["06_ensemble"]["weights"]) == set(finals)
    gemma = given["05_gemma_lora"]
    recipe = settings(Recipe, gemma | {"precision": "bfloat16"}, gemma["options"])
    told = (recipe.learning_rate, recipe.weight_decay, recipe.warmup, recipe.cosine_cycles, recipe.smoothing)
    assert told == (1e-4, 0.01, 0.2, 0.4, 0.1)
    assert gemma["rounds"] == 4 and given["01_eda"]["folds"] == 5
    pools = {p["pool"]: (p["rows"], p["seed"]) for p in given["02_generation"]["pools"]}
    assert list(pools.values()) == [
        (4000, 1222), (4000, 1255), (2000, 11041), (4000, 10271), (4000, 10291), (8000, 44564),
    ]  # fmt: skip
    encoder = given["04_deberta"]
    assert [encoder[k] for k in ("max_tokens", "batch_size", "learning_rate")] == [2048, 4, 5e-5]
    for part in (encoder, given["03_relabeling"]):
        assert (part["requested_epochs"], part["epochs"], part["batch_size"]) == (2, 3, 4)
    assert given["03_relabeling"]["method"] == "author" and encoder["soft_epochs"] == 0
