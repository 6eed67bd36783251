"""Preferences from files: TRL's forms, every format, and every error with its row."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]
import pytest

from dianoia.base.errors import ProblemFileError
from dianoia.base.preference_records import Judged, Labelled, Pair
from dianoia.base.records import Turn
from dianoia.datasets.pairs import decide
from dianoia.tasks.preference_files import LABELS, read_labelled, read_pairs


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def jsonl(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Why?", "chosen": "yes", "rejected": "no"},
        {"prompt": [user("Why?")], "chosen": [assistant("yes")], "rejected": [assistant("no")]},
        {
            "chosen": [user("Why?"), assistant("yes")],
            "rejected": [user("Why?"), assistant("no")],
            "score_chosen": 9.0,
        },
    ],
    ids=["standard", "conversational", "implicit prompt"],
)
def test_the_forms_of_pairs(row: dict[str, Any], tmp_path: Path) -> None:
    assert list(read_pairs(jsonl(tmp_path, row), str)) == [Pair("Why?", "yes", "no")]


BEFORE = (Turn("system", "Be brief."), Turn("user", "Hm."), Turn("assistant", "?"))


def test_the_messages_before_a_prompt(tmp_path: Path) -> None:
    prompts = [
        {"role": "system", "content": "Be brief."},
        user("Hm."),
        assistant("?"),
        user("Why? "),
    ]
    row = {"prompt": prompts, "chosen": "yes", "rejected": "no"}
    implicit = {name: [*prompts, assistant(row[name])] for name in ("chosen", "rejected")}
    for form in (row, implicit):
        (pair,) = read_pairs(jsonl(tmp_path, form), str)
        assert pair == Pair("Why?", "yes", "no", BEFORE)
        assert pair.messages == (*BEFORE, Turn("user", "Why?"))
    judged = {"prompt": prompts, "responses": ["a", "b"], "verdicts": ["A>B", "B>A"]}
    (undecided,) = read_pairs(jsonl(tmp_path, judged), str)
    assert isinstance(undecided, Judged) and undecided.context == BEFORE
    assert decide(undecided, 0.0) == Pair("Why?", "a", "b", BEFORE)
    (labelled,) = read_labelled(
        jsonl(tmp_path, {"prompt": prompts, "response": "yes", "label": True}), str
    )
    assert labelled.messages == pair.messages
    with pytest.raises(ProblemFileError, match="row 1, column 'prompt'.* the role 'assistant'"):
        list(read_pairs(jsonl(tmp_path, row | {"prompt": [*prompts, assistant("So")]}), str))
    with pytest.raises(ProblemFileError, match="row 1, column 'prompt'.*the role 'tool'"):
        tool = {"role": "tool", "content": "5"}
        list(read_pairs(jsonl(tmp_path, row | {"prompt": [tool, *prompts]}), str))


def test_judged_pairs(tmp_path: Path) -> None:
    row = {"prompt": "Why?", "responses": ["a", "b"], "verdicts": ["A>B", None]}
    assert list(read_pairs(jsonl(tmp_path, row), str)) == [
        Judged("Why?", ("a", "b"), ("A>B", None))
    ]


def test_every_format(tmp_path: Path) -> None:
    rows = [{"prompt": "Why?", "completion": "a, b", "label": "safe"}]
    path = tmp_path / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    for file in (path, tmp_path / "rows.parquet", jsonl(tmp_path, *rows)):
        assert list(read_labelled(file, str)) == [Labelled("Why?", "a, b", good=True)]


@pytest.mark.parametrize(
    ("label", "opposite"),
    [
        (True, False),
        (1, 0),
        ("safe", "unsafe"),
        (" Safe ", "UNSAFE"),
        ("1", "0"),
        ("true", "False"),
    ],
)
def test_labels(label: object, opposite: object, tmp_path: Path) -> None:
    rows = [{"prompt": "Why?", "response": "a", "label": value} for value in (label, opposite)]
    assert [row.good for row in read_labelled(jsonl(tmp_path, *rows), str)] == [True, False]
    assert sorted(LABELS.values()) == [False] * 3 + [True] * 3


def test_only_what_is_seen_is_kept(tmp_path: Path) -> None:
    row = {"prompt": "Why?", "chosen": "SEEN", "rejected": "UNSEEN"}
    assert list(read_pairs(jsonl(tmp_path, row), str.lower)) == [Pair("Why?", "seen", "unseen")]


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ({"prompt": "Why?", "responses": ["a"], "verdicts": []}, ["'responses'", "two"]),
        ({"prompt": "Why?", "responses": ["a", "b"]}, ["'verdicts'", "no verdicts"]),
        ({"prompt": "Why?", "responses": ["a", "b"], "verdicts": [1]}, ["'verdicts'", "labels"]),
        ({"prompt": "Why?", "responses": ["a", 5], "verdicts": []}, ["'responses'", "text"]),
        ({"prompt": [assistant("x")], "chosen": "a", "rejected": "b"}, ["'prompt'", "user"]),
        ({"prompt": "Why?", "chosen": [user("a")], "rejected": "b"}, ["'chosen'", "assistant"]),
        ({"prompt": "Why?", "chosen": "\ud800", "rejected": "b"}, ["half a character"]),
        ({"prompt": "Why?", "chosen": "a", "rejected": " "}, ["'rejected'", "blank"]),
        ({"prompt": "Why?", "chosen": "a", "rejected": "a"}, ["same text"]),
        ({"prompt": "Why?", "chosen": "", "rejected": "a"}, ["blank"]),
        ([1], ["not a JSON object"]),
    ],
)
def test_a_broken_row_is_named(row: Any, parts: list[str], tmp_path: Path) -> None:
    file = jsonl(tmp_path, {"prompt": "Why?", "chosen": "a", "rejected": "b"}, row)
    with pytest.raises(ProblemFileError) as caught:
        list(read_pairs(file, str))
    for part in [f"{file}, row 2", *parts]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ({"prompt": "Why?", "response": "a", "label": "nice"}, ["'label'", "'nice'", "unsafe"]),
        ({"prompt": "Why?", "response": "a", "label": 2}, ["'label'", "not a label"]),
        ({"prompt": "Why?", "response": "a"}, ["'label'", "no label"]),
        ({"prompt": "Why?", "label": True}, ["'response'", "no response"]),
    ],
)
def test_a_broken_label_is_named(row: Any, parts: list[str], tmp_path: Path) -> None:
    file = jsonl(tmp_path, row)
    with pytest.raises(ProblemFileError) as caught:
        list(read_labelled(file, str))
    for part in [f"{file}, row 1", *parts]:
        assert part in str(caught.value)


def test_a_response_that_a_model_has_sampled_may_hold_any_character(tmp_path: Path) -> None:
    row = {"prompt": "Hello", "responses": ["a\x00b\u200b", "\x07c"], "verdicts": ["A>B", None]}
    (judged,) = read_pairs(jsonl(tmp_path, row), str)
    assert isinstance(judged, Judged)
    assert judged.responses == ("a\x00b\u200b", "\x07c")
