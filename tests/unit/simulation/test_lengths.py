"""Lengths of responses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dianoia.simulation.lengths import LogNormal, Observed, fit

FEW = settings(max_examples=20)


def test_the_mean_of_a_cut_log_normal_by_hand() -> None:
    """Median e^5 = 148.41, spread 1, cut at e^6 = 403.43.

    E min(X, c) = e^5.5 Φ(0) + e^6 (1 - Φ(1)) = 244.692 x 0.5 + 403.429 x 0.158655 = 186.352.
    """
    lengths = LogNormal(5.0, 0.6, 0.8, limit=403)
    assert lengths.spread == pytest.approx(1.0)
    assert lengths.mean == pytest.approx(186.35, abs=0.2)
    assert lengths.cut_share == pytest.approx(0.1587, abs=0.001)


def test_without_spread_every_response_is_the_same() -> None:
    short, long = LogNormal(2.0, 0.0, 0.0, 100), LogNormal(9.0, 0.0, 0.0, 100)
    assert (short.mean, short.cut_share) == (pytest.approx(np.exp(2)), 0.0)
    assert (long.mean, long.cut_share) == (100.0, 1.0)


@FEW
@given(st.floats(2, 8000), st.floats(0, 1), st.floats(0.01, 1.2))
def test_a_mean_can_be_asked_for(mean: float, between: float, within: float) -> None:
    lengths = LogNormal(0.0, between, within, 16_384).with_mean(mean)
    assert lengths.mean == pytest.approx(mean, rel=1e-6)


@FEW
@given(st.floats(2, 4000), st.floats(1.01, 2))
def test_a_longer_mean_is_longer_everywhere(mean: float, factor: float) -> None:
    """The same random numbers give no shorter response."""
    base = LogNormal(0.0, 0.4, 0.7, 16_384)
    short, long = (
        base.with_mean(m).draw(8, 4, np.random.default_rng(1)) for m in (mean, factor * mean)
    )
    assert (long >= short).all()


def test_draws_have_the_mean_and_both_spreads() -> None:
    lengths = LogNormal(0.0, 0.5, 0.7, 32_768).with_mean(4000)
    drawn = lengths.draw(4000, 16, np.random.default_rng(0))
    assert drawn.min() >= 1 and drawn.max() <= 32_768
    assert drawn.mean() == pytest.approx(4000, rel=0.03)
    fitted = fit(list(drawn), 32_768)
    assert fitted.between == pytest.approx(0.5, abs=0.03)
    assert fitted.within == pytest.approx(0.7, abs=0.02)


def test_a_fit_by_hand() -> None:
    """Logarithms 0, 2 and 4, 6: means 1 and 5, variance within 2, between 8 - 2 / 2 = 7."""
    groups = [np.exp(np.array(logs)) for logs in ([0.0, 2.0], [4.0, 6.0])]
    fitted = fit(groups, 1000)  # type: ignore[arg-type]
    assert fitted.location == pytest.approx(3.0)
    assert (fitted.within**2, fitted.between**2) == (pytest.approx(2.0), pytest.approx(7.0))


def test_observed_groups_are_drawn_whole() -> None:
    groups = Observed([np.array([1, 2, 3]), np.array([10, 20])])
    drawn = groups.draw(50, 5, np.random.default_rng(0))
    assert drawn.shape == (50, 5) and groups.mean == pytest.approx(36 / 5)
    kinds = {frozenset(row) <= {1, 2, 3} or frozenset(row) <= {10, 20} for row in drawn.tolist()}
    assert kinds == {True} and {1, 10} <= {*drawn.flatten().tolist()}
