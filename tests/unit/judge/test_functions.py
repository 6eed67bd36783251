"""Reward functions are called as TRL calls them, and what is wrong with one is told by its name."""

import asyncio
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import TrainerState

from dianoia.base.errors import MachineFault, UserError
from dianoia.base.records import Completion, Problem, Rollout, RolloutStatus, Turn
from dianoia.judge.completion_text import CompletionText
from dianoia.judge.functions import Form, Function, FunctionPart, columns_of, missing
from dianoia.judge.judge import Judge
from dianoia.judge.reward_part import ScoringState, Values
from dianoia.judge.rules import Rule
from dianoia.tasks.catalog import VERIFIERS
from dianoia.tasks.problem_files import read_problems
from dianoia.text.template import TEMPLATES, Template

PLAIN = Problem("a", "2+3?", "5", "number", columns={"answer": 5, "level": "easy"})
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Zwei plus zwei?"}]
ASKED = Problem(
    "b",
    "Zwei plus zwei?",
    "4",
    "number",
    language="de",
    columns={"prompt": CHAT, "solution": "$4$", "prompts": "no", "completion": "no"},
)
STATE = ScoringState(step=3, steps=12)
NOTHING = Rule("nothing", lambda _: 0.0, weight=0.0)
"""Applies to every rollout, so that a function need not."""


def rollout(problem: Problem, sample: int = 0, text: str = "<think>so</think>5") -> Rollout:
    done = Completion((4, 5, 2), (-0.1,) * 3, True)
    status = RolloutStatus.MALFORMED
    return Rollout(problem, sample, (9,), done, text, status, fault="no_answer_tag")


ROLLOUTS = [rollout(PLAIN), rollout(PLAIN, 1, "5"), rollout(ASKED)]


@dataclass
class Measured:
    values: dict[str, Values]
    notes: list[Mapping[str, Any]]
    metrics: dict[str, float]


def measure(
    functions: Sequence[Function],
    rollouts: Sequence[Rollout] = ROLLOUTS,
    template: Template | None = None,
) -> Measured:
    """Values and logs of functions, called by a judge; rollouts that follow one another make a group."""
    judge = Judge(
        [
            NOTHING,
            *(FunctionPart(function, 1.0, CompletionText(template)) for function in functions),
        ]
    )
    groups = [list(members) for _, members in groupby(rollouts, lambda rollout: rollout.problem.id)]
    scores = [score for group in judge.score_rollouts(groups, STATE) for score in group.scores]
    values = {f.name: [score.parts[f.name] for score in scores] for f in functions}
    metrics = {name.removeprefix("logged/"): value for name, value in judge.figures().items()}
    return Measured(values, [score.notes for score in scores], metrics)


def seen(
    form: Form = "auto", rollouts: Any = ROLLOUTS, template: str = "r1-zero"
) -> dict[str, Any]:
    """The keywords of one call."""
    calls: list[dict[str, Any]] = []

    def look(**keywords: Any) -> list[None]:
        calls.append(keywords)
        return [None] * len(keywords["prompts"])

    measure([Function("look", look, "f.py:look", form)], rollouts, TEMPLATES[template])
    (call,) = calls
    return call


def ask(call: Callable[..., Any], rollouts: Any = ROLLOUTS) -> list[float | None]:
    found = measure([Function("mine", call, "my.py:mine")], rollouts)
    return found.values["mine"]


# What a function is given --------------------------------------------------------------------------


def test_every_list_has_an_entry_a_rollout() -> None:
    call = seen()
    others = {"trainer_state", "log_extra", "log_metric"}
    assert all(len(values) == 3 for name, values in call.items() if name not in others)
    assert call["completion_ids"] == [[4, 5, 2]] * 3
    assert call["level"] == ["easy", "easy", None]
    assert call["answer"] == [5, 5, "4"], "the file's own value, else the gold answer"
    assert call["solution"] == ["5", "5", "$4$"]
    assert call["id"] == ["a", "a", "b"]
    assert not {"prompt", "completion", "environments"} & set(call)
    state = call["trainer_state"]
    assert asdict(state) == asdict(TrainerState(global_step=3, max_steps=12, epoch=0.25))


