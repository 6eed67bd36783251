"""Problem sets, verifiers, corpora and rule-based models that a plugin adds, by name.

In: a name from a recipe or a problem file. Out: what a plugin registered under it. A plugin is a package that describes
itself in one `Plugin`. `dianoia.miniature` comes with Dianoia; another package joins by an entry point:

    [project.entry-points."dianoia.plugins"]
    chess = "chess_problems:PLUGIN"

Every name that a plugin adds is the plugin's own name, or begins with it and a slash: `chess`, `chess/endgames`. So a
name says which plugin to import, and no other plugin is imported. Only listing all names imports all plugins.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from dianoia.base.errors import ConfigError
from dianoia.base.preference_records import Annotator
from dianoia.base.records import Problem
from dianoia.base.rewriting import Rewriter

if TYPE_CHECKING:
    # Worker processes import this module: pydantic and the tokenizers would cost them time and memory.
    from tokenizers import Tokenizer

    from dianoia.config import Habits

GROUP = "dianoia.plugins"
"""The entry-point group that is searched for plugins."""
BUILT_IN = {"miniature": "dianoia.miniature.plugin"}
"""Module with the `PLUGIN` of each plugin that comes with Dianoia. They need no entry point, so that they work from a
source checkout too. This is the only place that knows them."""

Value = TypeVar("Value")


class ProblemSource(Protocol):
    """A problem set: training problems by number, and held-out problems that no training problem can equal.

    A resumed run continues at the next number, so that a source has no state.
    """

    def draw(self, seed: int, start: int, count: int) -> list[Problem]:
        """Return training problems `start` to `start + count - 1` of the stream that `seed` names."""
        ...

    def heldout(self, limit: int) -> list[Problem]:
        """Return at most `limit` held-out problems, the same ones every time."""
        ...

    @property
    def languages(self) -> frozenset[str]:
        """Languages of the training problems' questions, as ISO 639-1 codes."""
        ...


class Demonstrator(Protocol):
    """A generator of demonstrations."""

    def __call__(self, seed: int, /) -> Iterator[tuple[Problem, str, str]]:
        """Yield (problem, thought, summary) without end, the same ones for one seed; a thought may be empty."""
        ...


@dataclass(frozen=True, slots=True)
class PluginVerifier:
    """A verifier of short answers, which runs in worker processes of its own."""

    grade: Callable[[Problem, str], float | None]
    """A pure function: 1.0 right, 0.0 wrong, None if the gold answer cannot be read. `dianoia tasks` prints the first
    paragraph of its docstring."""
    worker: str
    """The function that the workers run, "package.module:function": it takes a list of items and returns their scores
    (`tasks.short_answers.grade_with`)."""
    columns: Mapping[str, type] = field(default_factory=dict)
    """Columns of a problem that it reads, with their types (text or number); others are not sent to the workers."""
    full_score: float = 1.0
    """Score of the gold answer."""
    compares_gold: bool = True
    """False if many different answers are right, so that no answer can take the place of the gold answer."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents for pretraining, and the tokenizer that is trained on them."""

    documents: Callable[["Habits", int], Iterator[str]]
    """(habits, seed) -> documents without end."""
    train_tokenizer: Callable[[Iterable[str], int], "Tokenizer"]
    """(documents, vocabulary size) -> tokenizer."""
    end_of_text: str
    """The tokenizer's end-of-sequence token."""


@dataclass(frozen=True, slots=True)
class PreferenceRules:
    """A judge of preferences that follows rules, and what it can judge. It judges its own plugin's problems alone."""

    make: Callable[[], Annotator]
    domains: Mapping[str, frozenset[str]]
    """Domains of problems by the objective of a `preferences` stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """All that one plugin adds, by name."""

    problem_sets: Mapping[str, Callable[[], ProblemSource]] = field(default_factory=dict)
    verifiers: Mapping[str, PluginVerifier] = field(default_factory=dict)
    demonstrations: Mapping[str, Demonstrator] = field(default_factory=dict)
    corpora: Mapping[str, Corpus] = field(default_factory=dict)
    rewriters: Mapping[str, Callable[[], Rewriter]] = field(default_factory=dict)
    """Rewriters that follow rules; they can read the thoughts about their own plugin's problems alone."""
    preference_rules: Mapping[str, PreferenceRules] = field(default_factory=dict)


