import pytest

pytest.importorskip("mlflow")
pytest.importorskip("alembic")

from dianoia.track.to_mlflow import metric_name


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
