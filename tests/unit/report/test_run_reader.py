"""Numbers of a run are finite or None."""

from dianoia.report.run_reader import number


def test_number_is_finite_or_none() -> None:
    assert number(1) == 1.0 and number(0.5) == 0.5
    for value in (None, True, "1", float("nan"), float("inf"), [1]):
        assert number(value) is None
