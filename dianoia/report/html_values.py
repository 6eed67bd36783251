"""How values are written on the page.

In: numbers, names and texts of a run, none of which is trusted. Out: pieces of HTML. Left out: layout.
Every text of a run passes through `escape` on its way into HTML, or through `embed` into a script.
"""

import html
import json
import re
from typing import Any

from dianoia.report.run_reader import Estimate

NAMES = {
    "baseline": "baseline: always the commonest gold answer",
    "one_answer": "most given answer",
    "vote_gain": "gain by vote",
    "format": "format kept",
    "truncated": "truncated",
    "thought_tokens": "thought tokens",
    "reflection": "reflection words",
    "reflecting": "thoughts that reflect",
    "target_language": "question's language",
}
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
    """Text for HTML, attributes included."""
    return html.escape(str(value), quote=True)


def embed(value: Any) -> str:
    """JSON for a script element: no text in it can end the element or start a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def is_share(metric: str) -> bool:
    """Whether a metric is a share, 0 to 1, shown in percent."""
    return metric in _SHARES or "@" in metric


def metric_name(metric: str) -> str:
    """A metric in words."""
    return NAMES.get(metric, metric)


def unbroken(text: str) -> str:
    """Keeps a number and its per cent sign on one line."""
    return text.replace(" %", "\u00a0%")


def plain(value: float) -> str:
    """A number with as many digits as tell something."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return (
        f"{value:.1f}"
        if abs(value) >= 10
        else f"{value:.2f}"
        if abs(value) >= 0.1
        else f"{value:.2g}"
    )


def amount(metric: str, value: float) -> str:
    """A metric's value with its unit."""
    return unbroken(f"{100 * value:.1f} %") if is_share(metric) else plain(value)


def interval(metric: str, estimate: Estimate) -> str:
    """The 95 % interval, in the unit of the value; empty where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    if is_share(metric):
        return f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f}"
    return f"{plain(estimate.low)} to {plain(estimate.high)}"


def duration(seconds: float | None) -> str:
    """Seconds as a person says them."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 90:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


SECTIONED = ("rl", "sft", "pretrain", "reward_model", "sample")
"""Kinds of stages that have a place of their own on the page; the others have their row in the last section."""


def anchor(stage: str) -> str:
    """The id of the part of the page that is about a stage."""
    return "stage-" + re.sub(r"[^A-Za-z0-9._-]", "-", stage)


def code(value: object) -> str:
    """A name as it is typed."""
    return f"<code>{escape(value)}</code>"


def problem_set(problems: object) -> str:
    """What a stage's table calls its problems: a name, or the path of a table of its own."""
    return str(problems.get("path", "?") if isinstance(problems, dict) else problems)


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of HTML that is already safe."""
    return f'<p class="{kind}">{text}</p>' if kind else f"<p>{text}</p>"


def missing(text: str) -> str:
    """What is said where a part of the run is not there."""
    return paragraph(escape(text), "missing")