def test_fields_that_mean_something_else_elsewhere_reach_those_who_name_them() -> None:
    """open-r1's `code_format` takes a `language` among the keywords for a programming language."""
    calls: list[dict[str, Any]] = []

    def naming(prompts: Any, language: Any, verifier: Any = None, **columns: Any) -> list[float]:
        calls.append({"language": language, "verifier": verifier, **columns})
        return [0.0] * len(prompts)

    assert not {"language", "domain", "verifier", "difficulty"} & set(seen())
    ask(naming)
    assert calls[0]["language"] == ["en", "en", "de"] and calls[0]["verifier"] == ["number"] * 3
    assert not {"domain", "difficulty"} & set(calls[0])
    own = replace(PLAIN, columns={"language": "python"})
    assert seen(rollouts=[rollout(own), rollout(PLAIN)])["language"] == ["python", None]


def test_texts_where_the_problem_is_a_text_and_messages_where_it_is_messages() -> None:
    call = seen()
    assert call["prompts"] == ["2+3?", "2+3?", CHAT]
    assert call["completions"][0] == "<think>so</think>5"
    assert call["completions"][2] == [{"role": "assistant", "content": "<think>so</think>5"}]
    assert call["prompts"][2][0] is not CHAT[0], "what a function changes is a copy"


def test_the_form_can_be_chosen() -> None:
    messages, texts = seen("messages"), seen("text")
    assert messages["prompts"] == [[{"role": "user", "content": "2+3?"}]] * 2 + [CHAT]
    assert messages["completions"][1] == [{"role": "assistant", "content": "5"}]
    assert texts["prompts"][2] == "Zwei plus zwei?"
    assert texts["completions"][2] == "<think>so</think>5"


def test_a_tag_that_the_prompt_opened_belongs_to_the_response() -> None:
    rollouts = [rollout(PLAIN, 0, "so</think>5"), rollout(PLAIN, 1)]
    call = seen(rollouts=rollouts, template="r1-zero-prefilled")
    assert call["completions"] == ["<think>so</think>5"] * 2, "and is written once"
    assert seen(rollouts=rollouts)["completions"][0] == "so</think>5"


def think_format_reward(completions: list[list[dict[str, str]]], **kwargs: Any) -> list[float]:
    """TRL 1.16's, as it is published."""
    pattern = r"^<think>(?!.*<think>)(.*?)</think>.*$"
    completion_contents = [completion[0]["content"] for completion in completions]
    matches = [
        re.match(pattern, content, re.DOTALL | re.MULTILINE) for content in completion_contents
    ]
    return [1.0 if match else 0.0 for match in matches]


@pytest.mark.parametrize("thought", ["2+3=5", "", "first\n\nthen", "它是五"])
@pytest.mark.parametrize("name", [n for n, t in TEMPLATES.items() if t.tags is not None])
def test_trls_format_reward_pays_what_the_template_asks_for(name: str, thought: str) -> None:
    """Under every template, white space before the first tag included, and nothing else."""
    template = TEMPLATES[name]
    text = template.respond(thought, "5")
    texts = [text, "5", text.replace("</think>", "")]
    if not template.opens_thought:
        texts += [f" \n {text}", text.lstrip(), f"So: {text}", text.replace("<think>", "")]
    function = Function("think", think_format_reward, "trl.py:think", "messages")
    rollouts = [rollout(PLAIN, n, one) for n, one in enumerate(texts)]
    found = measure([function], rollouts, template).values["think"]
    assert found == [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0][: len(texts)]


def test_without_tags_a_response_is_handed_over_as_it_is() -> None:
    assert seen(rollouts=[rollout(PLAIN, 0, " 5\n")], template="plain")["completions"] == [" 5\n"]


