"""Thought and content while they arrive: the same as of the whole text, however it is divided."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dianoia.inference.response import split_text
from dianoia.inference.thought_stream import ThoughtStream
from dianoia.text.template import TEMPLATES, Template

ZERO, PREFILLED, PLAIN, R1 = (
    TEMPLATES[name] for name in ("r1-zero", "r1-zero-prefilled", "plain", "r1")
)


def streamed(template: Template, text: str, width: int) -> tuple[str | None, str]:
    stream = ThoughtStream(template)
    parts = [stream.push(text[i : i + width]) for i in range(0, len(text), width)]
    parts.append(stream.finish())
    thought = "".join(part.thought for part in parts)
    return thought if stream.has_thought else None, "".join(part.content for part in parts)


@pytest.mark.parametrize(
    ("template", "text", "thought", "content"),
    [
        (ZERO, " <think>\n1+1=2\n</think>\n<answer>2</answer>", "1+1=2", "2"),
        (ZERO, " <think>\nnever closed", "never closed", ""),
        (ZERO, "no tags at all ", None, "no tags at all"),
        (ZERO, "said <think>a</think> b", "a", "said\nb"),
        (ZERO, "<think></think><answer></answer>", "", ""),
        (ZERO, "a < b <thin k", None, "a < b <thin k"),
        (PREFILLED, "\n1+1=2\n</think>\n<answer>2</answer>", "1+1=2", "2"),
        (
            R1,
            " <think>\na\n\nb\n</think>\nThe sum is \\boxed{2}.",
            "a\n\nb",
            "The sum is \\boxed{2}.",
        ),
        (PLAIN, "<think>x</think> y", "x", "y"),
        (PLAIN, "x</think> y", "x", "y"),
    ],
)
def test_thought_and_content(
    template: Template, text: str, thought: str | None, content: str
) -> None:
    assert tuple(split_text(text, template)) == (thought, content)
    if template is PLAIN and "<think>" not in text:
        return  # only a whole text shows that a thought was never opened
    for width in range(1, len(text) + 1):
        assert streamed(template, text, width) == (thought, content)


PIECES = st.sampled_from(
    ["<think>", "</think>", "<answer>", "</answer>", "<", "think>", " ", "\n", "a", "bc", "</"]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=12), st.integers(1, 7), st.sampled_from([ZERO, PREFILLED]))
def test_division_changes_nothing_and_no_text_is_lost(
    pieces: list[str], width: int, template: Template
) -> None:
    text = "".join(pieces)
    whole = streamed(template, text, max(1, len(text)))
    assert streamed(template, text, width) == whole
    letters = "".join(c for c in (whole[0] or "") + whole[1] if c in "abc")
    # Letters within tags do not count: those of `think` and `answer` are among a, b, c only in `answer`.
    bare = text
    for tag in ("<think>", "</think>", "<answer>", "</answer>"):
        bare = bare.replace(tag, "")
    assert len(letters) >= sum(bare.count(c) for c in "bc")


def test_where_the_thought_ends() -> None:
    text = " <think>\nab</think>\nc"
    stream = ThoughtStream(ZERO)
    for character in text:
        stream.push(character)
    assert stream.thought_end == text.index("</think>") + len("</think>")
    assert not stream.thinking
