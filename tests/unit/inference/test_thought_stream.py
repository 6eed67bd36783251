"""Thought and content while they arrive: the same as of the whole text, however it is divided."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dianoia.inference.thought_stream import ThoughtStream, split_text
from dianoia.text.template import TEMPLATES, Template

ZERO = TEMPLATES["r1-zero"]
PIECES = st.sampled_from(
    ["<think>", "</think>", "<answer>", "</answer>", "<", "think>", " ", "\n", "a", "bc", "</"]
)


def streamed(template: Template, opened: bool, parts: list[str]) -> tuple[str | None, str]:
    stream = ThoughtStream(template, opened)
    out = [*(stream.push(part) for part in parts), stream.finish()]
    thought = "".join(part.thought for part in out)
    return thought if stream.has_thought else None, "".join(part.content for part in out)


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
        ("r1-zero", "<think></think><answer></answer>", "", ""),
        ("r1-zero", "a < b <thin k", None, "a < b <thin k"),
        ("r1", " <think>\na\n\nb\n</think>\nIt is \\boxed{2}.", "a\n\nb", "It is \\boxed{2}."),
        # Malformed ones: the first closing tag ends the thought, and there is one thought.
        ("r1-zero", "<think>a</think>b</think>c", "a", "b</think>c"),
        ("r1-zero", "<think>a</think>b<think>c</think>", "a", "b<think>c</think>"),
        ("r1-zero", "<think>a<think>b</think>c", "a<think>b", "c"),
        ("r1-zero", "<answer>5</answer><think>a</think>", "a", "5"),
        ("r1-zero-prefilled", "<think>a</think>5", "<think>a", "5"),
    ],
)
def test_thought_and_content(template: str, text: str, thought: str | None, content: str) -> None:
    assert split_text(text, TEMPLATES[template]) == (thought, content)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(PIECES, max_size=12),
    st.lists(st.integers(1, 7), min_size=1, max_size=12),
    st.sampled_from(sorted(TEMPLATES)),
    st.booleans(),
)
def test_in_whatever_pieces_a_text_arrives_it_is_split_as_the_whole(
    pieces: list[str], widths: list[int], name: str, opened: bool
) -> None:
    text, parts = "".join(pieces), []
    while sum(map(len, parts)) < len(text):
        at = sum(map(len, parts))
        parts.append(text[at : at + widths[len(parts) % len(widths)]])
    thought, content = split_text(text, TEMPLATES[name], opened)
    assert streamed(TEMPLATES[name], opened, parts) == (thought, content)
    # Nothing is lost: all that is no tag and no white space is in one of the two.
    bare = text
    for tag in ("<think>", "</think>", "<answer>", "</answer>"):
        bare = bare.replace(tag, "")
    both = (thought or "") + content
    assert all(both.count(letter) >= bare.count(letter) for letter in "bc")


def test_where_the_thought_ends() -> None:
    text = " <think>\nab</think>\nc"
    stream = ThoughtStream(ZERO, opened=False)
    for character in text:
        stream.push(character)
    assert stream.thought_end == text.index("</think>") + len("</think>")
    assert not stream.thinking
