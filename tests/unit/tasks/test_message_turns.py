"""Messages of a row as turns: whole, in order, and nothing left out without a word."""

import json
from pathlib import Path
from typing import Any

import pytest

from dianoia.base.errors import ProblemFileError
from dianoia.base.records import Problem, Turn
from dianoia.tasks.conversation_files import read_conversations
from dianoia.tasks.data.set_summary import Summary
from dianoia.tasks.message_turns import messages_of_turns
from dianoia.tasks.problem_files import dialogue_of, read_problems
from dianoia.tasks.short_answers import SHORT_ANSWER_VERIFIERS
from dianoia.text.template import TEMPLATES

VERIFIERS = {"number": SHORT_ANSWER_VERIFIERS["number"]}


def said(role: str, content: object, **extra: object) -> dict[str, Any]:
    return {"role": role, "content": content, **extra}


def written(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


def problem(tmp_path: Path, *messages: dict[str, Any], column: str = "prompt") -> Problem:
    file = written(tmp_path, {column: list(messages), "answer": "5"})
    (read,) = read_problems(file, VERIFIERS)
    return read


ASK = said("user", "2+3?")


def test_a_thought_of_an_earlier_turn_stays_with_it(tmp_path: Path) -> None:
    for key in ("reasoning_content", "reasoning", "thinking"):
        earlier = said("assistant", "2", **{key: "One and one."})
        read = problem(tmp_path, said("user", "1+1?"), earlier, ASK)
        assert read.context == (Turn("user", "1+1?"), Turn("assistant", "2", "One and one."))


def test_developer_is_system_and_parts_are_text(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "2+"}, {"type": "text", "text": "3?"}]
    read = problem(tmp_path, said("developer", "Be brief."), said("user", parts))
    assert read.messages == (Turn("system", "Be brief."), Turn("user", "2+3?"))
    assert read.columns["prompt"][0]["role"] == "developer", "functions get the row as it is"


def test_messages_are_read_as_they_are(tmp_path: Path) -> None:
    """Blanks too: a chat template must see what another library's would see."""
    read = problem(tmp_path, said("system", ""), said("user", " 2+3?\n"))
    assert read.messages == (Turn("system", ""), Turn("user", " 2+3?\n"))
    row = {"prompt": [said("system", ""), said("user", " 2+3?\n")], "completion": "5"}
    (sample,) = read_conversations(written(tmp_path, row))
    assert sample.turns[:2] == read.messages


def test_a_text_is_the_same_prompt_in_rl_and_sft(tmp_path: Path) -> None:
    file = written(tmp_path, {"prompt": " 2+3?\n", "answer": "5", "completion": "5"})
    (read,) = read_problems(file, VERIFIERS)
    (sample,) = read_conversations(file)
    assert read.messages == sample.turns[:1] == (Turn("user", "2+3?"),)


def test_a_response_after_the_question_belongs_to_a_sample_only(tmp_path: Path) -> None:
    messages = (said("system", "Be brief."), ASK, said("assistant", "5"))
    read = problem(tmp_path, *messages, column="messages")
    assert read.messages == (Turn("system", "Be brief."), Turn("user", "2+3?"))
    assert read.columns["prompt"] == list(messages[:2])
    with pytest.raises(
        ProblemFileError, match=r"rows.jsonl, row 1, .*last message has the role 'a"
    ):
        problem(tmp_path, *messages)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (said("tool", "5"), "message 2 is a message of the role 'tool'"),
        (said("function", "5"), "message 2 is a message of the role 'function'"),
        (said("assistant", None, tool_calls=[{"id": 1}]), "message 2 calls a tool"),
        (said("user", [{"type": "image_url", "image_url": "x"}]), "a part of the type 'image_url'"),
        (said("user", [{"type": "text", "text": "a"}, {"type": "audio"}]), "of the type 'audio'"),
        (said("user", [{"type": "text"}]), "message 2 is a part without text"),
        (said("assistant", None), "content of message 2 is a NoneType"),
        (said("assistant", " "), "it is blank"),
        (said("assistant", "2", reasoning_content=[1]), "reasoning_content is a list"),
    ],
)
def test_what_no_template_has_a_place_for(
    tmp_path: Path, message: dict[str, Any], why: str
) -> None:
    messages = [said("user", "1+1?"), message, ASK]
    with pytest.raises(ProblemFileError) as caught:
        problem(tmp_path, *messages)
    assert why in str(caught.value) and "rows.jsonl, row 1, column 'prompt'" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ProblemFileError, match="row 1"):
        list(read_conversations(written(tmp_path, {"prompt": messages, "completion": "5"})))


def test_a_foreign_role_is_named_also_without_a_user(tmp_path: Path) -> None:
    with pytest.raises(ProblemFileError, match="message 1 is a message of the role 'tool'"):
        problem(tmp_path, said("tool", "5"))


def test_equal_questions_after_other_turns_are_other_problems(tmp_path: Path) -> None:
    before = [said("user", "1+1?"), said("assistant", "2")]
    prompts = [[ASK], [*before, ASK], [said("system", "Brief."), ASK], [*before, ASK], [ASK]]
    file = written(tmp_path, *({"prompt": prompt, "answer": "5"} for prompt in prompts))
    problems = list(read_problems(file, VERIFIERS))
    summary = Summary("rows")
    summary.count(problems)
    assert summary.repeated == 2
    dialogues = [dialogue_of(read.messages) for read in problems]
    # A system turn does not move a question between the training and the held-out side.
    assert dialogues[0] == dialogues[2] == "2+3?" and dialogues[1] == "1+1?\n2\n2+3?"


def test_turns_written_as_messages_are_read_again(tmp_path: Path) -> None:
    turns = (Turn("user", "1+1?"), Turn("assistant", "2", "We add."), Turn("user", "2+3?"))
    messages = messages_of_turns(turns, TEMPLATES["r1"])
    assert messages[1]["content"] == "<think>\nWe add.\n</think>\n2"
    read = problem(tmp_path, *messages)
    assert [message.role for message in read.messages] == ["user", "assistant", "user"]
