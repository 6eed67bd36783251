"""The top of the page: what was trained, from what, on what, and whether it worked.

In: a `Run`. Out: HTML. "Before" is the first checkpoint that was evaluated, "after" the last; what they are compared
by stands in `report.sections.headline_pair`. Left out: judgement beyond the intervals; "clearly" means that the two intervals of
pass@1 do not overlap, and "rose" that the lower end is above the baseline, the commonest gold answer given always.
"""

import re
from collections.abc import Mapping
from typing import Any

from dianoia.report.html_values import (
    amount,
    code,
    duration,
    escape,
    interval,
    is_share,
    plain,
    problem_set,
)
from dianoia.report.run_reader import Estimate, Run, Stage, metric_order, number
from dianoia.report.sections import claim_table as claims
from dianoia.report.sections.headline_pair import Comparison, compare

FEW = 5
"""At most so many stages are told at the top of the page."""
_CARDS = (
    ("pass@1", "Held-out pass@1", "one sample is right"),
    (r"cons@\d+", "Held-out {key}", "the samples' majority vote is right"),
    ("format", "Format", "responses that keep the template"),
    ("thought_tokens", "Thought length", "tokens of a thought"),
    ("reflection", "Reflection", "words such as “wait” or “check” per thought"),
    ("target_language", "Language", "share of words in the question's language"),
)


def header(run: Run) -> str:
    """Title, facts, verdict."""
    recipe = run.recipe
    seed = run.about.get("seed", recipe.get("seed", "unknown"))
    whole = all(stage.done and not stage.stale for stage in run.stages)
    seconds = run.seconds if whole and run.seconds is not None else _so_far(run)
    facts = [f"seed {escape(seed)}", duration(seconds) + ("" if whole else " so far")]
    if not whole:
        facts.append("not finished")
    description = recipe.get("description") or ""
    return (
        f'<p class="kicker">Dianoia training report · {" · ".join(facts)}</p>'
        f"<h1>{escape(recipe.get('name', run.path.name))}</h1>"
        f'<p class="description">{escape(description)}</p>'
        f'<p class="lede">{verdict(run)}</p>{claims.headline(run)}'
        + (facts_of(run) if len(run.stages) <= FEW else "")
    )


def facts_of(run: Run) -> str:
    """A sentence a stage."""
    return f'<ul class="facts">{"".join(f"<li>{told(stage)}</li>" for stage in run.stages)}</ul>'


def _so_far(run: Run) -> float | None:
    known = [stage.seconds for stage in run.stages if stage.seconds is not None]
    unfinished = [s for stage in run.stages if stage.seconds is None for s in _step_seconds(stage)]
    return sum(known) + sum(unfinished) if known or unfinished else None


def _step_seconds(stage: Stage) -> list[float]:
    values = (number(row.get("step_seconds")) for row in stage.rows)
    return [value for value in values if value is not None]


def verdict(run: Run) -> str:
    """One or two sentences: did it work?"""
    warned = sum(len(stage.diagnoses) for stage in run.stages)
    link = f' <a href="#diagnoses">{_plural(warned, "diagnosis", "diagnoses")}</a> to read.'
    return _outcome(run) + (link if warned else "")


def _outcome(run: Run) -> str:
    found = compare(run)
    if found is None:
        return _progress(run)
    a, b = found.metrics_before.get("pass@1"), found.metrics_after.get("pass@1")
    if a is None or b is None or found.before == found.after:
        return f"Only {code(found.after)} was evaluated, so there is no before and after."
    if found.problems_differ:
        return (
            f"<strong>No verdict: the two were not measured on the same problems.</strong> {code(found.before)} has "
            f"{_measured(a)} {code(found.after)} {_measured(b)} Name both in one evaluate stage, and run it."
        )
    about = (
        f"{escape(found.domain)} problems" if len(run.evaluations[found.after]) > 1 else "problems"
    )
    n = f"{b.n:,} held-out {about}" if b.n else f"held-out {about}"
    baseline = found.metrics_after.get("baseline")
    return (
        f"<strong>{_change(a, b, baseline)}</strong> From {code(found.before)} to {code(found.after)}, pass@1 on {n} "
        f"went from {amount('pass@1', a.value)} to {amount('pass@1', b.value)}{_beside(baseline)}."
        f"{_longer(found)}{_settings(found)}"
    )


