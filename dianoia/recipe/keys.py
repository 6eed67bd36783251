"""Lists every key of a recipe with type, default and meaning, from the tables that check it. No torch.

In: the pydantic tables of `dianoia.config`. Out: `KeyTable`s, from which the reference page and `dianoia help` are made.
A meaning is the text below the key in its table.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dianoia import config
from dianoia.recipe.graph import Recipe
from dianoia.recipe.load import KINDS

_NAMED_TABLES = ("stages", "data", "templates", "claims", "track")
"""Keys of a recipe whose tables have a list of their own."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a recipe's table."""

    name: str
    """With the tables that it stands in: `sampling.max_tokens`."""
    types: tuple[str, ...]
    """As a person writes them in TOML; of literals, one text with all values."""
    default: str
    """As TOML writes it, or `required`, `absent`, `its own defaults`."""
    meaning: str

    @property
    def is_value(self) -> bool:
        """True if the default is a value."""
        return self.default not in ("required", "absent", "its own defaults")


@dataclass(frozen=True, slots=True)
class KeyTable:
    """A table of a recipe with all its keys."""

    name: str
    """The kind of stage, or `recipe`, `data`, `templates`, `claims`, `track`."""
    header: str
    """As a recipe writes it; empty for the top of the file."""
    about: str
    page: str
    """Its page in `docs/`; empty if there is none."""
    keys: tuple[Key, ...]


@cache
def key_tables() -> tuple[KeyTable, ...]:
    """Return all tables: the top of a recipe, one per kind of stage, then `data`, `templates`, `claims` and `track`."""
    stages = [
        KeyTable(
            kind,
            "[stages.NAME]",
            f'`[stages.NAME]` with `kind = "{kind}"`',
            f"{kind}.md",
            _keys(model),
        )
        for kind, model in KINDS.items()
    ]
    return (
        KeyTable("recipe", "", "The top of the file", "", _keys(Recipe)),
        *stages,
        _table("data", "[data.NAME]", "Where problems come from", "data.md", config.DataSettings),
        _table(
            "templates",
            "[templates.NAME]",
            "A prompt of the recipe's own",
            "recipes.md",
            config.TemplateSettings,
        ),
        _table(
            "claims",
            "[claims]",
            "Which checkpoint plays which part of the paper",
            "claims.md",
            config.ClaimsSettings,
        ),
        _table(
            "track", "[track]", "Which trackers follow a run", "tracking.md", config.TrackSettings
        ),
    )


def _table(name: str, header: str, about: str, page: str, model: type[BaseModel]) -> KeyTable:
    return KeyTable(name, header, about, page, _keys(model))


def _keys(model: type[BaseModel]) -> tuple[Key, ...]:
    return tuple(
        Key(name, tuple(_types(field.annotation)), _default(field), field.description or "")
        for name, field in _fields(model)
        if not (model is Recipe and _is_listed_elsewhere(name))
    )


def _is_listed_elsewhere(name: str) -> bool:
    """Return True for `stages`, `claims.base`, `track.to`, `data.path`; `data` and `templates` have a row that says what they are."""
    first, dot, _ = name.partition(".")
    return first in _NAMED_TABLES and bool(dot or first in ("stages", "claims", "track"))


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every key with the tables it stands in before it: `sampling.max_tokens`."""
    for name, field in model.model_fields.items():
        tables = _tables(field.annotation)
        # A table that is always there has no row of its own; an optional one, or a list of tables, has.
        if not tables or not isinstance(field.annotation, type):
            yield prefix + name, field
        for table in tables:
            yield from _fields(table, f"{prefix}{name}.")


def _tables(annotation: Any) -> list[type[BaseModel]]:
    """Return the tables that an annotation mentions. Those of `problems` have a page of their own."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [] if issubclass(annotation, config.FileSettings) else [annotation]
    return [table for part in get_args(annotation) for table in _tables(part)]


_TYPES = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "boolean",
    dict: "table",
    Any: "any",
}


def _types(annotation: Any) -> list[str]:
    """Return the types of an annotation as a person writes them in TOML; several for a union."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        parts = (part for part in arguments if part is not NoneType)
        return list(dict.fromkeys(name for part in parts for name in _types(part)))
    return [_type(annotation)]


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(json.dumps(value) for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_types(annotation))
    if origin in (list, tuple):
        inner = _type(arguments[0])
        # Not `tables` twice, and no plural of a value in quotes.
        return f"list of {inner}" if inner.endswith(("s", '"')) else f"list of {inner}s"
    if origin is not None and not isinstance(origin, type):
        return _type(arguments[0])  # Annotated[...]
    if isinstance(annotation, type) and issubclass(annotation, config.FileSettings):
        return "text or table"
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "table"
    return _TYPES.get(
        annotation, "table" if origin else str(getattr(annotation, "__name__", annotation))
    )


def _default(field: FieldInfo) -> str:
    """Return a field's default as TOML writes it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "absent"
    if isinstance(value, BaseModel):
        return "its own defaults"
    return json.dumps(value, default=str)
