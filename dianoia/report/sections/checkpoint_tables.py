"""What the checkpoints score: the stage table beside the paper's, and the evaluation in detail.

In: a `Run`. Out: HTML. The best value of the models from R1-Zero to R1 is bold in both tables, so that their
shapes can be compared at a glance. Not here: choosing what to compare (`sections/summary.py`); every
checkpoint is shown.
"""

from collections.abc import Sequence
from dataclasses import replace

from dianoia.claims.evidence import is_vote
from dianoia.claims.paper import CHAIN, NAMES, STAGES, TABLE
from dianoia.report.html_values import (
    amount,
    escape,
    interval,
    metric_label,
    missing,
    paragraph,
)
from dianoia.report.run_reader import Run, StageRow, metric_order
from dianoia.report.sections import levels
from dianoia.storage.estimate import Estimate, Metrics

# The stage table

_ACCURACY = "pass@1"
_OTHER_METRICS = (
    ("thought_tokens", "Tokens per thought"),
    ("target_language", "Words of a thought in the question's language"),
    ("baseline", "Correct answers, always giving the most common gold answer"),
    ("one_answer", "Share of the checkpoint's most frequent answer among all its answers"),
)
_HOW_TO_READ = (
    "How to read this table and the paper's: the cold start (Dev1) gains general ability and loses reasoning; reasoning RL (Dev2) "
    "brings reasoning back; the large fine-tuning (Dev3) improves general ability again; RL for all scenarios (R1) "
    "mainly adds what people prefer. The best value of each row from R1-Zero to R1 is bold."
)


def stage_table(run: Run) -> str:
    """Return the run's stage table beside the paper's; empty if no checkpoint is a model of the paper."""
    if not run.stage_table:
        return ""
    # The claims' table has the metrics that claims need; the evaluations have all.
    table = [replace(row, domains=run.all_metrics[row.checkpoint]) for row in run.stage_table]
    # The chain is base, R1-Zero, Dev1 to Dev3 and R1, in the paper's order; distilled and PPO models follow below.
    chain = [row for row in table if any(part in CHAIN for part in row.parts)]
    others = [row for row in table if row not in chain]
    # A run of R1-Zero alone has nothing to compare stage by stage.
    staged = any(part in ("dev1", "dev2", "dev3", "r1") for row in chain for part in row.parts)
    introduction = paragraph(_HOW_TO_READ) if staged else ""
    return (
        introduction
        + (_accuracy_table("This run", chain) + _paper_table() if chain else "")
        + (_accuracy_table("Other checkpoints", others) if others else "")
        + _other_metrics([*chain, *others])
    )


def _accuracy_table(title: str, rows: Sequence[StageRow]) -> str:
    """Return a table of pass@1 with one column per checkpoint and one row per domain, beside it baseline and problems."""
    domains = _domains_with(_ACCURACY, rows)
    head = "".join(f'<th scope="col">{_model_name(row)}</th>' for row in rows)
    has_baseline = any("baseline" in row.domains.get(d, {}) for row in rows for d in domains)
    head += '<th scope="col">baseline</th>' if has_baseline else ""
    bodies = "".join(_accuracy_row(domain, rows, has_baseline) for domain in domains)
    note = (
        " Baseline: always giving the most common gold answer. °: not clearly above the baseline."
        if has_baseline
        else ""
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(title)}"><table class="stages">'
        f"<caption><b>{escape(title)}</b>: pass@1 on held-out problems, below it its 95 % interval and cons@k, the accuracy of a "
        f'majority of k samples; reasoning is the mean of math, code, stem and logic.{note}</caption><thead><tr><th scope="col"></th>{head}'
        f'<th scope="col">problems</th></tr></thead><tbody>{bodies}</tbody></table></div>'
    )


def _domains_with(metric: str, rows: Sequence[StageRow]) -> list[str]:
    return list(
        dict.fromkeys(d for row in rows for d, metrics in row.domains.items() if metric in metrics)
    )


