"""Calls reward functions as TRL calls them: the rewards that users of TRL, open-r1 and others already have.

In: the rollouts of one call, in groups or not, and functions. Out: a value or None for each rollout and function,
and what the functions logged. Left out: finding the functions (`judge.function_files`), and weights.

A function is called with keywords: `prompts`, `completions`, `completion_ids` (lists, one entry a rollout), every
column of the problems as a list, `trainer_state`, `log_extra` and `log_metric`, which are no lists. It returns a
number or None a rollout; None: it does not apply. `async` functions are awaited together, after the others.

Where this differs from TRL's GRPOTrainer (1.16):
1. A completion begins with the tag that the prompt has opened, if it has, and without the white space that stands
   between a template's prompt and its first tag: what is judged is what a chat template's generation prompt leaves
   to the model, which TRL hands over.
2. Every problem has the columns of KNOWN, also one of a built-in set; a column of its own file goes before them.
3. A function without `**kwargs` gets the keywords that it names; in TRL it fails.
4. NaN is an error, not another word for None.
"""

import asyncio
import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from dianoia.base.errors import UserError
from dianoia.base.records import Problem, Rollout
from dianoia.judge.function_files import told
from dianoia.text.template import Template

Form = Literal["auto", "text", "messages"]

KNOWN = ("question", "answer", "solution", "verifier", "id", "domain", "language", "difficulty")
"""Columns that every problem has; `solution` is the gold answer where the file has no such column."""
_NO_COLUMNS = frozenset(
    {"prompt", "prompts", "completion", "completions", "completion_ids", "environments", "trainer_state",
     "log_extra", "log_metric"}
)  # fmt: skip
"""Names that a column of a file cannot have when a function is called."""
_QUESTIONS = ("prompt", "question", "problem")
"""Columns that may hold the messages of a problem."""


@dataclass(frozen=True, slots=True)
class TrainerState:
    """Where training is, under the names of `transformers.TrainerState`."""

    global_step: int
    """Optimizer steps that are done."""
    max_steps: int
    is_world_process_zero: bool = True
    is_local_process_zero: bool = True
    log_history: list[dict[str, float]] = field(default_factory=list)

    @property
    def epoch(self) -> float:
        """The share of the stage that is done: its problems are a stream, which is gone through once."""
        return self.global_step / self.max_steps


@dataclass(frozen=True, slots=True)
class Function:
    """One reward function."""

    name: str
    """Key in `Score.parts`, in metrics and in reports."""
    call: Callable[..., Any]
    path: str
    """As the recipe names it, for messages."""
    form: Form = "auto"

    @property
    def is_async(self) -> bool:
        """Whether a call gives something to be awaited."""
        return inspect.iscoroutinefunction(self.call) or inspect.iscoroutinefunction(
            getattr(self.call, "__call__", None)  # noqa: B004 - an object may have an async one
        )

    @property
    def file(self) -> Path | None:
        """Where it is written, as far as that is known."""
        code = getattr(inspect.unwrap(self.call), "__code__", None)
        return None if code is None else Path(code.co_filename)


@dataclass(slots=True)
class Measured:
    """What the functions said of some rollouts."""

    values: dict[str, list[float | None]]
    """By function, in the order of the rollouts."""
    notes: list[dict[str, Any]]
    """What was logged about each rollout by `log_extra`, by column."""
    metrics: dict[str, float]
    """What was logged by `log_metric`, averaged."""


# What a function is given ------------------------------------------------------------------------


def columns_of(problem: Problem) -> dict[str, Any]:
    """Columns of a problem as a function gets them."""
    known = {name: getattr(problem, name) for name in KNOWN if name != "solution"}
    named = {**known, "solution": problem.answer, **problem.columns}
    return {name: value for name, value in named.items() if name not in _NO_COLUMNS}


def messages_of(problem: Problem) -> list[dict[str, Any]] | None:
    """The messages that the problem was asked with in its file, system and earlier turns too; None for a text."""
    columns = (_messages(problem.columns.get(name)) for name in _QUESTIONS)
    return next((messages for messages in columns if messages), None)


