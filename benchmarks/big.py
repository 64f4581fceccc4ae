"""Training at the sizes of the full recipe, with random weights: tokens a second, memory, share of the card.

    python -m benchmarks.big [--only gemma-2-9b …] [--steps 10] [--peak 989]
    python -m benchmarks.big --tiny      # the same on any machine, with models of two thin layers

Nothing is downloaded: the models are made on the spot in their published sizes, stored for
the time of the measurement (18 GB for Gemma-2-9B in bfloat16), and trained by the package's
own learner on cases that fill every token. The first epoch warms up, the second is timed.

What a step computes, with N weights of the body's matrices (embeddings left out), of which L
are LoRA's, and T tokens, each product counting 2 operations a weight and token:

    forward 2·(N + L)·T, backward to the states 2·(N + L)·T, backward to the weights that learn
    2·L·T with LoRA and 2·N·T without, and with checkpointing the forward once more, 2·(N + L)·T.

So a frozen base takes 4·N·T, a trained one 6·N·T. `share` divides these by the time and the
card's rate without the repeated forward, `share with repeats` with it. The products between
queries, keys and values are left out; they would add 5 % to Gemma-2-9B at 1,280 tokens. The
card's rate is what a product of two square bfloat16 matrices reaches here, or `--peak`.
"""

import argparse
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModel, DebertaV2Config, Gemma2Config, PreTrainedTokenizerFast

from narrutils.data.intake.schema_file import load_schema
from narrutils.data.schema import Schema
from narrutils.models.learner import Phase
from narrutils.models.reading import NeuralModel
from narrutils.models.settings import Body, Lora
from narrutils.training.neural import NeuralLearner
from narrutils.training.recipe import Recipe

from .demo_corpus import show

GEMMA = {"vocab_size": 256_000, "head_dim": 256, "num_hidden_layers": 42, "sliding_window": 4096}
GEMMA_9B = GEMMA | {
    "hidden_size": 3584,
    "intermediate_size": 14_336,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
}
GEMMA_2B = GEMMA | {
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "num_hidden_layers": 26,
}
DEBERTA = {
    "vocab_size": 128_100,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "relative_attention": True,
    "position_buckets": 256,
    "max_relative_positions": -1,
    "position_biased_input": False,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": "p2c|c2p",
    "type_vocab_size": 0,
}
THIN = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 2}
THIN_GEMMA = THIN | {"num_key_value_heads": 2, "head_dim": 16, "vocab_size": 1000}


@dataclass(frozen=True)
class Size:
    """A model as the full recipe trains it."""

    name: str
    kind: type
    config: dict
    max_tokens: int
    batch_size: int
    lora: Lora
    thin: dict  # what `--tiny` puts in the place of its sizes

    def config_of(self, tiny: bool):
        """Its configuration; `tiny` is the same architecture in two thin layers."""
        return self.kind(**self.config | (self.thin if tiny else {}))


SIZES = [
    Size("gemma-2-9b r64", Gemma2Config, GEMMA_9B, 1280, 8, Lora(64, 128), THIN_GEMMA),
    Size("gemma-2-2b r128", Gemma2Config, GEMMA_2B, 2560, 8, Lora(128, 256), THIN_GEMMA),
    Size("deberta-v3-large", DebertaV2Config, DEBERTA, 2048, 4, Lora(), THIN | {"vocab_size": 1000}),
]


