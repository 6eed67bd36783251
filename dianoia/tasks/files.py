"""Problems from a user's file, with the columns that TRL users have.

In: a JSONL, CSV or Parquet file. Out: `Problem`s, one row after another, each checked;
`check_problems` goes through the whole file before a run starts, so a broken row stops it before
any work is done. Left out: hub names, images, tools; writing problems; the verifiers, which are
handed in.

Columns:
- the question: `prompt` (text, or messages, of which the last one of the user), `question` or
  `problem`;
- the gold answer: `answer` or `solution`; with both, `answer`, since `solution` then is worked out;
- optional: `id`, `domain`, `language` (ISO 639-1), `difficulty` (a whole number), `verifier`. Every
  column but the question's is also kept in `Problem.columns` under its own name, so that a reward
  function written for TRL finds what it asks for.

Decisions where DeepSeek-R1 (arXiv 2501.12948v2, section B.3) is silent:
1. Without a `language` column a question is in the language most of its words are in, else English.
2. A `difficulty` that is no whole number ("hard", "3/8") stays in `columns` only.
3. Train or held-out is decided by the question's own words, never by a seed: equal questions land
   on the same side in every file and every run.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dianoia.base.errors import ProblemFileError, ProblemTestsError
from dianoia.base.records import Problem
from dianoia.tasks.answers import Verifier, normalize
from dianoia.tasks.tables import Row, read_rows
from dianoia.text.language import main_language

QUESTION_COLUMNS = ("prompt", "question", "problem")
ANSWER_COLUMNS = ("answer", "solution")


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a row that does not say is taken to be."""

    verifier: str = "number"
    domain: str = "math"
    graded: bool = True
    """Whether every row needs a gold answer that its verifier reads; a general prompt has none."""


@dataclass(frozen=True, slots=True)
class _Row(Row):
    """A row on its way to a problem."""

    def first_present(self, names: tuple[str, ...], what: str) -> str:
        for name in names:
            if self.has(name):
                return name
        raise self.error(
            names[0],
            f"the row has no {what}",
            f"fill one of the columns {', '.join(names)} (this row has {', '.join(self.columns)})",
        )

    def text(self, column: str) -> str:
        """A text that is not blank; numbers are written out, since JSON has answers such as 5."""
        value = self.columns[column]
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise self.error(column, f"a {type(value).__name__}, not text", "write it as text")
        self.check(column, str(value))
        return str(value)

    def optional_text(self, column: str) -> str | None:
        return self.text(column).strip() if self.has(column) else None


def read_problems(
    path: Path, verifiers: Mapping[str, Verifier], defaults: Defaults | None = None
) -> Iterator[Problem]:
    """The problems of a file, read while they are asked for.

    Raises ProblemFileError, naming file, row, column and value, for the first row that cannot be
    used: no question or answer, an unknown verifier, a gold answer that its verifier cannot read,
    an id twice.
    """
    first_rows: dict[str, int] = {}
    for number, columns in read_rows(path):
        row = _Row(path, number, columns)
        problem = _problem(row, verifiers, defaults or Defaults())
        first = first_rows.setdefault(problem.id, number)
        if first != number:
            raise row.error("id", f"row {first} has the same id", "give every problem its own id")
        yield problem


def check_problems(
    path: Path, verifiers: Mapping[str, Verifier], defaults: Defaults | None = None
) -> int:
    """Go through the whole file and return its number of problems, at least 1.

    Raises ProblemFileError as `read_problems` does, and for a file without a problem.
    """
    count = sum(1 for _ in read_problems(path, verifiers, defaults))
    if not count:
        raise ProblemFileError(f"{path}: the file holds no problem; add rows or name another file")
    return count


def _problem(row: _Row, verifiers: Mapping[str, Verifier], defaults: Defaults) -> Problem:
    question_column = row.first_present(QUESTION_COLUMNS, "question")
    answer_column = ANSWER_COLUMNS[0]
    if defaults.graded:
        answer_column = row.first_present(ANSWER_COLUMNS, "gold answer")
    question = _question(row, question_column)
    problem = Problem(
        id=row.optional_text("id") or f"{row.path.stem}-{row.number}",
        question=question,
        answer=row.text(answer_column) if defaults.graded else _answer_if_any(row),
        verifier=row.optional_text("verifier") or defaults.verifier,
        domain=row.optional_text("domain") or defaults.domain,
        language=_language(row, question),
        difficulty=_whole_number(row.columns.get("difficulty")),
        columns={name: value for name, value in row.columns.items() if name != question_column},
    )
    if defaults.graded:
        _check_gold(row, problem, answer_column, verifiers)
    return problem


def _answer_if_any(row: _Row) -> str:
    """What a general prompt has for an answer; empty unless it is text."""
    answers = (row.columns.get(column) for column in ANSWER_COLUMNS)
    return next((answer for answer in answers if isinstance(answer, str)), "")


def _question(row: _Row, column: str) -> str:
    messages = row.columns[column]
    if not isinstance(messages, list):
        return row.text(column).strip()
    asked = [message for message in messages if _field(message, "role") == "user"]
    content = _field(asked[-1], "content") if asked else None
    if not isinstance(content, str):
        raise row.error(
            column,
            "no last message of the user with text in it",
            'write text, or messages such as [{"role": "user", "content": "2+3?"}]',
        )
    row.check(column, content)
    return content.strip()


def _field(message: object, name: str) -> object:
    return message.get(name) if isinstance(message, dict) else None


def _language(row: _Row, question: str) -> str:
    language = row.optional_text("language")
    if language is None:
        return main_language(question) or "en"
    if not (len(language) == 2 and language.isascii() and language.islower()):
        raise row.error(
            "language",
            "not an ISO 639-1 code",
            "write a code such as en or zh, or rename a column that means something else",
        )
    return language


def _whole_number(value: object) -> int | None:
    """An int from 3, 3.0 or "3"; None for anything else (decision 2)."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        return int(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value % 1 == 0:
        return int(value)
    return None


def _check_gold(
    row: _Row, problem: Problem, column: str, verifiers: Mapping[str, Verifier]
) -> None:
    verify = verifiers.get(problem.verifier)
    if verify is None:
        raise row.error(
            "verifier",
            f"there is no verifier named {problem.verifier!r}",
            f"use one of {', '.join(sorted(verifiers))}",
        )
    try:
        readable = verify(problem, problem.answer) is not None
    except ProblemTestsError as error:  # it names problem, column, key and value itself
        raise ProblemFileError(f"{row.path}, row {row.number}: {error}") from error
    if not readable:
        raise row.error(
            column,
            f"verifier {problem.verifier!r} cannot read this gold answer, so no "
            "response could be right",
            "correct it, or name another verifier in the column 'verifier'",
        )


def split_of(question: str, heldout_share: float = 0.1) -> Literal["train", "heldout"]:
    """Which side a question falls on, by a hash of its normalised words (decision 3).

    `heldout_share`, from 0 to 1, is the expected share of held-out questions. A larger share keeps
    the questions that a smaller one holds out. Raises ValueError for a share outside [0, 1].
    """
    if not 0.0 <= heldout_share <= 1.0:
        raise ValueError(f"heldout_share is {heldout_share!r}; it has to be from 0 to 1")
    words = normalize(question) or question  # an overlong question is hashed as it is
    digest = hashlib.sha256(words.encode("utf-8", "surrogatepass")).digest()
    return "heldout" if int.from_bytes(digest[:8]) < heldout_share * 2**64 else "train"