@pytest.mark.parametrize("column", ["prompt", "question", "problem"])
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_messages_of_a_file_reach_the_function_whole(
    column: str, suffix: str, tmp_path: Path
) -> None:
    """System and earlier turns too, from a row of a file, with nothing set."""
    turns = [CHAT[0], {"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]
    messages = [*turns, CHAT[1]]
    path = tmp_path / f"p.{suffix}"
    if suffix == "csv":
        cell = json.dumps(messages).replace('"', '""')
        path.write_text(f'{column},answer\n"{cell}",4\n', encoding="utf-8")
    else:
        path.write_text(json.dumps({column: messages, "answer": "4"}), encoding="utf-8")
    (problem,) = read_problems(path, VERIFIERS)
    call = seen(rollouts=[rollout(problem)])
    assert call["prompts"] == [messages]
    assert call["completions"] == [[{"role": "assistant", "content": "<think>so</think>5"}]]
    assert seen("text", [rollout(problem)])["prompts"] == ["Zwei plus zwei?"]


def test_turns_of_a_problem_without_a_file_are_messages() -> None:
    context = (Turn("system", "Be brief."), Turn("user", "1+1?"), Turn("assistant", "2", "1 more"))
    problem = replace(PLAIN, columns={}, context=context)
    for form in ("auto", "messages"):
        assert seen(form, [rollout(problem)])["prompts"] == [[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "1+1?"},
            {"role": "assistant", "content": "2", "reasoning_content": "1 more"},
            {"role": "user", "content": "2+3?"},
        ]]  # fmt: skip


@pytest.mark.parametrize("text", ["2+3?", "[1, 2] has how many members?", "[]", '["a"]', "[{}]"])
def test_a_text_stays_a_text(text: str, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"prompt": text, "answer": "4"}), encoding="utf-8")
    (problem,) = read_problems(path, VERIFIERS)
    assert "prompt" not in problem.columns
    assert seen(rollouts=[rollout(problem)])["prompts"] == [text]


@pytest.mark.parametrize(
    ("form", "call", "hint"),
    [
        ("text", lambda completions, **_: [c[0]["content"] for c in completions], '"messages"'),
        ("text", lambda completions, **_: [c[0].get("content") for c in completions], '"messages"'),
        ("messages", lambda completions, **_: [len(c.strip()) for c in completions], '"text"'),
        ("messages", lambda completions, **_: [re.match("a", c) for c in completions], '"text"'),
        ("messages", lambda completions, **_: [1 / 0 for _ in completions], None),
    ],
)
def test_the_other_form_is_named_where_it_may_help(form: Form, call: Any, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        measure([Function("mine", call, "my.py:mine", form)], ROLLOUTS[:2])
    assert (f"set form = {hint}" in str(caught.value)) is (hint is not None), str(caught.value)


def test_columns_that_are_asked_for_and_are_not_there() -> None:
    def f(completions: Any, level: Any, tests: Any, log_extra: Any, grade: int = 1) -> None: ...

    assert missing(f, PLAIN) == ["tests"]
    assert missing(f, ASKED) == ["level", "tests"]
    assert missing(lambda prompts, **columns: None, ASKED) == []
    assert "prompts" not in columns_of(ASKED)


# What it returns -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (10**400, "a whole number of 1329 bits"),
        pytest.param(10**5000, "a whole number of 16610 bits", id="more digits than Python writes"),
        (np.array([1.0, 2.0]), "array"),
        ("5", "'5'"),
        ([1.0], "[1.0]"),
        (math.inf, "inf"),
        (1 + 2j, "(1+2j)"),
    ],
)
def test_what_is_no_number_is_named(value: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        ask(lambda **_: [0.0, value, None])
    assert said in str(caught.value) and "sample 1 of problem 'a'" in str(caught.value)


def test_numbers_of_any_kind_and_none() -> None:
    class Scalar:
        def __float__(self) -> float:
            return 2.5

    assert ask(lambda **_: [1, None, True]) == [1.0, None, 1.0]
    assert ask(lambda **_: np.array([0.5, -1.0, 3.0])) == [0.5, -1.0, 3.0]
    assert ask(lambda **_: (x for x in (Scalar(), np.float32(0.5), 0))) == [2.5, 0.5, 0.0]


def test_a_function_without_keywords_gets_what_it_names() -> None:
    def lengths(completions: list[str], answer: list[Any]) -> list[float]:
        return [len(c) + a for c, a in zip(completions, answer, strict=True)]

    assert ask(lengths, ROLLOUTS[:2]) == [18 + 5, 1 + 5]


def test_partials_and_objects_are_functions() -> None:
    class Scaled:
        def __init__(self, scale: float) -> None:
            self.scale = scale

        def __call__(self, completions: list[Any], **columns: Any) -> list[float]:
            return [self.scale] * len(completions)

    def scaled(completions: list[Any], scale: float, **columns: Any) -> list[float]:
        return [scale] * len(completions)

    assert ask(Scaled(2.0)) == ask(partial(scaled, scale=2.0)) == [2.0] * 3


def test_async_functions_run_together() -> None:
    meeting: list[str] = []

    async def met(name: str, other: str, **columns: Any) -> list[float]:
        meeting.append(name)
        while other not in meeting:
            await asyncio.sleep(0)
        return [1.0] * len(columns["prompts"])

    class Object:
        async def __call__(self, **columns: Any) -> list[float]:
            return await met("object", "partial", **columns)

    functions = [
        Function("object", Object(), "f.py:object"),
        Function("plain", lambda prompts, **_: [0.0] * len(prompts), "f.py:plain"),
        Function("partial", partial(met, "partial", "object"), "f.py:partial"),
    ]
    found = measure(functions).values
    assert list(found) == ["object", "plain", "partial"]
    assert found["object"] == found["partial"] == [1.0] * 3


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ([1.0, 2.0], r"'mine' \(my.py:mine\) returned 2 rewards for 3 completions"),
        (1.0, "returned a float"),
        (None, "returned a NoneType"),
        ("abc", "returned a str"),
        ({"a": 1.0}, "returned a dict"),
        ([1.0, "2", 3.0], "gave '2' to sample 1 of problem 'a'"),
        ([1.0, 2.0, math.nan], "gave nan to sample 0 of problem 'b'.*None where"),
        ([math.inf, 2.0, 1.0], "gave inf to sample 0 of problem 'a'"),
    ],
)
def test_what_is_no_reward_is_told_with_function_and_sample(result: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ask(lambda **_: result)


class Interrupt(BaseException):
    """As math-verify's time-outs are."""


@pytest.mark.parametrize("kind", [ValueError, KeyError, Interrupt])
@pytest.mark.parametrize("waits", [False, True])
def test_an_exception_is_told_with_file_and_line(kind: type[BaseException], waits: bool) -> None:
    def inner() -> None:
        raise kind("no such thing")

    def plain(**columns: Any) -> list[float]:
        inner()
        return []

    async def waiting(**columns: Any) -> list[float]:
        inner()
        return []

    with pytest.raises(UserError) as told:
        ask(waiting if waits else plain)
    said = str(told.value)
    assert f"'mine' (my.py:mine) raised {kind.__name__}" in said and "no such thing" in said
    assert f"{__file__}, line " in said and 'raise kind("no such thing")' in said
    assert "3 completions" in said and isinstance(told.value.__cause__, kind)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
    ids=["Python", "PyTorch"],
)
def test_memory_that_runs_out_is_no_mistake_of_the_function(error: Exception) -> None:
    def grow(**_: Any) -> list[float]:
        raise error

    with pytest.raises(MachineFault) as told:
        ask(grow)
    message = str(told.value)
    assert re.search(rf"'mine' \(my.py:mine\) raised {type(error).__name__}.*: memory has run out", message)  # fmt: skip
    assert "resumes from the last state" in message and "Fix it" not in message


