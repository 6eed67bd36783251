"""The task of both sides: the miniature's R1-Zero with its problems in order, its reward and its held-out metrics.

Some differences between the trainers remain: TRL divides a group's rewards by the sample standard deviation, Dianoia
by the population standard deviation (3 % smaller at 16); TRL adds 1e-4 to it, the recipe 1e-6; TRL clips gradients
with PyTorch's norm.
"""

from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from benchmarks.table.link import ROOT
from dianoia.base.records import Completion, Problem, Rollout, SamplingParams
from dianoia.bases import shipped_model
from dianoia.config import RLStage
from dianoia.judge.judge import Judge, reward_parts
from dianoia.judge.reward_part import ScoringState
from dianoia.metrics.group_metrics import measures
from dianoia.recipe import load_recipe
from dianoia.sampler.interface import WeightUpdate
from dianoia.sampler.native.engine import NativeSampler
from dianoia.sampler.rollouts import RolloutSampler, stop_ids
from dianoia.tasks.catalog import problem_source
from dianoia.text.parsing import make_rollout
from dianoia.text.prompts import Prompts
from dianoia.text.template import template_of

RECIPE = ROOT / "recipes" / "miniature-zero.toml"
HELDOUT = (123_456_789, 0)
"""Random key of the held-out samples, separate from those of training."""


@dataclass
class Task:
    """Problems, prompts, reward and held-out metrics."""

    stage: RLStage
    seed: int

    def __post_init__(self) -> None:
        self.source = problem_source(self.stage.problems)
        self.template = template_of(self.stage.template, {})
        self.judge = Judge(reward_parts(self.stage.rewards, self.seed, self.template))
        self.state = ScoringState(max_tokens=self.stage.sampling.max_tokens)
        self.problems: list[Problem] = []

    def draw(self, steps: int) -> list[dict[str, Any]]:
        """Return rows of a data set: the prompts of some steps, in the order of a run of the recipe."""
        count = steps * self.stage.problems_per_rollout
        # The same problems in the same order as the stage draws them.
        self.problems = self.source.draw(self.seed, 0, count)
        rendered = [self.template.render(problem.question) for problem in self.problems]
        return [{"prompt": text, "number": number} for number, text in enumerate(rendered)]

    def reward(self, tokenizer: PreTrainedTokenizerBase) -> Any:
        """Return the recipe's reward as a reward function for TRL."""
        end = tokenizer.eos_token_id

        def recipe_reward(
            completion_ids: list[list[int]], number: list[int], **_: Any
        ) -> list[float]:
            # One group per completion: rewards do not depend on the other samples of a problem.
            rollouts = [
                [self.parsed(tokenizer, ids, self.problems[index], end)]
                for ids, index in zip(completion_ids, number, strict=True)
            ]
            return [
                group.scores[0].total for group in self.judge.score_rollouts(rollouts, self.state)
            ]

        return recipe_reward

    def parsed(
        self, tokenizer: PreTrainedTokenizerBase, ids: list[int], problem: Problem, end: int
    ) -> Rollout:
        """Return a completion as a rollout, decoded as in `sampler.rollouts`."""
        # TRL hands over the ids as sampled; the end token is no text.
        stopped = bool(ids) and ids[-1] == end
        text = tokenizer.decode(
            ids[:-1] if stopped else ids,
            skip_special_tokens=False,
            clean_up_tokenization_spaces=False,
        )
        assert isinstance(text, str)
        # The reward reads no log-probabilities.
        completion = Completion(tuple(ids), (0.0,) * len(ids), stopped)
        return make_rollout(problem, 0, (), completion, text, self.template)

    def heldout(
        self, roller: RolloutSampler, stops: frozenset[int], problems: int
    ) -> dict[str, float]:
        """Return accuracy and reward of 4 samples per held-out problem, sampled as in training."""
        params = SamplingParams(self.stage.sampling.max_tokens, stops)
        heldout = self.source.heldout(problems)
        groups = self.judge.score_rollouts(roller(heldout, 4, params, HELDOUT), self.state)
        accuracy = measures(groups, roller.count_tokens)["pass@1"].value
        return {"accuracy": accuracy, "reward": fmean(r for g in groups for r in g.rewards_G)}


def task(seed: int, steps: int) -> Task:
    """Return the recipe's task, with another number of steps."""
    stage = load_recipe(RECIPE).stages["zero"]
    assert isinstance(stage, RLStage), "R1-Zero is reinforcement learning"
    # The number of steps belongs to the learning-rate schedule of both.
    return Task(stage.model_copy(update={"steps": steps}), seed)


def start_folder(chosen_task: Task) -> str:
    """Return the folder of the model that both start from."""
    folder = shipped_model(chosen_task.stage.start)
    assert folder is not None, "it ships with the package"
    return str(folder)


def roller_of(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, chosen_task: Task
) -> tuple[RolloutSampler, frozenset[int]]:
    """Return the native sampler with a model's current weights, for the held-out metrics only."""
    sampler = NativeSampler(model.config, slots=256, dtype=torch.float32)
    sampler.load(WeightUpdate(0, model.state_dict()))
    return RolloutSampler(sampler, Prompts(tokenizer, chosen_task.template)), stop_ids(
        model, tokenizer
    )
