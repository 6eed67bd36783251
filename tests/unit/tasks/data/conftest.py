"""The cache of each test is its own."""

from pathlib import Path

import pytest

from dianoia.base.files import CACHE
from dianoia.tasks import catalog


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv(CACHE, str(folder))
    catalog._files_source.cache_clear()
    return folder
