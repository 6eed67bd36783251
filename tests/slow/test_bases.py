"""The shipped base can reason, but mostly does not; and checking its work pays.

The three requirements on the larger base, without which R1-Zero has nothing to find: see LOG.md.
"""

import random

import pytest

from benchmarks.base_habits import (
    Mode,
    Observation,
    accuracy,
    comparison,
    derived_lines,
    difference,
    has_plan,
    mode_of,
    observe,
    observed,
    rate,
    table_by,
)
from dianoia.base.records import Completion, Group, Problem, Rollout, RolloutStatus, Score
from dianoia.bases import shipped_model
from dianoia.miniature.authors import (
    MIXED,
    Author,
    Thought,
    answer_at_once,
    checked_derivation,
    derivation,
)
from dianoia.miniature.chains import Split
from dianoia.miniature.choices import draw_choice
from dianoia.miniature.problems import draw_logic
from dianoia.miniature.programs import draw_function
from dianoia.miniature.requests import draw_request
from dianoia.miniature.safety import draw_safety_request
from dianoia.miniature.stories import draw_story


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
    checks, derived = (
        accuracy(observations, Mode.CHECKED),
        accuracy(observations, Mode.DERIVED),
    )
    assert checks.n >= 50, "there are checks to be measured"
    value, low, _ = difference(checks, derived)
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
    assert mode_of(response(Problem("p", "?", "3", "number", difficulty=4), thought)) is mode


def response(problem: Problem, thought: str | None) -> Rollout:
    status = RolloutStatus.FINISHED if thought is not None else RolloutStatus.TRUNCATED
    done = Completion((1,), (0.0,), thought is not None)
    return Rollout(problem, 0, (9,), done, "", status, thought)


@pytest.mark.parametrize(
    ("domain", "thought", "mode"),
    [
        ("code", "a +3\nb *2\n", Mode.DERIVED),
        ("code", "Step by step.\na +3\n", Mode.DERIVED),
        ("code", "Easy.\n", Mode.AT_ONCE),
        ("code", "a\n+3\na adds 3\n", Mode.AT_ONCE),
        ("code", "a +3\nb *2\na +3\nb *2\n", Mode.CHECKED),
        ("stem", "A iron: metal, gas? no\nB neon: gas, gas? yes\n", Mode.DERIVED),
        ("stem", "A 铁:金属，气体？否\nB 氖气:气体，气体？是\n", Mode.DERIVED),
        ("stem", "A iron: metal, gas? no\nB neon:气体，气体？是\n", Mode.DERIVED),
        ("stem", "A iron: metal, gas? no\n" * 3, Mode.DERIVED),
        ("stem", "A iron: metal\nB neon: gas\n", Mode.AT_ONCE),
        ("stem", "A iron: metal, gas?\nB neon: gas, yes\nC 铁:金属，气体？\n", Mode.AT_ONCE),
        ("stem", "A iron: metal, gas? maybe\nB neon: noble, gas? yes\n", Mode.AT_ONCE),
        ("stem", "A iron\nIt is A.\n", Mode.AT_ONCE),
        ("logic", "east\na left=north\nb后转=南方\n", Mode.DERIVED),
        ("logic", "It is south.\n", Mode.AT_ONCE),
        ("general", "France: Paris.\n", Mode.DERIVED),
        ("general", "2 sentences, sea.\n", Mode.DERIVED),
        ("general", "我来数。\n法国：巴黎。\n", Mode.DERIVED),
        ("general", "It is Paris.\n", Mode.AT_ONCE),
        ("general", "", Mode.AT_ONCE),
        ("near-miss", "Is it harmful? No.\n", Mode.DERIVED),
        ("safety", "有害吗？有害。\n", Mode.DERIVED),
        ("safety", "I know.\n", Mode.AT_ONCE),
        ("safety", None, Mode.BROKEN),
    ],
)
def test_modes_of_other_domains(domain: str, thought: str | None, mode: Mode) -> None:
    steps = 2 if domain in ("code", "stem", "logic") else None
    problem = Problem("p", "?", "x", "exact", domain, difficulty=steps)
    assert mode_of(response(problem, thought)) is mode


@pytest.mark.parametrize(
    "draw", [draw_story, draw_function, draw_choice, draw_logic, draw_request, draw_safety_request]
)
def test_the_authors_thoughts_have_their_modes(draw) -> None:
    rng = random.Random(1)
    for _ in range(150):
        item = draw(rng, Split.TRAIN)
        author = Author(rng.choice(("en", "zh", MIXED)), 0.1, 0.1, 0.5, rng)

        def mode(thought: Thought, of: Problem = item.problem) -> Mode:
            return mode_of(response(of, thought.text))

        assert mode(answer_at_once(item, author)) is Mode.AT_ONCE
        assert mode(derivation(item, author)) is Mode.DERIVED
        assert mode(checked_derivation(item, author)) is (
            Mode.CHECKED if item.checks else Mode.DERIVED
        )


def test_what_is_right_and_what_is_compared() -> None:
    """A general request that is worth 2 of 4 has the right content; nothing is compared with nothing."""
    problem = Problem("p", "?", "x", "miniature", "general")
    right = response(problem, "France: Paris.\n")
    scores = tuple(Score(part, {"accuracy": part}) for part in (1.0, 0.5, 0.0))
    result = observed(Group(problem, (right, right, right), scores))
    assert [o.right for o in result] == [True, True, False]
    assert {(o.mode, o.domain, o.difficulty) for o in result} == {(Mode.DERIVED, "general", 0)}
    assert comparison(result) == ""
    once = [Observation(Mode.AT_ONCE, n == 0, "en", 2, "math") for n in range(4)]
    again = [Observation(Mode.CHECKED, True, "en", 2, "math")] * 2
    lines = comparison([*result, *once, *again]).splitlines()
    # 2 of 3 beside 1 of 4; 2 of 2 beside 2 of 3
    assert lines[0] == "derived / at once: 2.7 times as often right"
    assert lines[1].startswith("checked - derived: +33.3% [")
    rows = table_by("domain", [*result, *once], lambda o: o.domain)
    assert [list(column.cells) for column in rows.columns][:3] == [
        ["general", "math"],
        ["0%, -", "100%, 25%"],
        ["100%, 67%", "0%, -"],
    ]


def test_intervals_by_hand() -> None:
    # Wilson for 10 of 20: (0.5 + 0.0960) / 1.1921 +- 1.95996 / 1.1921 x sqrt(0.0125 + 0.0024)
    half = rate(10, 20)
    assert (half.low, half.high) == pytest.approx((0.2993, 0.7007), abs=1e-4)
    assert (rate(0, 10).low, rate(10, 10).high) == pytest.approx((0.0, 1.0), abs=1e-9)
    assert (rate(0, 0).low, rate(0, 0).high) == (0.0, 1.0)
    # Newcombe (1998), example (a): 56/70 - 48/80 = 0.2, from 0.0524 to 0.3339
    assert difference(rate(56, 70), rate(48, 80)) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)
    assert derived_lines("a=b\nc\n=\n") == 2
    assert has_plan("Easy.\nAbout me.\n") and not has_plan("About\nme.\n")
