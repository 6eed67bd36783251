"""The report of a run: one HTML file that a stranger can read.

In: a run directory, nothing else. Out: `report.html` in it, self-contained: no network, no server.
Left out: measuring anything. What a number means is decided where it is measured.
"""

from dianoia.report.page import write_report

__all__ = ["write_report"]
