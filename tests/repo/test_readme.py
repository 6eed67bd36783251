"""What the README tells people to type exists."""

import re
import shlex
from pathlib import Path

import pytest

from dianoia.cli import main
from dianoia.recipe.shipped import recipe_path


@pytest.fixture(scope="module")
def commands(root: Path) -> list[list[str]]:
    """Every command of the README's shell blocks, as words, without assignments before it."""
    text = (root / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:bash|sh|shell|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    words = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    return [command for line in words if (command := _without_assignments(line))]


def _without_assignments(words: list[str]) -> list[str]:
    while words and re.match(r"\w+=", words[0]):
        words = words[1:]
    return words


def _exit_status(arguments: list[str]) -> int:
    try:
        return main(arguments) or 0
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)


def test_the_two_commands_are_shown(commands: list[list[str]]) -> None:
    assert ["make", "demo"] in commands
    assert ["make", "test"] in commands


def test_every_make_target_exists(root: Path, commands: list[list[str]]) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text("utf-8"), re.MULTILINE))
    names = {
        word
        for command in commands
        if command[0] == "make"
        for word in command[1:]
        if "=" not in word and not word.startswith("-")
    }
    assert names <= targets, f"no such targets: {sorted(names - targets)}"


def test_every_subcommand_exists(
    commands: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    names = {
        command[1]
        for command in commands
        if Path(command[0]).name == "dianoia" and len(command) > 1 and command[1][0] != "-"
    }
    assert names, "the README shows no dianoia command"
    unknown = [name for name in sorted(names) if _exit_status([name, "--help"]) != 0]
    assert not unknown, f"dianoia has no such commands: {unknown}\n{capsys.readouterr().err}"


def test_an_unknown_subcommand_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_status(["no-such-command", "--help"]) != 0
    assert capsys.readouterr().err


def test_every_recipe_named_exists(commands: list[list[str]]) -> None:
    recipes = [words[2] for words in commands if words[:2] == ["dianoia", "run"]]
    assert recipes and all(recipe_path(recipe).is_file() for recipe in recipes)
