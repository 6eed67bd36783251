"""Read the messages of a row as turns, the same for problems, samples to learn from and preferences.

In: a row, the name of its column and the messages in it. Out: `Turn`s, whole and in order. Not here: which order of roles a
reader needs.

Roles are `system`, `user` and `assistant`. `developer` is the name that chat APIs now have for `system`. Every other role
(`tool`, `function`), a call of a tool and an image are refused: no template here has a place for them, and a conversation
without them would be another one.
"""

from collections.abc import Sequence
from typing import Any

from dianoia.base.records import Turn
from dianoia.tasks.cells import Message, is_missing
from dianoia.tasks.table_files import Row
from dianoia.text.template import Template

ROLES = ("system", "user", "assistant")
CONVERSATIONS = "conversations"
"""Column of messages as ShareGPT has them, whose system message may be in the column `system`."""
THOUGHT_KEYS = ("reasoning_content", "reasoning", "thinking")
"""Keys of an assistant's thought: DeepSeek's and vLLM's, newer vLLM's, and that of gpt-oss data."""
_ROLE_NAMES = {"developer": "system", **{role: role for role in ROLES}}


def turns_of(row: Row, column: str, messages: Sequence[object]) -> tuple[Turn, ...]:
    """Return messages as turns, in order.

    Raises ProblemFileError, naming the row, for another role, and for a message that is not text or is blank. Only a system
    message may be empty: some chat templates would write one of their own without it.
    """
    return tuple(
        _turn(row, column, number, message) for number, message in enumerate(messages, start=1)
    )


def with_system(row: Row, column: str, messages: list[Message]) -> list[Message]:
    """Return the messages of a row of ShareGPT with the one that its column `system` holds, if they have none."""
    system = row.columns.get("system")
    if column != CONVERSATIONS or is_missing(system) or system == "":
        return messages
    if any(message["role"] == "system" for message in messages):
        return messages
    return [{"role": "system", "content": system}, *messages]


def messages_of_turns(turns: Sequence[Turn], template: Template) -> list[dict[str, str]]:
    """Return turns as messages for a table that is written; a thought stands in the template's tags, as it is sampled."""
    return [
        {
            "role": turn.role,
            "content": turn.text
            if turn.thought is None
            else template.whole(turn.thought, turn.text),
        }
        for turn in turns
    ]


def _turn(row: Row, column: str, number: int, message: object) -> Turn:
    role = message.get("role") if isinstance(message, dict) else message
    if not isinstance(message, dict) or not isinstance(role, str) or role not in _ROLE_NAMES:
        raise row.error(
            column,
            f"message {number} is a message of the role {role!r}",
            f"the roles are {', '.join(ROLES)}; leave out rows with others, which no template has a place for",
        )
    role = _ROLE_NAMES[role]
    if message.get("tool_calls"):
        raise row.error(
            column,
            f"message {number} calls a tool",
            "leave the row out: no template has a place for calls",
        )
    content = _content(row, column, number, message.get("content"))
    if role != "system" or content:
        row.check(column, content)
    return Turn(role, content, _thought(row, column, message) if role == "assistant" else None)


def _content(row: Row, column: str, number: int, content: Any) -> str:
    if isinstance(content, str):
        return content
    content_type = f"a {type(content).__name__}, not text"
    if isinstance(content, list):
        # What kind of part it is says more than that the content is a list.
        kinds = [
            part.get("type", "text") if isinstance(part, dict) else type(part).__name__
            for part in content
        ]
        others = [str(other) for other in kinds if other != "text"]
        content_type = (
            f"a part of the type {others[0]!r}, not text" if others else "a part without text"
        )
    raise row.error(
        column,
        f"the content of message {number} is {content_type}",
        'write text, or parts such as [{"type": "text", "text": "2+3?"}], in every message',
    )


def _thought(row: Row, column: str, message: dict[str, Any]) -> str | None:
    for key in THOUGHT_KEYS:
        thought = message.get(key)
        if thought and not is_missing(thought):
            if not isinstance(thought, str):
                raise row.error(
                    column, f"{key} is a {type(thought).__name__}, not text", "write it as text"
                )
            row.check(column, thought)
            return thought
    return None