def _measured(estimate: Estimate) -> str:
    return f"{amount('pass@1', estimate.value)}, on {estimate.n or 0:,} problems."


def _beside(baseline: Estimate | None) -> str:
    if baseline is None:
        return ""
    return (
        f"; always giving the commonest gold answer would have {amount('pass@1', baseline.value)}"
    )


def _settings(found: Comparison) -> str:
    """How the two were measured differently."""
    named = "; ".join(
        f"{escape(key)} {code(before)} and {code(after)}" for key, before, after in found.differing
    )
    return f" They were measured with different settings: {named}." if named else ""


def _change(before: Estimate, after: Estimate, baseline: Estimate | None) -> str:
    if None in (before.low, before.high, after.low, after.high):
        return "No intervals, so no verdict."
    if (after.low or 0.0) > (before.high or 0.0):
        if baseline is not None and (after.low or 0.0) <= baseline.value:
            return "Accuracy rose, but not clearly above giving one answer to everything."
        return "Accuracy rose clearly."
    if (after.high or 0.0) < (before.low or 0.0):
        return "Accuracy fell clearly."
    return "No clear change in accuracy."


def _longer(found: Comparison) -> str:
    a, b = found.metrics_before.get("thought_tokens"), found.metrics_after.get("thought_tokens")
    if a is None or b is None or a.value <= 0 or plain(a.value) == plain(b.value):
        return ""
    verb = "grew" if b.value > a.value else "shrank"
    return f" Thoughts {verb} from {plain(a.value)} to {plain(b.value)} tokens."


def _progress(run: Run) -> str:
    """What can be said without an evaluation."""
    for stage in reversed(run.of_kind("rl")):
        values = [number(row.get("rewards/accuracy/mean")) for row in stage.rows]
        known = [value for value in values if value is not None]
        if known:
            return (
                "<strong>No evaluation yet.</strong> On its training problems "
                f"{code(stage.name)} went from {known[0]:.1%} right to {known[-1]:.1%} "
                f"by step {stage.last_step}{_of_its_curve(stage)}."
            )
    return "<strong>Nothing to judge yet.</strong> No stage has written metrics or an evaluation."


def _of_its_curve(stage: Stage) -> str:
    """The baseline of a stage's held-out problems."""
    values = [number(row.get("heldout/baseline")) for row in stage.rows]
    known = [value for value in values if value is not None]
    if not known:
        return ""
    return (
        f"; always giving the commonest gold answer would have {known[-1]:.1%} of its held-out ones"
    )


def told(stage: Stage) -> str:
    """A stage in a sentence."""
    tell = _TOLD.get(stage.kind)
    body = tell(stage.settings) if tell else f"a stage of kind {code(stage.kind)}"
    return f"<b>{escape(stage.name)}</b> {body}{_state(stage)}"


def _state(stage: Stage) -> str:
    if stage.stale:
        return (
            ' <span class="warn">out of date: something it was made from has changed since</span>'
        )
    if stage.done:
        return f" Took {duration(stage.seconds)}." if stage.seconds else ""
    if not stage.started:
        return ' <span class="warn">not started</span>'
    at = "" if stage.last_step is None else f" after step {stage.last_step}"
    return f' <span class="warn">not finished{at}</span>'


def _rl(settings: Mapping[str, Any]) -> str:
    algorithm = (settings.get("algorithm") or {}).get("name", "grpo")
    return (
        f"trains {code(settings.get('start', '?'))} by reinforcement learning "
        f"({escape(algorithm.upper().replace('_', ' '))}) on {code(problem_set(settings.get('problems', '?')))}: "
        f"{_batch(settings)}, reward = {_reward(settings)}{_preferences(settings)}."
    )