def test_ctrl_c_is_no_mistake_of_the_function() -> None:
    def stop(**_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(stop)


# What it logs --------------------------------------------------------------------------------------


def test_what_functions_log() -> None:
    def one(prompts: Any, log_extra: Any, log_metric: Any, **_: Any) -> list[float]:
        log_extra("parsed", ["x", "y", "z"])
        log_metric("speed", 1.0)
        log_metric("speed", 2.0)
        log_metric("speed", math.nan)
        return [0.0] * 3

    def two(prompts: Any, log_extra: Any, log_metric: Any, **_: Any) -> list[float]:
        log_metric("speed", 6.0)
        log_extra("length", range(3))
        return [0.0] * 3

    functions = [Function("one", one, "f.py:one"), Function("two", two, "f.py:two")]
    found = measure(functions)
    assert found.notes[1] == {"parsed": "y", "length": 1}
    assert found.metrics == {"speed": 3.0}


def test_a_logged_column_of_another_length_is_told() -> None:
    def wrong(log_extra: Any, **_: Any) -> list[float]:
        log_extra("parsed", ["x"])
        return [0.0] * 3

    with pytest.raises(UserError, match=r"mine.*log_extra\('parsed', ...\) got 1 values for 3"):
        ask(wrong)


def test_functions_of_one_batch_do_not_share_lists() -> None:
    def greedy(completions: list[str], **_: Any) -> list[float]:
        completions.clear()
        return [0.0] * 3

    def counting(completions: list[str], **_: Any) -> list[float]:
        return [len(completions)] * 3

    functions = [Function("a", greedy, "f.py:a"), Function("b", counting, "f.py:b")]
    assert measure(functions).values["b"] == [3.0] * 3


def test_a_rollout_whose_problem_has_no_columns() -> None:
    bare = replace(PLAIN, columns={})
    assert seen(rollouts=[rollout(bare)])["solution"] == ["5"]
