import sqlite3
from pathlib import Path

import pytest

pytest.importorskip("mlflow")
pytest.importorskip("alembic")

from dianoia.track import to_mlflow
from dianoia.track.to_mlflow import metric_name
from dianoia.track.tracker import Destination


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train/completions/mean_length", "train/completions/mean_length"),
        ("eval/pass@1", "eval/pass_at_1"),
        ("counts/A>>B", "counts/A_gt__gt_B"),
        ("counts/A=B", "counts/A_eq_B"),
        ("logged/α", "logged/α"),
        ("logged/a+b", "logged/a_x2b_b"),
    ],
)
def test_names_that_mlflow_accepts(name: str, expected: str) -> None:
    assert metric_name(name) == expected


@pytest.mark.slow  # MLflow makes a database in seconds
@pytest.mark.filterwarnings("default")
def test_a_database_that_a_kill_has_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def killed(uri: str) -> None:
        file = Path(uri.removeprefix("sqlite:///"))
        with sqlite3.connect(file) as database:
            database.execute("create table latest_metrics (run_uuid text)")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(to_mlflow, "MlflowClient", killed)
        with pytest.raises(KeyboardInterrupt):
            to_mlflow.open_tracker(Destination(tmp_path, tmp_path, None, False))
    assert not (tmp_path / "mlflow.db").exists()
    to_mlflow.open_tracker(Destination(tmp_path, tmp_path, None, False))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db"]
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        names = database.execute("select name from experiments").fetchall()
    assert ("dianoia",) in names
