"""Samples are random, say with what chance each case was drawn, and how many more would do."""

import numpy as np
import pandas as pd
import pytest
from toys import uids

from narrutils.errors import InputError
from narrutils.findings.estimates.powered import Material, Z, share
from narrutils.findings.estimates.sampling import INCLUSION, draw, further, shares_of

SITES = pd.DataFrame({"site": ["a"] * 60 + ["b"] * 30 + [""] * 6, "year": "2020"}, uids(96))


def test_every_case_has_the_same_chance():
    counts = pd.Series(0, SITES.index)
    for seed in range(400):
        sample = draw(SITES, 24, seed=seed)
        assert len(sample) == 24 and not sample.index.has_duplicates
        assert (sample[INCLUSION] == 0.25).all()
        counts[sample.index] += 1
    assert counts.std() == pytest.approx(np.sqrt(400 * 0.25 * 0.75), rel=0.2)


def test_levels_get_equally_many_and_their_own_chance():
    sample = draw(SITES, 40, ["site"], seed=1)
    assert sample["site"].value_counts().to_dict() == {"a": 17, "b": 17, "": 6}
    chances = sample.groupby("site")[INCLUSION].first()
    assert chances.to_dict() == pytest.approx({"a": 17 / 60, "b": 17 / 30, "": 1.0})
    assert (1 / sample[INCLUSION]).sum() == pytest.approx(96)


def test_shares_are_as_equal_as_may_be():
    rng = np.random.default_rng(0)
    assert shares_of(np.array([5, 100, 100]), 65, rng).tolist() == [5, 30, 30]
    assert sorted(shares_of(np.array([50, 50, 50]), 31, rng)) == [10, 10, 11]


def test_the_first_cases_of_a_sample_are_a_random_sample():
    firsts = {draw(SITES, 40, ["site"], seed=seed)["site"].iloc[0] for seed in range(40)}
    assert firsts == {"a", "b", ""}


def test_the_same_seed_draws_the_same_cases():
    pd.testing.assert_frame_equal(draw(SITES, 20, seed=3), draw(SITES, 20, seed=3))


@pytest.mark.parametrize(("size", "by"), [(0, []), (97, []), (2, ["site"])])
def test_what_cannot_be_drawn_is_refused(size, by):
    with pytest.raises(InputError, match=f"--draw {size}: "):
        draw(SITES, size, by)


def test_further_codes_of_a_plain_share_are_the_textbooks():
    """p (1 − p) (2 z / W)² cases for a width W."""
    human = np.r_[np.tile([1.0, 0.0], 50), np.full(1900, np.nan)]
    part = share(Material(human, np.zeros(2000), np.zeros(2000), np.ones(2000), np.arange(2000)))
    needed = 0.25 * (2 * Z / 0.1) ** 2
    assert further(part, 0.0, 0.1, 100, 2000) == np.ceil(needed) - 100
    assert further(part, 0.0, 0.5, 100, 2000) == 0
    assert further(part, 0.0, 0.01, 100, 2000) == np.inf


def test_further_codes_give_the_width():
    """With so many codes drawn in fact, the interval is about as wide as it was to be."""
    rng = np.random.default_rng(0)
    y = (rng.random(20_000) < 0.3).astype(float)
    machine = np.clip(0.1 + 0.6 * y + rng.normal(0, 0.15, 20_000), 0, 1)

    def part(coded):
        human = np.where(np.arange(20_000) < coded, y, np.nan)
        return share(Material(human, machine, machine > 0.5, np.ones(20_000), np.arange(20_000)))

    now = part(200)
    more = further(now, now.tuned, 0.04, 200, 20_000)
    then = part(200 + int(more)).at(now.tuned).wilson
    assert then.high - then.low == pytest.approx(0.04, rel=0.1)
