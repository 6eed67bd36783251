"""Looks up what `dianoia help` explains: keys of a recipe, its tables, metrics. No torch.

In: a word as a user types it, such as `max_tokens`, `zero.sampling.max_tokens` or `rl.group_size`. Out: topics, as data. The
texts are those of the reference pages: `recipe.keys` and `metrics.definitions`.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from dianoia.base.errors import ConfigError, near_names
from dianoia.metrics.definitions import METRICS
from dianoia.recipe.keys import Key, KeyTable, key_tables
from dianoia.recipe.shipped import shipped_recipes


@dataclass(frozen=True, slots=True)
class KeySetting:
    """A value that a recipe that ships gives a key."""

    recipe: str
    table: str
    """The stage, or the name of a `[data]` or `[templates]` table; empty for the top of the file."""
    value: Any


@dataclass(frozen=True, slots=True)
class KeyTopic:
    """A key, in all tables where it means the same."""

    name: str
    tables: tuple[str, ...]
    """Kinds of stages, or `recipe`, `data`, `templates`, `claims`."""
    types: tuple[str, ...]
    default: str
    meaning: str
    pages: tuple[str, ...]
    """Pages in `docs/`."""
    settings: tuple[KeySetting, ...]


@dataclass(frozen=True, slots=True)
class MetricTopic:
    """A metric, in all kinds of stages where it means the same."""

    name: str
    kinds: tuple[str, ...]
    unit: str
    definition: str


Topic = KeyTable | KeyTopic | MetricTopic


def look_up(word: str) -> list[Topic]:
    """Return the table of that name, else the keys and metrics: those named so, then those whose name ends so.

    Raises:
        ConfigError: nothing has this name; the message has the near names.
    """
    word = word.strip().removeprefix("--set ").partition("=")[0].strip().strip("[]")
    word = word.removeprefix("stages.")
    for table in key_tables():
        if table.name == word:
            return [table]
    topics: list[Topic] = [*_key_topics(word), *_metric_topics(word)]
    # In `zero.group_size` the first word is the name that a recipe gives a stage.
    if not topics and "." in word:
        topics = [*_key_topics(word.partition(".")[2])]
    if not topics:
        near = near_names(word, topic_names())
        hint = f"near ones are {', '.join(near)}" if near else "`dianoia help` lists what there is"
        raise ConfigError(f"{word!r} is no key of a recipe, no kind of stage and no metric; {hint}")
    return topics


@cache
def topic_names() -> tuple[str, ...]:
    """Return all names that can be looked up, each once: tables, keys in full and by their last word, metrics."""
    keys = [key.name for table in key_tables() for key in table.keys]
    metrics = [metric.name for _, metric in _metrics()]
    names = [table.name for table in key_tables()]
    names += [*keys, *(name.rpartition(".")[2] for name in keys), *metrics]
    return tuple(dict.fromkeys(names))


def _key_topics(word: str) -> list[KeyTopic]:
    """Return the keys named `word`, or `TABLE.word`, then those that end in it; equal ones of several tables as one."""
    first, _, key_name = word.partition(".")
    # The part before the first dot may be a table's name, or the beginning of a key such as `sampling.dtype`.
    tables = [table for table in key_tables() if table.name == first and key_name]
    name = key_name if tables else word
    groups: dict[Key, list[KeyTable]] = {}
    for table in tables or key_tables():
        for key in table.keys:
            if key.name == name or key.name.endswith(f".{name}"):
                groups.setdefault(key, []).append(table)
    topics = [_topic(key, of) for key, of in groups.items()]
    return sorted(topics, key=lambda topic: topic.name != name)


def _topic(key: Key, tables: list[KeyTable]) -> KeyTopic:
    names = tuple(table.name for table in tables)
    return KeyTopic(
        name=key.name,
        tables=names,
        types=key.types,
        default=key.default,
        meaning=" ".join(key.meaning.split()),
        pages=tuple(dict.fromkeys(table.page for table in tables if table.page)),
        settings=tuple(_settings(key.name, names)),
    )


def _metrics() -> Iterator[tuple[str, Any]]:
    for stage_kind, sections in METRICS.items():
        for section in sections:
            yield from ((stage_kind, metric) for metric in section.metrics)


def _metric_topics(word: str) -> list[MetricTopic]:
    groups: dict[Any, list[str]] = {}
    for stage_kind, metric in _metrics():
        if metric.name == word or metric.matches(word):
            groups.setdefault(metric, []).append(stage_kind)
    return [
        MetricTopic(metric.name, tuple(dict.fromkeys(kinds)), metric.unit, metric.definition)
        for metric, kinds in groups.items()
    ]


# Recipes that ship -------------------------------------------------------------------------------


@cache
def _recipe_tables() -> dict[str, dict[str, Any]]:
    return {
        name: tomllib.loads(path.read_text(encoding="utf-8"))
        for name, path in shipped_recipes().items()
    }


def _settings(key: str, tables: tuple[str, ...]) -> Iterator[KeySetting]:
    """Yield the values that the recipes that ship give a key in these tables."""
    for recipe, content in _recipe_tables().items():
        for name, table in _named_tables(content, tables):
            value = _value(table, key.split("."))
            if value is not None:
                yield KeySetting(recipe, name, value)


def _named_tables(
    recipe: dict[str, Any], tables: tuple[str, ...]
) -> Iterator[tuple[str, dict[str, Any]]]:
    if "recipe" in tables:
        yield "", recipe
    for name in ("claims", "track"):
        if name in tables:
            yield name, recipe.get(name, {})
    for table_name in ("data", "templates"):
        if table_name in tables:
            yield from recipe.get(table_name, {}).items()
    for name, stage in recipe.get("stages", {}).items():
        if stage["kind"] in tables:
            yield name, stage


def _value(table: Any, parts: list[str]) -> Any:
    """Return the value of a key; of a list of tables, that of the first that has it; None if it is not set."""
    if not parts:
        return table
    if isinstance(table, list):
        values = (_value(row, parts) for row in table)
        return next((value for value in values if value is not None), None)
    return (
        _value(table[parts[0]], parts[1:])
        if isinstance(table, dict) and parts[0] in table
        else None
    )
