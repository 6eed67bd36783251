"""The form of the released models: a thought in its tags, a summary, the answer in the summary's box."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dianoia.base.records import Completion, Conversation, Problem, RolloutStatus, Turn
from dianoia.tasks.catalog import VERIFIERS
from dianoia.tasks.code.run_tests import extract_program
from dianoia.text import parsing
from dianoia.text.dialogue import samples_of
from dianoia.text.parsing import Broken, Fault, Parsed, make_rollout, parse
from dianoia.text.template import TEMPLATES, Tags, Template
from dianoia.text.visible import final_part, scored_text, whole_response

R1, PREFILLED = TEMPLATES["r1"], TEMPLATES["r1-prefilled"]
SUM = Problem("s", "2+3?", "5", "number")
PROGRAM = Problem("c", "Add two numbers.", "{}", "code")
CODE = "Read both, add, print.\n\n```python\nprint('\\\\boxed{1}')\n```\nDone."


def test_the_prompt_explains_nothing() -> None:
    assert R1.render("2+3?") == "User: 2+3?\nAssistant:"
    assert R1.render("2+3?", later=True) == "\nUser: 2+3?\nAssistant:"
    assert PREFILLED.render("2+3?") == "User: 2+3?\nAssistant: <think>"
    assert PREFILLED.render("2+3?", later=True) == "\nUser: 2+3?\nAssistant: <think>"


def test_a_response_by_hand() -> None:
    assert R1.respond("2+3=5", "It is 5.") == " <think>\n2+3=5\n</think>\nIt is 5."
    assert PREFILLED.respond("2+3=5", "It is 5.") == "\n2+3=5\n</think>\nIt is 5."
    assert PREFILLED.whole("2+3=5", "It is 5.") == "<think>\n2+3=5\n</think>\nIt is 5."
    assert R1.whole("", "Hello!") == "<think>\n</think>\nHello!"


@pytest.mark.parametrize(
    ("summary", "answer"),
    [
        (r"Adding gives \boxed{5}.", "5"),
        (r"\boxed{ 5 }", "5"),
        (r"First \boxed{4}, then \boxed{5}", r"\boxed{4}, \boxed{5}"),
        (r"The roots are \boxed{2} and \boxed{3}.", r"\boxed{2}, \boxed{3}"),
        (r"\boxed{5}, once more: \boxed{5}", "5"),
        (r"It is \boxed{5} million.", r"\boxed{5}\text{ million}"),
        (r"$\boxed{\frac{1}{2}}$", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\}}", r"\}"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{a{b}{c{d}}} and }", "a{b}{c{d}}"),
        ("\\boxed{5\n}", "5"),
        ("It is 5.", "It is 5."),
        (r"\fbox{5} or boxed{5}", r"\fbox{5} or boxed{5}"),
        ("<answer>5</answer>", "<answer>5</answer>"),
        ("I cannot help with that.", "I cannot help with that."),
        (CODE, CODE),
        ("```\n\\boxed{1}\n```\nso \\boxed{2}", "2"),
        ("```\n\\boxed{1}", "```\n\\boxed{1}"),
        (r"`x` ```\boxed{3}```", "3"),
    ],
)
def test_the_answer_of_a_summary(summary: str, answer: str) -> None:
    assert parse(f" <think>a</think>\n\n{summary}\n", R1) == Parsed("a", answer, summary)


@pytest.mark.parametrize(
    ("hack", "text", "fault"),
    [
        ("no template", "It is 5.", Fault.NO_TAGS),
        ("nothing", "", Fault.NO_TAGS),
        ("the other template's tags", "<answer>5</answer>", Fault.NO_TAGS),
        ("not opened", "2+3=5</think>\nIt is 5.", Fault.NO_THOUGHT_TAG),
        ("not closed", "<think>2+3=5\nIt is 5.", Fault.THOUGHT_NOT_CLOSED),
        ("the wrong way round", "</think>2+3=5<think>\nIt is 5.", Fault.TAGS_OUT_OF_ORDER),
        ("a second thought", "<think>a</think>b<think>c</think>d", Fault.TAG_REPEATED),
        ("a nested thought", "<think><think>a</think></think>b", Fault.TAG_REPEATED),
        ("closed twice", "<think>a</think>b</think>c", Fault.TAG_REPEATED),
        ("text before", "Sure. <think>a</think>It is 5.", Fault.TEXT_BEFORE),
        ("no summary", "<think>a</think> \n", Fault.EMPTY_ANSWER),
        ("an invisible summary", "<think>a</think>\u200b", Fault.EMPTY_ANSWER),
        ("a placeholder", "<think>a</think>[your final answer here]", Fault.PLACEHOLDER_ANSWER),
        ("an empty box", r"<think>a</think>It is \boxed{ }.", Fault.EMPTY_ANSWER),
        ("an invisible box", "<think>a</think>It is \\boxed{\u200b}.", Fault.EMPTY_ANSWER),
        ("a box of dots", r"<think>a</think>It is \boxed{...}.", Fault.PLACEHOLDER_ANSWER),
        ("a copied box", r"<think>a</think>\boxed{your answer}", Fault.PLACEHOLDER_ANSWER),
        ("an open box", r"<think>a</think>\boxed{4} or \boxed{5", Fault.ANSWER_NOT_CLOSED),
        ("an open brace", r"<think>a</think>\boxed{\frac{1}{2}", Fault.ANSWER_NOT_CLOSED),
        ("an escaped brace", r"<think>a</think>\boxed{5\}", Fault.ANSWER_NOT_CLOSED),
        ("a box in the thought alone", r"<think>\boxed{5}</think>", Fault.EMPTY_ANSWER),
    ],
    ids=lambda value: value if isinstance(value, str) and "<" not in value else "",
)
def test_hacks(hack: str, text: str, fault: Fault) -> None:
    assert parse(text, R1) == Broken(fault), hack


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a</think>\nIt is \\boxed{5}.", Parsed("a", "5", r"It is \boxed{5}.")),
        ("</think>5", Parsed("", "5", "5")),
        ("<think>a</think>5", Broken(Fault.TAG_REPEATED)),
        ("a", Broken(Fault.NO_TAGS)),
        ("a</think>", Broken(Fault.EMPTY_ANSWER)),
        ("a</think>b</think>c", Broken(Fault.TAG_REPEATED)),
    ],
)
def test_a_prompt_that_opens_the_thought(text: str, expected: Parsed | Broken) -> None:
    assert parse(text, PREFILLED) == expected


texts = st.text(st.characters(exclude_characters="<\\`", codec="utf-8"), max_size=30)


@pytest.mark.parametrize("template", [R1, PREFILLED], ids=lambda template: template.name)
@given(thought=texts, summary=texts, box=st.booleans())
def test_what_is_written_is_read_again(
    template: Template, thought: str, summary: str, box: bool
) -> None:
    summary += r"so \boxed{{5}}." if box else "x."
    parsed = parse(template.respond(thought, summary), template)
    assert isinstance(parsed, Parsed)
    assert (parsed.thought.strip(), parsed.summary) == (thought.strip(), summary.strip())
    assert parsed.answer == ("{5}" if box else summary.strip())


@given(texts, texts)
def test_a_tag_more_never_parses(thought: str, summary: str) -> None:
    for tag in ("<think>", "</think>"):
        for text in (thought + tag, thought):
            broken = R1.respond(text, summary if text is not thought else summary + tag)
            assert parse(broken, R1) == Broken(Fault.TAG_REPEATED)


def ended(problem: Problem, summary: str) -> tuple[str | None, str | None, str | None]:
    completion = Completion((1, 2), (0.0, 0.0), stopped=True)
    rollout = make_rollout(problem, 0, (3,), completion, R1.respond("a", summary), R1)
    return rollout.answer, rollout.summary, rollout.fault


def test_a_rollout_knows_its_summary() -> None:
    assert ended(SUM, r"It is \boxed{5}.") == ("5", r"It is \boxed{5}.", None)
    assert ended(SUM, r"It is \boxed{}.") == (None, None, "empty_answer")
    completion = Completion((1,), (0.0,), stopped=False)
    cut = make_rollout(SUM, 0, (3,), completion, R1.respond("a", "5"), R1)
    assert cut.status is RolloutStatus.TRUNCATED and cut.summary is None


def test_a_program_is_found_in_its_summary() -> None:
    """A box beside the program does not hide it, an empty one is no fault; without a fence all is program."""
    assert parsing._UNBOXED in VERIFIERS
    program = "print('\\\\boxed{1}')\n"
    for summary in (CODE, CODE + r" Run it: \boxed{see above}", CODE + r" \boxed{}"):
        answer, remaining, fault = ended(PROGRAM, summary)
        assert answer == remaining == summary and fault is None
        assert extract_program(answer) == program
    two = "```python\nprint(1)\n```\nbetter:\n```python\nprint(2)\n```"
    assert extract_program(ended(PROGRAM, two)[0] or "") == "print(2)\n"
    assert extract_program(ended(PROGRAM, "print(1)")[0] or "") == "print(1)"


def test_a_box_is_graded_by_the_problems_verifier() -> None:
    for summary, grade in (
        (r"\boxed{5}", 1.0),
        (r"\boxed{6}, not 5", 0.0),
        ("5", 1.0),
        ("Is 5", 0.0),
    ):
        answer = ended(SUM, summary)[0]
        assert answer is not None and VERIFIERS["number"](SUM, answer) == grade


def test_earlier_thoughts_are_stripped_in_a_dialogue() -> None:
    turns = (
        Turn("user", "2+3?"), Turn("assistant", r"It is \boxed{5}.", "2+3=5"),
        Turn("user", "And 1 more?"), Turn("assistant", "<think>\n5+1=6\n</think>\nIt is 6."),
    )  # fmt: skip
    first, second = samples_of(Conversation(turns, "x"), R1)
    assert "".join(piece.text for piece in first) == (
        "User: 2+3?\nAssistant: <think>\n2+3=5\n</think>\nIt is \\boxed{5}."
    )
    assert "".join(piece.text for piece in second) == (
        "User: 2+3?\nAssistant: It is \\boxed{5}.\nUser: And 1 more?\nAssistant:"
        " <think>\n5+1=6\n</think>\nIt is 6."
    )
    prefilled = samples_of(Conversation(turns, "x"), PREFILLED)[1]
    assert "".join(piece.text for piece in prefilled) == (
        "User: 2+3?\nAssistant: It is \\boxed{5}.\nUser: And 1 more?\nAssistant: <think>"
        "\n5+1=6\n</think>\nIt is 6."
    )
    assert prefilled[-1].text == "\n5+1=6\n</think>\nIt is 6."


def test_what_a_reward_model_sees() -> None:
    sampled = R1.respond("2+3=5", r"It is \boxed{5}.")
    assert final_part(sampled, Tags()) == r"It is \boxed{5}."
    assert scored_text(R1, "2+3?", "It is 5.") == "User: 2+3?\nAssistant:It is 5."
    assert scored_text(PREFILLED, "2+3?", "It is 5.") == "User: 2+3?\nAssistant:It is 5."


def test_a_prefilled_prompt_is_scored_as_its_sibling() -> None:
    """The thought is seen with its opening tag, whether the prompt wrote it or the model did."""
    whole = R1.respond("2+3=5", "It is 5.").strip()
    tail = PREFILLED.respond("2+3=5", "It is 5.") + "\n"
    assert whole_response(PREFILLED, tail) == whole
    assert whole_response(PREFILLED, whole) == whole_response(R1, whole) == whole
    assert whole_response(R1, tail) == tail.strip()
    assert scored_text(PREFILLED, "2+3?", whole) == scored_text(R1, "2+3?", whole)
    assert scored_text(PREFILLED, "2+3?", tail) == scored_text(R1, "2+3?", whole)
