"""Read problems from a user's file, with the columns that TRL users have.

In: a file of any format that `table_files` reads. Out: `Problem`s, one row after another, each checked; they are read before
a run starts, so that a broken row stops it before any work is done. Not here: the choice of files, of their rows, and files
larger than memory (`tasks.data`); images, tools; writing problems; the verifiers, which are passed in.

Columns:
- the question: `prompt` (text, or messages that end with one of the user), `question`, `problem`, `messages` or
  `conversations` (ShareGPT, with the system turn in `system`); CSV holds messages as JSON. The last message of the user is
  the question, those before it are `Problem.context`; the messages up to the question are also in `Problem.columns` as
  `prompt`. In `messages` and `conversations` a response may follow, which is not read;
- the gold answer: `answer` or `solution`; with both, `answer`, since `solution` then is a derivation. A row with tests in a
  column (`tests`, `verification_info`, `test_list`) needs none, and its verifier is `code` unless it says otherwise;
- optional: `id`, `domain`, `language` (ISO 639-1), `difficulty` (a whole number), `verifier`. Every column but the
  question's is also kept in `Problem.columns` under its own name, so that a reward function written for TRL finds it; the
  question's column too if it holds messages.

Decisions where DeepSeek-R1 (arXiv 2501.12948v2, section B.3) is silent:
1. Without a `language` column a question is in the language of most of its words, else in English.
2. A `difficulty` that is no whole number ("hard", "3/8") stays in `columns` only.
3. Train or held-out is decided by the words of the question and of the turns before it, never by a seed: equal questions are
   on the same side in every file and every run, with and without a system turn.
4. Messages are read as they are, texts without the blanks around them.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from dianoia.base.errors import ProblemFileError, ProblemTestsError
from dianoia.base.records import Problem, Turn
from dianoia.tasks.cells import Message, without_missing
from dianoia.tasks.code.test_cases import COLUMNS as TEST_COLUMNS
from dianoia.tasks.file_formats import stem_of
from dianoia.tasks.message_turns import CONVERSATIONS, turns_of, with_system
from dianoia.tasks.short_answers.number_and_text import MAX_TEXT_CHARS, normalize
from dianoia.tasks.table_files import Row, read_rows
from dianoia.tasks.verifier import Verifier
from dianoia.text.language import main_language

QUESTION_COLUMNS = ("prompt", "question", "problem", "messages", CONVERSATIONS)
# In order of preference, as are the columns of the question.
ANSWER_COLUMNS = ("answer", "solution")
_PROMPT = 'text, or messages such as [{"role": "user", "content": "2+3?"}]'
_LARGEST_DIFFICULTY = 2**63 - 1
"""Data sets hold whole numbers of 64 bits."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """How rows are read: the values that a row does not have, and the columns of the question."""

    verifier: str = "number"
    domain: str = "math"
    graded: bool = True
    """True if every row needs a gold answer that its verifier can read; a general prompt has none."""
    language: str | None = None
    """None: the language of most words of a question."""
    questions: tuple[str, ...] = QUESTION_COLUMNS
    """Columns that may hold the question; the first filled one does."""
    prepare: Callable[[Row], Row | None] | None = None
    """Renames the columns of a row to those that are read here; returns None for a row that is no problem."""
    mapping: str | None = None
    """Name of the ready mapping that `prepare` applies."""
    lenient: bool = False
    """True to leave out a row of which only the gold answer is unreadable: a user cannot correct a public set."""


class UnreadableGold(ProblemFileError):
    """The verifier of a row cannot read its gold answer; the rest of the row is in order."""


@dataclass(frozen=True, slots=True)
class _Row(Row):
    """A row that becomes a problem."""

    def first_present(self, names: tuple[str, ...], content: str) -> str:
        for name in names:
            if self.has(name):
                return name
        raise self.error(
            names[0],
            f"the row has no {content}",
            f"fill one of the columns {', '.join(names)} (this row has {', '.join(self.columns)})",
        )

    def text(self, column: str) -> str:
        """Return a text that is not blank; numbers become text, since JSON has answers such as 5."""
        value = self.columns[column]
        if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
            raise self.error(column, f"a {type(value).__name__}, not text", "write it as text")
        if isinstance(value, float) and math.isinf(value):
            raise self.error(
                column, "it is no number that a computer holds exactly", "write it as text"
            )
        text = f"{value:f}" if isinstance(value, Decimal) else str(value)
        self.check(column, text)
        # A sampled response may contain one; a problem that a person wrote does not.
        if "\0" in text:
            raise self.error(column, "it holds a NUL character", "remove it")
        return text

    def optional_text(self, column: str) -> str | None:
        return self.text(column).strip() if self.has(column) else None


def read_problems(
    files: Path | Sequence[Path],
    verifiers: Mapping[str, Verifier],
    defaults: Defaults | None = None,
    left_out: Callable[[str], None] | None = None,
) -> Iterator[Problem]:
    """Yield the problems of a file, or of several, read one by one as the caller takes them.

    `left_out` is called with the reason for each row that a mapping leaves out.

    Raises ProblemFileError, naming file, row, column and value, for the first row that cannot be used: no question or
    answer, an unknown verifier, a gold answer that its verifier cannot read, an id that an earlier row has; and for files
    without a problem.
    """
    paths = [files] if isinstance(files, Path) else files
    # Ids are unique over all files of a set, since records of a run name a problem by its id.
    first_rows: dict[str, str] = {}
    rows = (Row(path, *numbered) for path in paths for numbered in read_rows(path))
    for row in rows:
        problem, why = usable_problem(row, verifiers, defaults or Defaults())
        if problem is None:
            if left_out is not None:
                left_out(why)
            continue
        where = f"row {row.number}" + (f" of {row.path}" if len(paths) > 1 else "")
        if first_rows.setdefault(problem.id, where) != where:
            why = f"{first_rows[problem.id]} has the same id"
            raise row.error("id", why, "give every problem its own id")
        yield problem
    if not first_rows:
        raise ProblemFileError(
            f"{', '.join(map(str, paths))}: the file holds no problem; add rows or name another file"
        )


def usable_problem(
    row: Row, verifiers: Mapping[str, Verifier], defaults: Defaults, detect_language: bool = True
) -> tuple[Problem | None, str]:
    """Return the problem of a row like `problem_of`, or None and the reason why the row is left out.

    Lenient defaults leave out a row with an unreadable gold answer.
    """
    try:
        problem = problem_of(row, verifiers, defaults, detect_language)
        return problem, f"{row.place}: no problem, by its mapping"
    except UnreadableGold as error:
        if not defaults.lenient:
            raise
        return None, str(error)


def problem_of(
    row: Row, verifiers: Mapping[str, Verifier], defaults: Defaults, detect_language: bool = True
) -> Problem | None:
    """Return the problem of a row; None for a row that its mapping leaves out.

    Detecting the language of a question takes longer than all other steps together. Without it the language is that of
    the row or of `defaults`, or English.

    Raises ProblemFileError as `read_problems` does; UnreadableGold if only the gold answer is at fault.
    """
    # A mapping renames columns first; all checks below see Dianoia's names.
    prepared = row if defaults.prepare is None else _prepared(row, defaults.prepare)
    if prepared is None:
        return None
    # Again, since a mapping may have taken values out of nested columns.
    columns = without_missing(prepared.columns)
    renamed = _Row(prepared.path, prepared.number, columns)
    return _problem(renamed, verifiers, defaults, detect_language)


def _prepared(row: Row, prepare: Callable[[Row], Row | None]) -> Row | None:
    """Apply a mapping to a row. An error inside the mapping is the row's fault: a column has another type of value."""
    try:
        return prepare(row)
    except ProblemFileError:
        raise
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:
        raise ProblemFileError(
            f"{row.place}: its mapping cannot read this row ({type(error).__name__}: {error}); a column holds "
            "another type of value than in the published set, so correct the row or name other columns"
        ) from error


