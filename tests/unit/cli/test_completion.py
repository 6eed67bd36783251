"""Completion in a real bash, and what completes each argument."""

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from dianoia.cli import completion, main
from dianoia.cli.main import parser

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
eval "$(dianoia completion bash)"
ask() {
    COMP_LINE="$1"; COMP_POINT=${#1}; COMP_TYPE=9; COMPREPLY=()
    read -ra COMP_WORDS <<< "$1"; COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _python_argcomplete dianoia "${COMP_WORDS[COMP_CWORD]}" ""
    echo "${COMPREPLY[*]}"
}
ask "dianoia run miniature-z"
ask "dianoia run miniature-zero --set zero.st"
"""


@pytest.mark.slow  # three new interpreters
def test_in_a_real_bash(tmp_path: Path) -> None:
    command = tmp_path / "bin/dianoia"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dianoia "$@"\n')
    command.chmod(0o755)
    environment = {"PATH": f"{command.parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "--norc", "-c", SCRIPT],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    recipe, override = done.stdout.splitlines()
    assert recipe.split() == ["miniature-zero"], done.stderr
    assert override.split() == ["zero.start=", "zero.steps="]


@pytest.mark.parametrize(
    ("shell", "part"),
    [("bash", "complete "), ("zsh", "compdef "), ("fish", "complete --command dianoia")],
)
def test_every_shell_has_a_script(
    shell: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert part in script and "dianoia" in script


def answers(dest: str, prefix: str = "", **typed: str) -> list[str]:
    completer = completion._COMPLETERS[dest]
    return list(completer(prefix=prefix, parsed_args=argparse.Namespace(**typed)))


def test_what_completes_each_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text('name = "mine"\n[stages.only]\nkind = "rl"\n')
    (tmp_path / "runs/first/stages/zero/checkpoint").mkdir(parents=True)
    (tmp_path / "runs/first/recipe.json").write_text('{"stages": {"zero": {}}}')
    assert answers("stage", run="runs/first") == ["zero"] and answers("stage", run=None) == []
    assert {"miniature-r1", "mine.toml"} <= set(answers("recipe"))
    assert answers("only", recipe="mine.toml") == answers("start", recipe="mine") == ["only"]
    assert {"seed=", "only.steps="} <= set(answers("set", recipe="mine.toml"))
    assert "runs/first" in answers("run")
    assert {"miniature-base", "runs/first:zero"} <= set(answers("models"))
    assert "miniature/math" in answers("names") and "H100" in answers("gpu")
    assert {"recipes", "sampling.max_tokens"} <= set(answers("word"))


@pytest.mark.parametrize("recipe", [None, "none.toml", "mine.toml"])
def test_without_a_recipe_that_can_be_read_there_are_no_stages(
    recipe: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text("name = \n")
    assert answers("only", recipe=recipe) == []


def test_every_completer_serves_an_argument() -> None:
    def destinations(of: argparse.ArgumentParser) -> set[str]:
        names = set()
        for action in of._actions:
            names.add(action.dest)
            if isinstance(action, argparse._SubParsersAction):
                names |= {name for sub in action.choices.values() for name in destinations(sub)}
        return names

    # Models are arguments of commands that ask them.
    assert set(completion._COMPLETERS) - {"model", "models"} <= destinations(parser())
