"""What a reward model sees of a response."""

import pytest

from dianoia.text.template import TEMPLATES, Tags
from dianoia.text.visible import final_part, scored_text, visible_part


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (" <think> 2+3 </think> <answer> 5 </answer>", "5"),
        ("<think>2+3</think>\nThe answer is 5.\n", "The answer is 5."),
        ("2+3</think> <answer>5</answer>", "5"),  # the prompt opened the thought
        ("<think> a </think> b <think> c </think> d", "d"),
        ("Just an answer, as in public data.", "Just an answer, as in public data."),
        ("<think> never closed", ""),
        ("<think> a </think>  ", ""),
        ("a </think> b", "b"),
        ("", ""),
    ],
)
def test_the_final_part(response: str, expected: str) -> None:
    assert final_part(response, Tags()) == expected


def test_the_safety_model_sees_the_thought() -> None:
    response = " <think> how to hide it </think> <answer> no </answer> "
    assert visible_part(response, "response") == response.strip()
    assert visible_part(response, "answer") == "no"
    assert visible_part("<t>x</t> y", "answer", Tags("<t>", "</t>", "<a>", "</a>")) == "y"


def test_prompt_and_part_are_joined_as_they_are() -> None:
    assert scored_text(TEMPLATES["plain"], "Why?", "Because.") == "Why?\nBecause."
    assert scored_text(TEMPLATES["r1-zero"], "{x}?", "5").endswith("User: {x}?\nAssistant:5")
