"""Reward functions with TRL's signature: the rewards that users of TRL, open-r1 and others already have.

In: rollouts. Out: a value or None per rollout, and the function's log. Not here: finding the functions
(`judge.function_files`).

A function is called with keywords: `prompts`, `completions`, `completion_ids` (lists, one entry per rollout), every
column of the problems as a list, and `trainer_state`, `log_extra` and `log_metric`, which are no lists. It returns a
number or None per rollout; None: it does not apply. `async` functions are awaited together, after the others.

A prompt is what the file has: messages whole, as they are, or a text. In TRL a text prompt is the model's whole input;
here it is the question, and the template stays out of it.

Differences from TRL's GRPOTrainer (1.16):
1. The text of a completion, see `judge.completion_text`. A message holds it whole in `content`: no thought is taken out
   of it, as TRL does for a tokenizer with a `response_template`, where `think_format_reward` then pays 0.
2. A problem has fields that its file need not have. `**kwargs` gets question, answer, solution and id; the fields of
   NAMED_ONLY reach a function that names them, since open-r1's ask for `"language" in kwargs` and mean a programming
   language. A column of the problem's own file always takes precedence and reaches every function.
3. A function without `**kwargs` gets the keywords that it names; in TRL it fails.
4. NaN is an error, not another word for None.
5. There are no `environments`. `trainer_state.epoch` is the share of the stage that is done: problems are a stream.
"""

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dianoia.base.errors import MachineFault, UserError
from dianoia.base.faults import memory_message
from dianoia.base.records import Problem, Rollout, Turn
from dianoia.config import FunctionSettings
from dianoia.judge.completion_text import CompletionText
from dianoia.judge.function_files import format_error, make_function
from dianoia.judge.reward_part import RewardPart, ScoredBy, ScoringState, Values

Form = Literal["auto", "text", "messages"]

COLUMNS = ("question", "answer", "solution", "verifier", "id", "domain", "language", "difficulty")
"""Columns that every problem has; `solution` is the gold answer where the file has no such column."""
NAMED_ONLY = frozenset({"verifier", "domain", "language", "difficulty"})
"""Those of them that `**kwargs` alone does not get."""
_NO_COLUMNS = frozenset(
    {"prompt", "prompts", "completion", "completions", "completion_ids", "environments", "trainer_state",
     "log_extra", "log_metric"}
)  # fmt: skip
"""Names that a column of a file cannot have when a function is called."""
_MAX_BITS, _SHOWN_CHARS = 256, 200
"""Limits on a wrong value that is shown in a message."""


@dataclass(slots=True)
class TrainerState:
    """Where training is, with all fields of `transformers.TrainerState`, which a plan must start without.

    Fields from `logging_steps` on have that class's defaults.
    """

    epoch: float
    """Share of the stage that is done: its problems are a stream, which is read once."""
    global_step: int
    """Optimizer steps that are done."""
    max_steps: int
    logging_steps: int = 500
    eval_steps: int = 500
    save_steps: int = 500
    train_batch_size: int | None = None
    num_train_epochs: int = 0
    num_input_tokens_seen: int = 0
    total_flos: float = 0
    log_history: list[dict[str, float]] = field(default_factory=list)
    best_metric: float | None = None
    best_global_step: int | None = None
    best_model_checkpoint: str | None = None
    is_local_process_zero: bool = True
    is_world_process_zero: bool = True
    is_hyper_param_search: bool = False
    trial_name: str | None = None
    trial_params: dict[str, str | float | int | bool] | None = None
    stateful_callbacks: dict[str, Any] = field(default_factory=dict)


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


def columns_of(problem: Problem, keywords: Collection[str] = NAMED_ONLY) -> dict[str, Any]:
    """Return the columns of a problem as a function gets them that names the keywords `keywords`."""
    fields = {name: getattr(problem, name) for name in COLUMNS if name != "solution"}
    fields = {k: v for k, v in fields.items() if k not in NAMED_ONLY or k in keywords}
    # Later entries win: a column of the problem's own file replaces a field of the same name.
    columns = {**fields, "solution": problem.answer, **problem.columns}
    return {name: value for name, value in columns.items() if name not in _NO_COLUMNS}


def messages_of(problem: Problem) -> list[dict[str, Any]] | None:
    """Return the messages up to the question, system and earlier turns too; None for a problem that came as a text."""
    prompt = problem.columns.get("prompt")
    # The messages of a file come first: they may have keys that a turn has no place for.
    if isinstance(prompt, list):
        # Copies: a function may change its lists, and other functions get the same problems.
        return [dict(message) for message in prompt]
    return [_message(turn) for turn in problem.messages] if problem.context else None


