"""Workers whose items say what becomes of them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dianoia.sandbox.workers import Bounds
from dianoia.tasks.verifier_workers import Workers


@pytest.fixture
def obedient(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    """Workers of `worker_functions`, four items per batch."""
    folder = str(Path(__file__).parent)
    monkeypatch.setattr(
        sys, "path", [folder, *sys.path]
    )  # workers import from where this process does
    workers = Workers(
        "worker_functions:grade_batch",
        Bounds(cpu_seconds=0.2, wall_seconds=20.0),
        processes=2,
        batch_size=4,
    )
    yield workers
    workers.pool().close()
