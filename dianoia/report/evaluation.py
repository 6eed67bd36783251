"""The evaluation: a table of checkpoints, charts by difficulty, and the claims with what they came to.

In: a `Run`. Out: HTML and charts. Left out: choosing what to compare; every checkpoint has a row.
"""

from collections.abc import Mapping
from typing import Any

from dianoia.report.figures import BLUE, GREY, ORANGE, PURPLE, TEAL, Chart, figure, with_errors
from dianoia.report.load import Estimate, Metrics, Run, metric_order, number
from dianoia.report.show import amount, escape, interval, is_share, metric_name, missing, plain

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
    domains = dict.fromkeys(d for found in run.by_difficulty.values() for d in found)
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
    traces = []
    for checkpoint, colour in zip(run.by_difficulty, _colours(len(run.by_difficulty)), strict=True):
        found = run.by_difficulty[checkpoint].get(domain, {})
        levels = [level for level in sorted(found, key=_hardness) if metric in found[level]]
        if levels:
            estimates = [found[level][metric] for level in levels]
            traces.append(with_errors(checkpoint, levels, estimates, colour, is_share(metric)))
    return traces


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


def claims(run: Run) -> str:
    """What the run set out to show, with the paper's number beside it; empty if it claims nothing."""
    if not run.claims:
        return ""
    rows = "".join(_claim(claim) for claim in run.claims)
    return (
        '<h3>Claims</h3><div class="wide" tabindex="0"><table class="claims"><thead><tr>'
        '<th scope="col">claim</th><th scope="col">rule</th><th scope="col">here</th>'
        f'<th scope="col">paper</th><th scope="col">holds</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _claim(claim: Mapping[str, Any]) -> str:
    value, low, high = (number(claim.get(key)) for key in ("value", "low", "high"))
    here = "–" if value is None else plain(value)
    between = "" if low is None or high is None else f"<small>{plain(low)} to {plain(high)}</small>"
    verdict = {True: "yes", False: "<b>no</b>"}
    holds = next((told for v, told in verdict.items() if claim.get("holds") is v), "not decided")
    paper = "–" if claim.get("paper") is None else escape(claim["paper"])
    return (
        f'<tr><th scope="row">{escape(claim.get("claim", ""))}</th><td>{escape(claim.get("rule", ""))}</td>'
        f"<td>{here}{between}</td><td>{paper}</td><td>{holds}</td></tr>"
    )
