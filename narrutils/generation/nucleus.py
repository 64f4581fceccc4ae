"""Top-k and top-p for vLLM on a CPU, without sorting the vocabulary at every step.

vLLM sorts all logits wherever a model's defaults name a top-p. On a GPU that is nothing;
on a CPU, with Gemma's 262,144 tokens, it takes several times as long as the model. The
most probable tokens hold the nucleus all but always, and the distribution is the same.
"""

import torch

#: Tokens that are looked at first where top-k does not limit them.
FIRST = 1024


def keep_nucleus(logits: torch.Tensor, top_k: int, top_p: float) -> torch.Tensor:
    """Logits `[rows, vocabulary]` with all but the nucleus at minus infinity.

    First the `top_k` most probable tokens (0: all), then the fewest of them whose share
    of what is left reaches `top_p`, as vLLM and transformers order the two.
    """
    values, places = logits.topk(min(top_k or FIRST, logits.shape[-1]))
    whole = values if top_k else logits
    if not top_k and (top_p == 1 or _mass(values, whole).sum(-1).min() < top_p):  # the nucleus is wider
        values, places = logits.topk(logits.shape[-1])
    mass = _mass(values, whole)
    # The token that crosses top_p still counts. Sums are rounded, so 1 takes no sum at all.
    surplus = mass.cumsum(-1) - mass >= (top_p if top_p < 1 else torch.inf)
    return torch.full_like(logits, -torch.inf).scatter_(-1, places, values.masked_fill(surplus, -torch.inf))


def _mass(values: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Probabilities of `values` within the softmax over `whole`."""
    return (values.float() - whole.float().logsumexp(-1, keepdim=True)).exp()


def processor() -> type:
    """vLLM's interface to it. A request says what it wants by `extra_args={"nucleus": (k, p)}`.

    All requests of an engine want the same here, so that the last word holds for all.
    """
    from vllm.v1.sample.logits_processor import LogitsProcessor

    class Nucleus(LogitsProcessor):
        def __init__(self, vllm_config, device, is_pin_memory):
            self.wanted = (0, 1.0)

        def is_argmax_invariant(self) -> bool:
            return True  # which also has vLLM apply it after the temperature

        def update_state(self, batch_update) -> None:
            for _, params, _, _ in batch_update.added if batch_update else ():
                self.wanted = (params.extra_args or {}).get("nucleus", self.wanted)

        def apply(self, logits: torch.Tensor) -> torch.Tensor:
            return logits if self.wanted == (0, 1.0) else keep_nucleus(logits, *self.wanted)

    return Nucleus
