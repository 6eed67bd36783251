"""A model as judge and as rewriter: what it is asked, and what is read from its reply."""

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from dianoia.base.records import Problem
from dianoia.base.rewriting import Case, Refusal, Rewritten
from dianoia.judge.llm_grader import LLMGrader, grade_in
from dianoia.judge.llm_rewriter import LLMRewriter, read
from dianoia.models.endpoint import Answer, Messages

PROBLEM = Problem("p", "Who wrote {Faust}?", "Goethe", "reference", domain="facts")
CASE = Case(Problem("q", "12+7?", "19", "number"), "12\n周一+7=19\n", "19")


class Model:
    """Says the same to everybody and remembers what it was asked."""

    def __init__(self, text: str, cut: bool = False) -> None:
        self.answer, self.asked = Answer(text, cut), list[Messages]()

    def __call__(self, conversations: Sequence[Messages]) -> list[Answer]:
        self.asked += conversations
        return [self.answer] * len(conversations)


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ('{"analysis": "the same", "correctness": "correct"}', 1.0),
        ('{"analysis": "another", "correctness": "incorrect"}', 0.0),
        ('```json\n{"analysis": "of {1, 2}", "correctness": " Correct "}\n```', 1.0),
        ('{"correctness": "correct"} No: {"correctness": "incorrect"}', 0.0),
        ('{"analysis": "{\\"correctness\\": \\"correct\\"}", "correctness": "incorrect"}', 0.0),
        ('{"correctness": "partly"}', None),
        ('{"analysis": "correct"}', None),
        ('["correctness"]', None),
        ("correct", None),
        ("", None),
        ("{" * 5000, None),
    ],
)
def test_the_verdict_of_a_reply(text: str, grade: float | None) -> None:
    assert grade_in(Answer(text, cut=False)) == grade


def test_a_reply_that_was_cut_is_no_verdict() -> None:
    assert grade_in(Answer('{"correctness": "correct"}', cut=True)) is None


def test_the_judge_sees_question_reference_and_answer() -> None:
    model = Model('{"correctness": "correct"}')
    assert LLMGrader(model).grade([(PROBLEM, "J. W. {Goethe}")] * 2) == [1.0, 1.0]
    (message,) = model.asked[0]
    assert message["role"] == "user"
    for part in ("Who wrote {Faust}?", "\nGoethe\n", "J. W. {Goethe}", '{"analysis"'):
        assert part in message["content"]


def reply(thought: str, summary: str) -> Answer:
    return Answer(f"<thought>\n{thought}\n</thought>\n<summary>\n{summary}\n</summary>\n", False)


GOOD = reply("I start with 12. On Monday I add 7.", "Adding 7 to 12 gives 19.")


def test_a_good_reply() -> None:
    expected = Rewritten("I start with 12. On Monday I add 7.", "Adding 7 to 12 gives 19.")
    assert read(CASE, GOOD) == expected
    model = Model(GOOD.text)
    assert LLMRewriter(model).rewrite([CASE]) == [expected]
    for part in ("in English", "12+7?", "周一+7=19", "# Answer\n19"):
        assert part in model.asked[0][0]["content"]


def test_a_box_is_asked_for_where_the_data_need_one() -> None:
    model = Model(GOOD.text)
    program = replace(CASE, problem=replace(CASE.problem, verifier="code"))
    LLMRewriter(model).rewrite([CASE])
    LLMRewriter(model, boxed=True).rewrite([CASE, program])
    expected = [r"written as \boxed{the answer}." in prompt[0]["content"] for prompt in model.asked]
    assert expected == [False, True, False]
    assert isinstance(read(CASE, reply("I add.", r"It is \boxed{19}.")), Rewritten)


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        (Answer(GOOD.text, cut=True), Refusal.CUT),
        (Answer("Here it is. " + GOOD.text, cut=False), Refusal.UNREADABLE),
        (Answer("I start with 12 and get 19.", cut=False), Refusal.UNREADABLE),
        (reply("", "It is 19."), Refusal.UNREADABLE),
        (reply("I add.", "It is nineteen."), Refusal.ANSWER_MISSING),
        (reply("I add.", "It is 119."), Refusal.ANSWER_MISSING),
        (reply("I add.", "It is 19.5."), Refusal.ANSWER_MISSING),
        (reply("I add.", "It is 3.19."), Refusal.ANSWER_MISSING),
        (reply("I add.", "It is -19."), Refusal.ANSWER_MISSING),
        (reply("我从12开始", "It is 19."), Refusal.LANGUAGE),
    ],
)
def test_replies_that_cannot_be_used(answer: Answer, refusal: Refusal) -> None:
    assert read(CASE, answer) is refusal


@pytest.mark.parametrize("summary", ["It is 19.", "19", "Is it 19?", "So (19).", "It is **19**."])
def test_the_answer_stands_in_the_summary(summary: str) -> None:
    assert isinstance(read(CASE, reply("I add.", summary)), Rewritten)


@pytest.mark.parametrize(
    "text",
    [
        "{" * 200_000,
        '{"a":' * 100_000,
        '{"a": [' * 50_000,
        '{"correctness": ' + "7" * 5000 + "}",
        '{"correctness": ["correct"]}',
        '{"correctness": {"correctness": 1}}',
        '{"correctness": null}',
        '{"correctness": "' + "x" * 10**6 + '"}',
        "{}" * 100_000,
    ],
)
def test_a_hostile_reply_is_no_verdict_and_takes_no_time(text: str) -> None:
    began = time.monotonic()
    assert grade_in(Answer(text, cut=False)) is None
    assert time.monotonic() - began < 2


def test_the_object_that_begins_last_counts() -> None:
    text = (
        '{"correctness": "incorrect"} or rather {"analysis": {"a": 1}, "correctness": "correct"} {}'
    )
    assert grade_in(Answer(text, cut=False)) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "<thought>" + "</thought><summary>" * 50_000,
        "<thought>" + "</thought><summary>" * 50_000 + "</summary>",
        "<thought>" * 50_000 + "</summary>" * 50_000,
        "<thought></thought>" + " " * 200_000 + "<summary></summary>",
    ],
)
def test_a_rewriter_that_repeats_its_tags_takes_no_time(text: str) -> None:
    began = time.monotonic()
    assert isinstance(read(CASE, Answer(text, cut=False)), Refusal)
    assert time.monotonic() - began < 2


def test_the_last_division_counts() -> None:
    text = " <thought>a</thought> <summary> b</thought>\n<summary>It is 19.</summary>\n"
    result = read(CASE, Answer(text, cut=False))
    assert result == Rewritten("a</thought> <summary> b", "It is 19.")
