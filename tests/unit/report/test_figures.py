"""Series are thinned by averaging neighbours."""

from dianoia.report.figures import thin


def test_thin_averages_neighbours() -> None:
    points = [(float(i), 2.0 * i) for i in range(10)]
    assert thin(points, 10) == points
    assert thin(points, 5) == [(0.5, 1.0), (2.5, 5.0), (4.5, 9.0), (6.5, 13.0), (8.5, 17.0)]
    assert thin([], 5) == []