def _messages(prompt: object) -> list[dict[str, Any]] | None:
    """A list of messages, as it is or as the JSON text of a CSV cell."""
    if isinstance(prompt, str) and prompt.lstrip().startswith("["):
        try:
            prompt = json.loads(prompt)
        except (ValueError, RecursionError):
            return None
    whole = isinstance(prompt, list) and all(isinstance(m, dict) and "role" in m for m in prompt)
    return prompt if whole else None  # type: ignore[return-value]


def response(rollout: Rollout, template: Template | None) -> str:
    """The response with the tag that its prompt has opened, from its first tag on."""
    if template is None or template.tags is None:
        return rollout.text
    opened = template.tags.open_thought
    if not template.opens_thought or opened in rollout.text:
        return rollout.text.lstrip()
    return opened + rollout.text


def arguments(
    rollouts: Sequence[Rollout], form: Form, template: Template | None = None
) -> dict[str, Any]:
    """The lists that a function is called with, one entry a rollout."""
    pairs = [_pair(rollout, form, template) for rollout in rollouts]
    rows = [columns_of(rollout.problem) for rollout in rollouts]
    names = dict.fromkeys(name for row in rows for name in row)
    return {
        "prompts": [prompt for prompt, _ in pairs],
        "completions": [completion for _, completion in pairs],
        "completion_ids": [list(rollout.completion.ids) for rollout in rollouts],
        **{name: [row.get(name) for row in rows] for name in names},
    }


def _pair(rollout: Rollout, form: Form, template: Template | None) -> tuple[Any, Any]:
    text, messages = response(rollout, template), messages_of(rollout.problem)
    question = rollout.problem.question
    if form == "text" or (form == "auto" and messages is None):
        return question, text
    asked = [dict(m) for m in messages] if messages else [{"role": "user", "content": question}]
    return asked, [{"role": "assistant", "content": text}]


def wanted(call: Callable[..., Any]) -> tuple[list[str], list[str] | None]:
    """Keywords without which a function cannot be called, and all that it takes (None: any)."""
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):
        return [], None
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = [p for p in parameters if p.kind in kinds]
    any_other = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    required = [p.name for p in named if p.default is inspect.Parameter.empty]
    return required, None if any_other else [p.name for p in named]


def missing(call: Callable[..., Any], problem: Problem) -> list[str]:
    """Keywords that a function needs and a call about this problem would not have."""
    given = {"prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric"}
    return [name for name in wanted(call)[0] if name not in {*given, *columns_of(problem)}]


# Calling -----------------------------------------------------------------------------------------


def measure(
    functions: Sequence[Function],
    rollouts: Sequence[Rollout],
    state: TrainerState,
    template: Template | None = None,
) -> Measured:
    """Ask every function about all rollouts at once.

    Raises UserError, naming the function, for an exception in it, a wrong number of values, or one that is no
    finite number or None.
    """
    logs = {function.name: _Log(function, len(rollouts)) for function in functions}

    def keywords(function: Function) -> dict[str, Any]:
        log = logs[function.name]
        given = arguments(rollouts, function.form, template)
        given |= {"trainer_state": state, "log_extra": log.extra, "log_metric": log.metric}
        takes = wanted(function.call)[1]
        return {name: value for name, value in given.items() if takes is None or name in takes}

    found = {f.name: _called(f, keywords(f)) for f in functions if not f.is_async}
    waiting = [f for f in functions if f.is_async]
    if waiting:
        answers = asyncio.run(_awaited([(f, keywords(f)) for f in waiting]))
        found |= {f.name: answer for f, answer in zip(waiting, answers, strict=True)}
    values = {f.name: _checked(f, found[f.name], rollouts) for f in functions}
    return Measured(values, *_logged(list(logs.values()), len(rollouts)))


def _called(function: Function, keywords: Mapping[str, Any]) -> Any:
    try:
        return function.call(**keywords)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # math-verify's time-outs are no Exceptions
        raise UserError(_failed(function, error, keywords)) from error


async def _awaited(calls: Sequence[tuple[Function, Mapping[str, Any]]]) -> list[Any]:
    async def one(function: Function, keywords: Mapping[str, Any]) -> Any:
        try:
            return await function.call(**keywords)
        except (KeyboardInterrupt, SystemExit, asyncio.CancelledError):
            raise
        except BaseException as error:
            raise UserError(_failed(function, error, keywords)) from error

    return list(await asyncio.gather(*(one(*call) for call in calls)))


