"""The rollout of an RL stage: dynamic sampling keeps what teaches and fills up what is missing."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from dianoia.base.records import Group
from dianoia.config import AlgorithmSettings, RLStage
from dianoia.stages import context as roles
from dianoia.stages.context import StageContext
from dianoia.stages.rl import ReinforcementLearning
from dianoia.tasks.catalog import problem_source
from tests.unit.conftest import ScriptedSampler

MakeTraining = Callable[..., Any]


@pytest.fixture
def training(
    folder: Path,
    context: StageContext,
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
) -> MakeTraining:
    """Training on a script: '1' marks a problem of the stream whose samples differ in reward."""

    def make(informative: str, **algorithm: Any) -> Any:
        stream = problem_source("miniature/math").draw(context.seed, 0, len(informative))
        marks = dict(zip([p.question for p in stream], informative, strict=True))
        assert len(marks) == len(informative)

        def say(prompt: str, sample: int) -> str:
            question = re.search(r"User: (.*)\nAssistant:", prompt)[1]
            answer = 1000 if sample or marks[question] == "0" else gold[question]
            return f" <think></think><answer>{answer}</answer>"

        gold = {p.question: p.answer for p in stream}
        monkeypatch.setattr(roles, "make_sampler", lambda *_, **__: ScriptedSampler(tokenizer, say))
        config = RLStage(
            kind="rl",
            start=folder.as_posix(),
            problems="miniature/math",
            steps=2,
            group_size=2,
            problems_per_rollout=4,
            sampling={"max_tokens": 16},
            algorithm=algorithm,
            optimizer={"learning_rate": 1e-3},
            progress={"problems": 0},
        )
        stage = ReinforcementLearning(config, context)
        stage.recorder.open(0)
        stage.stream = [problem.id for problem in stream]
        return stage

    return make


def take_rollout(stage: Any) -> tuple[list[Group], list[Group]]:
    """Everything that one rollout draws, and what is selected of it; no step is taken."""
    calls: list[list[Group]] = []
    stage.recorder.rollout = lambda step, groups, figures: calls.append(groups)
    stage.split = lambda groups, advantages: calls.append(groups) or []
    stage.train_on_rollout()
    sampled, selected = calls
    return sampled, selected


def places(stage: Any, groups: list[Group]) -> list[int]:
    """Return the positions of the groups in the stream of problems."""
    return [stage.stream.index(group.problem.id) for group in groups]


def test_without_it_a_rollout_is_the_next_problems(training: MakeTraining) -> None:
    stage = training("10010000")
    assert places(stage, take_rollout(stage)[1]) == [0, 1, 2, 3]
    assert places(stage, take_rollout(stage)[1]) == [4, 5, 6, 7]
    assert stage.problem_sets.state()["drawn"]["reasoning"] == 8


def test_it_draws_until_enough_groups_teach(training: MakeTraining) -> None:
    stage = training("1001010011111111", dynamic_sampling=True)
    sampled, groups = take_rollout(stage)
    assert places(stage, sampled) == list(range(12)), "metrics are of all that was drawn"
    assert places(stage, groups) == [0, 3, 5, 8]
    assert all(len(set(group.rewards_G)) == 2 for group in groups)
    assert stage.problem_sets.state()["drawn"]["reasoning"] == 12
    # what was sampled and thrown away was sampled all the same
    generated = [
        stage.roller.sampler.generate(*prompts) for prompts in list(stage.roller.sampler.asked)
    ]
    assert stage.tokens == sum(
        len(c.ids) for groups in generated for group in groups for c in group
    )
    assert places(stage, take_rollout(stage)[0]) == [12, 13, 14, 15], (
        "the next rollout goes on behind"
    )


def test_groups_that_teach_nothing_fill_up_after_the_last_round(training: MakeTraining) -> None:
    stage = training("100101001111", dynamic_sampling=True, dynamic_rounds=1)
    assert places(stage, take_rollout(stage)[1]) == [0, 3, 5, 1]
    assert stage.problem_sets.state()["drawn"]["reasoning"] == 8


def test_a_full_first_round_draws_no_more(training: MakeTraining) -> None:
    stage = training("11111111", dynamic_sampling=True)
    assert places(stage, take_rollout(stage)[1]) == [0, 1, 2, 3]
    assert stage.problem_sets.state()["drawn"]["reasoning"] == 4


def test_rollouts_are_whole_even_where_nothing_teaches(training: MakeTraining) -> None:
    stage = training("0" * 20, dynamic_sampling=True)
    assert places(stage, take_rollout(stage)[1]) == [0, 1, 2, 3]
    assert stage.problem_sets.state()["drawn"]["reasoning"] == 20  # one round, and four more


def test_a_problem_is_sampled_under_its_number_whatever_the_batch(training: MakeTraining) -> None:
    stage = training("1001010011110000", dynamic_sampling=True)
    take_rollout(stage)
    stage.config = stage.config.model_copy(update={"algorithm": AlgorithmSettings()})
    take_rollout(stage)
    keys = [request.key for requests, _ in stage.roller.sampler.asked for request in requests]
    assert keys == [(3, number) for number in range(16)], "the run's seed, the problem's number"
