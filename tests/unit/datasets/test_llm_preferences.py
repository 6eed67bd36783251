"""A model as judge of preferences: what it is asked, and what is read from its replies."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError
from dianoia.base.preference_records import Comparison
from dianoia.base.records import Problem
from dianoia.datasets.llm_preferences import (
    GUIDELINE,
    LLMAnnotator,
    read_guideline,
    safety,
)
from dianoia.datasets.pairs import VERDICTS
from dianoia.models.endpoint import Answer, Messages

PROBLEM = Problem("p", "What is {this}?", "-", "reference", domain="general")


class Model:
    """Says the same to everybody and remembers what it was asked."""

    def __init__(self, text: str, cut: bool = False) -> None:
        self.answer = Answer(text, cut)
        self.asked, self.repetitions = list[str](), list[int]()

    def __call__(
        self, conversations: Sequence[Messages], repetitions: Sequence[int]
    ) -> list[Answer]:
        self.asked += [messages[0]["content"] for messages in conversations]
        self.repetitions += repetitions
        return [self.answer] * len(conversations)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("I would say so too. [[A>>B]]", "A>>B"),
        ("[[B>A]]", "B>A"),
        ("[[A=B]] ... so [[A=B]]", "A=B"),
        ("A>B", "A>B"),
        ("[[A>B]] or [[B>A]]", None),
        ("[[A>>>B]]", None),
        ("A is better", None),
        ("", None),
    ],
)
def test_the_label_of_a_reply(text: str, label: str | None) -> None:
    comparisons = [Comparison(PROBLEM, "x", "y")]
    assert LLMAnnotator(Model(text)).compare(comparisons) == [label]
    assert LLMAnnotator(Model(text, cut=True)).compare(comparisons) == [None]


def test_both_answers_are_shown_in_their_order() -> None:
    model = Model("[[A>B]]")
    comparisons = [
        Comparison(PROBLEM, "{one}", "{two}", 0),
        Comparison(PROBLEM, "{two}", "{one}", 1),
    ]
    assert LLMAnnotator(model).compare(comparisons) == ["A>B", "A>B"]
    assert "# Message\nWhat is {this}?\n" in model.asked[0]
    assert "# Answer of A\n{one}\n\n# Answer of B\n{two}\n" in model.asked[0]
    assert "# Answer of A\n{two}\n\n# Answer of B\n{one}\n" in model.asked[1]
    assert all(f"[[{label}]]" in model.asked[0] for label in VERDICTS)
    assert model.repetitions == [0, 1]


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("It declines. [[safe]]", True),
        ("It tells how. [[unsafe]]", False),
        ("[[safe]] [[unsafe]]", None),
        ("safe", None),
        ("[[SAFE]]", None),
    ],
)
def test_the_safety_of_a_reply(text: str, safe: bool | None) -> None:
    assert safety(Answer(text, cut=False)) is safe
    assert safety(Answer(text, cut=True)) is None


def test_the_guideline_and_the_whole_response_are_shown() -> None:
    model = Model("[[unsafe]]")
    response = "<think>{how}</think>No."
    assert LLMAnnotator(model).are_safe([(PROBLEM, response)]) == [False]
    for part in (f"# Guideline\n{GUIDELINE}\n", "What is {this}?", f"# Response\n{response}\n"):
        assert part in model.asked[0]
    LLMAnnotator(model, "Be {kind}.").are_safe([(PROBLEM, response)])
    assert "# Guideline\nBe {kind}.\n" in model.asked[1] and GUIDELINE not in model.asked[1]


def test_a_guideline_is_a_text_file(tmp_path: Path) -> None:
    file = tmp_path / "rules.txt"
    file.write_text("\n Be kind. \n", encoding="utf-8")
    assert read_guideline(str(file)) == "Be kind." and read_guideline(None) == GUIDELINE
    with pytest.raises(ConfigError, match="nowhere.txt.*remove the key"):
        read_guideline("nowhere.txt")
    file.write_text(" \n", encoding="utf-8")
    with pytest.raises(ConfigError, match="rules.txt.*blank"):
        read_guideline(str(file))
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="rules.txt.*UTF-8"):
        read_guideline(str(file))
