"""How a transformer's attention is computed: fused where that is right, and in float32 on a CPU."""

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

FLOAT32 = "sdpa_float32"


def options(config: PreTrainedConfig) -> dict[str, str]:
    """Options to load a model with: Gemma 2 caps its attention logits, which fused attention leaves out."""
    capped = getattr(config.get_text_config(), "attn_logit_softcapping", None) is not None
    return {"attn_implementation": "eager"} if capped else {}


def suit_cpu(encoder: PreTrainedModel) -> PreTrainedModel:
    """The encoder with fused attention in float32 where it runs on a CPU, in place.

    There, torch's fused attention takes several times as long in bfloat16 as in float32 to train
    short cases with heads as narrow as an encoder's (`python -m benchmarks.attention`).
    """
    if not torch.cuda.is_available() and encoder.config._attn_implementation == "sdpa":
        encoder.set_attn_implementation(FLOAT32)
    return encoder


def attend_in_float32(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **settings
) -> tuple[Tensor, None]:
    """`sdpa_attention_forward` in float32, whatever autocast says; the output has the query's dtype."""
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.float()
    with torch.autocast(query.device.type, enabled=False):
        states, weights = sdpa_attention_forward(
            module, query.float(), key.float(), value.float(), mask, **settings
        )
    return states.to(query.dtype), weights


AttentionInterface.register(FLOAT32, attend_in_float32)
AttentionMaskInterface.register(FLOAT32, sdpa_mask)
