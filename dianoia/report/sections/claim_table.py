"""The claims of the paper: which hold in this run and which do not, by which number and which rule.

In: a `Run` with the verdicts of its results.json. Out: HTML: the line at the top of the page, and the section.
Not here: deciding whether a claim holds (`dianoia.claims`).
"""

import re
from collections.abc import Mapping
from typing import Any

from dianoia.claims.value_format import (
    VERDICTS,
    format_interval,
    format_value,
    summarize_verdicts,
)
from dianoia.report.html_values import escape, paragraph, unbroken
from dianoia.report.run_reader import Run, number

_CLASSES = {True: "holds", False: "fails", None: "unknown"}
_MARKS = {True: "✓", False: "✗", None: "–"}
_INTRODUCTION = (
    "Does this run show what the paper reports? The rules and thresholds are fixed in the software, are listed in "
    "docs/claims.md, and do not depend on any result. Open a claim for its rule, its values with their 95 % intervals "
    "over held-out problems, and what the paper says. Base, zero, dev1 and so on are the models of the paper; the table "
    "above shows which checkpoint is which."
)


def headline(run: Run) -> str:
    """Return how many claims hold, and a mark per claim that links to its row; empty without claims."""
    if not run.claims:
        return ""
    marks = "".join(_mark(claim) for claim in run.claims)
    text = escape(summarize_verdicts([_holds(claim) for claim in run.claims]))
    return f'<div class="tally"><p><a href="#claims">{text}</a>.</p><ol>{marks}</ol></div>'


def _mark(claim: Mapping[str, Any]) -> str:
    # The mark has no text of its own, so the label is read by screen readers and shown on hover.
    holds = _holds(claim)
    label = escape(f"{claim.get('number')}. {claim.get('title', '')}: {VERDICTS[holds]}")
    return (
        f'<li><a class="{_CLASSES[holds]}" href="#claim-{escape(claim.get("number"))}" title="{label}" '
        f'aria-label="{label}">{escape(claim.get("number"))} {_MARKS[holds]}</a></li>'
    )


def section(run: Run) -> str:
    """Return all claims, each a line that opens to its rule and all values; empty without claims."""
    if not run.claims:
        return ""
    claims = "".join(map(_claim, run.claims))
    return f'{paragraph(escape(_INTRODUCTION))}<ol class="claims">{claims}</ol>'


def _claim(claim: Mapping[str, Any]) -> str:
    holds = _holds(claim)
    return (
        f'<li><details class="{_CLASSES[holds]}" id="claim-{escape(claim.get("number"))}"><summary>'
        f'<span class="verdict">{_MARKS[holds]} {VERDICTS[holds]}</span>'
        f"<b>{escape(claim.get('number'))}. {escape(claim.get('title', ''))}</b>"
        f'<span class="short">{_short(claim)}</span></summary><dl>'
        f"<dt>Rule</dt><dd>{escape(claim.get('rule', ''))}</dd>"
        f"<dt>This run</dt><dd>{_values(claim)}</dd>"
        f"<dt>The paper</dt><dd>{escape(claim.get('paper') or '–')}</dd></dl></details></li>"
    )


def _short(claim: Mapping[str, Any]) -> str:
    """Return the value of a claim, or how many of its values meet the rule if there are several."""
    values = _value_rows(claim)
    if not values:
        return ""
    if len(values) > 1:
        met = sum(_holds(value) is True for value in values)
        return f"{met} of {len(values)} comparisons"
    (value,) = values
    holds, unit = _holds(value), str(value.get("unit", ""))
    return "" if holds is None else _typeset(format_value(number(value.get("value")), unit))


def _value_rows(claim: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [value for value in claim.get("values") or () if isinstance(value, dict)]


def _values(claim: Mapping[str, Any]) -> str:
    # A claim that was not measured has a reason instead of values.
    values = _value_rows(claim)
    if not values:
        return escape(claim.get("why", ""))
    return f"<ul>{''.join(map(_value, values))}</ul>"


def _value(value: Mapping[str, Any]) -> str:
    # A claim holds if all its values do, so each value has a mark of its own.
    holds, unit = _holds(value), str(value.get("unit", ""))
    low, high = number(value.get("low")), number(value.get("high"))
    text = "–" if holds is None else format_value(number(value.get("value")), unit)
    details = [
        format_interval(low, high, unit),
        f"needs {value.get('needs', '')}",
        str(value.get("note") or ""),
    ]
    return (
        f'<li class="{_CLASSES[holds]}"><span>{_MARKS[holds]}</span><div>{escape(value.get("what", ""))}: '
        f"<b>{_typeset(text)}</b><small>{_typeset(' · '.join(filter(None, details)))}</small></div></li>"
    )


def _typeset(text: str) -> str:
    """Escape a text, with true minus signs before digits and no line break before a percent sign."""
    # A hyphen within a word stays a hyphen.
    return unbroken(re.sub(r"-(?=\d)", "−", escape(text)))


def _holds(row: Mapping[str, Any]) -> bool | None:
    holds = row.get("holds")
    return holds if isinstance(holds, bool) else None