def _failed(function: Function, error: BaseException, keywords: Mapping[str, Any]) -> str:
    count = len(next((v for v in keywords.values() if isinstance(v, list)), []))
    return (
        f"{_who(function)} {told(error, function.file)} when it was asked about {count} completions. "
        f"{_other_form(error, keywords)}Mend it and run the same command again; a changed function makes its stage begin anew"
    )


def _other_form(error: BaseException, keywords: Mapping[str, Any]) -> str:
    """What to try where the function may have expected completions in the other form."""
    completions = keywords.get("completions") or [None]
    if not isinstance(error, TypeError | AttributeError | KeyError | IndexError):
        return ""
    if isinstance(completions[0], str):
        return (
            "Its completions were texts; if it reads completion[0]['content'], as TRL's own functions do, set "
            'form = "messages". '
        )
    if isinstance(completions[0], list):
        return 'Its completions were lists of messages; if it reads texts, set form = "text". '
    return ""


def _who(function: Function) -> str:
    return f"rewards.functions: {function.name!r} ({function.path})"


def _checked(function: Function, found: Any, rollouts: Sequence[Rollout]) -> list[float | None]:
    if isinstance(found, str | bytes | Mapping) or not hasattr(found, "__iter__"):
        raise UserError(
            f"{_who(function)} returned a {type(found).__name__}; a reward function returns a list with a number or "
            "None for each completion"
        )
    values = list(found)
    if len(values) != len(rollouts):
        raise UserError(
            f"{_who(function)} returned {len(values)} rewards for {len(rollouts)} completions; return exactly one for "
            "each, None where it does not apply"
        )
    return [_number(function, value, r) for value, r in zip(values, rollouts, strict=True)]


def _number(function: Function, value: Any, rollout: Rollout) -> float | None:
    if value is None:
        return None
    try:
        number = float(value) if hasattr(value, "__float__") else math.nan
    except (
        ArithmeticError,
        ValueError,
        TypeError,
        RuntimeError,
    ):  # 10**400; a tensor of two numbers
        number = math.nan
    if not math.isfinite(number):
        raise UserError(
            f"{_who(function)} gave {_short(value)} to sample {rollout.sample} of problem {rollout.problem.id!r}, which is "
            "no finite number; return a number, or None where the function does not apply"
        )
    return number


def _short(value: object) -> str:
    """A value as it is written, or its type where writing it fails or takes too long."""
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return f"a whole number of {value.bit_length()} bits"
    try:
        return repr(value)[:_SHOWN_CHARS]
    except (ArithmeticError, AttributeError, RuntimeError, TypeError, ValueError):
        return f"a {type(value).__name__}"


_MOST_BITS, _SHOWN_CHARS = 256, 200


# Logging -----------------------------------------------------------------------------------------


class _Log:
    """What one function logs in one call."""

    def __init__(self, function: Function, count: int) -> None:
        self.function, self.count = function, count
        self.columns: dict[str, list[Any]] = {}
        self.metrics: dict[str, list[float]] = {}

    def extra(self, column: str, values: Sequence[Any]) -> None:
        """TRL's `log_extra`: a value a completion, for the file of rollouts."""
        values = list(values)
        if len(values) != self.count:
            raise ValueError(
                f"log_extra({column!r}, ...) got {len(values)} values for {self.count} completions"
            )
        self.columns[column] = values

    def metric(self, name: str, value: float) -> None:
        """TRL's `log_metric`: a number for `metrics.jsonl`, averaged over its calls; NaN is left out, as there."""
        if math.isfinite(value):
            self.metrics.setdefault(name, []).append(float(value))


def _logged(logs: Sequence[_Log], count: int) -> tuple[list[dict[str, Any]], dict[str, float]]:
    columns = {name: values for log in logs for name, values in log.columns.items()}
    notes = [{name: values[place] for name, values in columns.items()} for place in range(count)]
    metrics: dict[str, list[float]] = {}
    for log in logs:
        for name, numbers in log.metrics.items():
            metrics.setdefault(name, []).extend(numbers)
    return notes, {name: fmean(numbers) for name, numbers in metrics.items()}
