"""Questions of the miniature that a chat can offer, and whether an answer to one of them is right.

In: the text of a question, and what a model said. Out: examples; the problem that a text is; an `Assessment` by the problem's own
verifier. A question is known if it is among the first held-out problems of a set of the miniature: those that evaluations use.
The miniature is a plugin, loaded by its name when the first question is looked up. No torch.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from dianoia.base.errors import SandboxError, VerifierError
from dianoia.base.records import Problem
from dianoia.bases import SHIPPED, shipped_model
from dianoia.tasks.catalog import VERIFIERS
from dianoia.tasks.plugins import PLUGIN_VERIFIERS, PROBLEM_SETS
from dianoia.text.parsing import Broken, parse_answer
from dianoia.text.template import TEMPLATES, Tags

_EXAMPLES = 24
"""Problems per kind that are offered as examples."""
_KINDS = {
    "math": "Mathematics",
    "logic": "Logic",
    "code": "Program",
    "stem": "Choice",
    "general": "Request",
    "near-miss": "Sounds harmful, is not",
    "unsafe": "Harmful request",
}
"""Problem sets that examples are taken from, and how a person would call them."""
_KNOWN = {"math": 512, "logic": 200, "code": 200, "stem": 200, "general": 200, "near-miss": 100, "unsafe": 100,
          "reasoning": 400, "helpful": 100, "safety": 100, "all": 2800}  # fmt: skip
"""Known problems per set, from its first held-out one: as many as the shipped recipes evaluate on."""
_PREFIX = "miniature/"


class Verdict(StrEnum):
    """What a verifier says of an answer."""

    RIGHT = "right"
    WRONG = "wrong"
    PARTLY = "partly"
    """Worth a part of the full score, such as the right fact in half a sentence."""
    UNGRADED = "ungraded"
    """Not graded: the answer is cut off, or this machine cannot grade it."""


@dataclass(frozen=True, slots=True)
class Example:
    """A question to offer."""

    question: str
    language: str
    """ISO 639-1 code of the question's language."""
    kind: str
    """Its kind in words, such as `Mathematics`."""
    difficulty: int | None
    """Its level; None for a request."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """How an answer to a known question did."""

    verdict: Verdict
    expected: str
    """The right answer, or an example of one, for a person."""
    reason: str = ""
    """Why there is no verdict, or what is wrong with the form of the answer; empty if there is nothing to say."""
    score: float | None = None
    """The verifier's score; None if it was not asked."""


def is_of_miniature(source: str | Path) -> bool:
    """Return True if a model folder has the vocabulary of the bases that ship: such a model knows the miniature's questions."""
    # A checkpoint has its base's tokenizer, whatever its folder is called, so the vocabulary tells.
    vocabulary = _vocabulary(Path(source))
    folders = [folder for name in SHIPPED if (folder := shipped_model(name)) is not None]
    return vocabulary is not None and any(vocabulary == _vocabulary(folder) for folder in folders)


def examples() -> list[Example]:
    """Return the questions to offer; kinds and languages alternate, so that any few in a row are of many kinds."""
    by_kind = [
        [
            Example(problem.question, problem.language, task_kind, problem.difficulty)
            for problem in _heldout(name, _EXAMPLES)
        ]
        for name, task_kind in _KINDS.items()
    ]
    return [*chain.from_iterable(zip(*by_kind, strict=True))]


def known_problem(question: str) -> Problem | None:
    """Return the miniature's problem with this question; None for any other text. White space around it does not count."""
    return _problems().get(question.strip())


def assess(problem: Problem, content: str, *, complete: bool = True) -> Assessment:
    """Grade what a model said, without its thought, by the problem's verifier.

    An answer in a box, or in answer tags, is taken out of it, as in training. May be called from many threads; blocks while
    worker processes or a sandbox grade. `complete`: False for an answer that was cut off, which is not graded.
    """
    expected = expected_answer(problem)
    if not complete:
        return Assessment(Verdict.UNGRADED, expected, "cut off before its end")
    answer = _answer_in(problem, content)
    if answer is None:
        return Assessment(Verdict.WRONG, expected, "there is no answer in it", 0.0)
    try:
        score = VERIFIERS[problem.verifier](problem, answer)
    # Faults of this machine, which say nothing of the answer.
    except (SandboxError, VerifierError) as error:
        return Assessment(Verdict.UNGRADED, expected, str(error))
    return Assessment(_verdict(problem, score), expected, score=score)


def expected_answer(problem: Problem) -> str:
    """Return the gold answer for a person: of a programming problem the values that its function has to return."""
    if problem.verifier != "code":
        return problem.answer
    return ", ".join(
        f"{call['function']}({', '.join(map(repr, call['arguments']))}) = {call['expected']!r}"
        for call in json.loads(problem.answer)["calls"]
    )


# Lookups -------------------------------------------------------------------------------------------


@cache
def _heldout(name: str, limit: int) -> tuple[Problem, ...]:
    return tuple(PROBLEM_SETS[_PREFIX + name]().heldout(limit))


@cache
def _problems() -> dict[str, Problem]:
    """Return the known problems by their questions."""
    problems = chain.from_iterable(_heldout(name, limit) for name, limit in _KNOWN.items())
    return {problem.question.strip(): problem for problem in problems}


@cache
def _vocabulary(folder: Path) -> Any:
    """Return the vocabulary of a tokenizer.json; None where there is none that can be read."""
    try:
        return json.loads((folder / "tokenizer.json").read_bytes())["model"]["vocab"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


# Grading -------------------------------------------------------------------------------------------


def _answer_in(problem: Problem, content: str) -> str | None:
    """Return the bare answer in what a model said; None if there is none, as in an empty box."""
    tags = Tags()
    inside = content.rpartition(tags.open_answer)[2].partition(tags.close_answer)[0]
    # A response without a thought in the released form: its summary is what was said.
    template = TEMPLATES["r1"]
    parsed = parse_answer(problem, template.whole("", inside), template)
    return None if isinstance(parsed, Broken) else parsed.answer


def _verdict(problem: Problem, score: float | None) -> Verdict:
    if score is None:
        return Verdict.UNGRADED
    plugin = PLUGIN_VERIFIERS.get(problem.verifier)
    full = 1.0 if plugin is None else plugin.full_score
    if score >= full:
        return Verdict.RIGHT
    return Verdict.PARTLY if score > 0 else Verdict.WRONG
