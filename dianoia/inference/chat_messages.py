"""Reads conversations as people and chat APIs write them.

In: a question, or messages: `Turn`s, or tables with `role` and `content` as the OpenAI API has them. Out: turns whose last one
is the user's. Not here: rows of data files (`tasks.message_turns`), and what a template makes of turns (`text.prompts`).
"""

from collections.abc import Mapping, Sequence

from dianoia.base.errors import ConfigError
from dianoia.base.records import Turn

Message = Turn | Mapping[str, object]
Question = str | Sequence[Message]
"""A question, or a whole conversation up to it."""
ROLE_NAMES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""Roles of turns by the names that APIs have for them."""
THOUGHT_KEYS = ("reasoning_content", "reasoning")
"""Keys of an assistant's thought, as DeepSeek's API and vLLM name it."""


def turns_of(question: Question, system: str | None = None) -> tuple[Turn, ...]:
    """Return a question or a conversation as turns, with `system` before it.

    Raises ConfigError for an empty question, a role or order that no template has a place for, a message that is no text,
    and for two system messages.
    """
    messages = [Turn("user", question)] if isinstance(question, str) else question
    turns = [_turn(number, message) for number, message in enumerate(messages, start=1)]
    if system:
        turns.insert(0, Turn("system", system))
    _check_order(turns)
    return tuple(turns)


def _turn(number: int, message: Message) -> Turn:
    if isinstance(message, Turn):
        return message
    role, content = message.get("role"), message.get("content")
    if role not in ROLE_NAMES:
        raise ConfigError(
            f"message {number} has the role {role!r}, which no template has a place for; the roles are {', '.join(ROLE_NAMES)}"
        )
    text = content if isinstance(content, str) else _joined_parts(number, content)
    name = ROLE_NAMES[str(role)]
    thoughts = [message.get(key) for key in THOUGHT_KEYS] if name == "assistant" else []
    thought = next((value for value in thoughts if isinstance(value, str)), None)
    return Turn(name, text, thought)


def _joined_parts(number: int, content: object) -> str:
    """Return the text of a content of parts, as newer APIs write it."""
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, Mapping) else None for part in parts]
    kinds = [part.get("type", "text") if isinstance(part, Mapping) else "" for part in parts]
    if (
        not parts
        or any(part_type != "text" for part_type in kinds)
        or not all(isinstance(text, str) for text in texts)
    ):
        raise ConfigError(
            f"the content of message {number} is not text, and a language model reads nothing else; write a text, or parts "
            'such as [{"type": "text", "text": "2+3?"}]'
        )
    return "".join(str(text) for text in texts)


def _check_order(turns: Sequence[Turn]) -> None:
    """Raise ConfigError unless user and assistant take turns behind an optional system message, the user last."""
    roles = [message.role for message in turns]
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    if spoken != ["user", "assistant"] * (len(spoken) // 2) + ["user"]:
        raise ConfigError(
            f"the messages have the roles {', '.join(roles) or 'of nobody'}; a conversation is an optional system message, "
            "then user and assistant in turn, and ends with the user's question"
        )
    if not turns[-1].text.strip():
        raise ConfigError("the question is empty, so there is nothing to answer; write one")
