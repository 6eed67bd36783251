"""The top of the page: what was trained, from what, on what, and whether it worked.

In: a `Run`. Out: HTML. "Before" is the first checkpoint that was evaluated, "after" the last one; where the
recipe says which checkpoint is which model of the paper, the base and the last model of the paper's chain.
A verdict rests on 95 % intervals alone. "Clearly" means that the two intervals of pass@1 do not overlap.
Accuracy only "rose" if the lower end is also above the baseline: always answering with the most common gold
answer. A checkpoint that an evaluate stage has diagnosed to give one answer to every problem gets no better
verdict than that.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dianoia.report.html_values import (
    amount,
    code,
    duration,
    escape,
    interval,
    is_share,
    plain,
    plural,
    problem_set,
)
from dianoia.report.run_reader import Run, Stage, metric_order, number
from dianoia.report.sections import claim_table, stage_sentences
from dianoia.report.sections.stage_sentences import after_step
from dianoia.storage.estimate import Estimate, Metrics

_REPEATS = 0.1
"""Difference between the shares of the model's most frequent answer and of the most common gold answer from which the
former stands on the cards."""
_PARALLEL = 0.02
"""Share of the stages' time that has to overlap for the page to speak of stages side by side."""
MAX_SENTENCES = 5
"""With more stages than this, their sentences stand folded below the graph instead of at the top."""
_CARDS = (
    ("pass@1", "Held-out pass@1", "one sample is right"),
    (r"cons@\d+", "Held-out {metric}", "the majority vote of the samples is right"),
    ("format", "Format", "responses that follow the template"),
    ("thought_tokens", "Thought length", "tokens per thought"),
    ("reflection", "Reflection", "words such as “wait” or “check” per thought"),
    ("target_language", "Language", "share of words in the question's language"),
)
"""Pattern of the metric, title and explanation of each card."""


# Title and verdict


def header(run: Run) -> str:
    """Return the title, the verdict, the claims in a line, and the stages if they are few."""
    recipe = run.recipe
    seed = run.about.get("seed", recipe.get("seed", "unknown"))
    finished = all(stage.done and not stage.stale for stage in run.stages)
    facts = [f"seed {escape(seed)}", run_time(run) + ("" if finished else " so far")]
    if not finished:
        facts.append("failed" if any(stage.failure for stage in run.stages) else "not finished")
    description = recipe.get("description") or ""
    return (
        f'<p class="kicker">Dianoia training report · {" · ".join(facts)}</p>'
        f"<h1>{escape(recipe.get('name', run.path.name))}</h1>"
        f'<p class="description">{escape(description)}</p>'
        f'{_failures(run)}<p class="lede">{verdict(run)}</p>{claim_table.headline(run)}'
        + (stage_sentences.sentences(run) if len(run.stages) <= MAX_SENTENCES else "")
    )


def _failures(run: Run) -> str:
    """Return the error of every stage that failed, and how the run goes on; empty if none did."""
    return "".join(
        f'<div class="failure" role="alert"><p><b>{escape(stage.name)} failed{after_step(stage)}.</b> The same '
        f"command, once the cause is gone, goes on from there.</p><pre>{escape(stage.failure)}</pre></div>"
        for stage in run.stages
        if stage.failure
    )


def run_time(run: Run) -> str:
    """Return how long the stages took: the time in which at least one ran, and the sum if several ran at once."""
    spans = [span for stage in run.stages if (span := _span(stage)) is not None]
    total = sum(end - begin for begin, end in spans)
    wall = _covered(spans)
    # Stages of older runs have no beginning, so only their sum is known.
    if not spans or len(spans) < sum(stage.done for stage in run.stages):
        return duration(_seconds_so_far(run))
    # A stage that was interrupted began earlier than its seconds of work before its end: the difference is small.
    if total - wall < _PARALLEL * total:
        return duration(wall)
    return f"{duration(wall)} (stages side by side, {duration(total)} in sum)"