def _problem(
    row: _Row, verifiers: Mapping[str, Verifier], defaults: Defaults, detect_language: bool
) -> Problem:
    question_column = row.first_present(defaults.questions, "question")
    # Tests take the place of a gold answer.
    tests_column = _tests_column(row)
    answer_column = tests_column or ANSWER_COLUMNS[0]
    if defaults.graded and tests_column is None:
        answer_column = row.first_present(ANSWER_COLUMNS, "gold answer")
    messages = row.messages(question_column)
    context: tuple[Turn, ...] = ()
    if messages is None:
        question = _question(row, question_column)
    else:
        messages = with_system(row, question_column, messages)
        messages = _prompt_of(row, question_column, messages)
        *earlier, last = turns_of(row, question_column, messages)
        context, question = tuple(earlier), last.text
    problem = Problem(
        # Without ids the row number is the id, so that it is stable over runs.
        id=row.optional_text("id") or f"{stem_of(row.path)}-{row.number}",
        question=question,
        answer="" if tests_column else _answer(row, answer_column, defaults.graded),
        verifier=row.optional_text("verifier") or ("code" if tests_column else defaults.verifier),
        domain=row.optional_text("domain") or defaults.domain,
        language=_language(row, question, defaults, detect_language),
        difficulty=_difficulty(row),
        columns=_columns(row, question_column, messages),
        context=context,
    )
    if defaults.graded:
        _check_gold(row, problem, answer_column, verifiers)
    return problem