def _accuracy_row(domain: str, rows: Sequence[StageRow], has_baseline: bool) -> str:
    results = [row.domains.get(domain, {}) for row in rows]
    estimates = [result.get(_ACCURACY) for result in results]
    best = _best(_competing(estimates, rows))
    counts = [e.n for e in estimates if e is not None and e.n is not None]
    # The number of problems of most checkpoints stands at the end of the row, another one in its cell.
    usual = max(counts, key=counts.count) if counts else None
    cells = "".join(
        _accuracy_cell(result, bold=index in best, usual_problems=usual)
        for index, result in enumerate(results)
    )
    if has_baseline:
        usual_rows = [r for r in results if _ACCURACY in r and r[_ACCURACY].n == usual]
        baseline = next((r["baseline"] for r in usual_rows if "baseline" in r), None)
        cells += f"<td>{'–' if baseline is None else amount('baseline', baseline.value)}</td>"
    cells += f"<td>{'–' if usual is None else f'{usual:,}'}</td>"
    css_class = ' class="sum"' if domain == "reasoning" else ""
    return f'<tr{css_class}><th scope="row">{escape(domain)}</th>{cells}</tr>'


def _accuracy_cell(result: Metrics, bold: bool, usual_problems: int | None) -> str:
    estimate, baseline = result.get(_ACCURACY), result.get("baseline")
    if estimate is None:
        return "<td>–</td>"
    text = escape(amount(_ACCURACY, estimate.value))
    at_baseline = baseline is not None and (estimate.low or 0.0) <= baseline.value
    mark = "<sup>°</sup>" if at_baseline else ""
    count = f", n = {estimate.n:,}" if estimate.n not in (None, usual_problems) else ""
    votes = "".join(
        f"<small>{escape(name)} {escape(amount(name, vote.value))}</small>"
        for name, vote in result.items()
        if is_vote(name) and name != "cons@1"
    )
    return (
        f"<td>{f'<b>{text}</b>' if bold else text}{mark}"
        f"<small>{interval(_ACCURACY, estimate)}{count}</small>{votes}</td>"
    )


def _other_metrics(rows: Sequence[StageRow]) -> str:
    """Return a folded table of the other metrics of all checkpoints; empty if none was measured."""
    bodies = "".join(_metric_rows(metric, label, rows) for metric, label in _OTHER_METRICS)
    if not bodies:
        return ""
    head = "".join(f'<th scope="col">{_model_name(row)}</th>' for row in rows)
    return (
        "<details><summary>Thought length, language and most frequent answer of each checkpoint</summary>"
        '<div class="wide" tabindex="0" role="region" aria-label="Other metrics"><table class="stages"><thead><tr>'
        f'<th scope="col"></th>{head}</tr></thead>{bodies}</table></div></details>'
    )


def _model_name(row: StageRow) -> str:
    """Return the name of the paper's model, and below it the checkpoint's own name if it is another."""
    parts = [part for part in row.parts if part in CHAIN] or row.parts
    names = [NAMES.get(part, part) for part in parts]
    small = "" if row.checkpoint in row.parts else f"<small>{escape(row.checkpoint)}</small>"
    return f"{escape(' and '.join(names))}{small}"


def _metric_rows(metric: str, label: str, rows: Sequence[StageRow]) -> str:
    lines = "".join(_domain_row(metric, domain, rows) for domain in _domains_with(metric, rows))
    return f"<tbody>{_group_title(label, len(rows) + 1)}{lines}</tbody>" if lines else ""


def _domain_row(metric: str, domain: str, rows: Sequence[StageRow]) -> str:
    estimates = [row.domains.get(domain, {}).get(metric) for row in rows]
    cells = "".join(
        f"<td>{'–' if estimate is None else escape(amount(metric, estimate.value))}</td>"
        for estimate in estimates
    )
    css_class = ' class="sum"' if domain == "reasoning" else ""
    return f'<tr{css_class}><th scope="row">{escape(domain)}</th>{cells}</tr>'


def _competing(
    estimates: Sequence[Estimate | None], rows: Sequence[StageRow]
) -> list[float | None]:
    """Return the values that compete for the best: the base is not among the paper's stages, so its value is None."""
    return [
        estimate.value if estimate and set(row.parts) & set(STAGES) else None
        for estimate, row in zip(estimates, rows, strict=True)
    ]


def _best(values: Sequence[float | None]) -> set[int]:
    """Return the indices of the largest value; empty for fewer than two values."""
    numbers = [value for value in values if value is not None]
    if len(numbers) < 2:
        return set()
    return {index for index, value in enumerate(values) if value == max(numbers)}


