"""How `dianoia chat` writes and reads in a terminal.

Answers wrap at words while they come, thoughts are dimmed or folded to a line. Questions have a line editor with history, and several
pasted lines are one question.
"""

import contextlib
import os
import select
import sys
from pathlib import Path

try:
    import readline
except ImportError:  # a Python without it edits lines as the terminal does
    readline = None  # type: ignore[assignment]
import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.cells import cell_len, get_character_cell_size
from rich.console import Console
from rich.text import Text

from dianoia.inference.known_questions import Assessment, Verdict

if TYPE_CHECKING:
    from dianoia.inference.conversation import Conversation, Exchange, Piece

GUTTER = "│ "
"""Stands before each line of a thought, so that it can be told from the answer without colours."""
_MOST_COLUMNS = 80
_REDRAWN_EVERY = 0.1
"""Seconds between two drawings of a folded thought's line."""
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_WORDS = re.compile(r"\n|[^\S\n]+|[^\s]+")


_VERDICTS = {
    Verdict.RIGHT: ("✓", "green"),
    Verdict.WRONG: ("✗", "red"),
    Verdict.PARTLY: ("~", "yellow"),
    Verdict.UNGRADED: ("?", "yellow"),
}
"""Sign and colour of each verdict."""


def printable(text: str) -> str:
    """Return a text without control characters, with which a model could move the cursor or rename the window."""
    return _UNSAFE.sub("\ufffd", text.replace("\t", "    "))


def duration(seconds: float) -> str:
    """Format seconds for a line under an answer."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {seconds % 60:.0f} s"


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, as in `1 token` and `2 tokens`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class WrappedText:
    """Writes text that comes in pieces and breaks lines before words that do not fit; wide characters break anywhere."""

    def __init__(self, console: Console, style: str = "", gutter: str = "") -> None:
        self._console, self._style, self._gutter = console, style, gutter
        self._columns = min(console.width, _MOST_COLUMNS) - len(gutter)
        self._column = 0
        self._gap = ""
        """White space that is written when a word follows it on its line."""
        self._word = ""
        """The word that has not ended yet."""
        self._started = False

    def write(self, text: str) -> None:
        """Write what can be laid out already; the last word waits for its end."""
        for token in _WORDS.findall(printable(text)):
            if token == "\n":
                self._flush_word()
                self._break()
            elif token.isspace():
                self._flush_word()
                self._gap += token
            else:
                self._add(token)

    def finish(self) -> None:
        """Write the last word and end the line; what is written later begins anew."""
        self._flush_word()
        if self._started:
            self._put("\n")
        self._started, self._column, self._gap = False, 0, ""

    def _add(self, token: str) -> None:
        for character in token:
            self._word += character
            # Chinese has no spaces; a line of it may break behind each character.
            if get_character_cell_size(character) == 2 or cell_len(self._word) >= self._columns:
                self._flush_word()

    def _flush_word(self) -> None:
        if not self._word:
            return
        word, gap = self._word, self._gap
        self._word = self._gap = ""
        if self._column and self._column + cell_len(gap + word) > self._columns:
            self._break()
            gap = ""
        self._begin()
        self._put(gap + word)
        self._column += cell_len(gap + word)

    def _begin(self) -> None:
        if not self._started or not self._column:
            self._put(self._gutter)
        self._started = True

    def _break(self) -> None:
        if not self._column:
            self._begin()
        self._put("\n")
        self._column, self._gap = 0, ""

    def _put(self, text: str) -> None:
        # Line by line of our own: rich would wrap again and cut spaces.
        self._console.print(Text(text, style=self._style), end="", soft_wrap=True)


class Display:
    """Writes answers; `folded` hides thoughts behind one line with their time and tokens."""

    def __init__(self, console: Console, folded: bool = False) -> None:
        self.console, self.folded = console, folded

    def answer(self, pieces: Iterable["Piece"], conversation: "Conversation") -> None:
        """Write an answer of a conversation while it comes, and end the line also where the pieces raise an error."""
        thought = WrappedText(self.console, "dim", GUTTER)
        content = WrappedText(self.console)
        line = _FoldedLine(self.console)
        try:
            for piece in pieces:
                exchange = conversation.exchanges[-1]
                if piece.kind == "content":
                    self._end_thought(thought, line, exchange)
                    content.write(piece.text)
                    continue
                # A model may say something before it thinks.
                content.finish()
                if self.folded:
                    line.update(exchange)
                else:
                    thought.write(piece.text)
        finally:
            if conversation.exchanges:
                self._end_thought(thought, line, conversation.exchanges[-1])
            content.finish()

    def _end_thought(self, thought: WrappedText, line: "_FoldedLine", exchange: "Exchange") -> None:
        if self.folded:
            line.finish(exchange)
        else:
            thought.finish()

    def verdict(self, assessment: Assessment) -> None:
        """Write what the verifier says of an answer."""
        sign, style = _VERDICTS[assessment.verdict]
        parts = [f"{sign} {assessment.verdict.value}", assessment.reason]
        if assessment.verdict is not Verdict.RIGHT:
            parts.append(f"expected: {assessment.expected}")
        writer = WrappedText(self.console, style)
        writer.write(" · ".join(part for part in parts if part))
        writer.finish()

    def note(self, text: str) -> None:
        """Write a line of the program's own, dimmed."""
        writer = WrappedText(self.console, "dim")
        writer.write(text)
        writer.finish()

    def warn(self, text: str) -> None:
        """Write what went wrong."""
        writer = WrappedText(self.console, "red")
        writer.write(text)
        writer.finish()