def _tests_column(row: _Row) -> str | None:
    """Return the column with the tests of a program; None for a row with an `answer`, or with another verifier.

    A `solution` in a row with tests is a program that passes them.
    """
    verifier = row.columns.get("verifier")
    if verifier != "code" and (verifier is not None or row.has(ANSWER_COLUMNS[0])):
        return None
    return next((name for name in TEST_COLUMNS if row.has(name)), None)


def _answer(row: _Row, column: str, graded: bool) -> str:
    """Return the gold answer. That of a general prompt may be of any type, or missing: then it is empty."""
    if graded:
        return row.text(column)
    answers = (row.columns.get(column) for column in ANSWER_COLUMNS)
    return next((answer for answer in answers if isinstance(answer, str)), "")


def _columns(row: _Row, question: str, messages: list[Message] | None) -> dict[str, Any]:
    """Return all columns but the question's; the messages that hold the question become `prompt`."""
    # `question` would be a copy of what the problem has anyway.
    others = {name: value for name, value in row.columns.items() if name != question}
    return others if messages is None else {**others, "prompt": messages}


def _question(row: _Row, column: str) -> str:
    """Return the question of a column without messages."""
    if isinstance(row.columns[column], list):
        raise row.error(
            column,
            "no last message of the user: a list of other values than messages",
            f"write {_PROMPT}",
        )
    return row.text(column).strip()


def _prompt_of(row: _Row, column: str, messages: list[Message]) -> list[Message]:
    """Return the messages up to the question, which is the last one of the user.

    In `messages` and `conversations`, columns of samples to learn from, what follows the last question is its response. A `prompt`
    that ends with words of the assistant would have the policy continue them, which no template here does.
    """
    users = [index for index, message in enumerate(messages) if message["role"] == "user"]
    if not users:
        turns_of(row, column, messages)  # a role that is none says more
        raise row.error(
            column, "no last message of the user, so there is no question", f"write {_PROMPT}"
        )
    after = [message["role"] for message in messages[users[-1] + 1 :]]
    if after and (column not in ("messages", CONVERSATIONS) or set(after) != {"assistant"}):
        raise row.error(
            column,
            f"the last message has the role {after[-1]!r}, and a prompt ends with a message of the user",
            "take off what follows the question; a response to learn from belongs into the datasets of an sft stage",
        )
    return messages[: users[-1] + 1]