class Registry(MutableMapping[str, Value]):
    """Values of one field of all plugins, by name. Looking a name up imports the plugin that it belongs to.

    A value that is set here comes before a plugin's.

    Args:
        read: takes the values out of a plugin.
        built_in: values that belong to no plugin.
    """

    def __init__(
        self,
        read: Callable[[Plugin], Mapping[str, Value]],
        built_in: Mapping[str, Value] | None = None,
    ) -> None:
        self.read = read
        self._values = dict(built_in or {})

    def __getitem__(self, name: str) -> Value:
        # Values that a program has set come first; built-in ones are set at import.
        if name in self._values:
            return self._values[name]
        plugin = load_plugin(plugin_name(name))
        if plugin is None:
            raise KeyError(name)
        # KeyError as well if the plugin exists and has no such value.
        return self.read(plugin)[name]

    def __setitem__(self, name: str, value: Value) -> None:
        self._values[name] = value

    def __delitem__(self, name: str) -> None:
        del self._values[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._values
        # Imports all plugins: only listings and error messages iterate.
        for name in plugin_names():
            plugin = load_plugin(name)
            values = {} if plugin is None else self.read(plugin)
            yield from (value for value in values if value not in self._values)

    def __len__(self) -> int:
        return sum(1 for _ in self)


PROBLEM_SETS: Registry[Callable[[], ProblemSource]] = Registry(lambda plugin: plugin.problem_sets)
"""Built-in problem sets, but for those of reasoning-gym."""
DEMONSTRATIONS: Registry[Demonstrator] = Registry(lambda plugin: plugin.demonstrations)
"""Generators of demonstrations."""
CORPORA: Registry[Corpus] = Registry(lambda plugin: plugin.corpora)
"""Corpora for pretraining."""
REWRITERS: Registry[Callable[[], Rewriter]] = Registry(lambda plugin: plugin.rewriters)
"""Rewriters that follow rules."""
PREFERENCE_RULES: Registry[PreferenceRules] = Registry(lambda plugin: plugin.preference_rules)
"""Judges of preferences that follow rules."""
PLUGIN_VERIFIERS: Registry[PluginVerifier] = Registry(lambda plugin: plugin.verifiers)
"""Verifiers that plugins add; `tasks.catalog.VERIFIERS` has all verifiers."""


def plugin_name(name: str) -> str:
    """Return the name of the plugin that a name belongs to, if there is such a plugin."""
    # `miniature/math` -> `miniature`; `chess` -> `chess`.
    return name.partition("/")[0]


def plugin_names() -> list[str]:
    """Return the names of all plugins, sorted; those of other packages come after the built-in ones."""
    # An entry point with the name of a built-in plugin has no effect.
    return [*BUILT_IN, *sorted(_entry_points().keys() - BUILT_IN.keys())]


@lru_cache
def _entry_points() -> Mapping[str, EntryPoint]:
    """Return the entry points of installed packages, by the name of their plugin."""
    return {point.name: point for point in entry_points(group=GROUP)}


@lru_cache
def load_plugin(name: str) -> Plugin | None:
    """Import a plugin; None if there is none of this name.

    Raises:
        ConfigError: it cannot be imported, is no `Plugin`, or adds a name that is not its own.
    """
    # Imported by its name at run time: there is no import statement of a plugin, so that only its users load it.
    if name in BUILT_IN:
        plugin: Any = import_module(BUILT_IN[name]).PLUGIN
    elif name in _entry_points():
        point = _entry_points()[name]
        try:
            plugin = point.load()
        except Exception as error:  # another package's code may raise anything
            raise ConfigError(
                f"plugin {name!r} ({point.value}) cannot be imported ({type(error).__name__}: {error}); "
                "update or uninstall the package that brings it"
            ) from error
    else:
        return None
    _check_plugin(name, plugin)
    return plugin  # type: ignore[no-any-return]


def _check_plugin(name: str, plugin: object) -> None:
    if not isinstance(plugin, Plugin):
        raise ConfigError(
            f"plugin {name!r} is a {type(plugin).__name__}; its entry point has to name an instance of "
            "dianoia.tasks.plugins.Plugin"
        )
    for part in fields(Plugin):
        # Checked when loaded: a foreign name could never be looked up, since its first part leads to another plugin.
        for value in getattr(plugin, part.name):
            if plugin_name(value) != name:
                raise ConfigError(
                    f"plugin {name!r} adds {value!r} to {part.name}; a plugin's names are {name!r} or begin "
                    f"with {name + '/'!r}"
                )
