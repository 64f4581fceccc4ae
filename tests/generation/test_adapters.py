"""In-domain generators: one adapter a fold, which learned from this fold alone."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from toys import TOY, random_labels, save_tiny_writer, uids, word_texts

from narrutils.data.files import read_json
from narrutils.data.run import Run
from narrutils.generation import adapters
from narrutils.generation.adapters import IGNORED, Documents, adapt, documents
from narrutils.generation.generate import generate_pool
from narrutils.generation.pools import Adapting, Pool
from narrutils.generation.prompts import SEPARATOR, Examples
from narrutils.models.backbones import load_causal, load_tokenizer, resolve
from narrutils.workers import ALONE, Workers

pytestmark = pytest.mark.slow

CASES = word_texts(TOY, 12, seed=4)
FOLDS = pd.Series(range(12), index=uids(12)) % 3
LABELS = random_labels(TOY, 12)
QUICK = Adapting(lora_rank=2, lora_alpha=8, epochs=2, learning_rate=3e-2, batch_size=2, max_tokens=200)
FOLD = 1


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    return resolve(save_tiny_writer(tmp_path_factory.mktemp("writer") / "tiny"))


def weights(folder):
    return load_file(folder / "adapter_model.safetensors")


def same(one, other):
    one, other = weights(one), weights(other)
    return all(np.array_equal(one[name], other[name]) for name in one | other)


@pytest.fixture(scope="module")
def teach(writer, tmp_path_factory):
    """Adapters of all folds in a run folder of their own, taught by these cases and labels."""

    def taught(cases=CASES, labels=LABELS, labelled=True, adapting=QUICK, seed=7):
        run = Run(tmp_path_factory.mktemp("run"), "02_generation")
        return adapt(
            run, "g", writer, Examples(cases, FOLDS, TOY, labels), labelled, adapting, "bfloat16", seed
        )

    return taught


@pytest.fixture(scope="module")
def plain(teach):
    return teach()


def changed(of_fold):
    """Cases and labels that are others where `of_fold` is true."""
    cases, labels = word_texts(TOY, 12, seed=8, words=9), random_labels(TOY, 12, seed=8)
    return CASES.mask(of_fold, cases), LABELS.mask(of_fold, labels)


def test_an_adapter_is_the_same_whatever_the_other_folds_hold(plain, teach):
    cases, labels = changed(FOLDS != FOLD)
    other = teach(cases, labels)
    assert same(plain[FOLD], other[FOLD])
    assert not any(same(plain[fold], other[fold]) for fold in (0, 2))


def test_an_adapter_learns_from_its_own_folds_texts_and_labels(plain, teach):
    cases, labels = changed(FOLDS == FOLD)
    for other in (teach(cases=cases), teach(labels=labels), teach(labelled=False)):
        assert not same(plain[FOLD], other[FOLD])


def test_without_labels_an_adapter_knows_none(teach):
    _, labels = changed(FOLDS == FOLD)
    assert same(teach(labelled=False)[FOLD], teach(labels=labels, labelled=False)[FOLD])


def test_it_says_what_it_learned_from(plain, writer):
    for fold, folder in plain.items():
        told = read_json(folder / "training.json")
        assert folder.name == f"on_fold{fold}"
        assert told["seen_folds"] == [fold] and told["cases"] == 4
        assert len(told["loss"]) == QUICK.epochs
    assert read_json(plain[0] / "adapter_config.json")["r"] == 2
    assert not list(plain[0].glob("*.bin"))


def test_the_loss_falls_and_the_lora_weights_are_kept_in_32_bits(teach):
    folder = teach(adapting=Adapting(**vars(QUICK) | {"epochs": 8}))[0]
    losses = read_json(folder / "training.json")["loss"]
    assert losses[-1] < 0.9 * losses[0]
    assert {w.dtype for w in weights(folder).values()} == {np.dtype(np.float32)}


def test_what_is_there_is_not_trained_again(writer, tmp_path, monkeypatch):
    run, examples = Run(tmp_path / "run", "02_generation"), Examples(CASES, FOLDS, TOY, LABELS)
    trained, train = [], adapters._train

    def dying(folder, *rest):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(folder.name)
        return train(folder, *rest)

    monkeypatch.setattr(adapters, "_train", dying)
    with pytest.raises(KeyboardInterrupt):
        adapt(run, "g", writer, examples, True, QUICK, "float32", 7)
    assert sorted(f.name for f in run.path("models/g").iterdir()) == ["on_fold0", "on_fold1"]
    trained.clear()
    folders = adapt(run, "g", writer, examples, True, QUICK, "float32", 7)
    assert len(trained) == 1 and "on_fold2" in trained[0] and list(folders) == [0, 1, 2]
    trained.clear()
    assert adapt(run, "g", writer, examples, True, QUICK, "float32", 7) == folders and not trained
    cases, labels = changed(FOLDS == FOLD)
    adapt(run, "g", writer, Examples(cases, FOLDS, TOY, labels), True, QUICK, "float32", 7)
    assert len(trained) == 1 and "on_fold1" in trained[0]
    assert run.written_by("02_generation") == [f"models/g/on_fold{n}/key.json" for n in range(3)]


@pytest.mark.parametrize("change", [{"seed": 8}, {"adapting": Adapting(**vars(QUICK) | {"lora_rank": 3})}])
def test_another_seed_or_setting_is_another_adapter(plain, teach, change):
    other = teach(**change)[0]
    assert read_json(other / "key.json") != read_json(plain[0] / "key.json") and not same(plain[0], other)


def test_the_same_again_gives_the_same_adapter(plain, teach):
    again = teach()
    assert all(same(plain[fold], again[fold]) for fold in plain)


def test_the_documents_of_a_fold_are_its_complete_cases():
    cases = CASES.copy()
    cases.loc["u001", "Second"] = ""
    pairs = documents(Examples(cases, FOLDS, TOY, LABELS), FOLD, True, seed=0)
    assert len(pairs) == 3
    for uid, (prompt, answer) in zip(("u004", "u007", "u010"), pairs, strict=True):
        assert answer == f"{CASES.First[uid]}\n\nSecond:\n{CASES.Second[uid]}\n\n{SEPARATOR}"
        told = {v.sentence(c) for v in TOY.variables for c in v.codes if v.sentence(c) in prompt}
        true = {TOY[n].sentence(c) for n, c in LABELS.loc[uid].items() if c or not TOY[n].is_binary}
        assert told == true
    assert "What is known" not in documents(Examples(cases, FOLDS, TOY), FOLD, False, seed=0)[0][0]
    some = LABELS.astype("Int64")
    some.loc["u004"] = pd.NA
    assert len(documents(Examples(cases, FOLDS, TOY, some), FOLD, True, seed=0)) == 2
    assert len(documents(Examples(cases, FOLDS, TOY, some), FOLD, False, seed=0)) == 3


def test_only_the_answer_is_a_target(writer):
    tokenizer = load_tokenizer(writer)
    pairs = [("asked\n", "told"), ("asked", "told at greater length")]
    short, cut = Documents(pairs, tokenizer, max_tokens=12)
    assert tokenizer.decode(short["input_ids"]) == "asked\ntold"
    assert short["labels"] == [IGNORED] * 6 + short["input_ids"][6:]
    assert tokenizer.decode(cut["input_ids"]) == "askedtold at"
    assert cut["labels"] == [IGNORED] * 5 + cut["input_ids"][5:]
    assert len(cut["attention_mask"]) == 12


def test_the_loss_is_that_of_the_answers_tokens_alone(writer, tmp_path):
    """A first pass that moves nothing has the untaught model's mean loss over all answers."""
    pairs = documents(Examples(CASES, FOLDS, TOY, LABELS), 0, True, seed=0)
    still = Adapting(**vars(QUICK) | {"learning_rate": 1e-12, "epochs": 1, "batch_size": 4})
    (loss,) = adapters._train(tmp_path, writer, pairs, still, "bfloat16", seed=0)
    tokenizer, model = load_tokenizer(writer), load_causal(writer, torch.bfloat16).eval()
    losses = []
    for prompt, answer in pairs:
        ids = torch.tensor(tokenizer(prompt)["input_ids"] + tokenizer(answer)["input_ids"])[None, :200]
        with torch.inference_mode():
            logits = model(input_ids=ids).logits[0, :-1].float()
        each = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")
        losses += each[len(tokenizer(prompt)["input_ids"]) - 1 :].tolist()
    assert loss == pytest.approx(np.mean(losses), rel=0.01)


