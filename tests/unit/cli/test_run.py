"""The options of `dianoia run`: as typed, one set per seed, and the advice after an interruption."""

import json
from pathlib import Path

import pytest

from dianoia.base.errors import Stopped
from dianoia.cli.main import main, parser
from dianoia.cli.run import RunOptions, _base_command, _options_per_seed, _resume_advice


def parsed(*words: str) -> RunOptions:
    return RunOptions.parsed(parser().parse_args(["run", "recipe.toml", *words]))


def test_options_are_as_typed() -> None:
    assert parsed() == RunOptions(Path("recipe.toml"))
    words = ("--set", "a.b=1", "--set", "seed=2", "--only", "zero, ppo", "--only", "dev1")
    options = parsed(*words, "--jobs", "2", "--out", "runs/x", "--seeds", "1,2", "--verbose")
    assert options == RunOptions(
        Path("recipe.toml"),
        overrides=("a.b=1", "seed=2"),
        out=Path("runs/x"),
        seeds=(1, 2),
        jobs=2,
        only=("zero", "ppo", "dev1"),
        verbose=True,
    )


def test_each_seed_has_a_folder_and_an_override() -> None:
    first, second = _options_per_seed(parsed("--seeds", "3,1", "--out", "o", "--set", "a.b=1"))
    assert (first.overrides, first.out) == (("a.b=1", "seed=3"), Path("o/seed-3"))
    assert (second.overrides, second.out) == (("a.b=1", "seed=1"), Path("o/seed-1"))


def test_the_base_command_can_be_pasted() -> None:
    options = parsed("--set", "name=two words", "--out", "a b", "--only", "zero", "--force")
    assert _base_command(options) == "dianoia run recipe.toml --set 'name=two words' --out 'a b'"


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ((), "the same command resumes from the last state"),
        (("--force",), "the same command without --force or --from resumes from the last state"),
        (("--from", "a"), "the same command without --force or --from resumes from the last state"),
    ],
)
def test_an_interruption_says_what_resumes(words: tuple[str, ...], advice: str) -> None:
    with pytest.raises(Stopped, match=f"^SIGTERM; {advice}$"), _resume_advice(parsed(*words)):
        raise Stopped("SIGTERM")
    with (
        pytest.raises(KeyboardInterrupt, match=f"^interrupted; {advice}$"),
        _resume_advice(parsed(*words)),
    ):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("option", "text", "reason"),
    [
        ("--seeds", "1,1", "is not a list of different whole numbers"),
        ("--seeds", "1,x", "is not a list of different whole numbers"),
        ("--jobs", "-1", "is not a number of stages"),
        ("--out", " ", "it is empty"),
        ("--out", "a\udcff", "is not text in UTF-8"),
    ],
)
def test_a_bad_argument_is_refused(
    option: str, text: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parsed(f"{option}={text}")
    assert reason in capsys.readouterr().err


def test_a_plan_for_several_machines(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("run", "qwen-zero", "--gpus", "8", "--nodes", "2")
    assert main([*options, "--dry-run", "--for", "A100 40GB", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["ranks"], plan["nodes"]) == (16, 2)
    assert plan["stages"][0]["memory"]["shard"] != "none", "a copy does not fit"
    assert plan["stages"][0]["host"]["bytes"] > plan["stages"][0]["memory"]["bytes"]
    assert main([*options, "--for", "H100"]) == 2
    assert "--for H100 plans for another machine" in capsys.readouterr().err
    assert main(["run", "qwen-zero", "--nodes", "2"]) == 2
    assert "--nodes 2 plans for several machines" in capsys.readouterr().err