def _span(stage: Stage) -> tuple[float, float] | None:
    """Return when a stage began and when it would have ended without interruptions, in seconds; None if unknown."""
    seconds = stage.seconds if stage.seconds is not None else sum(_step_seconds(stage)) or None
    if stage.began is None or seconds is None:
        return None
    return stage.began, stage.began + seconds


def _covered(spans: Sequence[tuple[float, float]]) -> float:
    """Return the seconds that lie in at least one span."""
    covered, latest = 0.0, float("-inf")
    for begin, end in sorted(spans):
        covered += max(0.0, end - max(begin, latest))
        latest = max(latest, end)
    return covered


def _seconds_so_far(run: Run) -> float | None:
    """Return the sum of a finished run, else add up the stages that are done and the steps of those that are not."""
    # The total of results.json counts only if every stage is up to date.
    if run.seconds is not None and all(stage.done and not stage.stale for stage in run.stages):
        return run.seconds
    # A stage that is not done has no total yet.
    seconds = [stage.seconds for stage in run.stages if stage.seconds is not None]
    seconds += [s for stage in run.stages if stage.seconds is None for s in _step_seconds(stage)]
    return sum(seconds) if seconds else None


def _step_seconds(stage: Stage) -> list[float]:
    values = (number(row.get("step_seconds")) for row in stage.rows)
    return [value for value in values if value is not None]


def verdict(run: Run) -> str:
    """Return one or two sentences: did it work?"""
    count = sum(len(stage.diagnoses) for stage in run.stages)
    link = f' See <a href="#diagnoses">{plural(count, "diagnosis", "diagnoses")}</a>.'
    return _outcome(run) + (link if count else "")


def _outcome(run: Run) -> str:
    comparison = compare(run)
    if comparison is None:
        return _training_progress(run)
    before, after = comparison.before, comparison.after
    # Different problems forbid a verdict; different settings are only named.
    a, b = comparison.metrics_before.get("pass@1"), comparison.metrics_after.get("pass@1")
    if a is None or b is None or before == after:
        return f"Only {code(after)} was evaluated, so there is no before and after."
    if comparison.problems_differ:
        return (
            "<strong>No verdict: the two checkpoints were not evaluated on the same problems.</strong> "
            f"{code(before)} has {_accuracy(a)} and {code(after)} {_accuracy(b)}. List both in one evaluate "
            "stage and run it."
        )
    # With a single domain its name would only repeat the title.
    domain = f"{escape(comparison.domain)} " if len(run.evaluations[after]) > 1 else ""
    problems = f"{b.n:,} held-out {domain}problems" if b.n else f"held-out {domain}problems"
    baseline = comparison.metrics_after.get("baseline")
    repeats = _repeated_answer(run, comparison)
    return (
        f"<strong>{_change(a, b, baseline, repeats)}</strong> From {code(before)} to {code(after)}, pass@1 on {problems} "
        f"went from {amount('pass@1', a.value)} to {amount('pass@1', b.value)}{_baseline_clause(baseline)}.{_repetition(repeats, after)}"
        f"{_thought_length(comparison)}{_differing_settings(comparison)}"
    )


def _accuracy(estimate: Estimate) -> str:
    return f"{amount('pass@1', estimate.value)} on {estimate.n or 0:,} problems"


def _baseline_clause(baseline: Estimate | None) -> str:
    if baseline is None:
        return ""
    return (
        "; always answering with the most common gold answer would score "
        f"{amount('pass@1', baseline.value)}"
    )


def _repeated_answer(run: Run, comparison: "Comparison") -> Estimate | None:
    """Return the share of the last checkpoint's most frequent answer if it was diagnosed to give hardly another one."""
    diagnosed = any(
        row.get("code") == "one_answer"
        and (row.get("checkpoint"), row.get("domain")) == (comparison.after, comparison.domain)
        for stage in run.of_kind("evaluate")
        for row in stage.diagnoses
    )
    return comparison.metrics_after.get("one_answer") if diagnosed else None


def _repetition(share: Estimate | None, checkpoint: str) -> str:
    """Say that a checkpoint repeats itself; empty if it does not."""
    if share is None:
        return ""
    return f" {amount('one_answer', share.value)} of the answers of {code(checkpoint)} are one and the same."


