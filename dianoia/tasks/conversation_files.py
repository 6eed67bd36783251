"""Read samples for supervised fine-tuning from a user's file, with the columns that TRL users have.

In: a file of any format that `table_files` reads. Out: `Conversation`s, one row after another, each checked. Not here: chat templates of
tokenizers, tools, images, hub names.

Columns; the first form that a row has is read:
- `messages`: a list of `role` (system, user, assistant) and `content`, the assistant last; every turn of the
  assistant is learnt. `reasoning_content` next to a `content` is the thought. CSV holds any messages as JSON. A row that
  divides them into `prompt` and `completion` as well, as a `sample` stage does, is read by those: the earlier answers of a
  prompt are nobody's samples.
- `conversations`: the same as ShareGPT writes it, a list of `from` (human, gpt, system) and `value`; a text in the column
  `system` is the system message, as in OpenThoughts and Bespoke-Stratos.
- `prompt` (text, or messages) and the response: `completion` or `response` (text, or messages), or `thought`
  and `answer`. Only the response is learnt. A thought may be empty.
Further columns are allowed and not read.

Decisions where DeepSeek-R1 is silent:
1. A hash of the first question decides what is held out, never a seed: equal questions are all trained on or all held out.
   It differs from the hash of `tasks.problem_files`, so that data made from the training side of a file of problems has a
   held-out side too.
2. The fraction of a weight selects samples by a hash of the whole sample, so that it always selects the same ones.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dianoia.base.errors import ConfigError, ProblemFileError
from dianoia.base.records import Conversation, Turn
from dianoia.tasks.message_turns import CONVERSATIONS, turns_of, with_system
from dianoia.tasks.short_answers.number_and_text import normalize
from dianoia.tasks.table_files import Row, read_rows

RESPONSE_COLUMNS = ("completion", "response")
_FORMS = "`messages` or `conversations`; `prompt` with `completion` or `response`; or `prompt` with `thought` and `answer`"


@dataclass(frozen=True, slots=True)
class Drawn:
    """A sample and its part in the mixture."""

    conversation: Conversation
    copies: int
    """Copies per epoch; 0 if the sample is held out, or not selected by a weight below 1."""
    heldout: bool


def draw(
    datasets: Sequence[tuple[Path, float]], share: float, evaluation_file: Path | None = None
) -> Iterator[Drawn]:
    """Yield all samples of a mixture of (file, weight), read one by one as the caller takes them.

    The samples of `evaluation_file` are held out, or else those of a `share` of the questions. A sample whose question is
    in `evaluation_file` is not trained on.
    """
    # Questions of the evaluation file: training on them would make its loss meaningless.
    evaluated: set[str] = set()
    if evaluation_file is not None:
        for conversation in read_conversations(evaluation_file):
            evaluated.add(_words(conversation))
            yield Drawn(conversation, 0, heldout=True)
    # One file after another, in the order of the recipe.
    for path, weight in datasets:
        for conversation in read_conversations(path):
            # By the question, so that all answers to it are on one side; the weight below goes by the whole sample.
            heldout = _hash("heldout", _words(conversation)) < share
            excluded = heldout or _words(conversation) in evaluated
            copies = copies_of(weight, _hash("weight", repr(conversation.turns)))
            yield Drawn(conversation, 0 if excluded else copies, heldout)


def copies_of(weight: float, chance: float) -> int:
    """Return the copies per epoch of a sample of a data set with this weight.

    `chance`, in [0, 1), decides the fraction: weight 2.25 gives 3 copies if it is below 0.25, otherwise 2. With a hash of
    the sample as `chance`, every epoch and run has the same copies.
    """
    whole = int(weight)
    return whole + (chance < weight - whole)


def check_amounts(
    rows: int, learnt: int, heldout: int, share: float, evaluation_file: bool = False
) -> None:
    """Raise ConfigError if no sample is left to learn from, or none to evaluate on.

    `rows` and `heldout` count samples, `learnt` those with a copy; `evaluation_file`: the stage names one.
    """
    # The causes of a missing sample add up, so that the message names all of them.
    if not learnt:
        raise ConfigError(
            f"datasets: no sample is left to learn from ({rows} read, {heldout} held out for the evaluation "
            "loss, the others not taken by a weight below 1, longer than max_length or in evaluation_file); "
            "add data, raise weight or max_length, or lower evaluation_share"
        )
    if (share > 0 or evaluation_file) and not heldout:
        cause = "evaluation_file" if evaluation_file else f"evaluation_share = {share:g}"
        raise ConfigError(
            f"{cause}: none of {rows} samples is held out, so there would be no evaluation "
            "loss; raise evaluation_share, name an evaluation_file with samples that fit into max_length, or "
            "set evaluation_share = 0 to go without"
        )


def read_conversations(path: Path) -> Iterator[Conversation]:
    """Yield the samples of a file, read one by one as the caller takes them.

    Raises ProblemFileError, naming file, row, column and value, for the first row that cannot be used, and for a file
    without rows.
    """
    number = 0
    for number, columns in read_rows(path):
        yield _Row(path, number, columns).conversation()
    if not number:
        raise ProblemFileError(f"{path}: the file holds no sample; add rows or name another file")


@dataclass(frozen=True, slots=True)
class _Row(Row):
    """A row that becomes a conversation."""

    def conversation(self) -> Conversation:
        source = f"{self.path}, row {self.number}"
        # First form first: a row with `messages` may have a `prompt` as well, which is not read without a completion.
        if self.has("messages") and not (self.has("prompt") and self.has("completion")):
            return Conversation(self.turns("messages", ends_with="assistant"), source)
        if self.has(CONVERSATIONS):
            return Conversation(self.turns(CONVERSATIONS, ends_with="assistant"), source)
        if not self.has("prompt"):
            raise ProblemFileError(
                f"{source}: it has the columns {', '.join(self.columns)}, which hold no sample to learn from; "
                f"write {_FORMS}"
            )
        # The length of the prompt says which turns are learnt: those after it.
        before = self.prompt()
        response = self.response()
        return Conversation((*before, *response), source, len(before))

    def prompt(self) -> tuple[Turn, ...]:
        if isinstance(self.columns["prompt"], str) and self.messages("prompt") is None:
            # Without the blanks around it, as a problem has it: `rl` and `sft` must not see two prompts.
            return (Turn("user", self.text("prompt", self.columns["prompt"]).strip()),)
        return self.turns("prompt", ends_with="user")

    def response(self) -> tuple[Turn, ...]:
        for column in RESPONSE_COLUMNS:
            if isinstance(self.columns.get(column), str) and self.messages(column) is None:
                return (Turn("assistant", self.text(column, self.columns[column])),)
            if self.has(column):
                return self.turns(column, ends_with="assistant", starts_with="assistant")
        # A thought column may be empty: then the answer is learnt without one.
        if "thought" in self.columns and self.has("answer"):
            thought = self.columns["thought"] if self.has("thought") else ""
            if thought:
                self.text("thought", thought)
            answer = self.text("answer", self.columns["answer"])
            return (Turn("assistant", answer, thought),)
        column = next((c for c in (*RESPONSE_COLUMNS, "answer") if c in self.columns), "completion")
        raise self.error(
            column, "the row has no response, so there is nothing to learn", f"write {_FORMS}"
        )

    def text(self, column: str, value: object) -> str:
        """Return a text that is not blank."""
        if not isinstance(value, str):
            raise self.error(column, f"a {type(value).__name__}, not text", "write it as text")
        self.check(column, value)
        return value

    def turns(self, column: str, ends_with: str, starts_with: str = "user") -> tuple[Turn, ...]:
        """Return messages as turns; a system message may come first, then the two sides alternate."""
        value = self.columns[column]
        messages: Any = self.messages(column)
        if messages is None:
            messages = value  # a list of other values: the error below names the value at fault
        if not isinstance(messages, list):
            raise self.error(
                column,
                "this is no list of messages",
                'write messages such as [{"role": "user", "content": "2+3?"}]',
            )
        if self.messages(column) is not None:
            messages = with_system(self, column, messages)
        turns = turns_of(self, column, messages)
        # A system message is allowed only at the start of a prompt.
        roles = [turn.role for turn in turns]
        if roles[:1] == ["system"] and starts_with == "user":
            roles = roles[1:]
        other = "assistant" if starts_with == "user" else "user"
        # user, assistant, user, ... from whichever side begins.
        expected = [(starts_with, other)[index % 2] for index in range(len(roles))]
        if roles != expected or roles[-1:] != [ends_with]:
            raise self.error(
                column,
                f"the roles are {', '.join(turn.role for turn in turns) or 'none'}",
                f"begin with {starts_with} (a system message may stand before the user), let user and "
                f"assistant alternate, and end with {ends_with}",
            )
        return turns


def _words(conversation: Conversation) -> str:
    question = conversation.question
    # Questions that are too long for `normalize` count as they are.
    return normalize(question) or question


def _hash(salt: str, text: str) -> float:
    """Return a number in [0, 1), uniformly distributed over texts."""
    # The salt makes the hashes of splitting and weighting independent.
    digest = hashlib.sha256(f"{salt}\n{text}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6]) / 2**48
