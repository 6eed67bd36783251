"""What an RL stage writes down: the row of a rollout by hand, and rows where they belong."""

import json
import math
from collections.abc import Callable

import pyarrow.parquet as pq
import pytest

from dianoia.base.records import Group, Problem, SamplingParams
from dianoia.config import ProgressSettings
from dianoia.judge.judge import evaluation_judge
from dianoia.metrics.recorder import Recorder
from dianoia.metrics.training_metrics import rollout_row
from dianoia.sampler.rollouts import RolloutSampler
from dianoia.storage.stage_inputs import Context

MakeRoller = Callable[..., RolloutSampler]
PARAMS = SamplingParams(64, frozenset({0}))


def formed(thought: str, answer: object) -> str:
    return f" <think>{thought}</think><answer>{answer}</answer>"


SCRIPT = {
    "First": (formed("7\n7", 5), formed("", 5)),  # rewards 2 and 2
    "Second": (formed("wait", 8), "7~"),  # rewards 1 and 0
}


def scripted(prompt: str, sample: int) -> str:
    return SCRIPT["First" if "First" in prompt else "Second"][sample]


@pytest.fixture
def groups(roller: MakeRoller, problems: list[Problem]) -> list[Group]:
    return evaluation_judge().score_rollouts(roller(scripted)(problems, 2, PARAMS, (1,)))


def read(path: object) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_row_of_a_rollout_by_hand(groups: list[Group]) -> None:
    row = rollout_row(groups, lambda texts: [len(text.split()) for text in texts])
    lengths = [len(r.completion.ids) for group in groups for r in group.rollouts]
    assert lengths[3] == 1
    assert row == pytest.approx(
        {
            "reward": 5 / 4,
            # of 2, 2, 1, 0 over the whole batch: deviations .75, .75, -.25, -1.25
            "reward_std": math.sqrt((0.5625 + 0.5625 + 0.0625 + 1.5625) / 4),
            "frac_reward_zero_std": 1 / 2,
            "rewards/accuracy/mean": 2 / 4,
            "rewards/format/mean": 3 / 4,
            "completions/mean_length": sum(lengths) / 4,
            "completions/max_length": max(lengths),
            "completions/clipped_ratio": 1 / 4,
            "malformed": 0.0,
            "thought_tokens": (2 + 0 + 1) / 3,
            "empty_thoughts": 1 / 3,
            "reflection": 1 / 3,
            "reflecting": 1 / 3,
            # "7 7" and the empty thought have no words; "wait" is English
            "target_language": 1.0,
            "cons@2": 1 / 2,
            "one_answer": (1 + 0) / 2,  # 5 twice, 8 once
        }
    )


def test_nothing_to_measure_is_none_and_not_zero(
    roller: MakeRoller, problems: list[Problem]
) -> None:
    groups = evaluation_judge().score_rollouts(roller(lambda *_: "7~")(problems, 2, PARAMS, (1,)))
    row = rollout_row(groups, lambda texts: [0] * len(texts))
    assert row["thought_tokens"] is row["reflection"] is row["target_language"] is None
    assert row["frac_reward_zero_std"] == row["completions/clipped_ratio"] == 1.0
    assert row["reward"] == row["cons@2"] == 0.0


def make(context: Context, roller: RolloutSampler, **settings: int) -> Recorder:
    return Recorder(context, roller, ProgressSettings(**settings))


def test_rollout_metrics_go_with_the_first_of_its_steps(
    context: Context, roller: MakeRoller, groups: list[Group]
) -> None:
    recorder = make(context, roller(scripted))
    recorder.open(0)
    recorder.write(0, {})
    with recorder.timing("update_seconds"), recorder.timing("generate_seconds"):
        recorder.rollout(0, groups)
    with recorder.timing("update_seconds"):
        pass
    recorder.write(1, {"loss": 0.5})
    recorder.write(2, {"loss": 0.25})
    rows = read(context.directory.metrics)
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert (rows[1]["reward"], rows[1]["loss"]) == (1.25, 0.5)
    assert rows[1]["update_seconds"] >= rows[1]["generate_seconds"] >= 0.0
    assert rows[0] == {"step": 0} and rows[2] == {"step": 2, "loss": 0.25}


def test_rollouts_are_kept_with_their_advantages(
    context: Context, roller: MakeRoller, groups: list[Group]
) -> None:
    recorder = make(context, roller(scripted))
    path = recorder.save_rollouts("step-00006", 6, groups, [[1.5, -1.5], [0.0, 0.25]])
    assert context.directory.rollout_files() == [path] and path.stem == "step-00006"
    rows = pq.read_table(path).to_pylist()
    assert [row["advantage"] for row in rows] == [1.5, -1.5, 0.0, 0.25]
    assert [row["problem"] for row in rows] == ["a", "a", "b", "b"]
    assert [row["sample"] for row in rows] == [0, 1, 0, 1]
    assert [row["status"] for row in rows] == ["finished"] * 3 + ["truncated"]
    assert [row["reward"] for row in rows] == [2.0, 2.0, 1.0, 0.0]
    assert [row["answer"] for row in rows] == ["5", "5", "8", None]
    assert {row["step"] for row in rows} == {6}


def test_the_held_out_curve_has_draws_of_its_own(
    context: Context, roller: MakeRoller, problems: list[Problem]
) -> None:
    sampler = roller(scripted)
    recorder = make(context, sampler, samples=2)
    recorder.open(0)
    recorder.curve(0, problems, PARAMS)
    recorder.write(0, {})
    (row,) = read(context.directory.metrics)
    assert (row["heldout/pass@1"], row["heldout/cons@2"]) == (0.5, 0.5)
    first, second = sampler.count_tokens(["7\n7", "wait"])  # and an empty thought
    assert row["heldout/thought_tokens"] == pytest.approx((first / 2 + second) / 2)
    assert row["heldout/reflection"] == pytest.approx(1 / 2)
    assert "reward" not in row and row["evaluate_seconds"] >= 0.0
    ((requests, params),) = sampler.sampler.asked
    assert params == PARAMS and all(request.samples == 2 for request in requests)
    # training's keys are (seed, problem number), and so never these
    assert [request.key for request in requests] == [(3, 104_729, 0), (3, 104_729, 1)]


def test_going_on_drops_later_rows_and_remembers_the_batches(
    context: Context, roller: MakeRoller, problems: list[Problem]
) -> None:
    truncated = roller(lambda *_: "7~")
    cut = evaluation_judge().score_rollouts(truncated(problems, 2, PARAMS, (1,)))

    def go(recorder: Recorder, steps: range) -> None:
        for step in steps:
            recorder.rollout(step, cut)
            recorder.write(step + 1, {"loss": 0.0})

    whole = make(context, truncated)
    whole.open(0)
    go(whole, range(2))
    state = json.loads(json.dumps(whole.state()))
    go(whole, range(2, 5))
    metrics, diagnoses = read(context.directory.metrics), read(context.directory.diagnoses)
    # all truncated is said once, in the third batch in a row, which begins at step 2
    assert [(row["step"], row["code"]) for row in diagnoses] == [(2, "all_truncated")]
    again = make(context, truncated)
    again.open(2, state)
    assert again.history.batches == whole.history.batches[:2]
    assert [row["step"] for row in read(context.directory.metrics)] == [1, 2]
    assert read(context.directory.diagnoses) == []
    go(again, range(2, 5))
    assert read(context.directory.metrics) == metrics
    assert read(context.directory.diagnoses) == diagnoses
