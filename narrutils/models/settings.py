"""What a classifier is made of, and how it reads a case, as a profile names it."""

from collections.abc import Sequence
from typing import Literal

from narrutils.data.settings import Count, Fraction, Precision, Size, Truncation, checked

#: Every linear projection of a Llama-like layer (Gemma, Qwen, Mistral, Llama).
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@checked
class Reading:
    """How cases are read: `max_tokens` of a case, or of each narrative; `batch_size` cases a step."""

    max_tokens: Size = 256
    truncation: Truncation = "balanced"
    inputs: Literal["joined", "separate"] = "joined"  # each narrative by itself: the maximum of logits
    repair_periods: bool = False  # put the space that is missing after a full stop
    batch_size: Size = 8
    precision: Precision = "float32"  # of autocast; weights that learn stay float32


@checked
class Body:
    """Which backbone, and how it is loaded."""

    backbone: str  # a packaged name, a local path, or a hub id
    layers: Count = 0  # keep the first N layers; 0 keeps all
    top_layers: Count = 0  # only the last N layers learn, or have adapters; 0 is all, and embeddings too
    pooling: Literal["", "mean", "last", "parts"] = ""  # empty: mean of an encoder, last of a causal model
    quantization: Literal["", "8bit"] = ""  # 8bit loads a frozen base in 8 bits, on a GPU
    precision: Precision = "float32"  # of a frozen base; a trained body is always float32
    dropout: Fraction | None = None  # inside the body; None keeps its own. 0 doubles a CPU's speed


@checked
class Lora:
    """Low-rank adapters (Hu et al. 2021) on a frozen base; rank 0 trains the whole body."""

    lora_rank: Count = 0
    lora_alpha: Count = 0
    lora_dropout: Fraction = 0.0
    lora_targets: Sequence[str] = PROJECTIONS
