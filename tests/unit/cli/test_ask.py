"""`dianoia ask` on the smallest base that ships."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from dianoia.base.records import RolloutStatus
from dianoia.cli import main
from dianoia.cli.ask import _heading, tally
from dianoia.inference.response import Response

MODEL = "miniature-base-small"
SHORT = ["--max-tokens", "12", "--seed", "1"]
QUESTION = "Compute 12 +3 -5. What is the result?"


def test_responses_in_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", MODEL, QUESTION, "-n", "2", *SHORT]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "\n1  " in f"\n{shown}" and "\n2  " in shown and "tokens" in shown
    assert "answers: " in shown and "--seed 1" in shown and "under the template r1-zero" in shown


def test_json_and_the_verdict(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(QUESTION))
    words = ["ask", MODEL, "-", "--gold", "10", "--verifier", "number", "--seed", "1", "-n", "3", "--json"]  # fmt: skip
    assert main(words) == 0
    table = json.loads(capsys.readouterr().out)
    assert (table["question"], table["gold"], table["seed"]) == (QUESTION, "10", 1)
    assert (table["model"], table["template"]) == (MODEL, "r1-zero")
    assert [r["sample"] for r in table["responses"]] == [0, 1, 2]
    assert all(r["right"] == (r["answer"] == "10") for r in table["responses"])


def test_a_problem_of_a_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", MODEL, "--problem", "miniature/math:2", *SHORT]) == 0
    shown = capsys.readouterr().out
    assert "gold answer: " in shown and ("right" in shown or "wrong" in shown)
    assert "answers:" not in shown, "one response needs no tally"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "there is nothing to ask"),
        (["2+3?", "--problem", "miniature/math"], "both a question and --problem"),
        (["--problem", "miniature/math:99999999"], "give one from 1 to 1,000"),
        (["--problem", "miniature/mth"], "miniature/mth"),
        (["2+3?", "--gold", "5", "--verifier", "maht"], "did you mean 'math'"),
        (["2+3?", "--template", "r2"], "did you mean 'r1'"),
        (["2+3?", "--max-tokens", "5000"], "max_tokens = 5,000"),
    ],
)
def test_refusals(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", MODEL, *words]) == 2
    assert message in capsys.readouterr().err


def test_no_such_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", str(tmp_path / "x"), "2+3?"]) == 2
    assert "there is no such model" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["ask", MODEL, "2+3?", "-n", "0"])
    assert "write for example 4" in capsys.readouterr().err


def test_a_heading_says_how_it_ended() -> None:
    response = Response("", None, "", "5", RolloutStatus.FINISHED, None, 9, 3, 0, 1, 0)
    assert _heading(response) == "finished, 3 tokens"
    assert (
        _heading(replace(response, right=False, thought_tokens=2))
        == "wrong, 3 tokens (2 of thought)"
    )
    cut = replace(response, status=RolloutStatus.TRUNCATED, answer=None, tokens=1)
    assert _heading(cut) == "cut off at the limit, 1 token"
    broken = replace(cut, status=RolloutStatus.MALFORMED, fault="no_tags")
    assert _heading(broken) == "malformed: no_tags, 1 token"
    six = [replace(response, answer=str(n)) for n in range(6)]
    assert tally([*six, six[3], cut]) == (
        "3 (2 of 8), 0 (1 of 8), 1 (1 of 8), 2 (1 of 8), 4 (1 of 8), 1 more, none (1 of 8)"
    )
