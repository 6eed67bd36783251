"""Workers that do as they are told."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dianoia.sandbox.workers import Bounds
from dianoia.tasks.verifier_workers import Workers


@pytest.fixture
def obedient(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    """Workers of `plain_work`, four items a lot."""
    folder = str(Path(__file__).parent)
    monkeypatch.setattr(
        sys, "path", [folder, *sys.path]
    )  # workers import from where this process does
    workers = Workers("plain_work:lot", Bounds(cpu_seconds=0.2, wall_seconds=20.0), most=2, lot=4)
    yield workers
    workers.service().close()
