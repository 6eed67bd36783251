"""Samples from files: TRL's columns, broken rows, weights, and what is held out."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dianoia.base.errors import ConfigError, ProblemFileError
from dianoia.base.records import Conversation, Turn
from dianoia.tasks.conversation_files import check_amounts, copies_of, draw, read_conversations

Row = dict[str, Any]
Write = Callable[..., Path]
ASKED = {"role": "user", "content": "1+1?"}
ANSWERED = {"role": "assistant", "content": "2"}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(rows: Sequence[Row], name: str = "data.jsonl") -> Path:
        path = tmp_path / name
        match path.suffix:
            case ".jsonl":
                path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            case ".parquet":
                pq.write_table(pa.Table.from_pylist(list(rows)), path)
            case ".csv":
                with path.open("w", encoding="utf-8", newline="") as file:
                    writer = csv.DictWriter(file, list(rows[0]))
                    writer.writeheader()
                    writer.writerows(rows)
        return path

    return write


def only(path: Path) -> Conversation:
    (conversation,) = read_conversations(path)
    return conversation


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [ASKED, ANSWERED]},
        {"prompt": "1+1?", "completion": "2"},
        {"prompt": "1+1?", "response": "2", "source": "a book"},
        {"prompt": [ASKED], "completion": [ANSWERED]},
        {"prompt": "ignored", "messages": [ASKED, ANSWERED]},
    ],
)
def test_the_columns_of_trl(row: Row, write: Write) -> None:
    assert only(write([row])).turns == (Turn("user", "1+1?"), Turn("assistant", "2"))


@pytest.mark.parametrize("name", ["data.jsonl", "data.parquet", "data.csv"])
def test_every_kind_of_file(name: str, write: Write) -> None:
    messages: Any = [ASKED, ANSWERED]
    if name.endswith("csv"):
        messages = json.dumps(messages)
    path = write([{"messages": messages}], name)
    assert only(path).turns == (Turn("user", "1+1?"), Turn("assistant", "2"))
    assert only(path).source == f"{path}, row 1"


@pytest.mark.parametrize("name", ["data.jsonl", "data.csv", "data.parquet"])
def test_a_thought_beside_its_answer(name: str, write: Write) -> None:
    path = write([{"prompt": "1+1?", "thought": "one more", "answer": "2"}], name)
    assert only(path).turns[1] == Turn("assistant", "2", "one more")


def test_a_thought_may_be_empty(write: Write) -> None:
    assert only(write([{"prompt": "hi", "thought": "", "answer": "hello"}])).turns[1].thought == ""


def test_reasoning_content_is_a_thought(write: Write) -> None:
    messages = [ASKED, ANSWERED | {"reasoning_content": "one more"}]
    assert only(write([{"messages": messages}])).turns[1] == Turn("assistant", "2", "one more")


def test_a_prompt_is_context_and_messages_are_learnt(write: Write) -> None:
    system = {"role": "system", "content": "S"}
    row = {"prompt": [system, ASKED, ANSWERED, ASKED], "completion": [ANSWERED, ASKED, ANSWERED]}
    conversation = only(write([row]))
    assert [message.role[0] for message in conversation.turns] == list("suauaua")
    assert conversation.first_learnt == 4 and conversation.question == "1+1?"
    assert only(write([{"messages": [system, ASKED, ANSWERED]}])).first_learnt == 0


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ({"question": "1+1?", "gold": "2"}, ["columns question, gold", "`messages`", "`prompt`"]),
        ({"prompt": "1+1?"}, ["'completion'", "no response", "nothing to learn"]),
        ({"prompt": "1+1?", "completion": None}, ["'completion'", "no response"]),
        ({"prompt": "1+1?", "answer": "2"}, ["'answer'", "no response", "`thought`"]),
        ({"prompt": "1+1?", "completion": " \n"}, ["'completion'", "blank"]),
        ({"prompt": "", "completion": "2"}, ["'prompt'", "blank"]),
        ({"prompt": 2, "completion": "2"}, ["'prompt'", "no list of messages"]),
        ({"prompt": "1+1?", "completion": 2}, ["'completion'", "no list of messages"]),
        ({"prompt": "1+1?", "completion": [ASKED]}, ["begin with assistant"]),
        ({"prompt": [ASKED, ANSWERED], "completion": "2"}, ["end with user"]),
        ({"messages": [ASKED]}, ["the roles are user", "end with assistant"]),
        ({"messages": []}, ["the roles are none"]),
        ({"messages": [ASKED, ASKED, ANSWERED]}, ["user, user, assistant", "alternate"]),
        ({"messages": [ANSWERED, ASKED, ANSWERED]}, ["begin with user"]),
        ({"messages": [ASKED, {"role": "tool", "content": "2"}]}, ["'tool'", "system, user"]),
        ({"messages": [ASKED, "2"]}, ["role '2'"]),
        ({"messages": [ASKED, {"role": "assistant", "content": ""}]}, ["'messages'", "blank"]),
        ({"messages": [ASKED, {"role": "assistant"}]}, ["NoneType, not text"]),
        ({"messages": "hello"}, ["'hello'", "no list of messages"]),
        ({"prompt": "1+1?", "completion": "\ud800"}, ["half a character"]),
    ],
)
def test_a_broken_row_is_named(row: Row, parts: list[str], write: Write) -> None:
    good = {"prompt": "1+1?", "completion": "2"}
    path = write([good, good, row])
    with pytest.raises(ProblemFileError) as caught:
        list(read_conversations(path))
    for part in [f"{path}, row 3", *parts]:
        assert part in str(caught.value)


def test_an_empty_file(write: Write) -> None:
    with pytest.raises(ProblemFileError, match="holds no sample"):
        list(read_conversations(write([])))


def many(count: int, start: int = 0) -> list[Row]:
    return [{"prompt": f"{n}+1?", "completion": f"{n + 1}"} for n in range(start, start + count)]


def test_copies_by_hand() -> None:
    assert [copies_of(w, 0.3) for w in (1.0, 2.0, 0.5, 0.2, 2.25, 2.5)] == [1, 2, 1, 0, 2, 3]


def test_half_a_weight_takes_half_and_always_the_same(write: Write) -> None:
    path = write(many(400))
    used = {d.conversation.question: d.copies for d in draw([(path, 0.5)], 0.0)}
    assert set(used.values()) == {0, 1} and 160 < sum(used.values()) < 240
    turned = write(many(400)[::-1], "other.jsonl")
    assert {d.conversation.question: d.copies for d in draw([(turned, 0.5)], 0.0)} == used
    extra = {d.conversation.question: d.copies for d in draw([(path, 0.75)], 0.0)}
    assert all(extra[question] >= count for question, count in used.items())


def test_every_data_set_has_its_weight(write: Write) -> None:
    files = [(write(many(3), "a.jsonl"), 2.0), (write(many(4, 100), "b.jsonl"), 1.0)]
    assert [conversations.copies for conversations in draw(files, 0.0)] == [2, 2, 2, 1, 1, 1, 1]


def test_equal_questions_are_held_out_together(write: Write) -> None:
    rows = many(300)
    again = [row | {"prompt": f" {row['prompt']}  ", "completion": "x"} for row in rows]
    conversations = list(draw([(write(rows, "a.jsonl"), 1.0), (write(again, "b.jsonl"), 3.0)], 0.2))
    sides = [d.heldout for d in conversations]
    assert sides[:300] == sides[300:] and 35 < sum(sides[:300]) < 85
    assert {d.copies for d in conversations if d.heldout} == {0}
    assert {d.copies for d in conversations if not d.heldout} == {1, 3}
    larger = [d.heldout for d in draw([(write(rows), 1.0)], 0.4)]
    assert all(b for a, b in zip(sides[:300], larger, strict=True) if a)


def test_questions_of_the_evaluation_file_are_not_trained_on(write: Write) -> None:
    training, lock = write(many(10)), write(many(3, 8), "held.jsonl")
    conversations = list(draw([(training, 1.0)], 0.0, lock))
    assert [d.heldout for d in conversations] == [True] * 3 + [False] * 10
    assert [d.copies for d in conversations[3:]] == [1] * 8 + [0] * 2


def test_nothing_left_is_refused() -> None:
    check_amounts(rows=10, learnt=9, heldout=1, share=0.1)
    check_amounts(rows=10, learnt=10, heldout=0, share=0.0)
    with pytest.raises(
        ConfigError, match=r"no sample is left to learn from \(10 read, 10 held out"
    ):
        check_amounts(rows=10, learnt=0, heldout=10, share=0.5)
    with pytest.raises(ConfigError, match=r"evaluation_share = 0.01: none of 10 .* set .* = 0"):
        check_amounts(rows=10, learnt=10, heldout=0, share=0.01)
    with pytest.raises(ConfigError, match="^evaluation_file: none of 10"):
        check_amounts(rows=10, learnt=10, heldout=0, share=0.0, evaluation_file=True)


def test_a_row_of_a_sample_stage_teaches_its_completion_alone(tmp_path: Path) -> None:
    prompt = [
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "Two."},
        {"role": "user", "content": "2+2?"},
    ]
    completion = [{"role": "assistant", "content": "Four."}]
    row = {"messages": [*prompt, *completion], "prompt": prompt, "completion": completion}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n" + json.dumps({"messages": row["messages"]}) + "\n")
    divided, whole = read_conversations(path)
    assert divided.turns == whole.turns
    assert (divided.first_learnt, whole.first_learnt) == (3, 0)
