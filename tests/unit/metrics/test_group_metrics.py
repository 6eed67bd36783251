"""Measures of scored groups: a perfect oracle is perfect, and a known pattern gives known numbers."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dianoia.base.records import Group, Problem, RolloutStatus, SamplingParams
from dianoia.config import EvaluateStage
from dianoia.judge.judge import evaluation_judge
from dianoia.metrics.group_metrics import (
    by_difficulty,
    by_domain,
    measures,
    problem_means,
    thoughts_of,
)
from dianoia.miniature.problems import MiniatureProblems
from dianoia.sampler.rollouts import RolloutSampler
from dianoia.stages import evaluate
from dianoia.storage.stage_inputs import Context
from tests.unit.conftest import ScriptedSampler

MakeRoller = Callable[..., RolloutSampler]


def formed(thought: str, answer: object) -> str:
    return f" <think>\n{thought}</think>\n<answer>{answer}</answer>"


def count_words(texts: list[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def scored(roller: RolloutSampler, problems: list[Problem], samples: int) -> list[Group]:
    params = SamplingParams(64, frozenset({0}))
    return evaluation_judge().score_rollouts(roller(problems, samples, params, (1,)))


def test_a_perfect_oracle_is_perfect(roller: MakeRoller) -> None:
    problems = MiniatureProblems("math").heldout(12)
    gold = {problem.question: problem.answer for problem in problems}

    def say(prompt: str, sample: int) -> str:
        (answer,) = (gold[question] for question in gold if question in prompt)
        return formed("Wait, 1+1=2 apples.\n" * sample, answer)

    groups = scored(roller(say), problems, 4)
    metrics = measures(groups, count_words)
    for name in ("pass@1", "cons@4", "pass@4", "format"):
        assert (metrics[name].value, metrics[name].high, metrics[name].n) == (1.0, 1.0, 12), name
        assert metrics[name].low < 1.0
    assert metrics["truncated"].value == 0.0
    # samples 0 to 3 have 0 to 3 lines of three words, one of them "Wait"
    assert metrics["thought_tokens"].value == pytest.approx(4.5)
    assert metrics["reflection"].value == pytest.approx(1.5)
    assert metrics["reflecting"].value == pytest.approx(0.75)


PATTERN = {
    "First": (
        formed("Wait, one two", 5),  # right, 3 words
        formed("", "5.0"),  # right, and the same vote
        formed("a b c d e", 4),  # wrong
        formed("a b", 5) + "~",  # cut, however whole it looks
    ),
    "Second": (
        formed("But wait: check.", 8),  # wrong, 3 words, 3 reflection words
        formed("x", 8),  # wrong, 1 word
        formed("x x", 7),  # right, 2 words
        " <think>\nx</think>\n7",  # malformed, however right
    ),
}


def by_pattern(prompt: str, sample: int) -> str:
    return PATTERN["First" if "First" in prompt else "Second"][sample]


def test_a_known_pattern_gives_known_numbers(roller: MakeRoller, problems: list[Problem]) -> None:
    groups = scored(roller(by_pattern), problems, 4)
    metrics = {name: value.value for name, value in measures(groups, count_words).items()}
    assert metrics == pytest.approx(
        {
            "pass@1": (2 / 4 + 1 / 4) / 2,
            "baseline": 1 / 2,  # 5 or 7, always
            "one_answer": (2 / 3 + 0) / 2,  # 5, of three answers and of three others
            "cons@4": (1 + 0) / 2,
            "vote_gain": ((1 - 2 / 4) + (0 - 1 / 4)) / 2,
            "pass@4": 1.0,
            "format": (3 / 4 + 3 / 4) / 2,
            "truncated": (1 / 4 + 0) / 2,
            # over finished rollouts: (3 + 0 + 5) / 3 and (3 + 1 + 2) / 3
            "thought_tokens": (8 / 3 + 2) / 2,
            "reflection": (1 / 3 + 3 / 3) / 2,
            "reflecting": 1 / 3,
            # the empty thought has no words and no language; all others are English letters
            "target_language": 1.0,
        }
    )
    statuses = [[rollout.status for rollout in group.rollouts] for group in groups]
    assert statuses[0] == [RolloutStatus.FINISHED] * 3 + [RolloutStatus.TRUNCATED]
    assert statuses[1] == [RolloutStatus.FINISHED] * 3 + [RolloutStatus.MALFORMED]


def test_a_group_without_thoughts_is_left_out_of_their_means(
    roller: MakeRoller, problems: list[Problem]
) -> None:
    say = lambda prompt, sample: formed("a b", 5) if "First" in prompt else "7~"  # noqa: E731
    metrics = measures(scored(roller(say), problems, 2), count_words)
    assert (metrics["thought_tokens"].value, metrics["thought_tokens"].n) == (2.0, 1)
    assert (metrics["pass@1"].value, metrics["pass@1"].n) == (0.5, 2)
    assert (metrics["truncated"].value, metrics["format"].value) == (0.5, 0.5)
    nothing = measures(scored(roller(lambda *_: "~"), problems, 2), count_words)
    assert "thought_tokens" not in nothing and "reflection" not in nothing
    assert nothing["cons@2"].value == nothing["pass@1"].value == 0.0


def test_one_sample_keeps_its_grade(roller: MakeRoller, problems: list[Problem]) -> None:
    """With k = 1, pass@k is pass@1 itself, fractions of tests included."""
    (group,) = scored(roller(lambda *_: formed("", 5)), problems[:1], 1)
    half = replace(
        group, scores=(replace(group.scores[0], parts={"accuracy": 0.5, "format": 1.0}),)
    )
    metrics = measures([half], count_words)
    assert metrics["pass@1"].value == metrics["cons@1"].value == 0.5


def test_tied_votes_share_the_vote(roller: MakeRoller, problems: list[Problem]) -> None:
    say = lambda prompt, sample: formed("", (5, 6)[sample])  # noqa: E731
    metrics = measures(scored(roller(say), problems[:1], 2), count_words)
    assert metrics["cons@2"].value == 0.5 and metrics["pass@2"].value == 1.0


def test_a_thought_in_another_language(roller: MakeRoller, problems: list[Problem]) -> None:
    chinese = [replace(problem, language="zh") for problem in problems]
    say = lambda prompt, sample: formed("一步一步我来数", 5)  # noqa: E731
    assert measures(scored(roller(say), problems, 2), count_words)["target_language"].value == 0.0
    assert measures(scored(roller(say), chinese, 2), count_words)["target_language"].value == 1.0


def test_a_gold_that_cannot_be_read_is_not_right(
    roller: MakeRoller, problems: list[Problem]
) -> None:
    odd = [replace(problems[0], answer="five"), problems[1]]
    groups = scored(roller(lambda *_: formed("", 7)), odd, 2)
    assert groups[0].scores[0].parts["accuracy"] is None
    assert measures(groups, count_words)["pass@1"].value == 0.5


def test_difficulties_come_easiest_first(roller: MakeRoller, problems: list[Problem]) -> None:
    unknown = replace(problems[0], id="c", difficulty=None, domain="logic")
    groups = scored(roller(by_pattern), [*problems, unknown], 2)
    parts = by_difficulty(groups)
    assert list(parts) == ["2", "10"], "by number, not by letter"
    assert [[g.problem.id for g in part] for part in parts.values()] == [["b"], ["a"]]
    assert {name: [g.problem.id for g in part] for name, part in by_domain(groups).items()} == {
        "math": ["a", "b"],
        "logic": ["c"],
    }


def test_the_stage_gives_a_perfect_oracle_100_percent(
    folder: Path, context: Context, monkeypatch: pytest.MonkeyPatch, tokenizer: object
) -> None:
    gold = {problem.question: problem.answer for problem in MiniatureProblems("math").heldout(10)}
    samplers: list[ScriptedSampler] = []

    def say(prompt: str, sample: int) -> str:
        question = re.search(r"User: (.*)\nAssistant:", prompt)[1]
        return formed("1+1=2\n", gold[question])

    def make(*_: object, **__: object) -> ScriptedSampler:
        samplers.append(ScriptedSampler(tokenizer, say))
        return samplers[-1]

    monkeypatch.setattr("dianoia.stages.context.make_sampler", make)
    monkeypatch.setattr(evaluate, "EVALUATED_AT_ONCE", 4)
    config = EvaluateStage(
        kind="evaluate",
        checkpoints=[folder.as_posix()],
        problems="miniature/math",
        limit=10,
        samples=3,
        max_tokens=32,
        top_p=0.9,
    )
    evaluate.run(config, context)
    written = json.loads(context.directory.evaluation.read_text())
    result = written["evaluations"][folder.as_posix()]["math"]
    for name in ("pass@1", "cons@3", "pass@3", "format"):
        assert result[name]["value"] == 1.0 and result[name]["n"] == 10
    parts = written["by_difficulty"][folder.as_posix()]["math"]
    assert sum(part["pass@1"]["n"] for part in parts.values()) == 10
    assert math.isclose(sum(part["pass@1"]["value"] for part in parts.values()), len(parts))
    # every problem is asked once, under a key of its own, with the recipe's parameters
    requests = [request for prompts, _ in samplers[0].asked for request in prompts]
    assert len(requests) == 10 == len({request.key for request in requests})
    assert all(request.samples == 3 for request in requests)
    assert {params for _, params in samplers[0].asked} == {
        SamplingParams(32, frozenset({0}), 0.6, 0.9, 0)
    }
    # an evaluation that was done is not done again
    evaluate.run(config, context)
    assert len(samplers) == 1


def test_the_interval_of_a_language_share_ends_at_one(
    roller: MakeRoller, problems: list[Problem]
) -> None:
    # One problem's thoughts are half Chinese: Student's interval around the mean of the shares would reach beyond 1.
    mixed = problems[0].question
    say = lambda prompt, sample: formed("one two 一二" if mixed in prompt else "one two", 5)  # noqa: E731
    language = measures(scored(roller(say), problems, 2), count_words)["target_language"]
    assert language.low < language.value < language.high == 1.0


def test_means_per_problem_are_those_of_the_estimates(
    roller: MakeRoller, problems: list[Problem]
) -> None:
    groups = scored(roller(by_pattern), problems, 4)
    first, second = problem_means(groups, thoughts_of(groups, count_words))
    assert (first.problem, first.domain, first.samples) == (problems[0].id, problems[0].domain, 4)
    assert (first.accuracy, first.majority, first.format, first.truncated) == (0.5, 1.0, 0.75, 0.25)
    assert (second.accuracy, second.majority, second.thoughts) == (0.25, 0.0, 3)
    assert (first.thought_tokens, second.thought_tokens) == (pytest.approx(8 / 3), 2.0)
    assert (first.reflection, second.reflecting) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    nothing = scored(roller(lambda *_: "~"), problems, 2)
    (silent, _) = problem_means(nothing, thoughts_of(nothing, count_words))
    assert (silent.thoughts, silent.thought_tokens, silent.target_language) == (0, None, None)
