"""What preferences stages made: responses by checkpoint, what the judge said, and why the rest was left out.

In: a `Run`. Out: HTML, empty for a recipe without such a stage. Left out: the responses themselves, which lie in
`data.parquet` and `rejected.parquet`.
"""

from collections.abc import Mapping
from typing import Any

from dianoia.report.html_values import code, escape, missing, paragraph, unbroken
from dianoia.report.run_reader import Run, Stage, number
from dianoia.report.sections.sample_data_table import count, verdicts

WORDS = {
    "truncated": "cut at the length limit",
    "malformed": "breaks the template",
    "empty": "nothing but tags after the thought",
    "duplicate": "shows the same as another",
    "unpaired": "in no pair",
    "unreadable": "no label from the judge",
}
"""Reasons in words, in the order in which they are tried."""


def section(run: Run) -> str:
    """The section of the page, with its heading."""
    stages = run.of_kind("preferences")
    if not stages:
        return ""
    shown = "".join(map(_stage, stages))
    return f'<section id="preferences"><h2>Preferences</h2>{shown}</section>'


def _stage(stage: Stage) -> str:
    heading, found = f"<h3>Stage {escape(stage.name)}</h3>", stage.preferences
    if not found:
        return heading + missing("This stage has not written its data yet.")
    by = _dict(found.get("by_checkpoint"))
    columns = {"all": found, **by} if len(by) > 1 else {"responses": found}
    return heading + _told(stage) + verdicts(columns, WORDS, "left_out")


def _told(stage: Stage) -> str:
    found, settings = stage.preferences, stage.settings
    pairwise = settings.get("objective") == "pairwise"
    what = "pairs" if pairwise else "labelled responses"
    said = _dict(found.get("verdicts" if pairwise else "labels"))
    if pairwise and number(found.get("verdicts_unreadable")):
        said = said | {"unreadable": found["verdicts_unreadable"]}
    kept = "Kept are the responses that are in a pair." if pairwise else ""
    return paragraph(
        f"{count(found, 'rows')} {what} on {count(found, 'problems_kept')} of {count(found, 'problems')} "
        f"problems, judged by {_judge(settings.get('judge'))}: {_shares(said)}. {kept}"
    )


def _judge(chosen: object) -> str:
    if isinstance(chosen, Mapping):
        return code(chosen.get("model", ""))
    return "rules that stand for people and for a large model"


def _shares(said: Mapping[str, Any]) -> str:
    counts = {name: found for name, value in said.items() if (found := number(value)) is not None}
    whole = sum(counts.values())
    if not whole:
        return "no verdict"
    return ", ".join(
        f"{code(name)} {unbroken(f'{found:,.0f} ({100 * found / whole:.1f} %)')}"
        for name, found in counts.items()
    )


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