def main() -> None:
    """Measure the chosen sizes one after the other and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[""], help="beginnings of names; default: all")
    parser.add_argument("--steps", type=int, default=10, help="optimizer steps that are timed")
    parser.add_argument(
        "--peak", type=float, help="the card's bfloat16 rate in teraflops, as its maker tells it"
    )
    parser.add_argument("--tiny", action="store_true", help="two thin layers and 64 tokens")
    given = parser.parse_args()
    rate = given.peak * 1e12 if given.peak else matrix_rate(512 if given.tiny else 8192)
    chosen = [size for size in SIZES if size.name.startswith(tuple(given.only))]
    lines = {size.name: measure(size, given.tiny, given.steps, rate) for size in chosen}
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    show(f"{card}, {rate / 1e12:.3g} teraflops in bfloat16, random weights", pd.DataFrame(lines).T)


def measure(size: Size, tiny: bool, steps: int, rate: float) -> dict:
    """Train one model for an epoch of 3 steps and one of `steps`; the second one's figures."""
    schema = load_schema("params/schemas/nvdrs.yaml")
    max_tokens = 64 if tiny else size.max_tokens
    recipe = Recipe(
        max_tokens=max_tokens, batch_size=size.batch_size, checkpointing=True, precision="bfloat16"
    )
    with TemporaryDirectory() as folder:
        save_random(size.config_of(tiny), Path(folder), "bfloat16" if size.lora.lora_rank else "float32")
        learner = NeuralLearner(schema, Body(folder, precision="bfloat16"), size.lora, recipe)
        counts = [3 * size.batch_size, steps * size.batch_size]
        phases = [cases(schema, rows, max_tokens, n) for n, rows in enumerate(counts)]
        _reset_peak()
        model = learner.fit(phases, size.name)
    seconds = model.history[1]["seconds"] - model.history[0]["seconds"]
    tokens = counts[1] * max_tokens
    useful, repeated = operations(model, tokens)
    return {
        "layers": model.classifier.body.config.num_hidden_layers,
        "tokens a case": max_tokens,
        "batch": size.batch_size,
        "seconds a step": round(seconds / steps, 3),
        "tokens a second": round(tokens / seconds),
        "peak GB": round(_peak() / 1e9, 2),
        "share": f"{useful / seconds / rate:.1%}",
        "share with repeats": f"{(useful + repeated) / seconds / rate:.1%}",
    }


def operations(model: NeuralModel, tokens: int) -> tuple[float, float]:
    """Operations of training on so many tokens, and those that checkpointing repeats; see the module."""
    body = model.classifier.body
    matrices = {n: w for n, w in body.named_parameters() if w.ndim == 2 and "embed" not in n}
    every = sum(w.numel() for w in matrices.values())
    learn = sum(w.numel() for w in matrices.values() if w.requires_grad)
    repeated = 2 * every * tokens if model.reading.checkpointing else 0
    return (4 * every + 2 * learn) * tokens, repeated


def save_random(config, folder: Path, dtype: str) -> None:
    """Write a model of random weights, and a tokenizer of one token a byte."""
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        AutoModel.from_config(config, dtype=getattr(torch, dtype)).save_pretrained(folder)
    words = ["<pad>", "<bos>", "<eos>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    made = Tokenizer(models.BPE({word: n for n, word in enumerate(words)}, []))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    specials = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>"}
    PreTrainedTokenizerFast(tokenizer_object=made, **specials).save_pretrained(folder)


def cases(schema: Schema, rows: int, max_tokens: int, phase: int) -> Phase:
    """One epoch of random letters, more than `max_tokens` of them, with random labels."""
    rng = np.random.default_rng(phase)
    index = pd.Index([f"{phase}-{n}" for n in range(rows)], name="uid")
    told = lambda: "".join(rng.choice(list("abcdefgh"), max_tokens))  # noqa: E731
    texts = pd.DataFrame({c: [told() for _ in index] for c in schema.text_columns}, index=index)
    labels = pd.DataFrame({v.name: rng.choice(v.codes, rows) for v in schema.variables}, index=index)
    return Phase(texts, schema.to_targets(labels))


def matrix_rate(side: int, times: int = 20) -> float:
    """Operations a second of the product of two square bfloat16 matrices; the best of `times`."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    one = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        one @ one
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


def _reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak() -> float:
    """Most bytes that the GPU held since `_reset_peak`; without one, that this process ever held."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