def _preferences(settings: Mapping[str, Any]) -> str:
    """The reward models and their prompts, if there are any."""
    chosen = settings.get("preferences") or {}
    named = (("helpful", "problems"), ("safety", "safety_problems"))
    models = " and ".join(
        f"{code(chosen[model])} on {code(problem_set(chosen.get(problems, '?')))} ({model})"
        for model, problems in named
        if chosen.get(model)
    )
    first, share = number(chosen.get("from_step")) or 0, number(chosen.get("share")) or 0
    return (
        f"; from step {first:,.0f} on {share:.0%} general prompts, scored by {models}"
        if models
        else ""
    )


def _batch(settings: Mapping[str, Any]) -> str:
    steps, group = number(settings.get("steps")), number(settings.get("group_size"))
    problems = number(settings.get("problems_per_rollout"))
    if steps is None:
        return "number of steps unknown"
    told = f"{steps:,.0f} optimizer steps"
    if group is None or problems is None:
        return told
    per_step = problems / (number(settings.get("minibatches")) or 1.0)
    return f"{told} of {per_step:,g} problems × {group:g} samples"


def _reward(settings: Mapping[str, Any]) -> str:
    """The rules with a weight; the two of the paper if the recipe names none."""
    rules = settings.get("rewards") or {"accuracy": 1.0, "format": 1.0}
    named = ("accuracy", "format", "language", "random")
    weights = {rule: number(rules.get(rule)) for rule in named}
    weights |= _further(rules)
    told = [
        escape(rule) if weight == 1 else f"{weight:g} × {escape(rule)}"
        for rule, weight in weights.items()
        if weight
    ]
    return " + ".join(told) or "nothing"


def _further(rewards: Mapping[str, Any]) -> dict[str, float | None]:
    """Weights of the parts beside the paper's, by name."""
    tables = {name: rewards.get(name) or {} for name in ("repetition", "cosine", "tags", "judge")}
    found = {name: number(table.get("weight")) for name, table in tables.items()}
    for one in [*(rewards.get("functions") or ()), *(rewards.get("models") or ())]:
        name = one.get("name") or re.split(r"[.:]", str(one.get("path", "?")))[-1]
        found[name] = number(one.get("weight"))
    return found


def _pretrain(settings: Mapping[str, Any]) -> str:
    tokens = number(settings.get("tokens"))
    size = f" on {tokens:,.0f} tokens" if tokens else ""
    return f"trains a base model from nothing{size} of {code(settings.get('corpus', '?'))}."


def _sft(settings: Mapping[str, Any]) -> str:
    named = [d.get("path", "?") for d in settings.get("datasets") or () if isinstance(d, dict)]
    epochs = number(settings.get("epochs"))
    times = f", {_plural(int(epochs), 'epoch', 'epochs')}" if epochs else ""
    return (
        f"teaches {code(settings.get('start', '?'))} to write the responses of "
        f"{', '.join(code(str(name)) for name in named) or '?'}{times}."
    )


def _evaluate(settings: Mapping[str, Any]) -> str:
    names = ", ".join(code(name) for name in settings.get("checkpoints") or ())
    limit, samples = number(settings.get("limit")), number(settings.get("samples"))
    size = f": {limit:,.0f} problems at most, {samples:g} samples each" if limit and samples else ""
    return f"measures {names} on held-out {code(problem_set(settings.get('problems', '?')))}{size}."


def _sample(settings: Mapping[str, Any]) -> str:
    prompts, samples = number(settings.get("prompts")), number(settings.get("samples"))
    size = f", {prompts:,.0f} of them, {samples:g} samples each" if prompts and samples else ""
    return (
        f"samples {code(settings.get('start', '?'))} on {code(problem_set(settings.get('problems', '?')))}{size}, and keeps "
        "what passes."
    )


def _reward_model(settings: Mapping[str, Any]) -> str:
    files = ", ".join(code(name) for name in settings.get("data") or ())
    return f"makes a reward model of {code(settings.get('start', '?'))} from {files or '?'}."