def pool_of(writer, folder, cases=CASES, labels=LABELS, size=6, workers=ALONE):
    pool = Pool(
        "p", writer.name, rows=6, seed=2, labelled=True, adapt=QUICK, max_examples=0, max_new_tokens=12
    )
    run, how = Run(folder, "02"), {"engine": "transformers", "workers": workers}
    tables = generate_pool(run, TOY, pool, cases, FOLDS, labels, size, **how)
    return pd.concat(tables, ignore_index=True)


def test_workers_with_a_model_each_write_what_one_process_writes(writer, tmp_path):
    alone = pool_of(writer, tmp_path, size=2)
    for chunk in (tmp_path / "generated/.p").iterdir():
        chunk.unlink()
    assert pool_of(writer, tmp_path, size=2, workers=Workers(2, threads=1)).equals(alone)


def test_a_row_of_an_adapter_has_seen_its_fold_and_no_other(writer, tmp_path):
    table = pool_of(writer, tmp_path / "one")
    assert [list(seen) for seen in table["seen_folds"]] == [[n % 3] for n in range(6)]
    assert table["example_uids"].map(len).tolist() == [0] * 6
    assert set(table["backend"]) == {"transformers"}
    cases, labels = changed(FOLDS != FOLD)
    other = pool_of(writer, tmp_path / "other", cases, labels)
    own = table["seen_folds"].map(lambda seen: FOLD in seen)
    unplaced = ["seen_folds", "example_uids"]
    pd.testing.assert_frame_equal(table[own].drop(columns=unplaced), other[own].drop(columns=unplaced))
    texts = TOY.text_columns
    assert not table.loc[~own, texts].equals(other.loc[~own, texts])
    cases, labels = changed(FOLDS == FOLD)
    third = pool_of(writer, tmp_path / "third", cases, labels)
    assert not table.loc[own, texts].equals(third.loc[own, texts])
    assert table.loc[~own, texts].equals(third.loc[~own, texts])
