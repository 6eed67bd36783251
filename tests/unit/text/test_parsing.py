"""The parser against the hacks that loose format checks let through (Logic-RL and others)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dianoia.base.records import Completion, Problem, RolloutStatus
from dianoia.text.parsing import Broken, Fault, Parsed, make_rollout, parse
from dianoia.text.template import TEMPLATES

ZERO, PREFILLED, PLAIN = (TEMPLATES[name] for name in ("r1-zero", "r1-zero-prefilled", "plain"))
TAGS = ("<think>", "</think>", "<answer>", "</answer>")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>2+3=5</think><answer>5</answer>", Parsed("2+3=5", "5")),
        (" <think>a</think>\n\n<answer>\n5\n</answer>\n", Parsed("a", "5")),
        ("<think></think> <answer>5</answer>", Parsed("", "5")),
        ("<think>等一下</think><answer>五</answer>", Parsed("等一下", "五")),
        (
            "<think>x</think><answer>def f():\n  return 1</answer>",
            Parsed("x", "def f():\n  return 1"),
        ),
        ("<think>if a<b and c>d</think><answer><</answer>", Parsed("if a<b and c>d", "<")),
        ("<think>a</think><answer>.5</answer>", Parsed("a", ".5")),
        ("<think>a</think><answer>the answer</answer>", Parsed("a", "the answer")),
    ],
)
def test_well_formed(text: str, expected: Parsed) -> None:
    assert parse(text, ZERO) == expected


@pytest.mark.parametrize(
    ("hack", "text", "fault"),
    [
        ("no template at all", "The answer is 5.", Fault.NO_TAGS),
        ("nothing", "", Fault.NO_TAGS),
        ("skipped thought", "<answer>5</answer>", Fault.NO_THOUGHT_TAG),
        ("thought not opened", "2+3=5</think><answer>5</answer>", Fault.NO_THOUGHT_TAG),
        ("thought not closed", "<think>a<answer>5</answer>", Fault.THOUGHT_NOT_CLOSED),
        ("no answer", "<think>a</think> 5", Fault.NO_ANSWER_TAG),
        ("answer not opened", "<think>a</think>5</answer>", Fault.NO_ANSWER_TAG),
        ("answer not closed", "<think>a</think><answer>5", Fault.ANSWER_NOT_CLOSED),
        (
            "reasoning inside the answer, tagged",
            "<answer><think>a</think>5</answer>",
            Fault.TAGS_OUT_OF_ORDER,
        ),
        (
            "a second thought inside the answer",
            "<think>a</think><answer><think>b</think>5</answer>",
            Fault.TAG_REPEATED,
        ),
        (
            "an answer inside the thought",
            "<think>a<answer>5</answer></think>",
            Fault.TAGS_OUT_OF_ORDER,
        ),
        (
            "repeated guessing",
            "<think>a</think><answer>5</answer><answer>6</answer>",
            Fault.TAG_REPEATED,
        ),
        (
            "guessing inside the thought",
            "<think><answer>4</answer></think><answer>5</answer>",
            Fault.TAG_REPEATED,
        ),
        (
            "nested answers",
            "<think>a</think><answer><answer>5</answer></answer>",
            Fault.TAG_REPEATED,
        ),
        (
            "nested thoughts",
            "<think><think>a</think></think><answer>5</answer>",
            Fault.TAG_REPEATED,
        ),
        ("filler before", "Sure! <think>a</think><answer>5</answer>", Fault.TEXT_BEFORE),
        ("filler between", "<think>a</think>So: <answer>5</answer>", Fault.TEXT_BETWEEN),
        ("filler after", "<think>a</think><answer>5</answer> Done.", Fault.TEXT_AFTER),
        (
            "thinking again after the answer",
            "<think>a</think><answer>5</answer><think>b</think>",
            Fault.TAG_REPEATED,
        ),
        ("answer first", "<answer>5</answer><think>a</think>", Fault.TAGS_OUT_OF_ORDER),
        ("empty answer", "<think>a</think><answer> \n</answer>", Fault.EMPTY_ANSWER),
        ("zero-width answer", "<think>a</think><answer>\u200b\ufeff</answer>", Fault.EMPTY_ANSWER),
        ("placeholder", "<think>a</think><answer> answer here </answer>", Fault.PLACEHOLDER_ANSWER),
        ("dots", "<think>...</think><answer>...</answer>", Fault.PLACEHOLDER_ANSWER),
        ("ellipsis", "<think>a</think><answer>…</answer>", Fault.PLACEHOLDER_ANSWER),
        (
            "bracketed placeholder",
            "<think>a</think><answer>[Your final answer here]</answer>",
            Fault.PLACEHOLDER_ANSWER,
        ),
        ("upper case", "<THINK>a</THINK><ANSWER>5</ANSWER>", Fault.NO_TAGS),
        ("one upper-case tag", "<think>a</Think><answer>5</answer>", Fault.THOUGHT_NOT_CLOSED),
        ("spaces in a tag", "<think>a</think>< answer>5</answer>", Fault.NO_ANSWER_TAG),
        ("full-width brackets", "＜think＞a＜/think＞<answer>5</answer>", Fault.NO_THOUGHT_TAG),
        ("cyrillic a", "<think>a</think><\u0430nswer>5</answer>", Fault.NO_ANSWER_TAG),
    ],
    ids=lambda value: value if isinstance(value, str) and "<" not in value else "",
)
def test_hacks(hack: str, text: str, fault: Fault) -> None:
    assert parse(text, ZERO) == Broken(fault), hack


@pytest.mark.parametrize(
    "answer", ["2+3=5, so it is 5", "5 or 6", "what is 2+3?", "5 <ANSWER>6</ANSWER>"]
)
def test_prose_guesses_and_copies_are_left_to_the_verifier(answer: str) -> None:
    """Documented limit of a format rule; the verifiers of `dianoia.tasks` refuse them."""
    assert parse(f"<think>a</think><answer>{answer}</answer>", ZERO) == Parsed("a", answer)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a</think><answer>5</answer>", Parsed("a", "5")),
        ("</think><answer>5</answer>", Parsed("", "5")),
        ("<think>a</think><answer>5</answer>", Broken(Fault.TAG_REPEATED)),
        ("5", Broken(Fault.NO_TAGS)),
        ("<answer>5</answer>", Broken(Fault.THOUGHT_NOT_CLOSED)),
        ("a</think>b<answer>5</answer>", Broken(Fault.TEXT_BETWEEN)),
        ("a</think><answer>5</answer>b", Broken(Fault.TEXT_AFTER)),
    ],
)
def test_prompt_that_opens_the_thought(text: str, expected: Parsed | Broken) -> None:
    assert parse(text, PREFILLED) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", Parsed("", "5")),
        ("2+3=5\n\n 5 \n", Parsed("2+3=5\n", "5")),
        ("<think>a", Parsed("", "<think>a")),
        (" \n ", Broken(Fault.EMPTY_ANSWER)),
        ("...", Broken(Fault.PLACEHOLDER_ANSWER)),
    ],
)
def test_without_tags_the_last_line_is_the_answer(text: str, expected: Parsed | Broken) -> None:
    assert parse(text, PLAIN) == expected


# Without "<" no text can make up a tag, and a letter keeps the answer from being a placeholder.
words = st.text(st.characters(exclude_characters="<", codec="utf-8"), max_size=20)
spaces = st.text(" \n\t", max_size=3)


@given(words, words, spaces)
def test_well_formed_always_parses(thought: str, answer: str, space: str) -> None:
    text = f"{space}<think>{thought}</think>{space}<answer>{space}x{answer}y{space}</answer>{space}"
    assert parse(text, ZERO) == Parsed(thought, f"x{answer}y")


@given(words, words, st.integers(0, 3), st.integers(0, 8))
def test_a_tag_deleted_or_added_never_parses(
    thought: str, answer: str, tag: int, where: int
) -> None:
    pieces = ["", "<think>", thought, "</think>", "", "<answer>", f"x{answer}", "</answer>", ""]
    deleted = [piece for piece in pieces if piece != TAGS[tag]]
    added = [*pieces[: where + 1], TAGS[tag], *pieces[where + 1 :]]
    assert isinstance(parse("".join(deleted), ZERO), Broken)
    assert parse("".join(added), ZERO) == Broken(Fault.TAG_REPEATED)


PROBLEM = Problem("p", "2+3?", "5", "number")


def test_make_rollout_reads_status_thought_answer_and_fault() -> None:
    ended = Completion((5, 2), (-0.1, -0.2), stopped=True)
    good = make_rollout(PROBLEM, 3, (1,), ended, "<think>a</think><answer> 5 </answer>", ZERO)
    assert (good.status, good.thought, good.answer, good.fault, good.sample) == (
        RolloutStatus.FINISHED, "a", "5", None, 3,
    )  # fmt: skip
    bad = make_rollout(PROBLEM, 0, (1,), ended, "5", ZERO)
    assert (bad.status, bad.thought, bad.answer, bad.fault) == (
        RolloutStatus.MALFORMED, None, None, "no_tags",
    )  # fmt: skip


@pytest.mark.parametrize("text", ["<think>a", "<think>a</think><answer>5</answer>"])
def test_a_cut_rollout_is_truncated_never_malformed(text: str) -> None:
    cut = Completion((5,), (-0.1,), stopped=False)
    rollout = make_rollout(PROBLEM, 0, (1,), cut, text, ZERO)
    assert rollout.status is RolloutStatus.TRUNCATED
    assert rollout.thought is rollout.answer is rollout.fault is None
