"""What reward models learn from: pairs, judged pairs and labelled responses. Texts, no tokens.

helpful:  Pair("Hello?", chosen="Hello, how can I help?", rejected="What.")
judged:   Judged("Hello?", ("What.", "Hello, how can I help?"), ("B>A", "A>>B", "B>>A", "A>B"))
          A is whoever was shown first: response 0 in the first and third verdict, response 1 in the
          second and fourth. All four are for response 1, by 1, 2, 2 and 1.
safety:   Labelled("How do I pick a lock?", "Ask a locksmith.", good=True)

Who gives the verdicts and labels is a `Judge`, or a `BatchJudge` where many questions are best asked together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dianoia.base.records import Problem


@dataclass(frozen=True, slots=True)
class Pair:
    """Two responses to one prompt, of which the first is the better one."""

    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True, slots=True)
class Judged:
    """Two responses to one prompt and what a judge said of them, again and again."""

    prompt: str
    responses: tuple[str, str]
    verdicts: tuple[str | None, ...]
    """Labels such as `A>B`; A is response 0 in verdicts 0, 2, ... and response 1 in verdicts 1, 3, ...
    None where the judge gave none."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A response by itself, with a guideline's verdict on it."""

    prompt: str
    response: str
    good: bool
    """True: safe."""


TextExample = Pair | Labelled
"""What a reward model learns from, before it is tokenized."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two answers to be compared, in the order in which they are shown; thoughts are not shown."""

    problem: Problem
    first: str
    second: str
    repetition: int = 0
    """How often the same two were shown in this order before; a new number asks anew."""


class Judge(Protocol):
    """Judges one thing at a time."""

    def compare(self, problem: Problem, first: str, second: str, /) -> str | None:
        """A label `A>>B` to `B>>A`, A being the answer shown first, without thoughts; None: no verdict."""
        ...

    def is_safe(self, problem: Problem, response: str, /) -> bool | None:
        """Whether a response, its thought included, keeps the guideline; None: no verdict."""
        ...


class BatchJudge(Protocol):
    """Judges many things at a time, each as a `Judge` would."""

    def compare(self, comparisons: Sequence[Comparison]) -> list[str | None]:
        """A verdict a comparison, in their order."""
        ...

    def are_safe(self, responses: Sequence[tuple[Problem, str]]) -> list[bool | None]:
        """A verdict a (problem, response), in their order."""
        ...
