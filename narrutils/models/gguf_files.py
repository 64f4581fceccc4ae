"""GGUF files turned into what transformers loads in a second: safetensors, a config, a tokenizer.

transformers' own reader looks at the vocabulary, a list of a quarter of a million words and two more
as long, entry by entry through slices of a memory map, each time that it opens a file. So it is given
a copy without those lists, through its public `gguf_file=`: names, shapes and numbers stay its business.
The tokenizer is built by its quicker reader of such lists.
"""

import mmap
import shutil
import struct
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    GgufConfig,
    PreTrainedTokenizerFast,
)
from transformers.integrations.gguf import convert_gguf_tokenizer, get_gguf_tokenizer

from narrutils.models.backbones import quiet

# Kinds of values in a GGUF file (its specification, versions 2 and 3): bytes of the simple ones.
WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
UINT32, STRING, ARRAY = 4, 8, 9


def save_tokenizer(gguf: Path, folder: Path) -> None:
    """Write the tokenizer of a GGUF file, and its config, into `folder`."""
    architecture, words, options = get_gguf_tokenizer(str(gguf))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=convert_gguf_tokenizer(architecture, words)[0], **options
    )
    # Nothing in the file tells Gemma's habit of opening every text with <bos>.
    tokenizer.add_bos_token = architecture.startswith("gemma")
    tokenizer.save_pretrained(folder)
    AutoConfig.from_pretrained(**_source(gguf)).save_pretrained(folder)


def save_weights(gguf: Path, folder: Path, sampling: dict) -> None:
    """Write bfloat16 safetensors, config and sampling defaults of a GGUF file into `folder`."""
    with quiet(), redirect_stderr(StringIO()):  # its bar of tensors is none of the bars that it can leave out
        model = AutoModelForCausalLM.from_pretrained(
            **_source(gguf), dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
        )
        model.generation_config = GenerationConfig(**(model.generation_config.to_dict() | sampling))
        model.save_pretrained(folder)


def _source(gguf: Path) -> dict:
    """What `from_pretrained` needs to read the copy without vocabulary, which is made first."""
    lean = gguf.with_name(f"lean-{gguf.name}")
    if not lean.exists():
        without_vocabulary(gguf, lean)
    return {
        "pretrained_model_name_or_path": str(lean.parent),
        "gguf_file": lean.name,
        "local_files_only": True,
    }


def without_vocabulary(gguf: Path, lean: Path) -> None:
    """Copy a GGUF file without the lists of its tokenizer; their length stays, as `vocab_size`."""
    with (
        gguf.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as blob,
        lean.open("wb") as copy,
    ):
        magic, version, tensors, pairs = struct.unpack_from("<4sIQQ", blob)
        assert magic == b"GGUF" and version in (2, 3), f"{gguf}: no GGUF file of version 2 or 3"
        kept, told, at = [], {}, 24
        for _ in range(pairs):
            key, kind, value, end = _pair(blob, at)
            told[key] = blob[value:end] if kind != ARRAY else struct.unpack_from("<IQ", blob, value)[1]
            if not (kind == ARRAY and key.startswith("tokenizer.")):
                kept.append(blob[at:end])
            at = end
        size = f"{told['general.architecture'][8:].decode()}.vocab_size"
        if size not in told:
            pair = (len(size), size.encode(), UINT32, told["tokenizer.ggml.tokens"])
            kept.append(struct.pack(f"<Q{len(size)}sII", *pair))
        table, at = at, _past_table(blob, at, tensors)
        alignment = int.from_bytes(told.get("general.alignment", b"\x20"), "little")
        head = struct.pack("<4sIQQ", magic, version, tensors, len(kept)) + b"".join(kept) + blob[table:at]
        copy.write(head + bytes(-len(head) % alignment))
        file.seek(at + -at % alignment)
        shutil.copyfileobj(file, copy, 1 << 20)


def _pair(blob: mmap.mmap, at: int) -> tuple[str, int, int, int]:
    """Key, kind of value, where the value begins, and where it ends, of the pair at `at`."""
    after = _past(blob, at, STRING)
    (kind,) = struct.unpack_from("<I", blob, after)
    return blob[at + 8 : after].decode(), kind, after + 4, _past(blob, after + 4, kind)


def _past(blob: mmap.mmap, at: int, kind: int) -> int:
    """Where a value of this kind that begins at `at` ends."""
    if kind in WIDTHS:
        return at + WIDTHS[kind]
    if kind == STRING:
        return at + 8 + struct.unpack_from("<Q", blob, at)[0]
    inner, count = struct.unpack_from("<IQ", blob, at)
    at += 12
    if inner in WIDTHS:
        return at + count * WIDTHS[inner]
    for _ in range(count):
        at = _past(blob, at, inner)
    return at


def _past_table(blob: mmap.mmap, at: int, tensors: int) -> int:
    """Where the table of tensors ends: a name, a count of dimensions, these, a type, an offset each."""
    for _ in range(tensors):
        at = _past(blob, at, STRING)
        (dimensions,) = struct.unpack_from("<I", blob, at)
        at += 4 + 8 * dimensions + 12
    return at