_TOLD = {
    "rl": _rl,
    "sft": _sft,
    "pretrain": _pretrain,
    "sample": _sample,
    "reward_model": _reward_model,
    "evaluate": _evaluate,
}


def _plural(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def cards(run: Run) -> str:
    """The headline numbers, before and after; empty without evaluation."""
    found = compare(run)
    if found is None:
        return ""
    drawn = "".join(_card(found, *card) for card in _CARDS)
    bars = f"<b>{escape(found.domain)}</b> problems. Bars and ranges: 95 % intervals over the n problems."
    if found.before == found.after:
        return f'<div class="cards">{drawn}</div><p class="key">{code(found.after)} on {bars}</p>'
    return (
        f'<div class="cards">{drawn}</div><p class="key"><i class="dot before"></i>before: '
        f'{code(found.before)} <i class="dot after"></i>after: {code(found.after)}, on {bars}</p>'
    )


def _card(found: Comparison, rule: str, label: str, help_: str) -> str:
    keys = sorted((k for k in found.metrics_after if re.fullmatch(rule, k)), key=metric_order)
    if not keys:
        return ""
    key = keys[-1]
    after = found.metrics_after[key]
    before = found.metrics_before.get(key) if found.before != found.after else None
    old = f'<span class="old">{amount(key, before.value)}</span> → ' if before else ""
    return (
        f'<div class="card"><h3>{escape(label.format(key=key))}{_growth(key, before, after)}</h3>'
        f'<p class="big">{old}{amount(key, after.value)}</p>{_bars(key, before, after)}'
        f'<p class="ranges">{_ranges(key, before, after)}</p><p class="help">{help_}{_worth(key, found)}</p></div>'
    )


def _worth(key: str, found: Comparison) -> str:
    """The baseline beside the accuracies."""
    baseline = found.metrics_after.get("baseline")
    if baseline is None or not re.fullmatch(r"pass@1|cons@\d+", key):
        return ""
    return f"; always the commonest gold answer: {amount(key, baseline.value)}"


def _growth(key: str, before: Estimate | None, after: Estimate) -> str:
    if before is None:
        return ""
    if is_share(key):
        return f'<span class="delta">{_signed(100 * (after.value - before.value))} points</span>'
    return (
        f'<span class="delta">× {plain(after.value / before.value)}</span>' if before.value else ""
    )


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def _ranges(key: str, before: Estimate | None, after: Estimate) -> str:
    both = [interval(key, e) for e in (before, after) if e is not None and interval(key, e)]
    counts = {f"{e.n:,}" for e in (before, after) if e is not None and e.n is not None}
    n = f" · n = {' and '.join(sorted(counts))}" if counts else ""
    return " → ".join(both) + n


def _bars(key: str, before: Estimate | None, after: Estimate) -> str:
    """Two rows, each a dot with its interval, on one scale that begins at 0."""
    both = [e for e in (before, after) if e is not None]
    top = 1.0 if is_share(key) else 1.08 * max(max(e.value, e.high or 0.0) for e in both) or 1.0
    rows = "".join(
        _bar(estimate, kind, 8 + 14 * row, top)
        for row, (kind, estimate) in enumerate((("before", before), ("after", after)))
        if estimate is not None
    )
    return f'<svg class="bars" viewBox="0 0 300 30" aria-hidden="true">{rows}</svg>'


def _bar(estimate: Estimate, kind: str, y: int, top: float) -> str:
    def x(value: float) -> str:
        return f"{5 + 290 * min(max(value / top, 0.0), 1.0):.1f}"

    low = estimate.value if estimate.low is None else estimate.low
    high = estimate.value if estimate.high is None else estimate.high
    return (
        f'<line class="rail" x1="5" x2="295" y1="{y}" y2="{y}"/><g class="{kind}">'
        f'<line class="span" x1="{x(low)}" x2="{x(high)}" y1="{y}" y2="{y}"/>'
        f'<circle cx="{x(estimate.value)}" cy="{y}" r="4"/></g>'
    )
