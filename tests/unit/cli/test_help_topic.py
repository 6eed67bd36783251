"""`dianoia help`: at most 80 columns, the same as JSON, and a miss with near names."""

import json

import pytest

from dianoia.cli import main


def output(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["help", *words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "word", ["", "group_size", "rl", "pass@1", "recipes", "docs", "run", "data"]
)
def test_every_kind_of_answer_fits_80_columns(
    word: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    words = [word] if word else []
    text = output(capsys, *words)
    assert text.strip()
    long = [line for line in text.splitlines() if len(line) > 80 and "/" not in line]
    assert not long
    assert json.loads(output(capsys, *words, "--json"))


def test_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output(capsys, "zero.group_size").splitlines()
    assert lines[:4] == ["group_size", "  in       rl", "  type     integer", "  default  16"]
    assert any(line.startswith("  set in   miniature-ppo: 16; miniature-r1: 16;") for line in lines)


def test_a_kind_of_stage_and_a_command_of_one_name(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "claims")
    assert "small_zero (text; absent)" in text and "dianoia claims --help" in text
    assert output(capsys, "report").startswith("usage: ")


def test_a_miss(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "max_tokns"]) == 2
    assert "near ones are max_tokens" in capsys.readouterr().err
