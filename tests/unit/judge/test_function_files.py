"""Reward functions by file and dotted path: found, refused in words, and known by the files that they are made of."""

import email
import statistics
import sys
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError
from dianoia.judge.function_files import check_arguments, find, make_function, source_files

TEXT = """
from helper import BASE

class Kept:
    def __init__(self, scale=1.0):
        self.scale = scale
    def scored(self, completions, **columns):
        return [self.scale * BASE] * len(completions)

kept = Kept(2.0)
NUMBER = 3

def plain(completions, **columns):
    return [BASE] * len(completions)

def factory(scale, shift=0.0):
    return Kept(scale + shift).scored

def broken_factory(scale):
    raise OSError("no room")

def nothing(scale):
    return scale
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file of functions, a helper and something that has nothing to do with it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    for name in ("helper", "deeper"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "mine.py").write_text(TEXT, encoding="utf-8")
    (tmp_path / "helper.py").write_text("import deeper\nBASE = 5.0\n", encoding="utf-8")
    (tmp_path / "deeper.py").write_text("import math, helper\n", encoding="utf-8")
    (tmp_path / "other.py").write_text("", encoding="utf-8")
    return tmp_path


def test_a_function_of_a_file(folder: Path) -> None:
    assert find("mine.py:plain")(completions=["a"]) == [5.0]
    assert find(f"{folder}/mine.py:kept.scored")(completions=["a", "b"]) == [10.0] * 2
    assert find("mine.py:plain") is find(str(folder / "mine.py") + ":plain"), "run once"


def test_a_function_of_a_shipped_example(folder: Path) -> None:
    path = "examples/own_reward/rewards.py:short"
    assert callable(find(path))
    files = source_files(path)
    assert list(files) == ["examples/own_reward/rewards.py"], "the same name in a clone and a wheel"
    assert all(file.is_absolute() and file.is_file() for file in files.values())


def test_a_function_of_a_module(folder: Path) -> None:
    assert find("statistics.fmean") is find("statistics:fmean") is statistics.fmean
    (folder / "package").mkdir()
    (folder / "package/__init__.py").write_text("")
    (folder / "package/deep.py").write_text("def f(**_):\n    return []\n")
    assert find("package.deep.f")() == [], "the working directory is searched too"


def test_what_is_installed_goes_before_a_file_of_the_same_name(folder: Path) -> None:
    (folder / "statistics.py").write_text("fmean = 'mine'")
    assert callable(find("statistics.fmean"))


def test_a_factory_is_called_once(folder: Path) -> None:
    built = make_function("mine.py:factory", {"scale": 2.0, "shift": 1.0})
    assert built(completions=["a"]) == [15.0]
    assert make_function("mine.py:factory", {"shift": 1.0, "scale": 2.0}) is built
    assert make_function("mine.py:factory", {"scale": 3.0}) is not built
    assert make_function("mine.py:plain", None) is find("mine.py:plain")


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("nine.py:plain", ["no file nine.py", "did you mean 'mine.py'"]),
        ("mine.py:plane", ["mine.py has no 'plane'", "did you mean 'plain'"]),
        ("mine.py:NUMBER", ["'NUMBER' in mine.py is a int, not a function"]),
        ("mine.py:kept.missing", ["has no 'kept.missing'"]),
        ("nowhere.at.all", ["importing nowhere.at raised ModuleNotFoundError", "installed"]),
        ("bad.py:f", ["running", "raised SyntaxError", "bad.py, line 2"]),
        ("failing.py:f", ["raised ZeroDivisionError", "failing.py, line 2: 1 / 0"]),
        ("lacking.py:f", ["raised ModuleNotFoundError", "lacking.py, line 1: import not_there"]),
    ],
)
def test_what_cannot_be_used_is_told(path: str, parts: list[str], folder: Path) -> None:
    (folder / "bad.py").write_text("x = 1\ndef f(:\n")
    (folder / "failing.py").write_text("def f(**_): ...\n1 / 0\n")
    (folder / "lacking.py").write_text("import not_there\n")
    with pytest.raises(ConfigError) as caught:
        find(path)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("mine.py:broken_factory", r"called with .*2.0.* raised OSError: no room .*line 20"),
        ("mine.py:nothing", r"returned a float and no function"),
    ],
)
def test_a_factory_that_fails(path: str, message: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        make_function(path, {"scale": 2.0})


def test_arguments_that_a_factory_does_not_take(folder: Path) -> None:
    check_arguments("mine.py:factory", {"scale": 1.0})
    with pytest.raises(ConfigError, match="does not take these arguments.*'skale'"):
        check_arguments("mine.py:factory", {"scale": 1.0, "skale": 2.0})
    with pytest.raises(ConfigError, match="missing a required argument: 'scale'"):
        check_arguments("mine.py:factory", {})


# Files ---------------------------------------------------------------------------------------------


def test_a_file_counts_with_what_it_imports_from_its_folder(folder: Path) -> None:
    assert set(source_files("mine.py:plain")) == {"mine.py", "helper.py", "deeper.py"}
    (folder / "mine.py").write_text("def plain(:")
    assert set(source_files("mine.py:plain")) == {"mine.py"}, "running it says what is wrong"
    assert source_files("nine.py:plain") == {}


def test_a_module_counts_by_its_file_and_a_package_by_all_of_its_own(folder: Path) -> None:
    (files,) = source_files("statistics.fmean").values()
    assert files == Path(statistics.__file__)
    package = source_files("email.message_from_string")
    assert set(package.values()) == set(Path(email.__file__).parent.glob("*.py"))
    assert source_files("nowhere.at.all") == {}


def test_looking_for_files_runs_nothing(folder: Path) -> None:
    (folder / "package").mkdir()
    (folder / "package/__init__.py").write_text("raise SystemExit")
    (folder / "package/deep.py").write_text("raise SystemExit")
    assert [file.name for file in source_files("package.deep.f").values()] == ["deep.py"]


def test_a_file_that_has_changed_is_run_again(folder: Path) -> None:
    assert make_function("mine.py:plain", None)(completions=["a"]) == [5.0]
    text = TEXT.replace("[BASE] *", "[BASE + 1] *")
    (folder / "mine.py").write_text(text + "\n", encoding="utf-8")
    assert make_function("mine.py:plain", None)(completions=["a"]) == [6.0]
