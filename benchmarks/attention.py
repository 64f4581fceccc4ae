"""Time of one attention, forward and back, on this machine's CPU: by dtype and by way to compute it.

    python -m benchmarks.attention [--tokens 96 160 256 512] [--batch 8]

Heads as those of MiniLM (12 of width 32) and of Gemma 3 270M (4 of width 256). Milliseconds;
`ratio` is fused in bfloat16, which autocast would take, over fused in float32.
"""

import argparse
import time

import pandas as pd
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from .demo_corpus import show

HEADS = {"MiniLM": (12, 32), "Gemma 3 270M": (4, 256)}
WAYS = {"fused": SDPBackend.FLASH_ATTENTION, "plain": SDPBackend.MATH}


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[96, 160, 256, 512])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=10)
    given = parser.parse_args()
    lines = [
        {"heads": name} | measure(given.batch, *HEADS[name], tokens, given.repeats)
        for name in HEADS
        for tokens in given.tokens
    ]
    table = pd.DataFrame(lines).set_index("heads")
    table["ratio"] = table["fused bfloat16"] / table["fused float32"]
    show(f"batch {given.batch}, {torch.get_num_threads()} threads, milliseconds", table.round(2))


def measure(batch: int, heads: int, width: int, tokens: int, repeats: int) -> dict[str, float]:
    """The least of `repeats` times, for each way and dtype."""
    line = {"tokens": tokens}
    for way, backend in WAYS.items():
        for dtype in (torch.bfloat16, torch.float32):
            states = [torch.randn(batch, heads, tokens, width, dtype=dtype) for _ in range(3)]
            states = [s.requires_grad_() for s in states]
            mask = torch.zeros(batch, 1, tokens, tokens, dtype=dtype)
            times = [once(states, mask, backend) for _ in range(repeats + 1)]
            line[f"{way} {str(dtype).removeprefix('torch.')}"] = 1000 * min(times[1:])
    return line


def once(states: list[torch.Tensor], mask: torch.Tensor, backend: SDPBackend) -> float:
    start = time.perf_counter()
    with sdpa_kernel(backend):
        scaled_dot_product_attention(*states, attn_mask=mask).sum().backward()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
