"""Conversations as pieces: what is read, what is learnt, and where thoughts go."""

import pytest

from dianoia.base.records import Conversation, Turn
from dianoia.text.dialogue import Part, samples_of, without_thought
from dianoia.text.parsing import Parsed, parse
from dianoia.text.template import TEMPLATES

ZERO, PREFILLED, PLAIN = (TEMPLATES[name] for name in ("r1-zero", "r1-zero-prefilled", "plain"))
THINKING = "<think>\n1+1=2\n</think>\n<answer>2</answer>"


def conversation(*texts: str, first_learnt: int = 0, system: str = "") -> Conversation:
    """The user and the assistant in turn."""
    turns = [Turn(("user", "assistant")[i % 2], text) for i, text in enumerate(texts)]
    return Conversation((*([Turn("system", system)] if system else []), *turns), "x", first_learnt)


def shown(conversation: Conversation, name: str = "plain", keep: bool = False) -> list[str]:
    """Each sample as one text, with marks: learnt in [ ], context in ( )."""
    marks = {Part.PROMPT: "{}", Part.CONTEXT: "({})", Part.RESPONSE: "[{}]"}
    samples = samples_of(conversation, TEMPLATES[name], keep)
    return ["".join(marks[p.part].format(p.text) for p in sample) for sample in samples]


def test_one_turn_is_the_samplers_prompt_and_a_response() -> None:
    ((prompt, response),) = samples_of(conversation("1+1?", THINKING), ZERO)
    assert prompt.text == ZERO.render("1+1?") and prompt.part is Part.PROMPT
    assert response.text == " " + THINKING and response.part is Part.RESPONSE


def test_white_space_is_not_doubled() -> None:
    assert shown(conversation("a", " b")) == ["a\n[ b]"]
    assert shown(conversation("a", "b")) == ["a\n[b]"]


@pytest.mark.parametrize("thought", ["1+1=2\n", "", "  a\n\nb  "])
@pytest.mark.parametrize("name", ["r1-zero", "r1-zero-prefilled"])
def test_a_thought_and_an_answer_become_a_response_that_parses(name: str, thought: str) -> None:
    template = TEMPLATES[name]
    turns = (Turn("user", "1+1?"), Turn("assistant", "2", thought))
    ((prompt, response),) = samples_of(Conversation(turns, "x"), template)
    assert prompt.text == template.render("1+1?")
    parsed = parse(response.text, template)
    assert isinstance(parsed, Parsed)
    assert (parsed.thought.strip(), parsed.answer) == (thought.strip(), "2")


def test_the_response_has_the_form_of_the_miniatures_corpus() -> None:
    whole = "<think>\n2\n</think>\n<answer>2</answer>"
    assert ZERO.respond("2\n", "2") == f" {whole}"
    assert all(
        template.whole(" 2\n", "2") == whole for template in (ZERO, TEMPLATES["r1-zero-prefilled"])
    )
    assert PLAIN.respond("so", "2") == "so\n2" and PLAIN.respond("", "2") == "2"


def test_a_prefilled_prompt_has_opened_the_thought() -> None:
    ((prompt, response),) = samples_of(conversation("1+1?", THINKING), PREFILLED)
    assert prompt.text.endswith("<think>")
    assert response.text == THINKING.removeprefix("<think>")


def test_earlier_thoughts_are_stripped_and_every_turn_is_learnt_in_its_own_context() -> None:
    talk = conversation("a", "<think>x</think> b", "c", "<think>y</think> d")
    assert shown(talk) == [
        "a\n[<think>x</think> b]",
        "a\n(b)\nc\n[<think>y</think> d]",
    ]


def test_earlier_thoughts_are_kept_if_wanted_in_one_sample() -> None:
    talk = conversation("a", "<think>x</think> b", "c", "<think>y</think> d")
    assert shown(talk, keep=True) == ["a\n[<think>x</think> b]\nc\n[<think>y</think> d]"]


def test_without_earlier_thoughts_one_sample_teaches_every_turn() -> None:
    assert shown(conversation("a", "b", "c", "<think>y</think> d")) == [
        "a\n[b]\nc\n[<think>y</think> d]"
    ]


def test_context_is_not_learnt() -> None:
    talk = conversation("a", "<think>x</think> b", "c", "d", first_learnt=2)
    assert shown(talk) == ["a\n(b)\nc\n[d]"]
    assert shown(talk, keep=True) == ["a\n(<think>x</think> b)\nc\n[d]"]


def test_later_questions_have_the_templates_speaker() -> None:
    (sample,) = shown(conversation("a", "b", "c", "d"), "r1-zero")
    assert sample.endswith("\nUser: a\nAssistant:[ b]\nUser: c\nAssistant:[ d]")
    assert sample.count("answers it.") == 1


def test_a_stripped_answer_opens_no_thought_under_a_prefilled_template() -> None:
    first, second = shown(conversation("a", THINKING, "c", "x</think> d"), "r1-zero-prefilled")
    assert first.endswith("Assistant: <think>[" + THINKING.removeprefix("<think>") + "]")
    # `<think>` stands in the instruction once, and once where the learnt turn begins
    assert "Assistant:( <answer>2</answer>)\nUser: c\nAssistant: <think>[ x</think> d]" in second


def test_a_system_message_comes_first_and_once() -> None:
    assert shown(conversation("a", "b", "c", "d", system="S")) == ["S\na\n[b]\nc\n[d]"]


@pytest.mark.parametrize(
    ("text", "remaining"),
    [
        ("<think>a</think> b", "b"),
        ("a</think>\n\nb", "b"),
        ("b", "b"),
        ("<think>a</think>x</think>b", "b"),
    ],
)
def test_stripping(text: str, remaining: str) -> None:
    assert without_thought(text, PLAIN) == remaining
