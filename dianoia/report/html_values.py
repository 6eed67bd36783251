"""Values as HTML.

In: numbers, names and texts of a run, none of which is trusted. Out: pieces of HTML. Not here: layout.
Every text of a run passes through `escape` on its way into HTML, or through `embed` into a JSON block.
"""

import html
import json
import re
from typing import Any

from dianoia.storage.estimate import Estimate

_METRIC_LABELS = {
    "baseline": "baseline: always the most common gold answer",
    "one_answer": "most frequent answer",
    "vote_gain": "gain from voting",
    "format": "correct format",
    "truncated": "truncated",
    "thought_tokens": "thought tokens",
    "reflection": "reflection words",
    "reflecting": "thoughts with reflection",
    "target_language": "question's language",
}
"""Labels of the metrics whose names are not clear by themselves."""
_SHARES = (
    "baseline",
    "one_answer",
    "vote_gain",
    "format",
    "truncated",
    "reflecting",
    "target_language",
)


def escape(value: object) -> str:
    """Return a value as text that is safe in HTML and in quoted attributes."""
    return html.escape(str(value), quote=True)


def embed(value: Any) -> str:
    """Return JSON for a script element. No text in it can end the element or start a comment.

    Raises ValueError for NaN and infinity, which JSON does not have.
    """
    # The escapes below are valid in JSON strings, and these three characters occur nowhere else in JSON.
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def data_block(name: str, value: Any) -> str:
    """Return a script element of JSON with the id `data-NAME`, for the page's scripts to read."""
    return f'<script type="application/json" id="data-{name}">{embed(value)}</script>'


def is_share(metric: str) -> bool:
    """Return True if a metric is a share from 0 to 1, shown in percent."""
    # pass@k and cons@k are shares for every k.
    return metric in _SHARES or "@" in metric


def metric_label(metric: str) -> str:
    """Return a metric's name for a reader."""
    return _METRIC_LABELS.get(metric, metric)


def unbroken(text: str) -> str:
    """Keep each number and its percent sign on one line."""
    return text.replace(" %", "\u00a0%")


def plain(value: float) -> str:
    """Format a number with as many digits as are worth reading: 1,234, 58.7, 3.14, 0.0004."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def amount(metric: str, value: float) -> str:
    """Format a metric's value: in percent if it is a share, else as a plain number."""
    return unbroken(f"{100 * value:.1f} %") if is_share(metric) else plain(value)


def interval(metric: str, estimate: Estimate) -> str:
    """Format the 95 % interval in the unit of the value; empty if there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    if is_share(metric):
        # The interval of a mean over few problems may reach beyond what a share can be; a gain is a difference of shares.
        lowest, highest = (-1.0 if metric == "vote_gain" else 0.0), 1.0
        low, high = max(lowest, estimate.low), min(highest, estimate.high)
        return f"{100 * low:.1f} to {100 * high:.1f}"
    return f"{plain(estimate.low)} to {plain(estimate.high)}"


def duration(seconds: float | None) -> str:
    """Format seconds for a reader: 0.2 s, 3 min 07 s, 2 h 01 min; "unknown" for None."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    # Rounded first, so that 119.6 s is 2 min 00 s and not 1 min 60 s.
    minutes, remaining_seconds = divmod(round(seconds), 60)
    if minutes < 90:
        return f"{minutes} min {remaining_seconds:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def plural(count: int, singular: str, plural_form: str) -> str:
    """Return a count with its noun: "1 epoch", "2 epochs"."""
    return f"{count} {singular if count == 1 else plural_form}"


KINDS_WITH_HEADING = ("rl", "sft", "pretrain", "reward_model", "sample")
"""Kinds of stages that have a heading on the page. Links to the others lead to their row in "This run"."""


def anchor(stage: str) -> str:
    """Return the id of the page's element that links to a stage lead to."""
    # Two names that differ only in other characters share an id; links then lead to the first.
    return "stage-" + re.sub(r"[^A-Za-z0-9._-]", "-", stage)


def code(value: object) -> str:
    """Return a name in the typeface of code."""
    return f"<code>{escape(value)}</code>"


def problem_set(problems: object) -> str:
    """Return the name of a problem set, or the path of a table of the user's own."""
    return str(problems.get("path", "?") if isinstance(problems, dict) else problems)


def paragraph(text: str, css_class: str = "") -> str:
    """Return a paragraph of HTML that is already escaped."""
    return f'<p class="{css_class}">{text}</p>' if css_class else f"<p>{text}</p>"


def missing(text: str) -> str:
    """Return the notice that stands where a part of the run is missing."""
    return paragraph(escape(text), "missing")