def _message(turn: Turn) -> dict[str, Any]:
    message = {"role": turn.role, "content": turn.text}
    return message if turn.thought is None else {**message, "reasoning_content": turn.thought}


def arguments(
    rollouts: Sequence[Rollout], texts: Sequence[str], form: Form, keywords: Collection[str] = ()
) -> dict[str, Any]:
    """Return the lists that a function is called with, one entry per rollout.

    `texts` are the texts of the completions, `keywords` the keywords that the function names.
    """
    pairs = [
        _pair(rollout.problem, text, form) for rollout, text in zip(rollouts, texts, strict=True)
    ]
    rows = [columns_of(rollout.problem, keywords) for rollout in rollouts]
    # Problems of different files have different columns; a row without a column has None there.
    names = dict.fromkeys(name for row in rows for name in row)
    return {
        "prompts": [prompt for prompt, _ in pairs],
        "completions": [completion for _, completion in pairs],
        "completion_ids": [list(rollout.completion.ids) for rollout in rollouts],
        **{name: [row.get(name) for row in rows] for name in names},
    }


def _pair(problem: Problem, text: str, form: Form) -> tuple[Any, Any]:
    """Return prompt and completion in a form."""
    messages = messages_of(problem)
    if form == "text" or (form == "auto" and messages is None):
        return problem.question, text
    prompt = messages or [{"role": "user", "content": problem.question}]
    return prompt, [{"role": "assistant", "content": text}]


def parameters_of(call: Callable[..., Any]) -> tuple[dict[str, bool], bool]:
    """Return the keywords that a function names, with True for those it requires, and whether it takes all others."""
    try:
        parameters = inspect.signature(call).parameters.values()
    # A builtin has no signature: it gets every keyword.
    except (TypeError, ValueError):
        return {}, True
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    required_by_name = {
        p.name: p.default is inspect.Parameter.empty for p in parameters if p.kind in kinds
    }
    return required_by_name, any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)


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
    required_by_name, _ = parameters_of(call)
    present = {*standard, *columns_of(problem)}
    return [name for name, required in required_by_name.items() if required and name not in present]


# Calling -----------------------------------------------------------------------------------------


class FunctionPart(RewardPart):
    """A reward function as a part of the reward of every group, general prompts too.

    As in TRL it sees every sample, truncated and malformed ones too.
    """

    scored_by = ScoredBy.FIRST

    def __init__(
        self,
        function: Function,
        weight: float = 1.0,
        text: CompletionText | None = None,
    ) -> None:
        """`text` gives the text of a completion as the function gets it; None: that of the rollout."""
        super().__init__(function.name, weight)
        self.function, self.text = function, text or CompletionText()

    def score(self, rollouts: Sequence[Rollout], state: ScoringState) -> Values | Awaitable[Values]:
        """Call the function about all rollouts at once; an `async` function gives an awaitable.

        Raises UserError, naming the function, for an exception in it, a wrong number of values, or one that is no
        finite number or None.
        """
        # A log per call, so that functions that run at the same time do not mix their columns.
        log = _Log(state, len(rollouts))
        texts = [self.text(rollout) for rollout in rollouts]
        parameters, takes_others = parameters_of(self.function.call)
        keywords = arguments(rollouts, texts, self.function.form, parameters) | {
            "trainer_state": TrainerState(state.step / state.steps, state.step, state.steps),
            "log_extra": log.extra,
            "log_metric": log.metric,
        }
        # Difference 3 to TRL: no keyword that the function does not name, unless it has `**kwargs`.
        keywords = {k: v for k, v in keywords.items() if takes_others or k in parameters}
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
        """Raise what the function raises as UserError, with its place in the file; as MachineFault if memory ran out."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit, asyncio.CancelledError):
            raise
        except BaseException as error:  # math-verify's time-outs are no Exceptions
            what = _failed(self.function, error, keywords)
            memory = memory_message(error)
            if memory is not None:
                raise MachineFault(f"{what}: {memory}") from error
            raise UserError(f"{what}. {_cure(error, keywords)}") from error


def _failed(function: Function, error: BaseException, keywords: Mapping[str, Any]) -> str:
    count = len(next((v for v in keywords.values() if isinstance(v, list)), []))
    return f"{_name(function)} {format_error(error, function.file)} while scoring {count} completions"  # fmt: skip


def _cure(error: BaseException, keywords: Mapping[str, Any]) -> str:
    return (
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
