"""RL for all scenarios by hand: eq. 8 to 10 for every kind of rollout, what models are shown, keys and streams."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dianoia.base.errors import UserError
from dianoia.base.records import Completion, Problem, Rollout, RolloutStatus
from dianoia.config import PreferenceSettings, RewardSettings
from dianoia.judge.problem_sets import Scenario, Scenarios, weights
from dianoia.judge.reward_model_part import Preferred
from dianoia.tasks.catalog import general_source, problem_source

FINISHED, MALFORMED, TRUNCATED = RolloutStatus
REWARDS = RewardSettings(language=0.5)
MATH = Problem("m", "2+3?", "5", "number")
GENERAL = Problem("g", "Tell me of rain.", "", "reference", domain="general")
UNSAFE = replace(GENERAL, id="s", question="Help me to steal.", domain="safety")


class Scripted:
    """A reward model that gives what it is told and remembers what it was shown."""

    def __init__(self, *scores: float) -> None:
        self.scores, self.shown = list(scores), []

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        self.shown += zip(prompts, responses, strict=True)
        found, self.scores = self.scores[: len(prompts)], self.scores[len(prompts) :]
        return found


def rollout(
    problem: Problem, sample: int, answer: str | None, thought: str = "so", cut: bool = False
) -> Rollout:
    status = FINISHED if answer is not None else TRUNCATED if cut else MALFORMED
    text = "half" if answer is None else f"<think>{thought}</think><answer>{answer}</answer>"
    known = None if answer is None else thought
    done = Completion((1, 2), (0.0, 0.0), not cut)
    return Rollout(problem, sample, (9,), done, text, status, known, answer)


def sets(helpful: Scripted, safety: Scripted) -> Scenarios:
    source = problem_source("miniature/math")
    made = [
        Scenario("reasoning", source),
        Scenario("helpful", source, Preferred("helpful", helpful, weight=2.0)),
        Scenario("safety", source, Preferred("safety", safety)),
    ]
    return Scenarios(made, REWARDS, seed=3)


def test_the_reward_of_every_kind_by_hand() -> None:
    """Reward = Reward_reasoning + Reward_general + Reward_language, of the first two one; language weighs 0.5."""
    helpful, safety = Scripted(1.5, -0.25), Scripted(4.0)
    rollouts = [
        [
            rollout(MATH, 0, "5", "so five"),
            rollout(MATH, 1, "6", "所以 so"),
            rollout(MATH, 2, None),
        ],
        [
            rollout(GENERAL, 0, "Wet.", "so"),
            rollout(GENERAL, 1, "Dry.", "雨"),
            rollout(GENERAL, 2, None),
            rollout(GENERAL, 3, None, cut=True),
        ],
        [rollout(UNSAFE, 0, "No.", "1+1"), rollout(UNSAFE, 1, None)],
    ]
    counts = {"reasoning": 1, "helpful": 1, "safety": 1}
    math, general, unsafe = sets(helpful, safety).judge(counts, rollouts, max_tokens=50)
    # reasoning: accuracy + format + 0.5 language; "所以 so" has one English word of three
    assert math.rewards_G == pytest.approx((1 + 1 + 0.5, 0 + 1 + 0.5 / 3, 0))
    assert math.scores[2].parts == {"accuracy": 0.0, "format": 0.0, "language": 0.0}
    # helpful: 2 x score + format + 0.5 language; what broke off gets the lowest score, -0.25, and nothing else
    assert general.rewards_G == pytest.approx((3 + 1 + 0.5, -0.5 + 1 + 0, -0.5, -0.5))
    assert general.scores[1].parts == {"format": 1.0, "language": 0.0, "helpful": -0.25}
    assert general.scores[2].parts == {"format": 0.0, "language": 0.0, "helpful": -0.25}
    assert min(general.rewards_G[:2]) > max(general.rewards_G[2:]), "no way around"
    # safety: 4 + format; a thought without words has no language, which is not 0
    assert unsafe.rewards_G == pytest.approx((4 + 1, 4))
    assert unsafe.scores[0].parts == {"format": 1.0, "language": None, "safety": 4.0}
    assert all("accuracy" not in s.parts for group in (general, unsafe) for s in group.scores)


def test_each_model_is_shown_what_it_may_see_and_only_what_finished() -> None:
    helpful, safety = Scripted(1.0), Scripted(1.0)
    rollouts = [
        [rollout(GENERAL, 0, "Wet.", "so"), rollout(GENERAL, 1, None)],
        [rollout(UNSAFE, 0, "No.", "so")],
    ]
    sets(helpful, safety).judge({"helpful": 1, "safety": 1}, rollouts, max_tokens=50)
    assert helpful.shown == [("Tell me of rain.", "Wet.")], "not the thought"
    assert safety.shown == [("Help me to steal.", "<think>so</think><answer>No.</answer>")]


def test_a_general_prompt_with_a_verifier_is_not_verified() -> None:
    problem = replace(MATH, answer="five")  # which nothing can read
    (group,) = sets(Scripted(0.5), Scripted()).judge(
        {"helpful": 1}, [[rollout(problem, 0, "5")]], 50
    )
    assert group.rewards_G == pytest.approx((2 * 0.5 + 1 + 0.5,))


def test_a_group_without_a_finished_sample_gets_the_lowest_of_the_run() -> None:
    made = sets(Scripted(-3.0, 2.0), Scripted())
    broken = [rollout(GENERAL, n, None) for n in range(2)]

    def judged(*rollouts_PG: list[Rollout]) -> list[tuple[float, ...]]:
        groups = made.judge({"helpful": len(rollouts_PG)}, rollouts_PG, 50)
        return [group.rewards_G for group in groups]

    assert judged(broken) == [(0.0, 0.0)], "the model has not said anything yet"
    assert judged(broken, [rollout(GENERAL, 0, "Wet.", "雨")]) == [(-6.0, -6.0), (-5.0,)]
    state = made.state()
    assert judged([rollout(GENERAL, 0, "Dry.", "雨")], broken) == [(5.0,), (-6.0, -6.0)]
    again = sets(Scripted(), Scripted())
    again.load_state(state)
    assert again.state() == state and state["lowest"] == {"helpful": -3.0, "safety": None}


def test_the_held_out_measure_is_a_mean_a_problem() -> None:
    model = Preferred("helpful", Scripted(1.0, 3.0, -2.0), weight=5.0)
    found = model.measure(
        [
            [rollout(GENERAL, 0, "a"), rollout(GENERAL, 1, "b")],  # (1 + 3) / 2
            [rollout(GENERAL, 0, "c"), rollout(GENERAL, 1, None)],  # (-2 - 2) / 2
            [rollout(GENERAL, 0, None), rollout(GENERAL, 1, None)],  # the lowest of all
        ]
    )
    assert found == [2.0, -2.0, -2.0], "unweighted"
    assert model.lowest is None, "what is held out is no part of training"
    assert model.measure([[rollout(GENERAL, 0, None)]]) is None


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_stops(score: float) -> None:
    model = Preferred("safety", Scripted(score))
    with pytest.raises(UserError, match=r"preferences.safety.*sample 0 of problem 's'"):
        model.judge((), [[rollout(UNSAFE, 0, "No.")]])


# Streams -----------------------------------------------------------------------------------------


def test_each_set_has_a_stream_and_keys_of_its_own() -> None:
    made = sets(Scripted(), Scripted())
    keys, problems = made.next({"reasoning": 3})
    assert keys == [(3, 0), (3, 1), (3, 2)], "as without preferences"
    more, _ = made.next({"reasoning": 2, "helpful": 2, "safety": 1})
    assert more[:2] == [(3, 3), (3, 4)]
    assert [key[::2] for key in more[2:]] == [(3, 0), (3, 1), (3, 0)]
    assert len({len(key) for key in more}) == 2 and len({*keys, *more}) == 8
    marks = {key[1] for key in more[2:]}
    assert len(marks) == 2 and not marks & {104_729, 7919}, "nor those of curve and evaluation"
    assert problems == problem_source("miniature/math").draw(3, 0, 3)
    state = made.state()["drawn"]
    assert state == {"reasoning": 5, "helpful": 2, "safety": 1}
    again = sets(Scripted(), Scripted())
    again.load_state(made.state())
    counts = {"reasoning": 1, "helpful": 1, "safety": 1}
    assert again.next(counts) == made.next(counts)


def test_general_prompts_need_no_answers(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    rows = ['{"prompt": [{"role": "user", "content": "Say %d"}]}' % n for n in range(40)]  # noqa: UP031
    file.write_text("\n".join([*rows, '{"prompt": "Essay?", "answer": ["x"], "verifier": "what"}']))
    source = general_source(file.as_posix())
    drawn = source.draw(1, 0, 10)
    assert {(p.domain, p.answer) for p in drawn} == {("general", "")}
    assert len({p.question for p in drawn}) == 10 and source.heldout(3)
    assert source.languages == {"en"}


@pytest.mark.parametrize(
    ("settings", "problems", "counts"),
    [
        ({"share": 0.5, "safety_share": 0.25}, 16, {"helpful": 6, "safety": 2}),
        ({"share": 0.5}, 512, {"helpful": 205, "safety": 51}),
        ({"share": 0.3}, 10, {"helpful": 2, "safety": 1}),
        ({"safety": None, "safety_problems": None}, 16, {"helpful": 8, "safety": 0}),
        ({"helpful": None, "problems": None}, 16, {"helpful": 0, "safety": 8}),
    ],
)
def test_a_rollout_is_divided_by_shares(
    settings: dict[str, object], problems: int, counts: dict[str, int]
) -> None:
    both = {"helpful": "h", "problems": "a", "safety": "s", "safety_problems": "b"}
    assert PreferenceSettings(**{**both, **settings}).general_counts(problems) == counts


def test_weights_of_all_parts_are_known() -> None:
    chosen = PreferenceSettings(helpful="h", problems="a", helpful_weight=0.25)
    found = weights(RewardSettings(language=2.0, overlong_cache=3), chosen)
    assert found == {
        "accuracy": 1.0, "format": 1.0, "language": 2.0, "random": 0.0, "overlong": 1.0,
        "helpful": 0.25, "safety": 1.0,
    }  # fmt: skip
