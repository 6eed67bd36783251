"""A row of a file knows where it stands, and names it in a complaint."""

from pathlib import Path

import pytest

from dianoia.base.errors import ProblemFileError
from dianoia.tasks.catalog import VERIFIERS
from dianoia.tasks.conversation_files import read_conversations
from dianoia.tasks.preference_files import read_pairs
from dianoia.tasks.problem_files import read_problems
from dianoia.tasks.table_files import Row, read_rows


def test_a_row_names_file_row_column_and_value() -> None:
    row = Row(Path("a.jsonl"), 7, {"prompt": "x" * 200, "answer": None})
    message = str(row.error("prompt", "it is long", "shorten it"))
    assert (
        message == f"a.jsonl, row 7, column 'prompt', value '{'x' * 79}...: it is long; shorten it"
    )
    assert row.has("prompt") and not row.has("answer") and not row.has("nothing")


@pytest.mark.parametrize(("text", "why"), [(" \n", "it is blank"), ("a\ud800", "half a character")])
def test_a_text_that_no_tokenizer_takes(text: str, why: str) -> None:
    row = Row(Path("a.jsonl"), 1, {"prompt": text})
    with pytest.raises(ProblemFileError, match=why):
        row.check("prompt", text)
    row.check("prompt", "fine")


def test_one_class_complains_for_every_kind_of_file(tmp_path: Path) -> None:
    """Each reader's row is this one: the same blank text is refused in the same words."""
    file = tmp_path / "rows.jsonl"
    file.write_text(
        '{"prompt": " ", "answer": "5", "completion": "5", "chosen": "5", "rejected": "6"}\n',
        encoding="utf-8",
    )
    readers = (
        read_problems(file, VERIFIERS),
        read_conversations(file),
        read_pairs(file, lambda text: text),
    )
    messages = set()
    for reader in readers:
        with pytest.raises(ProblemFileError) as caught:
            next(iter(reader))
        messages.add(str(caught.value))
    assert messages == {
        f"{file}, row 1, column 'prompt', value ' ': it is blank; fill it or remove the row"
    }
    assert len(list(read_rows(file))) == 1
