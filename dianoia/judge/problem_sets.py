"""The sets of problems that an RL stage learns from: each with its stream, its judge, and its place in the stream.

In: an `rl` table. Out: the next problems with the keys they are sampled under, and rollouts as scored groups. A
stage without preferences has one set, `reasoning`. RL for all scenarios (DeepSeek-R1 section 3.2) adds
general prompts: `helpful` and `safety`. Each set counts its own problems, so that how many another one has
drawn changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from dianoia.base.records import Group, Problem, Rollout
from dianoia.base.streams import Key, Stream, stream_key
from dianoia.config import PreferenceSettings, RewardSettings, RLStage
from dianoia.judge.batch_parts import Further, Parts, parts
from dianoia.judge.functions import TrainerState
from dianoia.judge.judge import evaluation_rubric, general_rules, judge, training_rubric
from dianoia.judge.learned import GENERAL, HELPFUL, REASONING, SAFETY
from dianoia.judge.reward_model_part import Preferred
from dianoia.judge.reward_model_scores import RewardModel
from dianoia.judge.rubric import Rubric
from dianoia.storage.context import Context
from dianoia.tasks.catalog import FilesSource, general_source, problem_source
from dianoia.tasks.plugins import ProblemSource

_STREAMS: Mapping[str, Stream] = {
    REASONING: Stream.TRAINING,
    HELPFUL: Stream.HELPFUL_PROMPTS,
    SAFETY: Stream.SAFETY_PROMPTS,
}


@dataclass(slots=True)
class Scenario:
    """One set of problems."""

    name: str
    source: ProblemSource
    preferred: Preferred | None = None
    """The reward model of a general set."""
    drawn: int = 0
    """Problems of its stream that have been drawn."""

    @property
    def stream(self) -> Stream:
        """The random stream that the set's rollouts are drawn from."""
        return _STREAMS[self.name]

    def next(self, seed: int, count: int) -> tuple[list[Key], list[Problem]]:
        """The next problems, each with the key it is sampled under."""
        first = self.drawn
        self.drawn += count
        keys = [stream_key(seed, self.stream, number) for number in range(first, first + count)]
        return keys, self.source.draw(seed, first, count)


class Scenarios:
    """All sets of a stage, by name."""

    def __init__(
        self,
        sets: Sequence[Scenario],
        rewards: RewardSettings,
        seed: int,
        parts: Parts | None = None,
        steps: int = 1,
    ) -> None:
        """`parts` are measured for many rollouts at once; `steps` is how many the stage takes."""
        self.sets = {scenario.name: scenario for scenario in sets}
        self.rewards, self.seed, self.steps = rewards, seed, steps
        self.parts = parts or Parts()

    @property
    def general(self) -> list[Scenario]:
        """The sets that a reward model scores."""
        return [self.sets[name] for name in GENERAL if name in self.sets]

    def next(self, counts: Mapping[str, int]) -> tuple[list[Key], list[Problem]]:
        """The next `counts` problems of each set, in the order of `counts`."""
        drawn = [self.sets[name].next(self.seed, count) for name, count in counts.items()]
        keys = [key for keys, _ in drawn for key in keys]
        return keys, [problem for _, problems in drawn for problem in problems]

    def news(self) -> list[str]:
        """Rows of the sets' files that could not be used since this was asked last."""
        sources = [scenario.source for scenario in self.sets.values()]
        return [
            line
            for source in sources
            if isinstance(source, FilesSource)
            for line in source.new_warnings()
        ]

    def judge(
        self,
        counts: Mapping[str, int],
        rollouts_PG: Sequence[Sequence[Rollout]],
        max_tokens: int,
        step: int = 0,
    ) -> list[Group]:
        """The rollouts of what `next` drew, scored: by rules, or by the set's reward model beside rules.

        `step` is the number of optimizer steps that are done.
        """
        further_P = self.parts.of_all(rollouts_PG, TrainerState(step, self.steps))
        rest, groups = iter(zip(rollouts_PG, further_P, strict=True)), []
        for name, count in counts.items():
            drawn = list(islice(rest, count))
            some, known = [one for one, _ in drawn], [further for _, further in drawn]
            scored = judge(self._rubrics(name, some, known, max_tokens), some)
            groups += [one.noted(group) for one, group in zip(known, scored, strict=True)]
        return groups

    def _rubrics(
        self,
        name: str,
        some: Sequence[Sequence[Rollout]],
        known: Sequence[Further],
        max_tokens: int,
    ) -> list[Rubric]:
        """A rubric for each group of a set."""
        arguments = (self.rewards, max_tokens, self.seed, self.parts.template)
        model = self.sets[name].preferred
        if model is not None:
            rules = general_rules(*arguments)
            own = zip(model.rules(some), known, strict=True)
            return [Rubric((*rules, rule, *further.rules)) for rule, further in own]
        return [
            training_rubric(*arguments, further.verdict, further.rules)
            for further in self.parts.of_problems(some, known)
        ]

    def grade(self, rollouts_PG: Sequence[Sequence[Rollout]]) -> list[Group]:
        """Held-out rollouts of problems with a verifier, scored for accuracy and format alone."""
        verdicts = self.parts.verdicts(rollouts_PG)
        return judge([evaluation_rubric(verdict) for verdict in verdicts], rollouts_PG)

    def state(self) -> dict[str, Any]:
        """What `load_state` needs to go on."""
        return {
            "drawn": {name: scenario.drawn for name, scenario in self.sets.items()},
            "lowest": {s.name: s.preferred.lowest for s in self.general if s.preferred},
            "parts": self.parts.state(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state()` was taken."""
        for name, scenario in self.sets.items():
            scenario.drawn = state["drawn"][name]
            if scenario.preferred is not None:
                scenario.preferred.lowest = state["lowest"][name]
        self.parts.load_state(state.get("parts", {}))


def weights(rewards: RewardSettings, chosen: PreferenceSettings) -> dict[str, float]:
    """Weight of each part of the reward by name."""
    return {**rewards.parts, HELPFUL: chosen.helpful_weight, SAFETY: chosen.safety_weight}


def scenarios(config: RLStage, context: Context) -> Scenarios:
    """The sets that the recipe names, with their reward models loaded.

    Raises ConfigError, ModelError, ProblemFileError for one that cannot be used.
    """
    reasoning = Scenario(REASONING, problem_source(config.problems))
    general = [] if config.preferences is None else _general(config.preferences, context)
    further = parts(config.rewards, config.template, context)
    return Scenarios([reasoning, *general], config.rewards, context.seed, further, config.steps)


def _general(chosen: PreferenceSettings, context: Context) -> list[Scenario]:
    named = (
        (HELPFUL, chosen.helpful, chosen.problems, chosen.helpful_weight),
        (SAFETY, chosen.safety, chosen.safety_problems, chosen.safety_weight),
    )
    return [
        Scenario(name, general_source(problems), Preferred(name, _model(source, context), weight))
        for name, source, problems, weight in named
        if source is not None and problems is not None
    ]


def _model(source: str, context: Context) -> RewardModel:
    return RewardModel.load(context.resolve(source), context.device)