def _differing_settings(comparison: "Comparison") -> str:
    """Name the settings in which the two evaluations differ; empty if there are none."""
    differences = "; ".join(
        f"{escape(key)} {code(before)} and {code(after)}"
        for key, before, after in comparison.differing_settings
    )
    return f" They were evaluated with different settings: {differences}." if differences else ""


def _change(
    before: Estimate, after: Estimate, baseline: Estimate | None, repeats: Estimate | None
) -> str:
    """Compare two accuracies by their intervals, and the second one with what a single answer is worth."""
    # Overlapping intervals count as no change: the order of these checks is the verdict's definition.
    if None in (before.low, before.high, after.low, after.high):
        return "There are no intervals, so there is no verdict."
    if (after.low or 0.0) > (before.high or 0.0):
        if baseline is not None and (after.low or 0.0) <= baseline.value:
            return "Accuracy rose, but not clearly above giving the same answer to every problem."
        if repeats is not None:
            return "Accuracy rose, but the model gives nearly the same answer to every problem."
        return "Accuracy rose clearly."
    if (after.high or 0.0) < (before.low or 0.0):
        return "Accuracy fell clearly."
    return "Accuracy did not change clearly."


def _thought_length(comparison: "Comparison") -> str:
    a = comparison.metrics_before.get("thought_tokens")
    b = comparison.metrics_after.get("thought_tokens")
    if a is None or b is None or a.value <= 0 or plain(a.value) == plain(b.value):
        return ""
    verb = "grew" if b.value > a.value else "shrank"
    return f" Thoughts {verb} from {plain(a.value)} to {plain(b.value)} tokens."


def _training_progress(run: Run) -> str:
    """Say what training accuracy shows, for a run without an evaluation."""
    for stage in reversed(run.of_kind("rl")):
        accuracies = _column(stage, "rewards/accuracy/mean")
        if accuracies:
            return (
                f"<strong>No evaluation yet.</strong> Accuracy of {code(stage.name)} on its training problems "
                f"went from {accuracies[0]:.1%} to {accuracies[-1]:.1%} by step {stage.last_step}"
                f"{_heldout_baseline(stage)}.{_heldout_repetition(stage)}"
            )
    return "<strong>No results yet.</strong> No stage has written metrics or an evaluation."


def _heldout_baseline(stage: Stage) -> str:
    """State the baseline of a stage's held-out problems; empty if it was not recorded."""
    baselines = _column(stage, "heldout/baseline")
    if not baselines:
        return ""
    return (
        "; always answering with the most common gold answer would score "
        f"{baselines[-1]:.1%} on its held-out problems"
    )


def _heldout_repetition(stage: Stage) -> str:
    """Say that a stage gives one answer to its problems, if that was diagnosed and is still so."""
    shares = _column(stage, "heldout/one_answer")
    diagnosed = any(row.get("code") == "one_answer" for row in stage.diagnoses)
    if not (diagnosed and shares):
        return ""
    return f" {shares[-1]:.1%} of its answers to held-out problems are one and the same."


def _column(stage: Stage, key: str) -> list[float]:
    values = (number(row.get(key)) for row in stage.rows)
    return [value for value in values if value is not None]


# Cards


def cards(run: Run) -> str:
    """Return the most important metrics before and after; empty without an evaluation."""
    comparison = compare(run)
    if comparison is None:
        return ""
    # The heading is for screen readers: without it the cards would skip a level.
    heading = '<h2 class="unseen">Before and after</h2>'
    cards_html = "".join(_card(comparison, *card) for card in _CARDS)
    note = f"<b>{escape(comparison.domain)}</b> problems. Bars and ranges: 95 % intervals over n problems."
    if comparison.before == comparison.after:
        return f'{heading}<div class="cards">{cards_html}</div><p class="key">{code(comparison.after)} on {note}</p>'
    return (
        f'{heading}<div class="cards">{cards_html}</div><p class="key"><i class="dot before"></i>before: '
        f'{code(comparison.before)} <i class="dot after"></i>after: {code(comparison.after)}, on {note}</p>'
    )


