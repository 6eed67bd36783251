"""Read preference pairs and labelled responses from a user's file, with the columns that TRL users have.

In: a file of any format that `table_files` reads. Out: `Pair`s and `Judged` pairs, or `Labelled` responses, one row after another, each
checked. Not here: the choice of pairs to learn from (`datasets.pairs`), tokens, images, tools.

Columns of pairs:
- `prompt`: text, or messages that end with one of the user, those before it being the context; absent where `chosen` and
  `rejected` are whole conversations that hold it (TRL's implicit prompt);
- `chosen` and `rejected`: text, or messages of which the last one of the assistant counts;
  CSV holds messages as JSON;
- or, for a pair that is not decided yet, `responses` (a list of two) and `verdicts` (a list of labels such
  as `A>B`, see `base.preference_records.Judged`).
Columns of labelled responses: `prompt`, `response` or `completion`, and `label`: true, 1 or "safe"; false,
0 or "unsafe".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dianoia.base.preference_records import Judged, Labelled, Pair
from dianoia.base.records import Turn
from dianoia.tasks.cells import Message, is_missing
from dianoia.tasks.message_turns import turns_of
from dianoia.tasks.table_files import Row, read_rows

RESPONSE_COLUMNS = ("response", "completion")
# As text in lower case: CSV has `True`, JSON true, and both are read by `str`.
LABELS = {"true": True, "1": True, "safe": True, "false": False, "0": False, "unsafe": False}

See = Callable[[str], str]
"""(response) -> the part of it that the reward model sees; empty if there is none."""


@dataclass(frozen=True, slots=True)
class _Row(Row):
    """A row that becomes an example."""

    see: See

    def required(self, column: str, content: str) -> object:
        if not self.has(column):
            names = ", ".join(self.columns)
            raise self.error(
                column, f"the row has no {content}", f"fill this column (this row has {names})"
            )
        return self.columns[column]

    def text(self, column: str, value: object, role: str) -> str:
        """Return text as it is, or the text of the last message of `role`; never blank."""
        # Messages first: in CSV they are text as well.
        messages = self.messages_of(column, value)
        if messages is not None:
            value = _last(messages, role)
        if not isinstance(value, str):
            raise self.error(
                column,
                f"neither text nor messages with one of the {role} that holds text",
                f'write text, or messages such as [{{"role": "{role}", "content": "Hello"}}]',
            )
        self.check(column, value)
        return value

    def prompt(self) -> tuple[str, tuple[Turn, ...]]:
        """Return the prompt and the messages before it."""
        # TRL's implicit prompt: `chosen` and `rejected` are whole conversations.
        implicit = not self.has("prompt") and self.messages("chosen") is not None
        column = "chosen" if implicit else "prompt"
        text = self.text(column, self.required(column, "prompt"), "user").strip()
        messages = self.messages(column)
        if messages is None:
            return text, ()
        users = [index for index, message in enumerate(messages) if message["role"] == "user"]
        if not implicit and users[-1] != len(messages) - 1:
            raise self.error(
                column,
                f"the last message has the role {messages[-1]['role']!r}",
                "let a prompt end with a message of the user",
            )
        return text, turns_of(self, column, messages[: users[-1]])

    def response(self, column: str, value: object) -> str:
        text = self.see(self.text(column, value, "assistant"))
        if not text.strip():
            raise self.error(
                column,
                "nothing follows the thought, so a reward model that sees only the answer sees nothing",
                'remove the row, or set sees = "response"',
            )
        return text


def _last(messages: list[Message], role: str) -> object:
    """Return the content of the last message of `role`; None without one."""
    contents = [message["content"] for message in messages if message["role"] == role]
    return contents[-1] if contents else None


def read_pairs(path: Path, see: See) -> Iterator[Pair | Judged]:
    """Yield the pairs of a file, with the part of each response that `see` returns.

    Rows are read one by one as the caller takes them. Raises ProblemFileError, naming file, row, column and value, for the first row that cannot be used.
    """
    for number, columns in read_rows(path):
        yield _pair(_Row(path, number, columns, see))


def _pair(row: _Row) -> Pair | Judged:
    # A row with both forms is a decided pair.
    if row.has("responses") and not row.has("chosen"):
        return _judged(row)
    prompt, context = row.prompt()
    chosen, rejected = (
        row.response(column, row.required(column, f"{column} response"))
        for column in ("chosen", "rejected")
    )
    # Compared after `see`: two responses may differ in their thoughts alone.
    if chosen == rejected:
        raise row.error(
            "rejected",
            "the reward model sees the same text as chosen and rejected",
            "remove the row: nothing can be learnt from it",
        )
    return Pair(prompt, chosen, rejected, context)


def _judged(row: _Row) -> Judged:
    (prompt, context), responses = row.prompt(), row.columns["responses"]
    if not isinstance(responses, list) or len(responses) != 2:
        raise row.error("responses", "not a list of two responses", "write exactly two")
    verdicts = row.required("verdicts", "verdicts on its responses")
    if isinstance(verdicts, list):
        # A missing verdict is one that could not be read from a judge's reply; it keeps its place, since order counts.
        verdicts = [None if is_missing(verdict) else verdict for verdict in verdicts]
    if not isinstance(verdicts, list) or not all(v is None or isinstance(v, str) for v in verdicts):
        raise row.error(
            "verdicts", "not a list of labels", 'write labels such as ["A>B", "B>A", "A>>B", "A=B"]'
        )
    first, second = (row.response("responses", response) for response in responses)
    return Judged(prompt, (first, second), tuple(verdicts), context)


def read_labelled(path: Path, see: See) -> Iterator[Labelled]:
    """Yield the labelled responses of a file, like `read_pairs`."""
    for number, columns in read_rows(path):
        row = _Row(path, number, columns, see)
        prompt, context = row.prompt()
        column = next((name for name in RESPONSE_COLUMNS if row.has(name)), RESPONSE_COLUMNS[0])
        response = row.response(column, row.required(column, "response"))
        yield Labelled(prompt, response, _label(row), context)


def _label(row: _Row) -> bool:
    value = row.required("label", "label")
    # true, 1, "safe" and their opposites in any case.
    label = LABELS.get(str(value).strip().lower())
    if label is None:
        raise row.error("label", "not a label", "write true, 1 or safe; false, 0 or unsafe")
    return label
