"""The data that stages made: how many samples were kept, and why the others were rejected.

In: a `Run`. Out: HTML; empty for a recipe without sample and preferences stages. Not here: the samples
themselves, which are in the stages' `data.parquet` and `rejected.parquet`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dianoia.report.html_values import anchor, code, escape, missing, paragraph, unbroken
from dianoia.report.run_reader import Run, Stage, number

_MAX_OPEN = 2
"""With more stages than this, each is folded away."""
SAMPLE_REASONS = {
    "truncated": "cut at the length limit",
    "malformed": "does not follow the template",
    "ungraded": "could not be graded",
    "wrong": "wrong answer",
    "too_short": "thought too short",
    "too_long": "thought too long",
    "mixed_language": "mixes languages",
    "repetitive": "repeats itself",
    "code_block": "code in the thought",
    "long_paragraph": "overlong paragraph",
    "duplicate": "duplicate of another sample",
    "surplus": "more samples than needed for its problem",
    "not_rewritten": "rejected by the rewriter",
}
"""Labels of the reasons why a sample stage rejects a sample, in the order in which they are tried."""
PREFERENCE_REASONS = {
    "truncated": "cut at the length limit",
    "malformed": "does not follow the template",
    "empty": "nothing but tags after the thought",
    "duplicate": "reads the same as another response",
    "unpaired": "in no pair",
    "unreadable": "no readable label from the judge",
}
"""Labels of the reasons why a preferences stage leaves a response out, in the order in which they are tried."""


def section(run: Run) -> str:
    """Return a table per sample stage and per preferences stage."""
    samples, preferences = run.of_kind("sample"), run.of_kind("preferences")
    folded = len(samples) + len(preferences) > _MAX_OPEN
    return "".join(
        [
            *(_sample_stage(stage, folded) for stage in samples),
            *(_preferences_stage(stage, folded) for stage in preferences),
        ]
    )


def _fold(heading: str, counts: str, body: str, folded: bool) -> str:
    """Return a stage below a line with its name and counts, which opens and closes it."""
    return (
        f'<details class="stage"{"" if folded else " open"}><summary>{heading}<span class="dim">{counts}</span>'
        f"</summary>{body}</details>"
    )


def _sample_stage(stage: Stage, folded: bool) -> str:
    heading = f'<h3 id="{anchor(stage.name)}">Stage {escape(stage.name)}</h3>'
    if not stage.sampling:
        return heading + missing("This stage has not written its data yet.")
    # A column per domain only if there are several; a single one would repeat the total.
    domains = _dict(stage.sampling.get("by_domain"))
    columns = {"all": stage.sampling, **domains}
    if len(domains) < 2:
        columns = {"samples": stage.sampling}
    counts = f"{_count(stage.sampling, 'kept')} of {_count(stage.sampling, 'sampled')} samples kept"
    body = _sample_summary(stage) + _table(columns, SAMPLE_REASONS, "rejected")
    return _fold(heading, counts, body, folded)


def _sample_summary(stage: Stage) -> str:
    counts, settings = stage.sampling, stage.settings
    return paragraph(
        f"{_count(counts, 'sampled')} samples from {code(settings.get('start', ''))} on "
        f"{_count(counts, 'problems')} problems; {_count(counts, 'kept')} were kept, from "
        f"{_count(counts, 'problems_kept')} problems. A rejected sample is counted under the first reason that "
        f"applies. {_rewriter(settings.get('rewriter'))}"
    )


def _rewriter(rewriter: object) -> str:
    if isinstance(rewriter, Mapping):
        return f"{code(rewriter.get('model', ''))} rewrote the thoughts of the kept samples."
    if isinstance(rewriter, str) and rewriter != "none":
        return (
            "Built-in rules rewrote the thoughts of the kept samples, in place of the human annotators and the "
            "large model of the paper."
        )
    return "The thoughts were not rewritten."


def _preferences_stage(stage: Stage, folded: bool) -> str:
    # No anchor here: links to a preferences stage lead to its row in "This run".
    heading, counts = f"<h3>Stage {escape(stage.name)}</h3>", stage.preferences
    if not counts:
        return heading + missing("This stage has not written its data yet.")
    checkpoints = _dict(counts.get("by_checkpoint"))
    columns = {"all": counts, **checkpoints} if len(checkpoints) > 1 else {"responses": counts}
    unit = "pairs" if stage.settings.get("objective") == "pairwise" else "labelled responses"
    body = _preferences_summary(stage) + _table(columns, PREFERENCE_REASONS, "left_out")
    return _fold(heading, f"{_count(counts, 'rows')} {unit}", body, folded)


def _preferences_summary(stage: Stage) -> str:
    counts, settings = stage.preferences, stage.settings
    pairwise = settings.get("objective") == "pairwise"
    unit = "pairs" if pairwise else "labelled responses"
    verdicts = _dict(counts.get("verdicts" if pairwise else "labels"))
    # Unreadable verdicts are counted apart from the scale of the judge.
    if pairwise and number(counts.get("verdicts_unreadable")):
        verdicts = verdicts | {"unreadable": counts["verdicts_unreadable"]}
    note = "A response is kept if it is in a pair." if pairwise else ""
    return paragraph(
        f"{_count(counts, 'rows')} {unit} on {_count(counts, 'problems_kept')} of {_count(counts, 'problems')} "
        f"problems, judged by {_judge(settings.get('judge'))}: {_shares(verdicts)}. {note}"
    )


def _judge(judge: object) -> str:
    if isinstance(judge, Mapping):
        return code(judge.get("model", ""))
    return "built-in rules, in place of human annotators and a large model"


def _shares(verdicts: Mapping[str, Any]) -> str:
    """List the verdicts with their counts and shares."""
    counts = {
        name: count for name, value in verdicts.items() if (count := number(value)) is not None
    }
    total = sum(counts.values())
    if not total:
        return "no verdict"
    return ", ".join(
        f"{code(name)} {unbroken(f'{count:,.0f} ({100 * count / total:.1f} %)')}"
        for name, count in counts.items()
    )


def _table(
    columns: Mapping[str, Mapping[str, Any]], reasons: Mapping[str, str], reasons_key: str
) -> str:
    """Return a table of counts: one column per group of samples, one row per reason of rejection.

    The first column is the total, so its counts under `reasons_key` have every reason that occurs.
    """
    groups = list(columns.values())
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    # The same rows in the same order for every group, so that columns can be compared.
    rows = _row("sampled", [number(_dict(g).get("sampled")) for g in groups], groups)
    rows += _row("kept", [number(_dict(g).get("kept")) for g in groups], groups)
    occurring = _dict(_dict(groups[0]).get(reasons_key))
    for reason, label in reasons.items():
        if reason in occurring:
            # A group that does not list a reason has no such sample.
            counts = [number(_dict(_dict(g).get(reasons_key)).get(reason)) or 0.0 for g in groups]
            rows += _row(label, counts, groups)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="Outcomes"><table class="plain"><thead><tr><th scope="col">outcome</th>{head}</tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


def _row(name: str, counts: Sequence[float | None], groups: Sequence[Any]) -> str:
    cells = "".join(_cell(count, group) for count, group in zip(counts, groups, strict=True))
    return f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'


def _cell(count: float | None, group: Any) -> str:
    """Return a count with its share of the samples in the group."""
    total = number(_dict(group).get("sampled"))
    if count is None:
        return "<td>–</td>"
    share = unbroken(f" ({100 * count / total:.1f} %)") if total else ""
    return f"<td>{count:,.0f}{share}</td>"


def _count(counts: Mapping[str, Any], name: str) -> str:
    value = number(counts.get(name))
    return "–" if value is None else f"{value:,.0f}"


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
