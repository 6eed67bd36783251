"""Reward functions with TRL's signature: the rewards that users of TRL, open-r1 and others already have.

In: rollouts. Out: a value or None per rollout, and the function's log. Not here: finding the functions
(`judge.function_files`).

A function is called with keywords: `prompts`, `completions`, `completion_ids` (lists, one entry per rollout), every
column of the problems as a list, and `trainer_state`, `log_extra` and `log_metric`, which are no lists. It returns a
number or None per rollout; None: it does not apply. `async` functions are awaited together, after the others.

Differences from TRL's GRPOTrainer (1.16):
1. A completion begins with the tag that the prompt has opened, if it has, and without the white space that stands
   between a template's prompt and its first tag. This is the text that a chat template's generation prompt leaves
   to the model, which TRL passes.
2. Every problem has the columns of COLUMNS, also one of a built-in set; a column of its own file takes precedence.
3. A function without `**kwargs` gets the keywords that it names; in TRL it fails.
4. NaN is an error, not another word for None.
"""

import asyncio
import inspect
import json
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dianoia.base.errors import UserError
from dianoia.base.records import Problem, Rollout
from dianoia.config import FunctionSettings
from dianoia.judge.function_files import format_error, make_function
from dianoia.judge.reward_part import RewardPart, ScoringState, Values
from dianoia.text.template import Template

Form = Literal["auto", "text", "messages"]

COLUMNS = ("question", "answer", "solution", "verifier", "id", "domain", "language", "difficulty")
"""Columns that every problem has; `solution` is the gold answer where the file has no such column."""
_NO_COLUMNS = frozenset(
    {"prompt", "prompts", "completion", "completions", "completion_ids", "environments", "trainer_state",
     "log_extra", "log_metric"}
)  # fmt: skip
"""Names that a column of a file cannot have when a function is called."""
_MAX_BITS, _SHOWN_CHARS = 256, 200
"""Limits on a wrong value that is shown in a message."""
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
        """Share of the stage that is done: its problems are a stream, which is read once."""
        return self.global_step / self.max_steps


@dataclass(frozen=True, slots=True)
class Function:
    """One reward function."""

    name: str
    """Key in `Score.parts`, in metrics and in reports."""
    call: Callable[..., Any]
    path: str
    """The path in the recipe, for messages."""
    form: Form = "auto"

    @property
    def is_async(self) -> bool:
        """True if a call returns an awaitable."""
        return inspect.iscoroutinefunction(self.call) or inspect.iscoroutinefunction(
            getattr(self.call, "__call__", None)  # noqa: B004 - an object may have an async one
        )

    @property
    def file(self) -> Path | None:
        """The file that defines it; None if that is not known."""
        code = getattr(inspect.unwrap(self.call), "__code__", None)
        return None if code is None else Path(code.co_filename)


def load_function(settings: FunctionSettings) -> Function:
    """Load a function of the recipe. Raises ConfigError for one that cannot be loaded."""
    call = make_function(settings.path, settings.arguments)
    return Function(settings.title, call, settings.path, settings.form)


# Keywords of a call ------------------------------------------------------------------------------


def columns_of(problem: Problem) -> dict[str, Any]:
    """Return the columns of a problem as a function gets them."""
    fields = {name: getattr(problem, name) for name in COLUMNS if name != "solution"}
    # Later entries win: a column of the problem's own file replaces a field of the same name.
    columns = {**fields, "solution": problem.answer, **problem.columns}
    return {name: value for name, value in columns.items() if name not in _NO_COLUMNS}


def messages_of(problem: Problem) -> list[dict[str, Any]] | None:
    """Return the messages of a problem in its file, system and earlier turns too; None if the prompt is a text."""
    columns = (_messages(problem.columns.get(name)) for name in _QUESTIONS)
    return next((messages for messages in columns if messages), None)


def _messages(prompt: object) -> list[dict[str, Any]] | None:
    """Return a list of messages, given as it is or as the JSON text of a CSV cell; None for anything else."""
    if isinstance(prompt, str) and prompt.lstrip().startswith("["):
        try:
            prompt = json.loads(prompt)
        except (ValueError, RecursionError):
            return None
    valid = isinstance(prompt, list) and all(isinstance(m, dict) and "role" in m for m in prompt)
    return prompt if valid else None  # type: ignore[return-value]


def response(rollout: Rollout, template: Template | None) -> str:
    """Return the response from its first tag on, with the tag that its prompt has opened."""
    if template is None or template.tags is None:
        return rollout.text
    # The prompt may end with the opening tag; TRL hands over what a chat template leaves to the model.
    opened = template.tags.open_thought
    if not template.opens_thought or opened in rollout.text:
        return rollout.text.lstrip()
    return opened + rollout.text


def arguments(
    rollouts: Sequence[Rollout], form: Form, template: Template | None = None
) -> dict[str, Any]:
    """Return the lists that a function is called with, one entry per rollout."""
    pairs = [_pair(rollout, form, template) for rollout in rollouts]
    rows = [columns_of(rollout.problem) for rollout in rollouts]
    # Problems of different files have different columns; a row without a column has None there.
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
    # Copies: a function may change its lists, and other functions get the same problems.
    prompt = [dict(m) for m in messages] if messages else [{"role": "user", "content": question}]
    return prompt, [{"role": "assistant", "content": text}]