def _card(comparison: "Comparison", pattern: str, title: str, explanation: str) -> str:
    # Of several, such as cons@4 and cons@16, the card shows the last in order.
    metrics = [m for m in comparison.metrics_after if re.fullmatch(pattern, m)]
    if not metrics:
        return ""
    metric = max(metrics, key=metric_order)
    after = comparison.metrics_after[metric]
    before = (
        comparison.metrics_before.get(metric) if comparison.before != comparison.after else None
    )
    old = f'<span class="old">{amount(metric, before.value)}</span> → ' if before else ""
    return (
        f'<div class="card"><h3>{escape(title.format(metric=metric))}{_difference(metric, before, after)}</h3>'
        f'<p class="big">{old}{amount(metric, after.value)}</p>{_bars(metric, before, after)}'
        f'<p class="ranges">{_ranges(metric, before, after)}</p>'
        f'<p class="help">{explanation}{_card_baseline(metric, comparison)}</p></div>'
    )


def _card_baseline(metric: str, comparison: "Comparison") -> str:
    """State the baseline on the cards of accuracy."""
    baseline = comparison.metrics_after.get("baseline")
    if baseline is None or not re.fullmatch(r"pass@1|cons@\d+", metric):
        return ""
    text = f"; always the most common gold answer: {amount(metric, baseline.value)}"
    repeated = comparison.metrics_after.get("one_answer")
    if repeated is not None and repeated.value > baseline.value + _REPEATS:
        text += f"; {amount(metric, repeated.value)} of the model's answers are one and the same"
    return text


def _difference(metric: str, before: Estimate | None, after: Estimate) -> str:
    """Return the change in percentage points for a share, and as a factor for the rest."""
    if before is None:
        return ""
    # Percent of a percentage would be ambiguous.
    if is_share(metric):
        points = f"{100 * (after.value - before.value):+.1f}".replace("-", "−")
        return f'<span class="delta">{points} points</span>'
    if not before.value:
        return ""
    return f'<span class="delta">× {plain(after.value / before.value)}</span>'


def _ranges(metric: str, before: Estimate | None, after: Estimate) -> str:
    estimates = [e for e in (before, after) if e is not None]
    ranges = [text for e in estimates if (text := interval(metric, e))]
    counts = {f"{e.n:,}" for e in estimates if e.n is not None}
    n = f" · n = {' and '.join(sorted(counts))}" if counts else ""
    return " → ".join(ranges) + n


def _bars(metric: str, before: Estimate | None, after: Estimate) -> str:
    """Draw one row per estimate, a dot with its interval, on a common scale that begins at 0."""
    estimates = [e for e in (before, after) if e is not None]
    # An interval may reach beyond both values.
    largest = max(max(e.value, e.high or 0.0) for e in estimates)
    # A share ends at 100 %; other scales end a little beyond the largest value.
    top = 1.0 if is_share(metric) else 1.08 * largest or 1.0
    rows = "".join(
        _bar(estimate, css_class, 8 + 14 * row, top)
        for row, (css_class, estimate) in enumerate((("before", before), ("after", after)))
        if estimate is not None
    )
    return f'<svg class="bars" viewBox="0 0 300 30" aria-hidden="true">{rows}</svg>'


def _bar(estimate: Estimate, css_class: str, y: int, top: float) -> str:
    # The drawing is 300 wide, with a margin of 5 for the dots at both ends.
    def x(value: float) -> str:
        return f"{5 + 290 * min(max(value / top, 0.0), 1.0):.1f}"

    low = estimate.value if estimate.low is None else estimate.low
    high = estimate.value if estimate.high is None else estimate.high
    return (
        f'<line class="rail" x1="5" x2="295" y1="{y}" y2="{y}"/><g class="{css_class}">'
        f'<line class="span" x1="{x(low)}" x2="{x(high)}" y1="{y}" y2="{y}"/>'
        f'<circle cx="{x(estimate.value)}" cy="{y}" r="4"/></g>'
    )


