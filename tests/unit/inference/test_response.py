"""Thought and content of responses, whole, cut and broken."""

import pytest

from dianoia.inference.response import split_text
from dianoia.text.template import TEMPLATES


@pytest.mark.parametrize(
    ("template", "text", "thought", "content"),
    [
        ("r1-zero", " <think>\n2+3=5\n</think>\n<answer>5</answer>", "2+3=5", "5"),
        ("r1-zero", " <think>\n2+3", "2+3", ""),
        ("r1-zero", " <think>\n2+3\n</think>\n<answer>5", "2+3", "5"),
        ("r1-zero", "It is 5.", None, "It is 5."),
        ("r1-zero", "<answer>5</answer>", None, "5"),
        ("r1-zero", "Well <think>a</think> 5", "a", "Well\n5"),
        ("r1-zero-prefilled", "\n2+3=5\n</think>\n<answer>5</answer>", "2+3=5", "5"),
        ("r1-zero-prefilled", "\n2+3=", "2+3=", ""),
        ("r1", " <think>\n\n</think>\nIt is \\boxed{5}.", "", "It is \\boxed{5}."),
        ("plain", "2+3=5\n5", None, "2+3=5\n5"),
        # The tags of a model that opens its thought in the prompt of its own chat template.
        ("chat", "2+3=5</think>\n\nIt is 5.", "2+3=5", "It is 5."),
        ("chat", "<think>\n2+3=5</think>It is 5.", "2+3=5", "It is 5."),
    ],
)
def test_split(template: str, text: str, thought: str | None, content: str) -> None:
    assert split_text(text, TEMPLATES[template]) == (thought, content)