def parameters_of(call: Callable[..., Any]) -> tuple[list[str], list[str] | None]:
    """Return the keywords that a function requires, and all that it accepts (None: any)."""
    try:
        parameters = inspect.signature(call).parameters.values()
    # A builtin has no signature: it gets every keyword.
    except (TypeError, ValueError):
        return [], None
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    keyword_parameters = [p for p in parameters if p.kind in kinds]
    any_other = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    required = [p.name for p in keyword_parameters if p.default is inspect.Parameter.empty]
    return required, None if any_other else [p.name for p in keyword_parameters]


def missing(call: Callable[..., Any], problem: Problem) -> list[str]:
    """Return the keywords that a function requires and a call about this problem would not have."""
    standard = {
        "prompts",
        "completions",
        "completion_ids",
        "trainer_state",
        "log_extra",
        "log_metric",
    }
    required, _ = parameters_of(call)
    return [name for name in required if name not in {*standard, *columns_of(problem)}]


# Calling -----------------------------------------------------------------------------------------


class FunctionPart(RewardPart):
    """A reward function as a part of the reward of every group, general prompts too.

    As in TRL it sees every sample, truncated and malformed ones too.
    """

    def __init__(
        self, function: Function, weight: float = 1.0, template: Template | None = None
    ) -> None:
        super().__init__(function.name, weight)
        self.function, self.template = function, template

    def score(self, rollouts: Sequence[Rollout], state: ScoringState) -> Values | Awaitable[Values]:
        """Call the function about all rollouts at once; an `async` function gives an awaitable.

        Raises UserError, naming the function, for an exception in it, a wrong number of values, or one that is no
        finite number or None.
        """
        # A log per call, so that functions that run at the same time do not mix their columns.
        log = _Log(state, len(rollouts))
        keywords = arguments(rollouts, self.function.form, self.template) | {
            "trainer_state": TrainerState(state.step, state.steps),
            "log_extra": log.extra,
            "log_metric": log.metric,
        }
        # Difference 3 to TRL: no keyword that the function does not name, unless it has `**kwargs`.
        _, accepted = parameters_of(self.function.call)
        keywords = {k: v for k, v in keywords.items() if accepted is None or k in accepted}
        if self.function.is_async:
            return self._await(keywords, rollouts)
        with self._errors_named(keywords):
            result = self.function.call(**keywords)
        return _checked(self.function, result, rollouts)

    async def _await(self, keywords: Mapping[str, Any], rollouts: Sequence[Rollout]) -> Values:
        with self._errors_named(keywords):
            result = await self.function.call(**keywords)
        return _checked(self.function, result, rollouts)

    @contextmanager
    def _errors_named(self, keywords: Mapping[str, Any]) -> Iterator[None]:
        """Raise what the function raises as UserError, with its place in the file."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit, asyncio.CancelledError):
            raise
        except BaseException as error:  # math-verify's time-outs are no Exceptions
            raise UserError(_failed(self.function, error, keywords)) from error


def _failed(function: Function, error: BaseException, keywords: Mapping[str, Any]) -> str:
    count = len(next((v for v in keywords.values() if isinstance(v, list)), []))
    return (
        f"{_name(function)} {format_error(error, function.file)} while scoring {count} completions. "
        f"{_other_form(error, keywords)}Fix it and rerun the same command; the stage then starts from scratch, because its "
        "reward function changed"
    )


def _other_form(error: BaseException, keywords: Mapping[str, Any]) -> str:
    """Return advice where the function may have expected completions in the other form; else an empty text."""
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


def _name(function: Function) -> str:
    return f"rewards.functions: {function.name!r} ({function.path})"


def _checked(function: Function, result: Any, rollouts: Sequence[Rollout]) -> Values:
    """Return the values that a function returned as floats or None. Raises UserError for anything else."""
    if isinstance(result, str | bytes | Mapping) or not hasattr(result, "__iter__"):
        raise UserError(
            f"{_name(function)} returned a {type(result).__name__}; a reward function returns a list with a number or "
            "None for each completion"
        )
    # A tensor or an array is fine; a mapping or a text would iterate over the wrong thing.
    values = list(result)
    if len(values) != len(rollouts):
        raise UserError(
            f"{_name(function)} returned {len(values)} rewards for {len(rollouts)} completions; return exactly one for "
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
            f"{_name(function)} gave {_short(value)} to sample {rollout.sample} of problem {rollout.problem.id!r}, which is "
            "no finite number; return a number, or None where the function does not apply"
        )
    return number


def _short(value: object) -> str:
    """Return a value as it is written, or its type where writing it fails or takes too long."""
    # Python refuses to write such a number, or takes seconds for it.
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        return f"a whole number of {value.bit_length()} bits"
    try:
        return repr(value)[:_SHOWN_CHARS]
    except (ArithmeticError, AttributeError, RuntimeError, TypeError, ValueError):
        return f"a {type(value).__name__}"


# Logging -----------------------------------------------------------------------------------------


class _Log:
    """The logging callbacks of one call."""

    def __init__(self, state: ScoringState, count: int) -> None:
        self.state, self.count = state, count

    def extra(self, column: str, values: Sequence[Any]) -> None:
        """Log a value per completion for the file of rollouts: TRL's `log_extra`."""
        values = list(values)
        if len(values) != self.count:
            raise ValueError(
                f"log_extra({column!r}, ...) got {len(values)} values for {self.count} completions"
            )
        self.state.notes[column] = values

    def metric(self, name: str, value: float) -> None:
        """Log a number for `metrics.jsonl`, averaged over its calls: TRL's `log_metric`; NaN is left out, as there."""
        if math.isfinite(value):
            self.state.metrics.setdefault(name, []).append(float(value))