def _paper_table() -> str:
    head = "".join(f'<th scope="col">{NAMES[part]}</th>' for part in STAGES)
    bodies = "".join(_benchmark_group(group, rows) for group, rows in TABLE.items())
    return (
        "<details><summary>The same table in the paper</summary>"
        '<div class="wide" tabindex="0" role="region" aria-label="The paper"><table class="stages"><caption><b>The paper</b>: DeepSeek-R1, table 3. In '
        "percent, except the rating. Its models and problems differ from this run's: compare shapes, not numbers."
        f'</caption><thead><tr><th scope="col"></th>{head}</tr></thead>{bodies}</table></div></details>'
    )


def _benchmark_group(group: str, rows: dict[str, tuple[float, ...]]) -> str:
    lines = "".join(_benchmark(name, values) for name, values in rows.items())
    return f"<tbody>{_group_title(group, len(STAGES) + 1)}{lines}</tbody>"


def _benchmark(name: str, values: tuple[float, ...]) -> str:
    best = _best(values)
    # Above 100 stands only the rating of Codeforces, which has no decimals.
    texts = [f"{value:.0f}" if value > 100 else f"{value:.1f}" for value in values]
    cells = "".join(f"<td>{f'<b>{t}</b>' if i in best else t}</td>" for i, t in enumerate(texts))
    return f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'


def _group_title(title: str, columns: int) -> str:
    return f'<tr><th class="domain" scope="rowgroup" colspan="{columns}">{escape(title)}</th></tr>'


# The evaluation

_NO_EVALUATION = (
    "There is no evaluation: no evaluate stage is done, or what it evaluated has changed since. "
    "Run the recipe to its end (it resumes where it stopped), then write the report again."
)


def evaluation(run: Run) -> str:
    """Return every metric of every checkpoint, and tables and charts by level of difficulty."""
    return _evaluation_table(run) + levels.section(run)


def _evaluation_table(run: Run) -> str:
    """Return a table of checkpoint by metric, with one body per domain; folded if there is a stage table."""
    if not run.evaluations:
        return missing(_NO_EVALUATION)
    # Checkpoints may have different metrics, such as cons@k with another k: a missing one is a dash.
    names = {m for domains in run.evaluations.values() for ms in domains.values() for m in ms}
    metrics = sorted(names, key=metric_order)
    head = "".join(f'<th scope="col">{escape(metric_label(metric))}</th>' for metric in metrics)
    # dict.fromkeys() removes repetitions and keeps the order.
    domains = dict.fromkeys(d for results in run.evaluations.values() for d in results)
    bodies = "".join(_domain_body(run, domain, metrics) for domain in domains)
    table = (
        '<div class="wide" tabindex="0" role="region" aria-label="Evaluation"><table class="evaluation"><caption>Held-out problems. Below each '
        "value: its 95 % interval over problems.</caption><thead><tr>"
        f'<th scope="col">checkpoint</th>{head}<th scope="col">n</th></tr></thead>{bodies}</table></div>'
    )
    if not run.stage_table:
        return table
    return f"<details><summary>Every metric of every checkpoint</summary>{table}</details>"


def _domain_body(run: Run, domain: str, metrics: list[str]) -> str:
    rows = "".join(
        _checkpoint_row(checkpoint, domains[domain], metrics)
        for checkpoint, domains in run.evaluations.items()
        if domain in domains
    )
    return f"<tbody>{_group_title(domain, len(metrics) + 2)}{rows}</tbody>"


def _checkpoint_row(checkpoint: str, results: Metrics, metrics: list[str]) -> str:
    cells = "".join(_metric_cell(metric, results.get(metric)) for metric in metrics)
    # Metrics of thoughts lack samples without a thought, so their n may be smaller.
    counts = [estimate.n for estimate in results.values() if estimate.n is not None]
    n = f"{max(counts):,}" if counts else "–"
    return f'<tr><th scope="row">{escape(checkpoint)}</th>{cells}<td>{n}</td></tr>'


def _metric_cell(metric: str, estimate: Estimate | None) -> str:
    if estimate is None:
        return "<td>–</td>"
    return f"<td>{amount(metric, estimate.value)}<small>{interval(metric, estimate)}</small></td>"