# The two evaluations that are compared

_PROBLEM_KEYS = ("problems", "whole_file")
"""Two evaluations with these settings equal, on the same number of problems, had the same problems."""
_SETTING_KEYS = ("template", "samples", "temperature", "top_p", "top_k", "max_tokens", "dtype")

Measurement = tuple[Mapping[str, Any], Metrics]
"""The settings of an evaluate stage, empty if unknown, and the metrics it found."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The first and the last checkpoint on one domain."""

    before: str
    after: str
    domain: str
    metrics_before: Metrics
    metrics_after: Metrics
    problems_differ: bool = False
    """True if the two were evaluated on different problems, so that no verdict is possible."""
    differing_settings: tuple[tuple[str, str, str], ...] = ()
    """Key, value before and value after of each setting that differs."""


def compare(run: Run) -> Comparison | None:
    """Return the first against the last checkpoint, on the first domain that both have; None without evaluation.

    Several stages may have evaluated a checkpoint, on other problems and with other settings, and the results
    keep the last one only. Of all pairs of evaluations, the one on the same problems with the fewest
    different settings is compared.
    """
    if not run.evaluations:
        return None
    # `NAME under TEMPLATE` is a second look at a checkpoint, whose measurements are listed with its others.
    by_stage = {name for stage in run.evaluate_stages for name in stage.evaluations}
    names = [name for name in run.evaluations if name in by_stage] or list(run.evaluations)
    # The recipe's [claims] table says which checkpoint is which model; without it, order decides.
    before = run.checkpoint_for("base") or names[0]
    after = run.checkpoint_for("r1", "dev3", "dev2", "dev1", "zero") or names[-1]
    first, last = run.evaluations[before], run.evaluations[after]
    # A mean over all domains says more than any single one.
    domain = next((d for d in ("all", "overall", *first) if d in first and d in last), None)
    if domain is None:
        return None
    pairs = [
        (_differences(earlier, later), earlier, later)
        for earlier in _measurements(run, before, domain)
        for later in _measurements(run, after, domain)
    ]
    # min() keeps the first of equals, and the last stage is listed first.
    (problems_differ, differing), (_, metrics_before), (_, metrics_after) = min(
        pairs, key=lambda pair: (pair[0][0], len(pair[0][1]))
    )
    return Comparison(
        before, after, domain, metrics_before, metrics_after, problems_differ, differing
    )


def _measurements(run: Run, checkpoint: str, domain: str) -> Iterator[Measurement]:
    """List the evaluations of a checkpoint on a domain, the last stage first.

    If no stage has its own file of them, there is just the one of results.json, with unknown settings.
    """
    measurements = [
        (stage.settings, stage.evaluations[checkpoint][domain])
        for stage in reversed(run.evaluate_stages)
        if domain in stage.evaluations.get(checkpoint, {})
    ]
    yield from measurements or [({}, run.evaluations[checkpoint][domain])]


def _differences(
    earlier: Measurement, later: Measurement
) -> tuple[bool, tuple[tuple[str, str, str], ...]]:
    """Tell whether the problems of two evaluations differ, and list the settings that do."""
    (before, metrics_before), (after, metrics_after) = earlier, later
    a, b = metrics_before.get("pass@1"), metrics_after.get("pass@1")
    counts_differ = a is not None and b is not None and a.n != b.n
    # Without settings, only the numbers of problems can be compared.
    if not (before and after):
        return counts_differ, ()
    sets_differ = any(_setting(before, key) != _setting(after, key) for key in _PROBLEM_KEYS)
    return counts_differ or sets_differ, tuple(
        (key, _setting(before, key), _setting(after, key))
        for key in _SETTING_KEYS
        if _setting(before, key) != _setting(after, key)
    )


def _setting(settings: Mapping[str, Any], key: str) -> str:
    value = settings.get(key)
    if key == "problems" and not isinstance(value, dict):
        return problem_set(value)
    return "default" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
