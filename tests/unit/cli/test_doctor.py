"""`dianoia doctor`: problems first, the same as JSON, and a status for scripts."""

import json

import pytest

from dianoia.cli import main
from dianoia.doctor import machine_checks, recipe_checks
from dianoia.doctor.finding import Finding, broken, warning


@pytest.fixture(autouse=True)
def _findings(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = [
        Finding("python", "3.12"),
        warning("c compiler", "none", "install gcc"),
        broken("torch", "it cannot be imported: libgomp", "pip install torch"),
    ]
    monkeypatch.setattr(machine_checks, "check_machine", lambda: machine)
    monkeypatch.setattr(recipe_checks, "check_recipe", lambda name: [Finding("recipe", name)])


def test_problems_come_first_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "mine"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "BROKEN torch: it cannot be imported: libgomp",
        "    to do: pip install torch",
        "WARNING c compiler: none",
        "    to do: install gcc",
        "",
        "This machine",
        "  python  3.12",
        "",
        "The recipe mine",
        "  recipe  mine",
    ]


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "mine", "--json"]) == 1
    table = json.loads(capsys.readouterr().out)
    assert table["broken"] and table["recipe"][0]["value"] == "mine"
    assert [row["status"] for row in table["machine"]] == ["ok", "warning", "broken"]


def test_a_warning_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [warning("gpu", "hidden", "show it")]
    monkeypatch.setattr(machine_checks, "check_machine", lambda: rows)
    assert main(["doctor"]) == 0
    monkeypatch.setattr(machine_checks, "check_machine", lambda: [Finding("gpu", "none")])
    assert main(["doctor"]) == 0
    assert "Everything is in order." in capsys.readouterr().out
