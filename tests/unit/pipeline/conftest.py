from pathlib import Path

import pytest


@pytest.fixture
def root() -> Path:
    """The checkout."""
    return Path(__file__).parents[3]
