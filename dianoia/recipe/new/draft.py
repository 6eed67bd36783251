"""A recipe that is being written: tables of keys, each with its value and the reason for it, and their text in TOML."""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_COLUMN = 32
"""Where reasons begin, as in the recipes that ship."""
_WIDTH = 120


@dataclass(slots=True)
class Entry:
    """A key with its value."""

    value: Any
    reason: str = ""


@dataclass(slots=True)
class Table:
    """A table of a recipe."""

    header: str
    """`stages.zero.sampling`; empty for the top of the file."""
    entries: dict[str, Entry] = field(default_factory=dict)
    comment: str = ""
    """Text in front of the table."""

    def add(self, key: str, value: Any, reason: str = "") -> "Table":
        """Add a key, and return the table."""
        self.entries[key] = Entry(value, reason)
        return self


@dataclass(slots=True)
class Draft:
    """A recipe as a list of tables."""

    introduction: str
    """Comment at the head of the file; its lines are kept."""
    tables: list[Table]

    def set(self, stage: str, key: str, value: Any, reason: str) -> None:
        """Set a key of a stage, such as `sampling.slots`, in place of its present value."""
        parent, _, name = key.rpartition(".")
        header = f"stages.{stage}.{parent}" if parent else f"stages.{stage}"
        table = next((table for table in self.tables if table.header == header), None)
        if table is None:
            # Before the tables of the next stage: TOML does not mind, a reader does.
            stage_indices = [
                i
                for i, t in enumerate(self.tables)
                if f"{t.header}.".startswith(f"stages.{stage}.")
            ]
            table = Table(header)
            self.tables.insert(stage_indices[-1] + 1, table)
        table.add(name, value, reason)

    def as_toml(self) -> str:
        """Return the text of the file."""
        head = [f"# {line}".rstrip() for line in self.introduction.splitlines()]
        return "\n".join([*head, *(line for table in self.tables for line in _table(table))]) + "\n"


def _table(table: Table) -> Iterator[str]:
    if table.header:
        yield ""
    if table.comment:
        yield from textwrap.wrap(table.comment, _WIDTH, initial_indent="# ", subsequent_indent="# ")
    if table.header:
        yield f"[{table.header}]"
    for key, entry in table.entries.items():
        yield from _entry(f"{key} = {toml_value(entry.value)}", entry.reason)


def _entry(assignment: str, reason: str) -> Iterator[str]:
    """Yield a key with its reason beside it; further lines of the reason stand below its first."""
    if not reason:
        yield assignment
        return
    start = max(_COLUMN, len(assignment) + 1)
    first, *others = textwrap.wrap(reason, max(40, _WIDTH - start - 2))
    yield f"{assignment.ljust(start)}# {first}"
    yield from (f"{' ' * start}# {line}" for line in others)


def toml_value(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        return f"{value:_}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        # People write 2e-4, where Python writes 0.0002.
        mantissa, _, exponent = f"{value:e}".partition("e")
        is_small = 0 < abs(value) < 1e-3
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}" if is_small else repr(value)
    if isinstance(value, Mapping):
        pairs = (f"{_key(key)} = {toml_value(part)}" for key, part in value.items())
        return "{ " + ", ".join(pairs) + " }"
    return "[" + ", ".join(map(toml_value, value)) + "]"


def _key(name: str) -> str:
    """Return a key, in quotes where TOML wants them: `Qwen/Qwen3-0.6B`."""
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else json.dumps(name, ensure_ascii=False)
