"""Counters of the server, in the text format that Prometheus reads."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from threading import Lock

_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of histograms, in seconds."""

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters and histograms by name and labels. The names are few; labels must be, too."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counters: dict[str, dict[Labels, float]] = defaultdict(lambda: defaultdict(float))
        self._histograms: dict[str, dict[Labels, list[float]]] = defaultdict(dict)

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        with self._lock:
            self._counters[name][tuple(sorted(labels.items()))] += amount

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Add a duration to a histogram."""
        with self._lock:
            empty = [0.0] * (len(_BOUNDS) + 2)
            # Counts per bucket, then those beyond all bounds, then the sum.
            values = self._histograms[name].setdefault(tuple(sorted(labels.items())), empty)
            values[bisect_left(_BOUNDS, seconds)] += 1
            values[-1] += seconds

    def text(self, gauges: Mapping[str, Mapping[Labels, float]]) -> str:
        """Return everything, with gauges of the moment."""
        with self._lock:
            # Written under the lock, so that the counts of a histogram and its sum belong together.
            lines = [*self._lines(gauges)]
        return "\n".join(lines) + "\n"

    def _lines(self, gauges: Mapping[str, Mapping[Labels, float]]) -> Iterator[str]:
        for metric_type, families in (("counter", self._counters), ("gauge", gauges)):
            for name, values in families.items():
                yield f"# TYPE dianoia_{name} {metric_type}"
                for labels, value in values.items():
                    yield f"dianoia_{name}{_written(labels)} {value:g}"
        for name, histograms in self._histograms.items():
            yield f"# TYPE dianoia_{name} histogram"
            for labels, counts in histograms.items():
                # Buckets of Prometheus are cumulative: each counts everything up to its bound.
                total = 0.0
                for bound, count in zip((*map(str, _BOUNDS), "+Inf"), counts, strict=False):
                    total += count
                    yield f"dianoia_{name}_bucket{_written((*labels, ('le', bound)))} {total:g}"
                yield f"dianoia_{name}_sum{_written(labels)} {counts[-1]:g}"
                yield f"dianoia_{name}_count{_written(labels)} {total:g}"


def _written(labels: Labels) -> str:
    if not labels:
        return ""
    escaped = (
        (name, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"))
        for name, value in labels
    )
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"
