"""Plugins: found by name, imported only when a name of theirs is looked up, refused where they take others' names."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError
from dianoia.base.records import Problem
from dianoia.tasks import plugins
from dianoia.tasks.catalog import VERIFIERS, problem_source

CHESS = '''
from dianoia.base.records import Problem
from dianoia.tasks.short_answers import grade_with
from dianoia.tasks.plugins import Plugin, PluginVerifier

class Mates:
    languages = frozenset({"en"})
    def draw(self, seed, start, count):
        return [Problem(f"m{n}", f"Mate {n}?", "Qh5", "chess") for n in range(start, start + count)]
    def heldout(self, limit):
        return []

def chess(problem, answer):
    """Compares moves, checks aside."""
    return float(answer.rstrip("+#") == problem.answer)

def grade_items(items):
    return grade_with(chess, items)

PLUGIN = Plugin(
    problem_sets={"chess/mates": Mates},
    verifiers={"chess": PluginVerifier(chess, worker="chess_problems:grade_items")},
)
GREEDY = Plugin(problem_sets={"checkers/all": Mates})
BROKEN = None
'''


@pytest.fixture
def entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The value of the one entry point in the group; the tests may replace it."""
    (tmp_path / "chess_problems.py").write_text(CHESS, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    value = ["chess_problems:PLUGIN"]
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: [EntryPoint("chess", value[0], group)]
    )
    caches = (plugins._entry_points, plugins.load_plugin)
    for cache in caches:
        cache.cache_clear()
    yield value
    sys.modules.pop("chess_problems", None)
    for cache in caches:
        cache.cache_clear()


def test_a_plugin_of_another_package_is_found_by_its_entry_point(entry_point: list[str]) -> None:
    assert plugins.plugin_names() == ["miniature", "chess"]
    assert "chess/mates" in list(plugins.PROBLEM_SETS) and "chess/mates" in plugins.PROBLEM_SETS
    (problem,) = problem_source("chess/mates").draw(1, 7, 1)
    assert problem.question == "Mate 7?"
    scores = [VERIFIERS["chess"](problem, answer) for answer in ("Qh5#", "Qh4")]
    assert scores == [1.0, 0.0], "graded by worker processes that import the plugin"
    assert VERIFIERS["chess"].summary.startswith("Compares moves")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("chess_problems:GREEDY", "plugin 'chess' adds 'checkers/all' to problem_sets"),
        ("chess_problems:BROKEN", "plugin 'chess' is a NoneType"),
        ("no_such_module:PLUGIN", "plugin 'chess' .*cannot be imported.*no_such_module"),
    ],
)
def test_a_plugin_that_is_not_usable_is_named(
    value: str, message: str, entry_point: list[str]
) -> None:
    entry_point[0] = value
    with pytest.raises(ConfigError, match=message):
        plugins.load_plugin("chess")


def test_an_unknown_name_is_no_plugin(entry_point: list[str]) -> None:
    for name in ("draughts", "draughts/all", "chess/none", ""):
        assert name not in plugins.PROBLEM_SETS
    assert plugins.load_plugin("draughts") is None


def test_a_value_that_is_set_comes_before_a_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sets:
        """Stands for a problem source."""

    monkeypatch.setitem(plugins.PROBLEM_SETS, "miniature/math", Sets)  # type: ignore[arg-type]
    assert plugins.PROBLEM_SETS["miniature/math"] is Sets
    assert list(plugins.PROBLEM_SETS).count("miniature/math") == 1
    assert len(plugins.PROBLEM_SETS) == len(list(plugins.PROBLEM_SETS))


def test_who_names_no_miniature_imports_none() -> None:
    """Plugins are looked up by name; that no module imports the miniature is a contract of the imports."""
    code = (
        "import sys, dianoia.cli.run, dianoia.recipe; "
        "from dianoia.base.records import Problem; "
        "from dianoia.tasks.catalog import VERIFIERS; "
        "assert VERIFIERS['number'](Problem('p', '?', '5', 'number'), '5') == 1.0; "
        "assert 'math' in VERIFIERS and 'exact' in VERIFIERS; "
        "loaded = [name for name in sys.modules if name.startswith('dianoia.miniature')]; "
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_miniatures_verifier_is_sent_only_its_columns() -> None:
    columns = {"kind": "fact", "subject": "none", "n": 0, "other": object()}
    problem = Problem("p", "?", "5", "miniature", columns=columns)
    assert VERIFIERS["miniature"](problem, "5") is None, "no request of the miniature"
