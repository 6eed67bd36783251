"""Diagnoses of learned rewards on made-up curves: hacking, noise, honest progress, flat and drowning scores."""

import random
from collections.abc import Callable

import pytest

from dianoia.algo.estimates import estimate_unbounded
from dianoia.base.records import Completion, Group, Problem, Rollout, RolloutStatus, Score
from dianoia.judge.diagnosis import PATIENCE, Diagnosis
from dianoia.judge.hacking import (
    POINTS_IN_A_ROW,
    Point,
    Spread,
    diagnose_spread,
    hacking,
    spread,
)

Curve = Callable[[int], float]


def curves(
    accuracy: Curve, reward: Curve, points: int = 20, seed: int = 0, problems: int = 64
) -> list[Point]:
    """Points 10 steps apart of four samples a problem, around mean curves; problems differ from one another."""
    draw = random.Random(seed)
    ease = [draw.uniform(-0.2, 0.2) for _ in range(problems)]
    taste = [draw.gauss(0, 2) for _ in range(problems)]
    results = []
    for number in range(points):
        right = [sum(draw.random() < accuracy(number) + e for _ in range(4)) / 4 for e in ease]
        scores = [reward(number) + t + draw.gauss(0, 0.5) for t in taste]
        results.append(Point(10 * number, tuple(right), {"helpful": tuple(scores)}))
    return results


def told(points: list[Point]) -> list[tuple[int, Diagnosis]]:
    """Return the diagnoses that a run would have printed, and at which point."""
    ends = range(1, len(points) + 1)
    return [
        (end - 1, diagnosis)
        for end in ends
        for diagnosis in hacking(points[:end], estimate_unbounded)
    ]


def test_a_reward_that_rises_while_accuracy_falls_is_told_once_with_its_numbers() -> None:
    def accuracy(n: int) -> float:
        return 0.75 if n < 8 else 0.75 - 0.05 * (n - 8)

    points = curves(accuracy, lambda n: 0.1 * n)
    ((when, rewritten),) = told(points)
    assert rewritten.code == "reward_hacking" and 9 <= when <= 13
    before = next(p for p in points if f"since step {p.step} " in rewritten.message)
    last = points[when]
    assert before.step <= 80 < last.step
    for part in (
        f"by step {last.step}",
        f"from {sum(before.learned['helpful']) / 64:.2f} to {sum(last.learned['helpful']) / 64:.2f}",
        f"from {sum(before.accuracy_P) / 64:.1%} to {sum(last.accuracy_P) / 64:.1%}",
    ):
        assert part in rewritten.message
    assert "preferences.from_step later" in rewritten.advice
    assert "preferences.helpful_weight" in rewritten.advice


@pytest.mark.parametrize("seed", range(6))
def test_noise_is_not_hacking(seed: int) -> None:
    assert told(curves(lambda _: 0.7, lambda _: 1.0, seed=seed)) == []


@pytest.mark.parametrize("seed", range(6))
def test_a_reward_that_rises_beside_a_level_accuracy_is_not(seed: int) -> None:
    assert told(curves(lambda _: 0.7, lambda n: 0.2 * n, seed=seed)) == []


def test_nor_where_both_rise_or_both_fall() -> None:
    assert told(curves(lambda n: 0.3 + 0.02 * n, lambda n: 0.2 * n)) == []
    assert told(curves(lambda n: 0.7 - 0.02 * n, lambda n: -0.2 * n)) == []


def exact(*values: tuple[float, float]) -> list[Point]:
    """(accuracy, reward) without noise, on four problems; the t interval of equal differences has no width."""
    return [
        Point(step, (accuracy,) * 4, {"safety": (reward,) * 4})
        for step, (accuracy, reward) in enumerate(values)
    ]


def test_it_has_to_last_and_is_told_again_only_after_it_was_away() -> None:
    hacked, fine = (0.5, 2.0), (0.75, 1.0)
    assert POINTS_IN_A_ROW == 2
    assert [when for when, _ in told(exact(fine, hacked, fine, hacked))] == []
    assert [when for when, _ in told(exact(fine, hacked, hacked, hacked))] == [2]
    again = exact(fine, hacked, hacked, fine, hacked, hacked)
    assert [when for when, _ in told(again)] == [2, 5]
    (_, first), *_ = told(exact((0.5, 0.5), fine, hacked, hacked))
    assert first.message.startswith("since step 1 the safety model's"), (
        "from the most accurate point"
    )


def test_a_point_at_which_nothing_was_scored_is_passed_over() -> None:
    points = exact((0.75, 1.0), (0.5, 2.0), (0.5, 2.0))
    points[1] = Point(1, points[1].accuracy_P, {})
    assert told(points) == []
    assert hacking([], estimate_unbounded) == []


# The scores of a rollout -------------------------------------------------------------------------

FINE = Spread("helpful", within=0.5, whole=1.0, finished=0.9, weight=1.0, rules=2.0)


@pytest.mark.parametrize(
    ("code", "sick"),
    [
        ("learned_flat", Spread("helpful", 0.004, 1.0, 0.9, 1.0, 2.0)),
        ("learned_flat", Spread("helpful", 0.0, 0.0, 0.0, 1.0, 2.0)),
        # 2 x 6 > 10 x half of (1 + 1)
        ("learned_dominates", Spread("helpful", 6.0, 9.0, 0.9, 2.0, 2.0)),
    ],
)
def test_spreads_are_told_when_they_have_lasted(code: str, sick: Spread) -> None:
    history = [FINE] * 2 + [sick] * 5
    heard = [
        (end, diagnosis.code)
        for end in range(1, len(history) + 1)
        for diagnosis in diagnose_spread(history[:end][-PATIENCE - 1 :])
    ]
    assert heard == [(2 + PATIENCE, code)]
    assert diagnose_spread([FINE] * 9) == []


def test_without_rules_beside_it_nothing_is_drowned() -> None:
    assert diagnose_spread([Spread("helpful", 60.0, 90.0, 1.0, 1.0, rules=0.0)] * PATIENCE) == []
    just = Spread("helpful", 10.0, 20.0, 1.0, 1.0, rules=2.0)
    assert diagnose_spread([just] * PATIENCE) == [], "ten times as much, and no more"


def test_a_spread_by_hand() -> None:
    problem = Problem("g", "?", "", "reference")
    done = Completion((1,), (0.0,), True)

    def group(*scores: float | None) -> Group:
        rollouts = tuple(
            Rollout(
                problem, n, (9,), done, "", RolloutStatus.MALFORMED if n else RolloutStatus.FINISHED
            )
            for n in range(len(scores))
        )
        return Group(problem, rollouts, tuple(Score(0.0, {"helpful": score}) for score in scores))

    result = spread("helpful", [group(1.0, 3.0), group(None, None), group(2.0, 2.0)], 0.5, 2.0)
    # within: 1, 0 and 0; all of 1, 3, 2, 2 around 2
    assert result == Spread("helpful", pytest.approx(1 / 3), pytest.approx(0.5**0.5), 0.5, 0.5, 2.0)
