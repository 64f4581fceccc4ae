"""The nucleus without a sort of everything equals the one with it."""

import pytest
import torch

from narrutils.generation import nucleus
from narrutils.generation.nucleus import keep_nucleus


def by_sorting(logits, top_k, top_p):
    """Kept places of one row, the plain way: sort all, cut to k, then the fewest that reach p."""
    order = logits.double().sort(descending=True, stable=True).indices
    order = order[: top_k or len(order)]
    shares = logits.double()[order].softmax(-1)
    before = shares.cumsum(-1) - shares
    return set(order[(before < top_p) | (top_p == 1)].tolist())


@pytest.mark.parametrize("top_k", [0, 1, 5, 64, 3000, 10**6])
@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.9, 0.999, 1.0])
@pytest.mark.parametrize("spread", [0.1, 1.0, 8.0])
def test_it_keeps_what_a_sort_would_keep(top_k, top_p, spread):
    torch.manual_seed(0)
    logits = torch.randn(4, 5000, dtype=torch.float64) * spread
    kept = keep_nucleus(logits, top_k, top_p)
    for row, found in zip(logits, kept, strict=True):
        places = found.isfinite().nonzero().flatten().tolist()
        expected = by_sorting(row, top_k, top_p)
        assert len(expected ^ set(places)) <= 1  # where a share ends on top_p but for rounding
        assert torch.equal(found[places], row[places])


def test_top_p_1_drops_nothing():
    logits = torch.linspace(0, -60, 3000)[None]  # all of the mass, in 32 bits, lies in the first few
    assert keep_nucleus(logits, 0, 1.0).isfinite().all()
    assert keep_nucleus(logits, 2000, 1.0).isfinite().sum() == 2000


def test_a_nucleus_wider_than_the_first_look():
    logits = torch.zeros(2, 4 * nucleus.FIRST)
    logits[0, 7] = 50.0  # a narrow row beside a wide one
    kept = keep_nucleus(logits, 0, 0.75).isfinite().sum(-1)
    assert kept.tolist() == [1, 3 * nucleus.FIRST]


def test_the_first_look_changes_nothing(monkeypatch):
    torch.manual_seed(1)
    logits = torch.randn(3, 500)
    whole = [keep_nucleus(logits, k, p) for k in (0, 40, 300) for p in (0.3, 0.95)]
    monkeypatch.setattr(nucleus, "FIRST", 8)
    narrow = [keep_nucleus(logits, k, p) for k in (0, 40, 300) for p in (0.3, 0.95)]
    assert all(torch.equal(a, b) for a, b in zip(whole, narrow, strict=True))


def test_top_k_comes_first_and_top_p_is_a_share_of_what_it_left():
    logits = torch.tensor([[0.05, 0.5, 0.15, 0.3]]).log()
    finite = lambda k, p: keep_nucleus(logits, k, p).isfinite()[0].tolist()  # noqa: E731
    assert finite(3, 0.8) == [False, True, False, True]  # 0.5 and 0.3 of 0.95 are 0.84
    assert finite(3, 0.99) == [False, True, True, True]
    assert finite(0, 0.99) == [True, True, True, True]
    assert finite(0, 1e-9) == [False, True, False, False]


def test_of_ties_as_many_are_kept_as_are_asked_for():
    kept = keep_nucleus(torch.zeros(1, 100), 10, 0.45).isfinite().sum()
    assert kept == 5
    assert keep_nucleus(torch.zeros(1, 100), 10, 1.0).isfinite().sum() == 10


def test_what_is_ruled_out_stays_ruled_out_and_the_input_untouched():
    logits = torch.tensor([[0.0, -torch.inf, 1.0, -torch.inf]])
    before = logits.clone()
    kept = keep_nucleus(logits, 3, 0.999)
    assert kept.isfinite().tolist() == [[True, False, True, False]]
    assert torch.equal(logits, before) and kept.dtype == logits.dtype
    assert keep_nucleus(logits.bfloat16(), 3, 0.9).dtype == torch.bfloat16
