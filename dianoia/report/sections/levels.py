"""Accuracy and thought length by level of difficulty: a heat map per domain, and charts.

In: a `Run`. Out: HTML; empty for a run whose problems have no levels. A heat map is a table whose cells are coloured by their
value: it reads as a table where no colour is seen. One hue, from the page's own colour for 0 % to blue for 100 %, which
differ in lightness, so that readers with any kind of colour blindness and printers without colour tell them apart.
"""

from typing import Any

from dianoia.claims.evidence import TABLE_DOMAINS
from dianoia.claims.paper import CHAIN
from dianoia.report.figures import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    TEAL,
    Chart,
    figure,
    grid,
    with_errors,
)
from dianoia.report.html_values import amount, escape, interval, is_share, paragraph
from dianoia.report.run_reader import Run
from dianoia.storage.estimate import Estimate, level_order

_ACCURACY = "pass@1"
_HOW_TO_READ = (
    "Accuracy (pass@1) in percent: rows are checkpoints, columns levels of difficulty, easiest first. The stronger the "
    "colour, the more answers are right. A model that guesses fails at once; one that reasons stays high for longer."
)
_BY_DIFFICULTY = (
    ("pass@1", "Accuracy by difficulty",
     "pass@1 by the number of steps that a problem takes. A model that guesses fails as soon as problems get "
     "longer; one that reasons stays high. Paper: the hard levels of MATH gain the most."),
    ("thought_tokens", "Thought length by difficulty",
     "Tokens per thought, by the number of steps. A model that reasons thinks longer about longer problems; a "
     "flat line means that the length does not depend on the problem."),
)  # fmt: skip


def section(run: Run) -> str:
    """Return heat maps of accuracy by level, and charts of accuracy and thought length."""
    # A pair of charts per domain: the first is shown, the others are folded.
    charts = _difficulty_charts(run)
    shown = f'<div class="pairs">{grid(charts[:2], 3)}</div>' if charts else ""
    if charts[2:]:
        shown += (
            "<details><summary>The same for the other domains</summary>"
            f'<div class="pairs">{grid(charts[2:], 3)}</div></details>'
        )
    return _heat_maps(run) + shown


# Heat maps


def _heat_maps(run: Run) -> str:
    """Return a table of checkpoints and levels per domain; empty where no domain has several levels."""
    measured = dict.fromkeys(d for domains in run.by_difficulty.values() for d in domains)
    # Domains of the paper first, in its order.
    domains = [d for d in dict.fromkeys((*TABLE_DOMAINS, *measured)) if d in measured]
    maps = "".join(_heat_map(run, domain) for domain in domains if len(_levels(run, domain)) > 1)
    if not maps:
        return ""
    return f'<h3>Accuracy by level of difficulty</h3>{paragraph(_HOW_TO_READ)}<div class="maps">{maps}</div>'


def _heat_map(run: Run, domain: str) -> str:
    columns = _levels(run, domain)
    rows = {
        name: run.by_difficulty[name][domain]
        for name in _in_order(run)
        if domain in run.by_difficulty[name]
    }
    head = "".join(f'<th scope="col">{escape(level)}</th>' for level in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(_heat_cell(levels.get(level, {}).get(_ACCURACY)) for level in columns)
        + _heat_cell(run.evaluations.get(name, {}).get(domain, {}).get(_ACCURACY), "all")
        + "</tr>"
        for name, levels in rows.items()
    )
    label = escape(f"Accuracy by level of difficulty, {domain}")
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{label}"><table class="heat">'
        f'<caption><b>{escape(domain)}</b></caption><thead><tr><th scope="col">level</th>{head}'
        f'<th scope="col">all</th></tr></thead><tbody>{body}</tbody></table></div>'
    )


def _in_order(run: Run) -> list[str]:
    """Return the checkpoints with levels: those that lead to R1 first, in the paper's order, then the others."""
    return list(dict.fromkeys((*_charted(run), *run.by_difficulty)))


def _heat_cell(estimate: Estimate | None, css_class: str = "") -> str:
    """Return a cell in whole percent, coloured by its value; the tooltip has the value with its interval and problems."""
    attribute = f' class="{css_class}"' if css_class else ""
    if estimate is None:
        return f"<td{attribute}>–</td>"
    percent = min(100.0, max(0.0, 100 * estimate.value))
    bounds, count = interval(_ACCURACY, estimate), estimate.n
    facts = [
        amount(_ACCURACY, estimate.value),
        *([f"95 % interval {bounds}"] if bounds else []),
        *([] if count is None else [f"{count:,} problems"]),
    ]
    return (
        f'<td{attribute} style="--share:{percent:.0f}%" title="{escape(", ".join(facts))}">'
        f"{percent:.0f}</td>"
    )


# Charts


def _difficulty_charts(run: Run) -> list[Chart]:
    """Return accuracy and thought length by difficulty, a pair of charts per domain."""
    domains = dict.fromkeys(d for name in _charted(run) for d in run.by_difficulty[name])
    charts = []
    for domain in domains:
        suffix = f" ({domain})" if len(domains) > 1 else ""
        for metric, title, caption in _BY_DIFFICULTY:
            traces = _difficulty_traces(run, domain, metric)
            # Both charts of a pair use the same colours and levels. A metric that is missing costs its chart only.
            if traces:
                plot = figure(
                    traces, "steps in the problem", share=is_share(metric), categorical=True
                )
                # Plotly would order the categories by their first appearance.
                plot["layout"]["xaxis"]["categoryarray"] = [
                    escape(level) for level in _levels(run, domain)
                ]
                charts.append(Chart(title + suffix, caption, plot))
    return charts


def _difficulty_traces(run: Run, domain: str, metric: str) -> list[dict[str, Any]]:
    traces, names = [], _charted(run)
    # Zipped over all checkpoints, so that a colour means the same one in every chart.
    for checkpoint, colour in zip(names, _colours(len(names)), strict=True):
        results = run.by_difficulty[checkpoint].get(domain, {})
        levels = [level for level in sorted(results, key=level_order) if metric in results[level]]
        if levels:
            estimates = [results[level][metric] for level in levels]
            traces.append(with_errors(checkpoint, levels, estimates, colour, is_share(metric)))
    return traces


def _charted(run: Run) -> list[str]:
    """Return the checkpoints that lead to R1 if the recipe says which, else all."""
    chain = [row.checkpoint for row in run.stage_table if set(row.parts) & set(CHAIN)]
    return [name for name in chain if name in run.by_difficulty] or list(run.by_difficulty)


def _levels(run: Run, domain: str) -> list[str]:
    levels = {level for domains in run.by_difficulty.values() for level in domains.get(domain, {})}
    return sorted(levels, key=level_order)


def _colours(count: int) -> list[str]:
    """Return grey for the first checkpoint, blue for the last, and other colours between."""
    if count < 2:
        return [BLUE] * count
    between = (TEAL, ORANGE, PURPLE, RED)
    return [GREY, *(between[i % len(between)] for i in range(count - 2)), BLUE]
