"""The process of one rank, without Ray."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from dianoia.cluster.rank_actor import RankActor


def everything(actor: RankActor) -> tuple[list[tuple[bool, str]], int]:
    """Return all lines of a rank, and its exit status."""
    lines: list[tuple[bool, str]] = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        news = actor.news(0.05)
        lines += news.lines
        if news.status is not None:
            return lines, news.status
    raise AssertionError(f"no end after {lines}")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that prints on both streams and exits with 3."""
    text = "import os, sys; print(os.environ['WHO']); print('why', file=sys.stderr); sys.exit(3)"
    (tmp_path / "program_of_a_rank.py").write_text(text, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", ":".join([str(tmp_path), *sys.path]))
    return "program_of_a_rank"


# The pipes are closed with the actor's own process, which is this one here.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_it_prints_and_how_it_ends(program: str) -> None:
    actor = RankActor()
    actor.start([program], {"WHO": "rank 2"})
    lines, status = everything(actor)
    assert sorted(lines) == [(False, "rank 2\n"), (True, "why\n")] and status == 3


def test_a_process_that_cannot_be_started_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    actor = RankActor()
    actor.start(["dianoia"], {})
    actor.send(15)
    ((is_error, line),), status = everything(actor)
    assert is_error and "cannot be started: [Errno 11] Resource temporarily unavailable" in line
    assert status == 1
