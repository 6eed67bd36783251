"""The baseline of an evaluation, and the answer that a model gives to everything."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dianoia.base.records import Completion, Group, Problem, Rollout, RolloutStatus
from dianoia.config import EvaluateStage
from dianoia.judge.judge import evaluation_judge
from dianoia.metrics.group_metrics import measures
from dianoia.metrics.history import History
from dianoia.metrics.most_common_answer import most_common_answer, most_common_gold, one_answer
from dianoia.stages import evaluate
from dianoia.storage.stage_inputs import Context
from tests.unit.conftest import ScriptedSampler

OPTIONS = {"options": ["Rome", "Paris", "Oslo"]}
TURNED = {"options": ["Oslo", "Rome", "Paris"]}


def problems(
    verifier: str, *golds: str, columns: Sequence[dict[str, Any]] | None = None
) -> list[Problem]:
    return [
        Problem(f"p{n}", f"Question {n}?", gold, verifier, columns=columns[n] if columns else {})
        for n, gold in enumerate(golds)
    ]


def answered(
    candidates: Sequence[Problem], answers_PG: Sequence[Sequence[str | None]]
) -> list[Group]:
    done = Completion((1,), (0.0,), True)
    rollouts = [
        [
            Rollout(p, n, (1,), done, "", RolloutStatus.FINISHED, "", answer)
            if answer is not None
            else Rollout(p, n, (1,), done, "", RolloutStatus.MALFORMED, fault="no_tags")
            for n, answer in enumerate(answers_G)
        ]
        for p, answers_G in zip(candidates, answers_PG, strict=True)
    ]
    return evaluation_judge().score_rollouts(rollouts)


@pytest.mark.parametrize(
    ("candidates", "answer", "grades"),
    [
        (problems("number", "1", "1", "2", "1.0"), "1", (1, 1, 0, 1)),
        (problems("number", "2", "1/2", "0.5", "50%", "2"), "1/2", (0, 1, 1, 1, 0)),
        # 2 stands most often by its text, one half by its meaning
        (problems("math", "2", "2", r"\frac12", "0.5", "1/2"), r"\frac12", (0, 0, 1, 1, 1)),
        (problems("exact", "Yes", "no", "yes "), "Yes", (1, 0, 1)),
        (problems("value", "[1,2]", "[1, 2]", "(1, 2)", "3"), "[1,2]", (1, 1, 1, 0)),
        (problems("choice", "B", "(B)", "C", columns=[OPTIONS] * 3), "B", (1, 1, 0)),
        # Paris, Paris, Rome: never the same text twice as often as the letter B
        (
            problems("choice", "Paris", "Rome", "Oslo", columns=[OPTIONS, TURNED, OPTIONS]),
            "B",
            (1, 1, 0),
        ),
        (problems("code", "", ""), "", (0, 0)),
        (problems("gym", "yes", "no", "Yes"), "yes", (1, 0, 1)),
        (problems("number", "1", "2", "3"), "1", (1, 0, 0)),
    ],
)
def test_the_most_common_gold_answer(
    candidates: list[Problem], answer: str, grades: tuple[float, ...]
) -> None:
    constant = most_common_gold(candidates)
    assert (constant.answer, constant.share_P) == (answer, grades)


def test_a_baseline_stands_beside_every_accuracy() -> None:
    candidates = problems("number", "1", "1", "1", "1", "1", "2", "3", "4")  # 62.5 % of golds are 1
    always = answered(candidates, [["1"] * 4] * 8)
    metrics = measures(always, lambda texts: [0] * len(texts))
    assert metrics["pass@1"].value == metrics["baseline"].value == 0.625
    assert metrics["baseline"].n == 8 and metrics["one_answer"].value == 1.0


def test_the_most_common_answer() -> None:
    candidates = problems("number", "1", "2", "3")
    constant = most_common_answer(answered(candidates, [["1", "1.0"], ["1", "2"], [None, None]]))
    assert constant is not None and (constant.answer, constant.share_P) == ("1", (1.0, 0.5))
    assert most_common_answer(answered(candidates[:1], [[None]])) is None


@pytest.mark.parametrize("half", ["0.5", r"\frac{1}{2}", r"$\dfrac12$", r"\boxed{\frac 12}", "1/2"])
def test_a_fraction_in_latex_is_the_number_that_it_is(half: str) -> None:
    constant = most_common_answer(answered(problems("math", "7", "8"), [["0.5", "3"], [half, "4"]]))
    assert constant is not None and (constant.answer, constant.share_P) == ("0.5", (0.5, 0.5))


@pytest.mark.parametrize("other", [r"1\frac{1}{2}", r"-\frac12", r"\frac{x}{2}", r"\frac12x"])
def test_no_other_answer_is_taken_for_a_fraction(other: str) -> None:
    constant = most_common_answer(answered(problems("math", "7", "8"), [["0.5"], [other]]))
    assert constant is not None and constant.share_P == (1.0, 0.0)


@pytest.mark.parametrize("answer", ["1", "7", "x"])
def test_a_stage_of_reinforcement_learning_is_told(answer: str) -> None:
    candidates = problems("number", "1", "1", "1", "2", "3", "4")
    groups = answered(candidates, [[answer] * 4] * 6)
    watch = History()
    summaries = [[d.code for d in watch.rollout(step, groups, None)] for step in range(4)]
    assert (
        "one_answer" in summaries[2]
        and "one_answer" not in summaries[0] + summaries[1] + summaries[3]
    )
    again = History()
    again.load_state(json.loads(json.dumps(watch.state())))
    assert again.batches == watch.batches, "a resumed run has the same history"


def test_one_letter_is_one_answer_however_it_is_written() -> None:
    candidates = problems("choice", *"ABCABC", columns=[OPTIONS, TURNED] * 3)
    groups = answered(candidates, [["B", "(b)"], ["B) Rome", "Rome"]] * 3)
    inputs = one_answer(groups)
    assert inputs is not None and (inputs.answer, inputs.share) == ("B", 1.0)
    assert inputs.gold_share == pytest.approx(1 / 3)


def test_other_answers_are_not_told() -> None:
    candidates = problems("exact", *"ABABBA")
    inputs = one_answer(answered(candidates, [["A", "B"]] * 6))
    assert inputs is not None and inputs.share == 0.5 and inputs.gold_share == 0.5


def test_an_evaluation_says_so(
    folder: Path, context: Context, monkeypatch: pytest.MonkeyPatch, tokenizer: object
) -> None:
    say = lambda prompt, sample: " <think>\nso</think>\n<answer>1</answer>"  # noqa: E731
    monkeypatch.setattr(
        "dianoia.stages.context.make_sampler", lambda *_, **__: ScriptedSampler(tokenizer, say)
    )
    config = EvaluateStage(
        kind="evaluate",
        checkpoints=[folder.as_posix()],
        problems="miniature/math",
        limit=10,
        samples=2,
        max_tokens=32,
    )
    for _ in range(2):  # the second time from the parts
        evaluate.run(config, context)
        (row,) = map(json.loads, context.directory.diagnoses.read_text().splitlines())
        assert row["code"] == "one_answer" and row["checkpoint"] == folder.as_posix()
        assert row["domain"] == "math" and "'1'" in row["message"]
    document = json.loads(context.directory.evaluation.read_text())
    assert "diagnoses" not in document
    assert document["evaluations"][folder.as_posix()]["math"]["one_answer"]["value"] == 1.0
