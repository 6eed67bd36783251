"""`dianoia.run` before it runs anything: how values and calls are written down. Real runs are in tests/smoke."""

import tomllib
from pathlib import Path

import pytest

import dianoia
from dianoia.api import _call, _toml
from dianoia.base.errors import ConfigError
from dianoia.cli.run import RunOptions


@pytest.mark.parametrize(
    "value",
    [
        4,
        1e-5,
        float("inf"),
        True,
        "plain",
        'with "quotes", \\ and 中文',
        "a\nb",
        [1, 2],
        ("a", "b"),
        {"rank": 4, "targets": ["q"]},
        {"a key": {"b": False}},
    ],
)
def test_values_are_read_back_as_they_were(value: object) -> None:
    expected = list(value) if isinstance(value, tuple) else value
    assert tomllib.loads(f"value = {_toml('key', value)}")["value"] == expected


def test_a_path_is_a_text() -> None:
    assert _toml("zero.start", Path("a/b")) == '"a/b"'


def test_a_value_that_no_recipe_has() -> None:
    with pytest.raises(ConfigError, match=r"overrides\['zero.steps'\] = None: .* NoneType"):
        dianoia.run("miniature-zero", {"zero.steps": None})


@pytest.mark.parametrize("seeds", [[], [1, 1], [-1]])
def test_seeds_have_to_differ(seeds: list[int]) -> None:
    with pytest.raises(ConfigError, match="different whole numbers"):
        dianoia.run("miniature-zero", seeds=seeds)


def test_a_recipe_that_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'miniature-zero'"):
        dianoia.run("miniature-zeor", out=tmp_path / "run")
    table = {"name": "x", "stages": {"zero": {"kind": "rl", "start": "miniature-base"}}}
    with pytest.raises(ConfigError, match="the recipe: the recipe cannot run as written"):
        dianoia.run(table, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_call_as_it_is_recorded() -> None:
    options = RunOptions(Path("miniature-zero"), ("zero.steps=4",), Path("runs/x"), jobs=2)
    assert _call(options) == "dianoia.run('miniature-zero', 'zero.steps=4', out='runs/x', jobs=2)"
    assert _call(RunOptions({"name": "x"})) == "dianoia.run('<table>')"


def test_every_public_name_is_there_and_documented() -> None:
    for name in dianoia.__all__:
        value = getattr(dianoia, name)
        assert name in dir(dianoia)
        # A text and a type alias have no docstring of their own.
        assert name in ("__version__", "RewardFunction") or value.__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'loed'"):
        dianoia.loed  # noqa: B018
