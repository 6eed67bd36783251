"""The sets of problems that an RL stage learns from, each with its place in its own stream of problems.

In: an `rl` table. Out: the next problems of each set, with the purposes that they are drawn for and the keys that they are
sampled under. A stage without preferences has one set, for reasoning. RL for all scenarios (DeepSeek-R1 section 3.2) adds
general prompts: helpful and safety. Each set counts its own problems, so that how many another set has drawn changes
nothing. Not here: how rollouts are scored (`judge.judge`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dianoia.base.records import GENERAL, Problem, Purpose
from dianoia.base.streams import Key, Stream, stream_key
from dianoia.config import RLStage
from dianoia.tasks.catalog import FilesSource, general_source, problem_source
from dianoia.tasks.plugins import ProblemSource

# Streams of their own: a problem and a general prompt of the same number must not share random numbers.
_STREAMS: Mapping[Purpose, Stream] = {
    Purpose.REASONING: Stream.TRAINING,
    Purpose.HELPFUL: Stream.HELPFUL_PROMPTS,
    Purpose.SAFETY: Stream.SAFETY_PROMPTS,
}


@dataclass(frozen=True, slots=True)
class Draw:
    """A problem that is sampled next."""

    problem: Problem
    purpose: Purpose
    key: Key
    """Seeds its samples."""


@dataclass(slots=True)
class ProblemSet:
    """One set of problems, and how far its stream has been drawn."""

    purpose: Purpose
    source: ProblemSource
    position: int = 0
    """Number of the next problem of its stream."""

    @property
    def stream(self) -> Stream:
        """The random stream that the set's rollouts are drawn from."""
        return _STREAMS[self.purpose]

    def next(self, seed: int, count: int) -> list[Draw]:
        """Draw the next problems."""
        # The position alone is the state: problem `number` of a stream is always the same.
        first = self.position
        self.position += count
        return self.at(seed, first, count)

    def at(self, seed: int, first: int, count: int) -> list[Draw]:
        """Return problems `first` to `first + count` of the stream."""
        return [
            Draw(problem, self.purpose, stream_key(seed, self.stream, number))
            for number, problem in enumerate(self.source.draw(seed, first, count), first)
        ]


class ProblemSets:
    """All sets of a stage, by purpose."""

    def __init__(self, sets: Sequence[ProblemSet], seed: int) -> None:
        self.sets = {problem_set.purpose: problem_set for problem_set in sets}
        self.seed = seed

    @property
    def general(self) -> list[ProblemSet]:
        """The sets that a reward model scores."""
        return [self.sets[purpose] for purpose in GENERAL if purpose in self.sets]

    def next(self, counts: Mapping[str, int]) -> list[Draw]:
        """Draw the next `counts` problems of each set, by purpose and in the order of `counts`."""
        draws = (self.sets[Purpose(name)].next(self.seed, count) for name, count in counts.items())
        return [draw for set_draws in draws for draw in set_draws]

    def at(self, positions: Mapping[str, int], counts: Mapping[str, int]) -> list[Draw]:
        """Return what `next(counts)` returned at earlier `positions` of the sets."""
        draws = (
            self.sets[Purpose(name)].at(self.seed, positions[name], count)
            for name, count in counts.items()
        )
        return [draw for set_draws in draws for draw in set_draws]

    def positions(self) -> dict[str, int]:
        """Return the number of the next problem of each set."""
        return {purpose.value: members.position for purpose, members in self.sets.items()}

    def skipped_rows(self) -> list[str]:
        """Return messages about rows of the sets' files that could not be used, since the last call."""
        # Large files are read while they are drawn from, so that bad rows turn up during training.
        sources = [problem_set.source for problem_set in self.sets.values()]
        return [
            line
            for source in sources
            if isinstance(source, FilesSource)
            for line in source.new_warnings()
        ]

    def state(self) -> dict[str, Any]:
        """Return the state that `load_state` resumes from."""
        return {"drawn": self.positions()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Resume from `state()`."""
        for purpose, problem_set in self.sets.items():
            problem_set.position = state["drawn"][purpose.value]


def problem_sets(config: RLStage, seed: int) -> ProblemSets:
    """Make the sets that the recipe names. Raises ConfigError or ProblemFileError for one that cannot be used."""
    sets = [ProblemSet(Purpose.REASONING, problem_source(config.problems))]
    if config.preferences is not None:
        prompts = (
            (Purpose.HELPFUL, config.preferences.problems),
            (Purpose.SAFETY, config.preferences.safety_problems),
        )
        sets += [
            ProblemSet(purpose, general_source(problems))
            for purpose, problems in prompts
            if problems is not None
        ]
    return ProblemSets(sets, seed)