class _FoldedLine:
    """The one line that stands for a thought, drawn again while the thought grows."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = console.is_terminal and not console.is_dumb_terminal
        self._drawn = 0.0
        self._open = False

    def update(self, exchange: "Exchange") -> None:
        """Draw the running time and tokens, a few times per second."""
        self._open = True
        if self._live and time.monotonic() - self._drawn > _REDRAWN_EVERY:
            self._drawn = time.monotonic()
            self._draw(
                f"thinking · {duration(exchange.seconds)} · {counted(exchange.tokens, 'token')}"
            )

    def finish(self, exchange: "Exchange") -> None:
        """Draw the line for the last time."""
        if not self._open:
            return
        self._open = False
        tokens = exchange.thought_tokens or exchange.tokens
        self._draw(f"thought for {duration(exchange.thought_seconds)} · {counted(tokens, 'token')}")
        self._console.print()

    def _draw(self, text: str) -> None:
        # Carriage return and erasing to the end of the line: what a new line would leave in a log.
        start = "\r\x1b[2K" if self._live else ""
        self._console.file.write(start)
        self._console.print(Text(f"▸ {text}", style="dim"), end="", soft_wrap=True)


# Questions as people type or paste them ------------------------------------------------------------

_MOST_LINES = 1000
"""Lines of the history file."""
_PASTE_SECONDS = 0.03
"""Longest wait for the next line of a paste; nobody types that fast."""
PROMPT = "> "


class QuestionReader:
    """Reads questions from the terminal. Use as a context manager, which reads and writes the history file."""

    def __init__(self, history: Path | None = None) -> None:
        self._history = history_file() if history is None else history

    def __enter__(self) -> "QuestionReader":
        if readline is not None:
            # A pasted text of several lines then comes as one, and waits for Enter.
            readline.parse_and_bind("set enable-bracketed-paste on")
            readline.set_history_length(_MOST_LINES)
            with contextlib.suppress(OSError):
                readline.read_history_file(self._history)
        return self

    def __exit__(self, *_: object) -> None:
        if readline is not None:
            # A folder that cannot be written costs the history, not the session.
            with contextlib.suppress(OSError):
                self._history.parent.mkdir(parents=True, exist_ok=True)
                readline.write_history_file(self._history)
                self._history.chmod(0o600)

    def read(self) -> str:
        """Return the next question. Raises EOFError for Ctrl-D, KeyboardInterrupt for Ctrl-C.

        A line that ends with a backslash goes on, and so does a paste of several lines.
        """
        lines = [input(PROMPT)]
        while lines[-1].endswith("\\") or _more_is_pasted():
            lines[-1] = lines[-1].removesuffix("\\")
            lines.append(input("  "))
        return "\n".join(lines)


def history_file() -> Path:
    """Return the file with the questions of earlier sessions."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "dianoia" / "chat-history"


def _more_is_pasted() -> bool:
    """Return True if a further line has come already: terminals without bracketed paste send a paste line by line."""
    try:
        ready, _, _ = select.select([sys.stdin], [], [], _PASTE_SECONDS)
    except (OSError, ValueError):
        return False
    return bool(ready)
