"""Questions as people type or paste them in a terminal: a line editor with history, and several lines as one question."""

import contextlib
import os
import select
import sys
from pathlib import Path

try:
    import readline
except ImportError:  # a Python without it edits lines as the terminal does
    readline = None  # type: ignore[assignment]

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
