"""The claims: which hold, which do not, by what number and by what rule.

In: a `Run`, whose rows of claims were decided before. Out: HTML: the line and the marks of the headline, and
the section. Left out: judging; a report says what `results.json` says.
"""

import re
from collections.abc import Mapping
from typing import Any

from dianoia.claims.value_text import VERDICTS, say, say_interval, tally
from dianoia.report.html_values import escape, paragraph, unbroken
from dianoia.report.run_reader import Run, number

_CLASSES = {True: "holds", False: "fails", None: "unknown"}
_MARKS = {True: "✓", False: "✗", None: "–"}
_INTRODUCTION = (
    "What the paper reports, asked of this run. Every rule and its threshold stand in the software and in "
    "docs/claims.md and depend on no result. Base, zero, dev1 and so on are the models of the paper; the stage "
    "table below says which checkpoint plays which. Under a value: its 95 % interval over held-out problems, "
    "where it has one, and what it is made of."
)


def headline(run: Run) -> str:
    """How many claims hold, and a mark for each that leads to its row; empty if nothing is claimed."""
    if not run.claims:
        return ""
    marks = "".join(_mark(claim) for claim in run.claims)
    told = escape(tally([_holds(claim) for claim in run.claims]))
    return f'<div class="tally"><p><a href="#claims">{told}</a>.</p><ol>{marks}</ol></div>'


def _mark(claim: Mapping[str, Any]) -> str:
    holds = _holds(claim)
    told = escape(f"{claim.get('number')}. {claim.get('title', '')}: {VERDICTS[holds]}")
    return (
        f'<li><a class="{_CLASSES[holds]}" href="#claim-{escape(claim.get("number"))}" title="{told}" '
        f'aria-label="{told}">{escape(claim.get("number"))} {_MARKS[holds]}</a></li>'
    )


def section(run: Run) -> str:
    """The section with its heading; empty if nothing is claimed."""
    if not run.claims:
        return ""
    rows = "".join(map(_row, run.claims))
    return (
        f'<section id="claims"><h2>Claims of the paper</h2>{paragraph(escape(_INTRODUCTION))}'
        '<div class="wide" tabindex="0"><table class="claims"><thead><tr><th scope="col">verdict</th>'
        '<th scope="col">claim, and the rule that decides</th><th scope="col">here</th>'
        f'<th scope="col">in the paper</th></tr></thead><tbody>{rows}</tbody></table></div></section>'
    )


def _row(claim: Mapping[str, Any]) -> str:
    holds = _holds(claim)
    return (
        f'<tr class="{_CLASSES[holds]}" id="claim-{escape(claim.get("number"))}">'
        f'<td><span class="verdict">{_MARKS[holds]} {VERDICTS[holds]}</span></td>'
        f'<th scope="row">{escape(claim.get("number"))}. {escape(claim.get("title", ""))}'
        f"<small>{escape(claim.get('rule', ''))}</small></th>"
        f"<td>{_values(claim)}</td><td>{escape(claim.get('paper') or '–')}</td></tr>"
    )


def _values(claim: Mapping[str, Any]) -> str:
    values = [value for value in claim.get("values") or () if isinstance(value, dict)]
    if not values:
        return f"<small>{escape(claim.get('why', ''))}</small>"
    return f"<ul>{''.join(map(_value, values))}</ul>"


def _value(value: Mapping[str, Any]) -> str:
    holds, unit = _holds(value), str(value.get("unit", ""))
    low, high = number(value.get("low")), number(value.get("high"))
    between = say_interval(low, high, unit)
    told = "–" if holds is None else say(number(value.get("value")), unit)
    small = [
        f"{between}" if between else "",
        f"needs {value.get('needs', '')}",
        str(value.get("note") or ""),
    ]
    return (
        f'<li class="{_CLASSES[holds]}"><span>{_MARKS[holds]}</span><div>{escape(value.get("what", ""))}: '
        f"<b>{_typeset(told)}</b><small>{_typeset(' · '.join(s for s in small if s))}</small></div></li>"
    )


def _typeset(text: str) -> str:
    """Escaped, with the sign of minus before digits and per cent signs beside their numbers."""
    return unbroken(re.sub(r"-(?=\d)", "−", escape(text)))


def _holds(row: Mapping[str, Any]) -> bool | None:
    holds = row.get("holds")
    return holds if isinstance(holds, bool) else None
