"""What an RL stage writes down of reward models and of programs: rows by hand, diagnoses that survive a restart."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dianoia.base.records import Group, Problem, Purpose, RolloutGroup, SamplingParams
from dianoia.config import ProgressSettings
from dianoia.judge.hacking import Point
from dianoia.judge.judge import Judge, evaluation_judge
from dianoia.judge.problem_sets import ProblemSet
from dianoia.judge.reward_model_part import RewardModelPart
from dianoia.judge.reward_part import ScoringState
from dianoia.metrics.history import History
from dianoia.metrics.recorder import Recorder
from dianoia.metrics.training_metrics import rollout_row
from dianoia.sampler.rollouts import RolloutSampler
from dianoia.sandbox.sandbox import STRONG, UNSANDBOXED, VARIABLE, offered
from dianoia.storage.stage_inputs import Context
from dianoia.tasks.code import Verdict

MakeRoller = Callable[..., RolloutSampler]
PARAMS = SamplingParams(64, frozenset({0}))
WEIGHTS = {"accuracy": 2.0, "format": 1.0, "helpful": 0.5, "safety": 1.0}


def scripted(prompt: str, sample: int) -> str:
    if "First" in prompt and sample:
        return "7~"
    return f" <think>hm</think><answer>{5 if 'First' in prompt else 8}</answer>"


class Longer:
    """Rewards by the number that was answered."""

    def score(self, prompts: list[str], responses: list[str]) -> list[float]:
        return [float(response) for response in responses]


class Source:
    """Held-out general prompts."""

    languages = frozenset({"en"})

    def draw(self, seed: int, start: int, count: int) -> list[Problem]:
        raise AssertionError("nothing is trained on here")

    def heldout(self, limit: int) -> list[Problem]:
        prompts = [Problem("f", "First?", "", "reference"), Problem("t", "Then?", "", "reference")]
        return prompts[:limit]


HELPFUL = ProblemSet(Purpose.HELPFUL, Source())


def judge(weight: float = 0.5) -> Judge:
    """Accuracy and format, and the helpful model for general prompts."""
    model = RewardModelPart("helpful", Longer(), weight, Purpose.HELPFUL)
    return Judge([*evaluation_judge().parts, model])


@pytest.fixture
def groups(roller: MakeRoller, problems: list[Problem]) -> list[Group]:
    """Two groups of reasoning, (right, cut) and (wrong, wrong), and one general: scores 5 and 5."""
    sampler = roller(scripted)
    general = [replace(problems[0], id="g", verifier="reference", domain="general")]
    rollouts_PG = [*sampler(problems, 2, PARAMS, (1,)), *sampler(general, 2, PARAMS, (1, 2))]
    purposes = [Purpose.REASONING, Purpose.REASONING, Purpose.HELPFUL]
    unscored = [
        RolloutGroup(rollouts_G[0].problem, tuple(rollouts_G), purpose)
        for rollouts_G, purpose in zip(rollouts_PG, purposes, strict=True)
    ]
    return judge().score(unscored, ScoringState())


def read(path: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_row_of_a_mixed_rollout_by_hand(groups: list[Group]) -> None:
    row = rollout_row(groups, lambda texts: [1] * len(texts), WEIGHTS)
    counts = {
        key: row[key] for key in row if key.startswith(("rewards/", "frac_", "cons@", "thought"))
    }
    assert counts == pytest.approx(
        {
            "frac_reward_zero_std": 1 / 3,
            "rewards/accuracy/mean": 1 / 4,  # of the four that have one
            "rewards/format/mean": 4 / 6,
            "rewards/helpful/mean": 5.0,  # the cut one got the lowest of its group
            "thought_tokens": 1.0,
            "cons@2": 1 / 2,
            "frac_general": 1 / 3,
            "rewards/helpful/std": 0.0,
            "rewards/helpful/min": 5.0,
            "rewards/helpful/max": 5.0,
            # groups of (1, 0) and (0, 0), weight 2; three groups of (1, 0), (1, 1) and (1, 0)
            "rewards/accuracy/spread": 2 * (1 / 2 + 0) / 2,
            "rewards/format/spread": (1 / 2 + 0 + 1 / 2) / 3,
            "rewards/helpful/spread": 0.0,
        }
    )
    plain = rollout_row(groups[:2], lambda texts: [1] * len(texts))
    assert not any("spread" in key or key == "frac_general" for key in plain)
    mixed = {key: row[key] for key in ("thought_tokens", "cons@2", "reflection", "empty_thoughts")}
    assert mixed.items() <= plain.items(), "general prompts move no curve of reasoning"


def recorder(context: Context, roller: RolloutSampler, **settings: int) -> Recorder:
    watch = History(weights=WEIGHTS, from_step=0)
    progress = ProgressSettings(samples=2, **settings)
    return Recorder(context, roller, progress, watch, WEIGHTS, judge())


def test_the_held_out_curve_has_a_point_of_each_model(
    context: Context, roller: MakeRoller, problems: list[Problem]
) -> None:
    sampler = roller(scripted)
    recording = recorder(context, sampler)
    recording.open(0)
    recording.curve(0, problems, PARAMS, [HELPFUL])
    recording.write(0, {})
    (row,) = read(context.directory.metrics)
    # First?: 5 and the lowest of its group, 5; Then?: 8 and 8
    assert row["heldout/rewards/helpful/mean"] == pytest.approx((5 + 8) / 2)
    assert row["heldout/pass@1"] == pytest.approx(1 / 4)
    (_, params), (general, also) = sampler.sampler.asked
    assert params == also == PARAMS
    assert [request.key for request in general] == [
        (3, 104_729, 86_028_121, 0),
        (3, 104_729, 86_028_121, 1),
    ]
    assert recording.history.points == [Point(0, (0.5, 0.0), {"helpful": (5.0, 8.0)})]


def hacked(step: int) -> Point:
    """Accuracy falls and the reward rises from step 2 on."""
    late = step > 2
    return Point(step, (0.25 if late else 0.75,) * 4, {"helpful": (9.0 if late else 1.0,) * 4})


def test_hacking_is_told_once_however_often_the_stage_is_stopped(
    context: Context, roller: MakeRoller
) -> None:
    def go(built: Recorder, steps: range) -> None:
        for step in steps:
            built.report(step - 1, built.history.point(hacked(step)))
            built.write(step, {})

    whole = recorder(context, roller(scripted))
    whole.open(0)
    go(whole, range(7))
    diagnoses = read(context.directory.diagnoses)
    assert [(row["step"], row["code"]) for row in diagnoses] == [(3, "reward_hacking")]
    for stop in (3, 4, 5):
        first = recorder(context, roller(scripted))
        first.open(0)
        go(first, range(stop + 1))
        state = json.loads(json.dumps(first.state()))
        go(first, range(stop + 1, 7))  # what was done after the state was written is done again
        again = recorder(context, roller(scripted))
        again.open(stop, state)
        go(again, range(stop + 1, 7))
        assert read(context.directory.diagnoses) == diagnoses
        assert again.history.state() == whole.history.state()


def test_points_before_general_prompts_are_nothing_to_compare_with() -> None:
    watch = History(weights=WEIGHTS, from_step=4)
    for step in (0, 2, 4, 6):
        watch.point(hacked(step))
    assert [point.step for point in watch.points] == [4, 6]


def test_a_flat_model_is_told_and_its_history_kept(
    context: Context, roller: MakeRoller, groups: list[Group]
) -> None:
    recording = recorder(context, roller(scripted))
    recording.open(0)
    for step in range(2):
        recording.rollout(step, groups)
        recording.write(step, {})
    again = recorder(context, roller(scripted))
    again.open(2, json.loads(json.dumps(recording.state())))
    again.rollout(2, groups)
    (diagnoses,) = read(context.directory.diagnoses)
    assert (diagnoses["step"], diagnoses["code"]) == (2, "learned_flat")
    assert (
        "helpful model's scores" in diagnoses["message"]
        and "50% of them finished" in diagnoses["message"]
    )


# Programs ----------------------------------------------------------------------------------------


def test_verdicts_on_programs_are_counted_where_programs_are_asked_for(
    context: Context, roller: MakeRoller, groups: list[Group]
) -> None:
    recording = recorder(context, roller(scripted))
    recording.open(0)
    program = replace(groups[0].problem, verifier="code")
    verdicts = (Verdict.PASSED, Verdict.CRASHED)
    scores = [replace(s, verdict=v) for s, v in zip(groups[0].scores, verdicts, strict=True)]
    recording.rollout(0, [replace(groups[0], problem=program, scores=tuple(scores)), *groups[1:]])
    recording.write(1, {})
    recording.rollout(1, groups)
    recording.write(2, {})
    rows = [
        {name: row[name] for name in row if name.partition("/")[0] in ("code", "plain")}
        for row in read(context.directory.metrics)
    ]
    # The other problems' verifiers are plain ones, of whose answers none was lost.
    plain = dict.fromkeys(("plain/timed_out", "plain/out_of_memory", "plain/crashed"), 0)
    assert rows[0] == plain | {f"code/{verdict}": 0 for verdict in Verdict} | {
        "code/passed": 1,
        "code/crashed": 1,
    }
    assert rows[1] == plain


def test_real_programs_are_counted(
    context: Context, roller: MakeRoller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, next((n for n in STRONG if offered(n) is None), UNSANDBOXED))
    tests = json.dumps({"cases": [{"input": "", "output": "5\n"}]})
    problem = Problem("c", "Print 5", tests, "code", domain="code")
    programs = ("print(5)", "print(6)", "raise SystemExit(3)", "print(5)")
    sampler = roller(lambda _, n: f" <think></think><answer>{programs[n]}</answer>")
    recording = recorder(context, sampler)
    recording.open(0)
    (group,) = evaluation_judge().score_rollouts(sampler([problem], 4, PARAMS, (1,)))
    assert group.rewards_G == (2.0, 1.0, 1.0, 2.0)
    recording.rollout(0, [group])
    counts = {
        key: count for key, count in recording.row.items() if key.startswith("code/") and count
    }
    assert counts == {"code/passed": 2, "code/wrong_answer": 1, "code/error": 1}
