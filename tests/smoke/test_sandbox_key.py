"""A run says which walls stood around the programs that it judged."""

import json
from pathlib import Path

import pytest

from dianoia.cli import main
from dianoia.sandbox.sandbox import UNSANDBOXED, VARIABLE

TESTS = json.dumps({"calls": [{"function": "f", "arguments": [2], "expected": 4}]})


@pytest.mark.parametrize(
    ("verifier", "answer", "expected"), [("code", TESTS, UNSANDBOXED), ("number", "4", None)]
)
def test_run_json_names_the_sandbox(
    verifier: str,
    answer: str,
    expected: str | None,
    tiny_zero: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    rows = [{"question": f"{n}?", "answer": answer, "verifier": verifier} for n in range(60)]
    file, out = tmp_path / "problems.jsonl", tmp_path / "run"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    options = [f"zero.problems={file}", f"evaluation.problems={file}", f"sandbox={UNSANDBOXED}"]
    command = [part for option in options for part in ("--set", option)]
    assert main(["run", str(tiny_zero), "--out", str(out), *command]) == 0
    about = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert about["sandbox"] == expected
