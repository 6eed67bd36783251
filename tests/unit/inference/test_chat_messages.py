"""Conversations as people and chat APIs write them."""

import pytest

from dianoia.base.errors import ConfigError
from dianoia.base.records import Turn
from dianoia.inference.chat_messages import turns_of


def test_a_question_is_a_user_turn() -> None:
    assert turns_of("2+3?") == (Turn("user", "2+3?"),)
    assert turns_of("2+3?", "Be brief.") == (Turn("system", "Be brief."), Turn("user", "2+3?"))


def test_messages_of_chat_apis() -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "2"}, {"type": "text", "text": "+3?"}]},
        {"role": "assistant", "content": "5", "reasoning_content": "2+3=5"},
        Turn("user", "Sure?"),
    ]  # fmt: skip
    assert turns_of(messages) == (
        Turn("system", "Be brief."),
        Turn("user", "2+3?"),
        Turn("assistant", "5", "2+3=5"),
        Turn("user", "Sure?"),
    )


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ("  ", "the question is empty"),
        ([], "of nobody"),
        ([{"role": "tool", "content": "5"}], "role 'tool'"),
        ([{"role": "user", "content": 5}], "message 1 is not text"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "message 1 is not text"),
        ([{"role": "assistant", "content": "5"}], "ends with the user's question"),
        ([{"role": "user", "content": "5"}] * 2, "user and assistant in turn"),
        ([{"role": "system", "content": "5"}] * 2, "roles system, system"),
    ],
)
def test_refusals(messages: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        turns_of(messages)  # type: ignore[arg-type]


def test_a_second_system_message_is_refused() -> None:
    with pytest.raises(ConfigError, match="system, system, user"):
        turns_of([{"role": "system", "content": "a"}, {"role": "user", "content": "b"}], "c")
