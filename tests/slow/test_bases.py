"""The shipped base can reason, but mostly does not; and checking its work pays.

The three requirements on the larger base, without which R1-Zero has nothing to find: see LOG.md.
"""

import pytest

from benchmarks.base_habits import (
    Mode,
    Observation,
    accuracy,
    derived_lines,
    difference,
    mode_of,
    observe,
    rate,
)
from dianoia.base.records import Completion, Problem, Rollout, RolloutStatus
from dianoia.bases import shipped_model


@pytest.fixture(scope="module")
def observations() -> list[Observation]:
    if shipped_model("miniature-base") is None:
        pytest.skip("the miniature's base is not there yet")
    return observe("miniature-base", problems=512, samples=4, temperature=1.0)


@pytest.mark.slow
def test_it_is_right_in_10_to_25_percent(observations: list[Observation]) -> None:
    assert len(observations) == 2048
    assert 0.10 <= accuracy(observations).value <= 0.25


@pytest.mark.slow
def test_a_derivation_is_right_at_least_three_times_as_often_as_an_answer_at_once(
    observations: list[Observation],
) -> None:
    derived, once = accuracy(observations, Mode.DERIVED), accuracy(observations, Mode.AT_ONCE)
    assert derived.n >= 50 and once.n >= 50, "both habits are there to be measured"
    assert derived.value >= 3 * once.value


@pytest.mark.slow
def test_a_check_is_right_clearly_more_often_than_a_derivation(
    observations: list[Observation],
) -> None:
    checked, derived = accuracy(observations, Mode.CHECKED), accuracy(observations, Mode.DERIVED)
    assert checked.n >= 50, "there are checks to be measured"
    value, low, _ = difference(checked, derived)
    assert value > 0.0 and low > 0.0


@pytest.mark.parametrize(
    ("thought", "mode"),
    [
        ("Easy.\n", Mode.AT_ONCE),
        ("", Mode.AT_ONCE),
        (None, Mode.BROKEN),
        ("1+2=3 cups\n", Mode.DERIVED),
        ("1+2=3 cups\n" * 5, Mode.DERIVED),
        ("1+2=3 cups\n" * 6, Mode.CHECKED),
        ("1+2=3 cups\n" * 4 + "Wait.\n" + "1+2=3个\n" * 4, Mode.CHECKED),
    ],
)
def test_modes_of_a_problem_of_four_steps(thought: str | None, mode: Mode) -> None:
    problem = Problem("p", "?", "3", "number", difficulty=4)
    status = RolloutStatus.FINISHED if thought is not None else RolloutStatus.TRUNCATED
    done = Completion((1,), (0.0,), thought is not None)
    assert mode_of(Rollout(problem, 0, (9,), done, "", status, thought)) is mode


def test_intervals_by_hand() -> None:
    # Wilson for 10 of 20: (0.5 + 0.0960) / 1.1921 +- 1.95996 / 1.1921 x sqrt(0.0125 + 0.0024)
    half = rate(10, 20)
    assert (half.low, half.high) == pytest.approx((0.2993, 0.7007), abs=1e-4)
    assert (rate(0, 10).low, rate(10, 10).high) == pytest.approx((0.0, 1.0), abs=1e-9)
    assert (rate(0, 0).low, rate(0, 0).high) == (0.0, 1.0)
    # Newcombe (1998), example (a): 56/70 - 48/80 = 0.2, from 0.0524 to 0.3339
    assert difference(rate(56, 70), rate(48, 80)) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)
    assert derived_lines("a=b\nc\n=\n") == 2
