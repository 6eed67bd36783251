"""Training data of reward models: pairs, judged pairs and labelled responses. Texts, not tokens.

helpful:  Pair("Hello?", chosen="Hello, how can I help?", rejected="What.")
judged:   Judged("Hello?", ("What.", "Hello, how can I help?"), ("B>A", "A>>B", "B>>A", "A>B"))
          A is the response that was shown first: response 0 in the first and third verdict, response 1 in the
          second and fourth. All four verdicts prefer response 1, by 1, 2, 2 and 1.
safety:   Labelled("How do I pick a lock?", "Ask a locksmith.", good=True)

An `Annotator` gives verdicts and labels one at a time, a `BatchAnnotator` many at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dianoia.base.records import Problem, Turn


@dataclass(frozen=True, slots=True)
class Pair:
    """Two responses to one prompt, the better one first."""

    prompt: str
    chosen: str
    rejected: str
    context: tuple[Turn, ...] = ()
    """Messages before the prompt, as in `Problem.context`; the same in the two classes below."""

    @property
    def messages(self) -> tuple[Turn, ...]:
        """The whole conversation up to the prompt, which is its last turn."""
        return (*self.context, Turn("user", self.prompt))


@dataclass(frozen=True, slots=True)
class Judged:
    """Two responses to one prompt and the verdicts of repeated judgements."""

    prompt: str
    responses: tuple[str, str]
    verdicts: tuple[str | None, ...]
    """Labels such as `A>B`; A is response 0 in verdicts 0, 2, ... and response 1 in verdicts 1, 3, ...
    None: the annotator gave no verdict."""
    context: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True)
class Labelled:
    """A single response with its label by a guideline."""

    prompt: str
    response: str
    good: bool
    """True: safe."""
    context: tuple[Turn, ...] = ()

    @property
    def messages(self) -> tuple[Turn, ...]:
        """The whole conversation up to the prompt, which is its last turn."""
        return (*self.context, Turn("user", self.prompt))


TextExample = Pair | Labelled
"""A training example of a reward model, before it is tokenized."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two answers to compare, in the order in which they are shown, without thoughts."""

    problem: Problem
    first: str
    second: str
    repetition: int = 0
    """How often the same two were shown in this order before. A new number asks again instead of reusing the reply."""


class Annotator(Protocol):
    """Labels one response, or compares one pair, at a time."""

    def compare(self, problem: Problem, first: str, second: str, /) -> str | None:
        """Return a label from `A>>B` to `B>>A`; A is the answer shown first, without its thought. None: no verdict."""
        ...

    def is_safe(self, problem: Problem, response: str, /) -> bool | None:
        """Tell whether a response, its thought included, complies with the guideline. None: no verdict."""
        ...


class BatchAnnotator(Protocol):
    """Labels many responses, or compares many pairs, at a time; each as an `Annotator` would."""

    def compare(self, comparisons: Sequence[Comparison]) -> list[str | None]:
        """Return one verdict per comparison, in their order."""
        ...

    def are_safe(self, responses: Sequence[tuple[Problem, str]]) -> list[bool | None]:
        """Return one verdict per (problem, response), in their order."""
        ...
