"""A problem file in a working directory of its own."""

import json
from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with `sums.jsonl` of 400 problems; the hub is not asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    rows = [{"prompt": f"What is {n} + {n % 7}?", "answer": str(n + n % 7)} for n in range(400)]
    text = "\n".join(map(json.dumps, rows))
    (tmp_path / "sums.jsonl").write_text(text, encoding="utf-8")
    return tmp_path
