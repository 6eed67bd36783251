"""The task of both sides: the miniature's R1-Zero, its problems in their order, its reward, its held-out measure.

What differs between the two trainers and is left as each has it: TRL divides a group's rewards by the sample's standard
deviation where Dianoia takes the population's (3 % at 16), adds 1e-4 to it where the recipe adds 1e-6, and clips each gradient with PyTorch's norm.
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
from dianoia.sampler.rollouts import RolloutSampler, named_template, stop_ids
from dianoia.tasks.catalog import problem_source
from dianoia.text.parsing import make_rollout

RECIPE = ROOT / "recipes" / "miniature-zero.toml"
HELDOUT = (123_456_789, 0)
"""Seeds the held-out samples, apart from those of training."""


@dataclass
class Task:
    """Problems, prompts, rewards and the held-out measure."""

    stage: RLStage
    seed: int

    def __post_init__(self) -> None:
        self.source = problem_source(self.stage.problems)
        self.template = named_template(self.stage.template)
        self.judge = Judge(reward_parts(self.stage.rewards, self.seed, self.template))
        self.state = ScoringState(max_tokens=self.stage.sampling.max_tokens)
        self.problems: list[Problem] = []

    def draw(self, steps: int) -> list[dict[str, Any]]:
        """Rows of a data set: the prompts of so many steps, in the order of a run of the recipe."""
        count = steps * self.stage.problems_per_rollout
        self.problems = self.source.draw(self.seed, 0, count)
        rendered = [self.template.render(problem.question) for problem in self.problems]
        return [{"prompt": text, "number": number} for number, text in enumerate(rendered)]

    def reward(self, tokenizer: PreTrainedTokenizerBase) -> Any:
        """The recipe's reward as a function of TRL's."""
        end = tokenizer.eos_token_id

        def recipe_reward(
            completion_ids: list[list[int]], number: list[int], **_: Any
        ) -> list[float]:
            rollouts = [
                [self.parsed(tokenizer, ids, self.problems[place], end)]
                for ids, place in zip(completion_ids, number, strict=True)
            ]
            return [
                group.scores[0].total for group in self.judge.score_rollouts(rollouts, self.state)
            ]

        return recipe_reward

    def parsed(
        self, tokenizer: PreTrainedTokenizerBase, ids: list[int], problem: Problem, end: int
    ) -> Rollout:
        """A completion as a rollout, read as `sampler.rollouts` reads it."""
        stopped = bool(ids) and ids[-1] == end
        text = tokenizer.decode(
            ids[:-1] if stopped else ids,
            skip_special_tokens=False,
            clean_up_tokenization_spaces=False,
        )
        assert isinstance(text, str)
        done = Completion(tuple(ids), (0.0,) * len(ids), stopped)
        return make_rollout(problem, 0, (), done, text, self.template)

    def heldout(
        self, roller: RolloutSampler, stops: frozenset[int], problems: int
    ) -> dict[str, float]:
        """Accuracy and reward of 4 samples of each held-out problem, drawn as in training."""
        params = SamplingParams(self.stage.sampling.max_tokens, stops)
        asked = self.source.heldout(problems)
        groups = self.judge.score_rollouts(roller(asked, 4, params, HELDOUT), self.state)
        accuracy = measures(groups, roller.count_tokens)["pass@1"].value
        return {"accuracy": accuracy, "reward": fmean(r for g in groups for r in g.rewards_G)}


def task(seed: int, steps: int) -> Task:
    """That of the recipe, for so many steps."""
    stage = load_recipe(RECIPE).stages["zero"]
    assert isinstance(stage, RLStage), "R1-Zero is reinforcement learning"
    return Task(stage.model_copy(update={"steps": steps}), seed)


def start_folder(chosen: Task) -> str:
    """The model that both begin with."""
    folder = shipped_model(chosen.stage.start)
    assert folder is not None, "it ships with the package"
    return str(folder)


def roller_of(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, chosen: Task
) -> tuple[RolloutSampler, frozenset[int]]:
    """The native sampler with a model's present weights, for the held-out measure alone."""
    sampler = NativeSampler(model.config, slots=256, dtype=torch.float32)
    sampler.load(WeightUpdate(0, model.state_dict()))
    return RolloutSampler(sampler, tokenizer, chosen.template), stop_ids(model, tokenizer)
