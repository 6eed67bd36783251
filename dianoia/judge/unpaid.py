"""A reward function that pays 0 for nearly all well-formed responses, with the likely cause.

In: the function's part, and scored groups. Out: an `Unpaid`, which the diagnosis of flat rewards reports
(`judge.diagnosis`). Not here: how long it has to last.

Causes are read in the function's own code, which is not called again: what it looks for is in its constants. They are
tags, with the line breaks that open-r1's functions ask for, answers in LaTeX alone (math-verify's extraction, as TRL and
open-r1 use it), and completions in the other form. A function is not reported
1. that does not take `completions`: its 0 is about length or loops;
2. that has paid less than 0: then 0 is the best of a penalty;
3. without a cause, unless responses are right by the verifier: 0 for a wrong answer is what it should pay.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import unwrap
from types import CodeType, FunctionType, MethodType
from typing import Any

from dianoia.base.records import Group, Rollout, RolloutStatus
from dianoia.judge.functions import FunctionPart, messages_of, parameters_of
from dianoia.judge.reward_part import ACCURACY

_NEARLY_ALL = 0.95
_NEARLY_NONE = 0.05
_SHOWN_CHARS = 60
_MAX_FUNCTIONS = 20
"""Functions that are read at most: a function of a user may call a whole library."""
# A tag in a text or in a pattern, with a line break behind it or before it, written as one or as its escape.
# The name of a group of a pattern, (?P<name>...), is none.
_TAG = re.compile(r"(?:\\n|\n)?(?<!\?P)</?[A-Za-z][\w-]*>(?:\\n|\n)?")
_LATEX = re.compile(r"\\boxed|\$|\\\(|\\\[")


@dataclass(frozen=True, slots=True)
class Unpaid:
    """What a reward function paid for the well-formed responses of a batch."""

    responses: int
    """Well-formed responses to which the function applied."""
    share: float
    """Share of them that were paid 0."""
    right: int
    """Those of them that are right by the verifier."""
    penalty: bool
    """True if any response at all was paid less than 0."""
    cause: str
    """A clause with the likely cause; empty if none is known."""
    advice: str
    """What to change."""
    example: str
    """How a completion that was paid 0 begins, as the function got it."""

    @property
    def is_wrong(self) -> bool:
        """Return True if the function probably misreads the responses."""
        explained = bool(self.cause) or self.right > 0
        return self.share >= _NEARLY_ALL and not self.penalty and explained


def unpaid(part: FunctionPart, groups: Sequence[Group]) -> Unpaid | None:
    """Return what a function paid for well-formed responses; None if it applied to none, or reads no completions."""
    parameters, takes_others = parameters_of(part.function.call)
    if not ("completions" in parameters or (takes_others and not parameters)):
        return None
    scored = [
        (rollout, score.parts.get(part.name), score.parts.get(ACCURACY))
        for group in groups
        for rollout, score in zip(group.rollouts, group.scores, strict=True)
    ]
    finished = [
        (rollout, value, accuracy)
        for rollout, value, accuracy in scored
        if rollout.status is RolloutStatus.FINISHED and value is not None
    ]
    zero = [rollout for rollout, value, _ in finished if value == 0]
    if not finished:
        return None
    right = sum(value == 0 and bool(accuracy) for _, value, accuracy in finished)
    # Over all responses: a function that only punishes pays 0 to whatever is well-formed, and reads it rightly.
    penalty = any(value is not None and value < 0 for _, value, _ in scored)
    share = len(zero) / len(finished)
    # Reading the code is for the rare case alone.
    cause, advice = _cause(part, zero) if share >= _NEARLY_ALL and not penalty else ("", "")
    example = repr(part.text(zero[0])[:_SHOWN_CHARS]) if zero else ""
    return Unpaid(len(finished), share, right, penalty, cause, advice, example)


def _cause(part: FunctionPart, rollouts: Sequence[Rollout]) -> tuple[str, str]:
    """Return the likely cause of zeros, and what to change; empty texts if there is no sign of one."""
    texts = [part.text(rollout) for rollout in rollouts]
    # The code is read and never run: its constants show which tags and patterns it looks for.
    constants, names = _reads(part.function.call)
    handed_over = "messages" if _got_messages(part, rollouts[0]) else "text"
    # Both forms are read by the functions that read `content` where there is one.
    if handed_over == "messages" and "content" not in constants | names:
        return (
            "its completions were lists of messages, and it never reads their content",
            'set form = "text"',
        )
    tag = next((tag for tag in _tags(constants) if _share_with(tag, texts) <= _NEARLY_NONE), None)
    if tag is not None:
        break_ = (
            ""
            if tag.strip() == tag or _share_with(tag.strip(), texts) <= _NEARLY_NONE
            else ", with this line break,"
        )
        return (
            f"it looks for {tag!r}, which{break_} {_share_with(tag, texts):.0%} of them have",
            "choose or write a template that asks for what the function looks for ([templates.NAME]), or take a function "
            "that fits the template",
        )
    latex = sum(bool(_LATEX.search(text)) for text in texts) / len(texts)
    if "LatexExtractionConfig" in names and latex <= _NEARLY_NONE:
        return (
            f"it reads answers in LaTeX alone, such as \\boxed{{5}} or $5$, and {latex:.0%} of them have any",
            'set template = "r1", whose summary has the answer in a box, or leave accuracy to the verifier',
        )
    return "", ""


def _got_messages(part: FunctionPart, rollout: Rollout) -> bool:
    form = part.function.form
    return form == "messages" or (form == "auto" and messages_of(rollout.problem) is not None)


def _share_with(text: str, texts: Sequence[str]) -> float:
    return sum(text in other for other in texts) / len(texts)


def _tags(constants: set[str]) -> list[str]:
    r"""Return the tags in texts and patterns, each with its line break; `\n` in a raw pattern is one."""
    tags = {match.replace("\\n", "\n") for text in constants for match in _TAG.findall(text)}
    # A fixed order, since a set has none: the first that hardly any text has is named.
    return sorted(tags, key=lambda tag: (len(tag.strip()), tag))


# Reading a function's code ------------------------------------------------------------------------


def _reads(call: object) -> tuple[set[str], set[str]]:
    """Return the texts and the global names in the code of a function and of those in its module that it calls.

    Docstrings are left out: they show what a function does not look for.
    """
    constants: set[str] = set()
    names: set[str] = set()
    queue, visited = [_function(call)], set[FunctionType]()
    while queue and len(visited) < _MAX_FUNCTIONS:
        function = queue.pop()
        if function is None or function in visited:
            continue
        visited.add(function)
        for code in _codes(function.__code__):
            constants |= {*_texts(code.co_consts[_has_docstring(code) :])}
            names |= {*code.co_names}
        # What a factory has bound, such as a tag that was its argument, is no global of the function.
        cells = (cell.cell_contents for cell in function.__closure__ or ())
        scope = [function.__globals__.get(name) for name in names]
        for value in (*scope, *cells):
            constants |= {*_texts((value,))}
            inner = value if isinstance(value, FunctionType) else None
            # Only its own module: constants of a library say nothing about what the function looks for.
            if inner is not None and inner.__module__ == function.__module__:
                queue.append(inner)
    return constants, names


def _function(call: object) -> FunctionType | None:
    """Return the Python function behind a callable; None for one that has no code to read."""
    # Layers that hide the code: arguments bound beforehand, decorators, methods, objects that can be called.
    while isinstance(call, partial):
        call = call.func
    call = unwrap(call) if callable(call) else call
    if isinstance(call, MethodType):
        call = call.__func__
    if not isinstance(call, FunctionType):
        call = getattr(type(call), "__call__", None)  # noqa: B004 - an object may have one
    return call if isinstance(call, FunctionType) else None


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _has_docstring(code: CodeType) -> bool:
    """Return True if the first constant of a code is its docstring."""
    if not code.co_consts or not isinstance(code.co_consts[0], str):
        return False
    # From Python 3.13 a flag says so (CO_HAS_DOCSTRING). Before, functions have it first, or None; comprehensions have neither.
    if sys.version_info >= (3, 13):
        return bool(code.co_flags & 0x4000000)
    return not code.co_name.startswith("<")


def _texts(values: Sequence[Any]) -> Iterator[str]:
    """Yield the texts among constants, those of patterns and of small collections too."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, re.Pattern) and isinstance(value.pattern, str):
            yield value.pattern
        elif isinstance(value, tuple | list | frozenset | set):
            yield from _texts([item for item in value if isinstance(item, str)])


def unpaid_parts(
    functions: Sequence[FunctionPart], groups: Sequence[Group]
) -> Mapping[str, Unpaid]:
    """Return what each function paid for well-formed responses, by name."""
    results = {part.name: unpaid(part, groups) for part in functions}
    return {name: result for name, result in results.items() if result is not None}
