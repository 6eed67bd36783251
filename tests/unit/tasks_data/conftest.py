"""The cache of each test is its own."""

from pathlib import Path

import pytest

from dianoia.tasks import catalog
from dianoia.tasks.data import rows


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv(rows.CACHE, str(folder))
    catalog._files_source.cache_clear()
    return folder
