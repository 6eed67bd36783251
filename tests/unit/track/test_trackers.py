import importlib.util
from pathlib import Path
from typing import Any, get_args

import pytest

from dianoia.base.errors import ConfigError
from dianoia.config.track_table import TrackerName
from dianoia.track.trackers import (
    TRACKERS,
    check_trackers,
    destination_of,
    show_command,
    writes_to,
)


def test_a_recipe_may_name_every_tracker() -> None:
    assert tuple(TRACKERS) == get_args(TrackerName)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_package_is_named_with_its_extra(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_package: str) -> Any:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", missing)
    with pytest.raises(
        ConfigError, match=rf"'{name}' needs {TRACKERS[name].packages[0]}.*\[{name}\]"
    ):
        check_trackers([name], online=False)


def test_an_unknown_tracker_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"no tracker 'tensorbord' \(did you mean 'tensorboard'\?\)"
    ):
        check_trackers(["tensorbord"], online=False)


def test_nothing_is_sent_to_a_server_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: package)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example.org")
    with pytest.raises(ConfigError, match="nothing leaves this machine unless you say so"):
        check_trackers(["mlflow"], online=False)
    check_trackers(["mlflow"], online=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////tmp/all.db")
    check_trackers(["mlflow"], online=False)


def test_where_a_tracker_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    own = destination_of("tensorboard", tmp_path, None, False)
    assert own.folder == tmp_path / "track/tensorboard" and not own.is_shared
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "all logs"))
    shared = destination_of("tensorboard", tmp_path, None, False)
    assert shared.folder == tmp_path / "all logs" and shared.is_shared
    shown = show_command("tensorboard", tmp_path, None, False)
    assert shown == f"tensorboard --logdir '{tmp_path}/all logs'"


def test_what_a_plan_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("TENSORBOARD_LOGGING_DIR", "WANDB_DIR", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    run = Path("runs/x")
    assert writes_to("tensorboard", run, None, True) == "writes runs/x/track/tensorboard"
    assert writes_to("wandb", run, None, False) == "writes runs/x/track/wandb"
    assert writes_to("wandb", run, None, True).startswith("sends to the W&B server")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "/logs")
    assert writes_to("tensorboard", run, None, False) == "writes /logs"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////all.db")
    assert writes_to("mlflow", run, None, False) == "writes sqlite:////all.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    assert writes_to("mlflow", run, None, True) == "sends to https://mlflow.example.org"
