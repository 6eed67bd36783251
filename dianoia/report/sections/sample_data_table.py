"""What sample stages made: a table a stage, of what was kept and why the rest was not.

In: a `Run`. Out: HTML, empty for a recipe without such a stage. Left out: the samples themselves, which lie
in `data.parquet` and `rejected.parquet`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dianoia.report.html_values import anchor, code, escape, missing, paragraph, unbroken
from dianoia.report.run_reader import Run, Stage, number

WORDS = {
    "truncated": "cut at the length limit",
    "malformed": "breaks the template",
    "ungraded": "nobody could grade it",
    "wrong": "wrong answer",
    "too_short": "thought too short",
    "too_long": "thought too long",
    "mixed_language": "mixes languages",
    "repetitive": "repeats itself",
    "code_block": "code in the thought",
    "long_paragraph": "overlong paragraph",
    "duplicate": "says the same as another",
    "surplus": "more than wanted of one problem",
    "not_rewritten": "refused by the rewriter",
}
"""Reasons in words, in the order in which they are tried."""


def section(run: Run) -> str:
    """The section of the page, with its heading."""
    stages = run.of_kind("sample")
    if not stages:
        return ""
    return f'<section id="data"><h2>Data</h2>{"".join(map(_stage, stages))}</section>'


def _stage(stage: Stage) -> str:
    heading = f'<h3 id="{anchor(stage.name)}">Stage {escape(stage.name)}</h3>'
    if not stage.sampling:
        return heading + missing("This stage has not written its data yet.")
    return heading + _told(stage) + _table(stage.sampling)


def _told(stage: Stage) -> str:
    found, settings = stage.sampling, stage.settings
    return paragraph(
        f"{count(found, 'sampled')} samples of {code(settings.get('start', ''))} on {count(found, 'problems')} "
        f"problems; {count(found, 'kept')} are kept, of {count(found, 'problems_kept')} problems. A rejected "
        f"sample has the first reason that applies. {_rewriter(settings.get('rewriter'))}"
    )


def _rewriter(chosen: object) -> str:
    if isinstance(chosen, Mapping):
        return f"{code(chosen.get('model', ''))} rewrote the thoughts that are kept."
    if chosen == "miniature":
        return (
            "Rules that stand for people and for a large model rewrote the thoughts that are kept."
        )
    return "Thoughts are as they were sampled."


def _table(found: Mapping[str, Any]) -> str:
    domains = _dict(found.get("by_domain"))
    columns = {"all": found, **domains} if len(domains) > 1 else {"samples": found}
    return verdicts(columns, WORDS, "rejected")


def verdicts(table: Mapping[str, Any], words: Mapping[str, str], left: str) -> str:
    """A column a tally, a row a verdict: all, kept, and by reason what was not.

    The first tally has every reason that occurs, under the key `left`; `words` say them.
    """
    columns = list(table.values())
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table)
    rows = _row("sampled", [number(_dict(c).get("sampled")) for c in columns], columns)
    rows += _row("kept", [number(_dict(c).get("kept")) for c in columns], columns)
    for reason in [r for r in words if r in _dict(_dict(columns[0]).get(left))]:
        counts = [number(_dict(_dict(c).get(left)).get(reason)) or 0.0 for c in columns]
        rows += _row(words[reason], counts, columns)
    return (
        f'<div class="wide" tabindex="0"><table class="plain"><thead><tr><th scope="col">verdict</th>{head}</tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


def _row(name: str, counts: Sequence[float | None], columns: Sequence[Any]) -> str:
    cells = "".join(_cell(count, column) for count, column in zip(counts, columns, strict=True))
    return f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'


def _cell(count: float | None, column: Any) -> str:
    of = number(_dict(column).get("sampled"))
    if count is None:
        return "<td>–</td>"
    share = unbroken(f" ({100 * count / of:.1f} %)") if of else ""
    return f"<td>{count:,.0f}{share}</td>"


def count(found: Mapping[str, Any], name: str) -> str:
    """A number of `found` as text."""
    value = number(found.get(name))
    return "–" if value is None else f"{value:,.0f}"


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
