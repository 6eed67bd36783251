"""The report of a run: one HTML file that a stranger can read.

In: a run directory, nothing else. Out: `report.html` in it. The file is self-contained: it needs no network
and no server. Not here: measuring. A metric is defined where it is measured.
"""

from dianoia.report.page import write_report

__all__ = ["write_report"]
