"""What several commands print."""

import json
import shutil
import textwrap
from typing import Any

_MOST_COLUMNS = 80


def print_json(value: Any) -> None:
    """Print a value as indented JSON, characters of all languages as they are."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def print_json_line(value: Any) -> None:
    """Print a value as one line of JSON, at once: for a command that goes on, and a program that waits for the line."""
    # A pipe is buffered, so the line would come when the command ends.
    print(json.dumps(value, ensure_ascii=False), flush=True)


def print_wrapped(line: str, indent: int = 0) -> None:
    """Print a line of at most 80 columns, or the terminal's if it has fewer; further lines are indented."""
    columns = min(_MOST_COLUMNS, shutil.get_terminal_size((_MOST_COLUMNS, 24)).columns)
    # A path or an option stays in one piece, so that it can be copied.
    wrapped = textwrap.wrap(
        line,
        columns,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    print("\n".join(wrapped))
