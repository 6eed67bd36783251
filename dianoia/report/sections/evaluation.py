"""The evaluation: a table of checkpoints, and charts by difficulty.

In: a `Run`. Out: HTML and charts. Left out: choosing what to compare; every checkpoint has a row.
"""

from typing import Any

from dianoia.claims.paper import CHAIN
from dianoia.report.figures import BLUE, GREY, ORANGE, PURPLE, TEAL, Chart, figure, with_errors
from dianoia.report.html_values import amount, escape, interval, is_share, metric_name, missing
from dianoia.report.run_reader import Estimate, Metrics, Run, metric_order

_NO_EVALUATION = (
    "There is no evaluation: no evaluate stage is done, or what it measured has changed since. "
    "Run the recipe to its end (it resumes where it stopped) and write the report again."
)
_BY_DIFFICULTY = (
    ("pass@1", "Right answers by difficulty",
     "pass@1 over the number of steps a problem takes. A guesser falls off at once; one who reasons "
     "stays up. Paper: the hard levels of MATH gain the most."),
    ("thought_tokens", "Thought length by difficulty",
     "Tokens of a thought over the number of steps. Thinking that scales with the problem is reasoning; "
     "a flat line is a habit."),
)  # fmt: skip


def table(run: Run) -> str:
    """Checkpoint by metric, a body for each domain."""
    if not run.evaluations:
        return missing(_NO_EVALUATION)
    drawn = _table(run)
    if not run.stage_table:
        return drawn
    return f"<details><summary>Every metric of every checkpoint</summary>{drawn}</details>"


def _table(run: Run) -> str:
    names = _metric_names(run)
    head = "".join(f'<th scope="col">{escape(metric_name(name))}</th>' for name in names)
    domains = dict.fromkeys(d for found in run.evaluations.values() for d in found)
    bodies = "".join(_domain(run, domain, names) for domain in domains)
    return (
        '<div class="wide" tabindex="0"><table class="evaluation"><caption>Held-out problems. Below each '
        "value: its 95 % interval over problems.</caption><thead><tr>"
        f'<th scope="col">checkpoint</th>{head}<th scope="col">n</th></tr></thead>{bodies}</table></div>'
    )


def _metric_names(run: Run) -> list[str]:
    found = {m for domains in run.evaluations.values() for ms in domains.values() for m in ms}
    return sorted(found, key=metric_order)


def _domain(run: Run, domain: str, names: list[str]) -> str:
    rows = "".join(
        _row(checkpoint, domains[domain], names)
        for checkpoint, domains in run.evaluations.items()
        if domain in domains
    )
    title = f'<tr><th class="domain" scope="rowgroup" colspan="{len(names) + 2}">{escape(domain)}</th></tr>'
    return f"<tbody>{title}{rows}</tbody>"


def _row(checkpoint: str, metrics: Metrics, names: list[str]) -> str:
    cells = "".join(_cell(name, metrics.get(name)) for name in names)
    counts = sorted({estimate.n for estimate in metrics.values() if estimate.n is not None})
    n = f"{counts[-1]:,}" if counts else "–"
    return f'<tr><th scope="row">{escape(checkpoint)}</th>{cells}<td>{n}</td></tr>'


def _cell(name: str, estimate: Estimate | None) -> str:
    if estimate is None:
        return "<td>–</td>"
    return f"<td>{amount(name, estimate.value)}<small>{interval(name, estimate)}</small></td>"


def difficulty_charts(run: Run) -> list[Chart]:
    """Right answers and thought length by difficulty, a pair a domain."""
    domains = dict.fromkeys(d for name in _charted(run) for d in run.by_difficulty[name])
    charts = []
    for domain in domains:
        suffix = f" ({domain})" if len(domains) > 1 else ""
        for metric, title, caption in _BY_DIFFICULTY:
            traces = _levels(run, domain, metric)
            if traces:
                drawn = figure(traces, "steps in the problem", share=is_share(metric), named=True)
                drawn["layout"]["xaxis"]["categoryarray"] = _all_levels(run, domain)
                charts.append(Chart(title + suffix, caption, drawn))
    return charts


def _levels(run: Run, domain: str, metric: str) -> list[dict[str, Any]]:
    traces, names = [], _charted(run)
    for checkpoint, colour in zip(names, _colours(len(names)), strict=True):
        found = run.by_difficulty[checkpoint].get(domain, {})
        levels = [level for level in sorted(found, key=_hardness) if metric in found[level]]
        if levels:
            estimates = [found[level][metric] for level in levels]
            traces.append(with_errors(checkpoint, levels, estimates, colour, is_share(metric)))
    return traces


def _charted(run: Run) -> list[str]:
    """The checkpoints that lead to R1, where the recipe says which; else all."""
    chain = [row.checkpoint for row in run.stage_table if set(row.parts) & set(CHAIN)]
    return [name for name in chain if name in run.by_difficulty] or list(run.by_difficulty)


def _all_levels(run: Run, domain: str) -> list[str]:
    found = {level for domains in run.by_difficulty.values() for level in domains.get(domain, {})}
    return [escape(level) for level in sorted(found, key=_hardness)]


def _hardness(level: str) -> tuple[float, str]:
    """Levels in order of number; those that are no number come last."""
    try:
        return float(level), level
    except ValueError:
        return float("inf"), level


def _colours(count: int) -> list[str]:
    """Grey for the first, blue for the last, others between."""
    between = (TEAL, ORANGE, PURPLE)
    return (
        [GREY, *(between[i % 3] for i in range(count - 2)), BLUE][:count] if count > 1 else [BLUE]
    )
