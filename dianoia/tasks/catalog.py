"""Every problem set by name, every verifier, every corpus.

A problem set is a `ProblemSource`: training problems by number, so that a resumed run continues where it
was without any state, and held-out problems that no training problem can equal.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Protocol

from dianoia.base.config import Habits
from dianoia.base.errors import ConfigError
from dianoia.base.records import Problem
from dianoia.tasks.answers import Verifier, exact, number, reference
from dianoia.tasks.choice import choice
from dianoia.tasks.code import code, input_, output, value
from dianoia.tasks.files import Defaults, check_problems, read_problems, split_of
from dianoia.tasks.gym import PREFIX, GymProblems, gym, gym_problems
from dianoia.tasks.math import ahead, math
from dianoia.tasks.miniature.corpus import documents
from dianoia.tasks.miniature.demonstrations import demonstrations
from dianoia.tasks.miniature.people import miniature
from dianoia.tasks.miniature.problems import SETS, MiniatureProblems

VERIFIERS: Mapping[str, Verifier] = {
    "number": number,
    "exact": exact,
    "choice": choice,
    "math": math,
    "code": code,
    "output": output,
    "value": value,
    "input": input_,
    "gym": gym,
    "reference": reference,
    "miniature": miniature,
}
"""Verifier by the name that a problem carries."""

CONCURRENT = frozenset({"code", "input", "gym"})
"""Verifiers that run programs in the sandbox: asked from several threads, they answer sooner."""

AHEAD: Mapping[str, Callable[[Sequence[tuple[Problem, str]]], None]] = {"math": ahead}
"""Verifiers that like to see many answers before they are asked for each: then they have them at hand."""

GENERAL_PROMPTS = Defaults(verifier="reference", domain="general", graded=False)
"""What a row of a file of general prompts is taken to be; it needs no answer."""

PROBE = 512
"""Problems that are looked at where a set has no end."""

CORPORA: Mapping[str, Callable[[Habits, int], Iterator[str]]] = {"miniature": documents}
"""Generator of documents for pretraining, by name: (habits, seed) -> documents without end."""


class Demonstrator(Protocol):
    """Where demonstrations come from."""

    def __call__(self, seed: int, /) -> Iterator[tuple[Problem, str, str]]:
        """(problem, thought, summary) without end, the same ones for one seed; a thought may be empty."""
        ...


DEMONSTRATIONS: Mapping[str, Demonstrator] = {"miniature/general": demonstrations}
"""Generators of demonstrations by name."""


class ProblemSource(Protocol):
    """Where problems come from."""

    def draw(self, seed: int, start: int, count: int) -> list[Problem]:
        """Training problems `start` to `start + count - 1` of the stream that `seed` names."""
        ...

    def heldout(self, limit: int) -> list[Problem]:
        """At most `limit` held-out problems, the same ones every time."""
        ...

    @property
    def languages(self) -> frozenset[str]:
        """Languages of the training problems' questions, as ISO 639-1 codes."""
        ...


class FileProblems:
    """Problems of a JSONL, CSV or Parquet file; a tenth, chosen by a hash of the question, is held out.

    With `whole`, all of them are: the file is a test set and nothing of it is for training.
    """

    def __init__(self, path: Path, whole: bool = False, defaults: Defaults | None = None) -> None:
        check_problems(path, VERIFIERS, defaults)
        self.path, self.whole, self.defaults = path, whole, defaults

    @cached_property
    def _sides(self) -> dict[str, list[Problem]]:
        sides: dict[str, list[Problem]] = {"train": [], "heldout": []}
        for problem in read_problems(self.path, VERIFIERS, self.defaults):
            sides["heldout" if self.whole else split_of(problem.question)].append(problem)
        return sides

    def draw(self, seed: int, start: int, count: int) -> list[Problem]:
        """As `ProblemSource`; every epoch is a new order of all training problems."""
        problems = self._side("train")
        size = len(problems)
        first, last = start // size, (start + count - 1) // size
        orders = {epoch: _order(size, seed, epoch) for epoch in range(first, last + 1)}
        return [
            problems[orders[index // size][index % size]] for index in range(start, start + count)
        ]

    def heldout(self, limit: int) -> list[Problem]:
        """As `ProblemSource`."""
        return self._side("heldout")[:limit]

    @property
    def languages(self) -> frozenset[str]:
        """As `ProblemSource`."""
        return frozenset(problem.language for problem in self._side("train"))

    @property
    def verifiers(self) -> frozenset[str]:
        """Of all problems, held out or not."""
        return frozenset(problem.verifier for side in self._sides.values() for problem in side)

    @property
    def training(self) -> list[Problem]:
        """Every training problem once."""
        return self._side("train")

    def _side(self, name: str) -> list[Problem]:
        if not self._sides[name]:
            raise ConfigError(
                f"{self.path}: none of its problems falls on the {name} side (a hash of the question "
                "puts a tenth into held-out); add problems"
            )
        return self._sides[name]


def _order(size: int, seed: int, epoch: int) -> list[int]:
    order = list(range(size))
    random.Random(f"order-{seed}-{epoch}").shuffle(order)
    return order


PROBLEM_SETS: Mapping[str, Callable[[], ProblemSource]] = {
    f"miniature/{name}": partial(MiniatureProblems, name) for name in SETS
}
"""Built-in problem sets by name."""


def problem_source(name: str, whole_file: bool = False, key: str = "problems") -> ProblemSource:
    """A built-in set, or a file that is read and checked from the first row to the last.

    `whole_file` takes every problem of a file as held out; a built-in set has no such choice. `key` is the
    option that names the set, for messages.

    Raises:
        ConfigError: there is neither a set nor a file of that name.
        ProblemFileError: a row cannot be used.
    """
    if name in PROBLEM_SETS:
        return PROBLEM_SETS[name]()
    if name.startswith(PREFIX):
        return gym_problems(name, key)
    path = Path(name)
    if path.is_file():
        return _file_problems(path, whole_file, path.stat().st_mtime_ns)
    raise ConfigError(
        f"{key} = {name!r}: there is no such problem set and no such file; "
        f"sets are {', '.join(PROBLEM_SETS)} and {PREFIX}... of reasoning-gym, files are JSONL, CSV or Parquet with a row a problem, such as "
        '{"problem": "2+3?", "answer": "5"} (docs/recipes.md says how to make one of a public set)'
    )


def general_source(name: str, key: str = "problems") -> ProblemSource:
    """As `problem_source`, for general prompts, which a reward model scores: their files need no answers.

    `key` is the option that names the set, for messages.
    """
    path = Path(name)
    if name not in PROBLEM_SETS and path.is_file():
        return _file_problems(path, False, path.stat().st_mtime_ns, GENERAL_PROMPTS)
    return problem_source(name, key=key)


def looked_at(source: ProblemSource) -> list[Problem]:
    """All training problems of a file; of a built-in set, which may be endless, the first PROBE."""
    return source.training if isinstance(source, FileProblems) else source.draw(0, 0, PROBE)


def verifiers_of(source: ProblemSource) -> frozenset[str]:
    """Names of the verifiers that a source's problems ask for."""
    if isinstance(source, FileProblems | GymProblems):
        return source.verifiers
    return frozenset(problem.verifier for problem in looked_at(source))


@lru_cache(maxsize=8)
def _file_problems(
    path: Path, whole: bool, _changed: int, defaults: Defaults | None = None
) -> FileProblems:
    """Plan, check and stage ask for the same file; it is read once while it does not change."""
    return FileProblems(path, whole, defaults)