def _language(row: _Row, question: str, defaults: Defaults, detect: bool) -> str:
    language = row.optional_text("language") or defaults.language
    if language is None:
        return (main_language(question) if detect else None) or "en"
    if not (len(language) == 2 and language.isascii() and language.islower()):
        raise row.error(
            "language",
            "not an ISO 639-1 code",
            "write a code such as en or zh, or rename a column that means something else",
        )
    return language


def _difficulty(row: _Row) -> int | None:
    """Return an int from 3, 3.0 or "3"; None for any other value (decision 2)."""
    value = row.columns.get("difficulty")
    # CSV has text only.
    digits = value.strip() if isinstance(value, str) else ""
    number: int | float | Decimal
    if digits.isascii() and digits.isdigit():
        digits = digits.lstrip("0") or "0"
        # No int() of a text of a million digits.
        number = (
            int(digits) if len(digits) <= len(str(_LARGEST_DIFFICULTY)) else _LARGEST_DIFFICULTY + 1
        )
    elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        number = value
    else:
        return None
    if not isinstance(number, int) and (not math.isfinite(number) or number % 1):
        return None
    if not -_LARGEST_DIFFICULTY <= number <= _LARGEST_DIFFICULTY:
        raise row.error(
            "difficulty",
            "a whole number of more than 64 bits",
            "write a small number, or rename a column that means something else",
        )
    return int(number)


def _check_gold(
    row: _Row, problem: Problem, column: str, verifiers: Mapping[str, Verifier]
) -> None:
    verifier = verifiers.get(problem.verifier)
    if verifier is None:
        raise row.error(
            "verifier",
            f"there is no verifier named {problem.verifier!r}",
            f"use one of {', '.join(sorted(verifiers))}",
        )
    try:
        readable = verifier.check_gold(problem).score is not None
    except ProblemTestsError as error:  # it names problem, column, key and value itself
        raise UnreadableGold(f"{row.path}, row {row.number}: {error}") from error
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise ProblemFileError(
            f"{row.place}: verifier {problem.verifier!r} fails on this row ({type(error).__name__}: "
            f"{str(error)[:200]}); correct the values that it reads, or name another verifier"
        ) from error
    # No response could be right: the whole group would have reward 0 in every step.
    if not readable:
        raise UnreadableGold(
            str(
                row.error(
                    column,
                    f"verifier {problem.verifier!r} cannot read this gold answer, so no "
                    "response could be right",
                    "correct it, or name another verifier in the column 'verifier'",
                )
            )
        )


def dialogue_of(messages: Sequence[Turn]) -> str:
    """Return the words that say which problem it is: the question, which comes last, after the earlier turns.

    System turns are no part of it: the same question under two of them is one question, of which a model must not have
    learnt one form when it is tested on the other.
    """
    return "\n".join(message.text for message in messages if message.role != "system")


def split_of(question: str, heldout_share: float = 0.1) -> Literal["train", "heldout"]:
    """Return the side of a question, by a hash of its normalised words (decision 3).

    `heldout_share`, from 0 to 1, is the expected share of held-out questions. A larger share holds out all questions that a
    smaller one holds out. Raises ValueError for a share outside [0, 1].
    """
    if not 0.0 <= heldout_share <= 1.0:
        raise ValueError(f"heldout_share is {heldout_share!r}; it has to be from 0 to 1")
    words = plain_words(question)
    # The first 8 bytes as a fraction of 2**64, compared with the share.
    digest = hashlib.sha256(words.encode("utf-8", "surrogatepass")).digest()
    return "heldout" if int.from_bytes(digest[:8]) < heldout_share * 2**64 else "train"


def plain_words(question: str) -> str:
    """Return the words of a question of any length, as `normalize` does: equal for equal questions."""
    if question.isascii() and question.strip() and len(question) <= MAX_TEXT_CHARS:
        return " ".join(question.casefold().split())  # the same result, twenty times as fast
    return normalize(question) or question  # an overlong question stays as it is
