"""What the garbage collector is told to pass over."""

import gc

import pytest

from dianoia.base.collector import objects_frozen


def test_the_collector_passes_over_what_is_there_before_the_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []
    frozen = 0
    monkeypatch.setattr(gc, "freeze", lambda: calls.append("freeze"))
    monkeypatch.setattr(gc, "unfreeze", lambda: calls.append("unfreeze"))
    monkeypatch.setattr(gc, "get_freeze_count", lambda: frozen)
    with pytest.raises(KeyError), objects_frozen():
        assert calls == ["freeze"]
        raise KeyError
    assert calls == ["freeze", "unfreeze"]
    # Objects that the process had frozen before stay so.
    frozen = 5
    with objects_frozen():
        pass
    assert calls == ["freeze", "unfreeze"]
