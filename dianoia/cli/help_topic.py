"""`dianoia help`: what a key of a recipe, a kind of stage, a metric or a command is."""

import argparse
import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dianoia.cli.output import print_json, print_wrapped

if TYPE_CHECKING:
    from dianoia.cli.run import Commands
    from dianoia.recipe.keys import KeyTable
    from dianoia.recipe.topics import KeySetting, KeyTopic, MetricTopic

_MOST_RECIPES = 6
"""Recipes whose value of a key is shown."""
_OVERVIEW = """
dianoia help KEY       a key of a recipe: group_size, sampling.max_tokens, zero.steps
dianoia help KIND      the keys of a kind of stage: {kinds}
dianoia help TABLE     the keys of another table: {tables}
dianoia help METRIC    a metric of a run: frac_reward_zero_std, pass@k
dianoia help COMMAND   a command: {commands}
dianoia help recipes   the recipes that ship
dianoia help docs      where the pages of the documentation lie
"""


def add_parser(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "help", help="explain a key of a recipe, a kind of stage, a metric or a command"
    )
    parser.add_argument("word", nargs="?", metavar="WORD", help="none: list what can be asked")
    parser.add_argument("--json", action="store_true", help="print the same as JSON")
    parser.set_defaults(command=lambda arguments: explain(arguments, commands.choices))


def explain(arguments: argparse.Namespace, commands: "dict[str, argparse.ArgumentParser]") -> None:
    """Print what a word means.

    Raises:
        ConfigError: nothing has this name.
    """
    from dianoia.recipe.topics import look_up

    word, as_json = arguments.word, arguments.json
    if word is None:
        _overview(commands, as_json)
    elif word in ("recipes", "recipe", "docs"):
        _shipped(word, as_json)
    elif word in commands and not _is_table(word):
        _command(commands[word], as_json)
    else:
        topics = look_up(word)
        if as_json:
            print_json([{"type": type(topic).__name__, **asdict(topic)} for topic in topics])
            return
        for number, topic in enumerate(topics):
            _print_topic(topic, first=number == 0)
        if word in commands:
            print_wrapped(f"There is a command of this name too: dianoia {word} --help")


def _is_table(word: str) -> bool:
    from dianoia.recipe.keys import key_tables

    return word in (table.name for table in key_tables())


def _overview(commands: Sequence[str] | Any, as_json: bool) -> None:
    from dianoia.recipe.keys import key_tables
    from dianoia.recipe.load import KINDS
    from dianoia.recipe.topics import topic_names

    tables = [table.name for table in key_tables() if table.name not in KINDS]
    if as_json:
        print_json({"topics": list(topic_names()), "commands": list(commands)})
        return
    lines = _OVERVIEW.format(
        kinds=", ".join(KINDS), tables=", ".join(tables), commands=", ".join(commands)
    )
    for line in lines.strip().splitlines():
        print_wrapped(line, indent=23)


def _command(parser: argparse.ArgumentParser, as_json: bool) -> None:
    if as_json:
        print_json({"type": "command", "help": parser.format_help()})
        return
    parser.print_help()


def _shipped(word: str, as_json: bool) -> None:
    """Print the recipes that ship with what they are for, or the pages of the documentation."""
    from dianoia.base.shipped_files import shipped_root
    from dianoia.recipe.shipped import shipped_recipes

    if word == "docs":
        folder = shipped_root() / "docs"
        pages = {
            path.relative_to(folder).as_posix(): _title(path.read_text(encoding="utf-8"))
            for path in sorted(folder.rglob("*.md"))
        }
        rows, end = pages, f"These files lie in {folder}"
    else:
        rows = {
            name: tomllib.loads(path.read_text(encoding="utf-8")).get("description", "")
            for name, path in shipped_recipes().items()
        }
        end = "dianoia run NAME --dry-run says what one would do, cost and need."
    if as_json:
        print_json(rows)
        return
    width = max(map(len, rows))
    for name, text in rows.items():
        print_wrapped(f"{name.ljust(width)}  {text}", indent=width + 2)
    print_wrapped(end)


def _title(page: str) -> str:
    lines = (line.removeprefix("# ") for line in page.splitlines() if line.startswith("# "))
    return next(lines, "")


# Topics ------------------------------------------------------------------------------------------


def _print_topic(topic: "KeyTable | KeyTopic | MetricTopic", first: bool) -> None:
    from dianoia.recipe.keys import KeyTable
    from dianoia.recipe.topics import KeyTopic

    if not first:
        print()
    if isinstance(topic, KeyTable):
        _print_table(topic)
        return
    print(topic.name)
    rows = _key_rows(topic) if isinstance(topic, KeyTopic) else _metric_rows(topic)
    for title, text in rows:
        print_wrapped(f"  {title.ljust(8)} {text}", indent=11)


def _print_table(table: "KeyTable") -> None:
    page = f" Its page is docs/{table.page} (dianoia help docs)." if table.page else ""
    print_wrapped(f"{table.about.replace('`', '')}.{page}")
    for key in table.keys:
        default_text = key.default if not key.is_value else f"default {key.default}"
        print_wrapped(f"  {key.name} ({' or '.join(key.types)}; {default_text})", indent=6)
        print_wrapped(f"      {_first_sentence(key.meaning)}", indent=6)


def _first_sentence(text: str) -> str:
    text = " ".join(text.split())
    head, stop, _ = text.partition(". ")
    return head + stop.strip()


def _key_rows(topic: "KeyTopic") -> Iterator[tuple[str, str]]:
    yield "in", ", ".join(topic.tables)
    yield "type", " or ".join(topic.types)
    yield "default", topic.default
    yield "meaning", topic.meaning
    if topic.pages:
        yield "page", ", ".join(f"docs/{page}" for page in topic.pages)
    if topic.settings:
        yield "set in", _settings_text(topic.settings)


def _settings_text(settings: "Sequence[KeySetting]") -> str:
    """Return the first recipes that set a key, each with its different values."""
    values: dict[str, dict[str, None]] = {}  # a dict without values is a set that keeps the order
    for setting in settings:
        value = json.dumps(setting.value, ensure_ascii=False)
        # Values may be whole prompts, and a line has 80 columns.
        cut = value if len(value) <= 40 else value[:37] + "..."
        values.setdefault(setting.recipe, {})[cut] = None
    # Values by recipe, each once: seeds and variants of a recipe often repeat one.
    shown = list(values.items())[:_MOST_RECIPES]
    hidden_count = len(values) - len(shown)
    text = "; ".join(f"{recipe}: {', '.join(texts)}" for recipe, texts in shown)
    return text + (f"; and {hidden_count} more" if hidden_count else "")


def _metric_rows(topic: "MetricTopic") -> Iterator[tuple[str, str]]:
    yield "metric", f"of {', '.join(topic.kinds)}"
    yield "unit", topic.unit or "none"
    yield "meaning", topic.definition
    yield "page", "docs/reference/metrics.md"
