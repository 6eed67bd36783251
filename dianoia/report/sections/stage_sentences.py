"""One sentence per stage: what it does, with which settings, and how far it is.

In: a `Stage`. Out: HTML. Not here: results.
"""

import re
from collections.abc import Mapping
from typing import Any

from dianoia.report.html_values import code, duration, escape, plural, problem_set
from dianoia.report.run_reader import Run, Stage, number


def sentences(run: Run) -> str:
    """Return a list with one sentence per stage."""
    items = "".join(f"<li>{sentence(stage)}</li>" for stage in run.stages)
    return f'<ul class="facts">{items}</ul>'


def sentence(stage: Stage) -> str:
    """Return what a stage does and its state, in a sentence."""
    describe = _DESCRIPTIONS.get(stage.kind)
    body = describe(stage.settings) if describe else f"is a stage of kind {code(stage.kind)}."
    return f"<b>{escape(stage.name)}</b> {body}{_state(stage)}"


def _state(stage: Stage) -> str:
    if stage.stale:
        return ' <span class="warn">Out of date: something it was made from has changed.</span>'
    if stage.done:
        return f" It took {duration(stage.seconds)}." if stage.seconds else ""
    if not stage.started:
        return ' <span class="warn">Not started.</span>'
    state = "Failed" if stage.failure else "Not finished"
    return f' <span class="warn">{state}{after_step(stage)}.</span>'


def after_step(stage: Stage) -> str:
    """Return how far a stage came, as the end of a sentence; empty if it took no step."""
    return "" if stage.last_step is None else f" after step {stage.last_step}"


def _rl(settings: Mapping[str, Any]) -> str:
    algorithm = (settings.get("algorithm") or {}).get("name", "grpo")
    return (
        f"trains {code(settings.get('start', '?'))} by reinforcement learning "
        f"({escape(algorithm.upper().replace('_', ' '))}) on {code(problem_set(settings.get('problems', '?')))}: "
        f"{_batch(settings)}, reward = {_reward(settings)}{_preferences(settings)}."
    )


def _preferences(settings: Mapping[str, Any]) -> str:
    """Describe the reward models and their prompts; empty without reward models."""
    preferences = settings.get("preferences") or {}
    prompt_keys = (("helpful", "problems"), ("safety", "safety_problems"))
    models = " and ".join(
        f"{code(preferences[model])} on {code(problem_set(preferences.get(key, '?')))} ({model})"
        for model, key in prompt_keys
        if preferences.get(model)
    )
    if not models:
        return ""
    first_step, share = number(preferences.get("from_step")), number(preferences.get("share"))
    return (
        f"; from step {first_step or 0:,.0f} on, {share or 0:.0%} of the prompts are general ones, "
        f"scored by {models}"
    )


def _batch(settings: Mapping[str, Any]) -> str:
    steps, group = number(settings.get("steps")), number(settings.get("group_size"))
    problems = number(settings.get("problems_per_rollout"))
    if steps is None:
        return "number of steps unknown"
    text = f"{steps:,.0f} optimizer steps"
    if group is None or problems is None:
        return text
    # The problems of a rollout are split evenly over its minibatches, one optimizer step each.
    per_step = problems / (number(settings.get("minibatches")) or 1.0)
    return f"{text} of {per_step:,g} problems × {group:g} samples"


def _reward(settings: Mapping[str, Any]) -> str:
    """Describe the parts of the reward that have a weight; the paper's two if the recipe names none."""
    terms = [
        escape(name) if weight == 1 else f"{weight:g} × {escape(name)}"
        for name, weight in _rule_weights(settings).items()
    ]
    return " + ".join(terms) or "nothing"


def reward_weights(settings: Mapping[str, Any]) -> dict[str, float]:
    """Return the weight of each part of an rl stage's reward by name, those of its reward models included."""
    preferences = settings.get("preferences") or {}
    general = {
        part: number(preferences.get(f"{part}_weight", 1.0))
        for part in ("helpful", "safety")
        if preferences.get(part)
    }
    return _rule_weights(settings) | {part: weight for part, weight in general.items() if weight}


def _rule_weights(settings: Mapping[str, Any]) -> dict[str, float]:
    # An older run may have no [rewards] table: then it used the paper's two.
    rewards = settings.get("rewards") or {"accuracy": 1.0, "format": 1.0}
    # The paper's rules come first, in its order; a weight of 0 or None is no part of the sum.
    rules = ("accuracy", "format", "language", "random")
    weights = {rule: number(rewards.get(rule)) for rule in rules}
    weights |= _additional_weights(rewards)
    return {name: weight for name, weight in weights.items() if weight}


def _additional_weights(rewards: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the weights of the parts that the paper does not have, by name."""
    tables = {name: rewards.get(name) or {} for name in ("repetition", "cosine", "tags", "judge")}
    weights = {name: number(table.get("weight")) for name, table in tables.items()}
    for part in [*(rewards.get("functions") or ()), *(rewards.get("models") or ())]:
        # A part without a name is called by the last piece of its path: `rewards.py:brevity` is "brevity".
        name = part.get("name") or re.split(r"[.:]", str(part.get("path", "?")))[-1]
        weights[name] = number(part.get("weight"))
    return weights


def _pretrain(settings: Mapping[str, Any]) -> str:
    tokens = number(settings.get("tokens"))
    size = f" on {tokens:,.0f} tokens" if tokens else ""
    return f"trains a base model from scratch{size} of {code(settings.get('corpus', '?'))}."


def _sft(settings: Mapping[str, Any]) -> str:
    paths = [d.get("path", "?") for d in settings.get("datasets") or () if isinstance(d, dict)]
    epochs = number(settings.get("epochs"))
    epochs_text = f" for {plural(int(epochs), 'epoch', 'epochs')}" if epochs else ""
    return (
        f"fine-tunes {code(settings.get('start', '?'))} on the responses of "
        f"{', '.join(code(str(path)) for path in paths) or '?'}{epochs_text}."
    )


def _evaluate(settings: Mapping[str, Any]) -> str:
    names = ", ".join(code(name) for name in settings.get("checkpoints") or ())
    limit, samples = number(settings.get("limit")), number(settings.get("samples"))
    size = (
        f": at most {limit:,.0f} problems with {plural(int(samples), 'sample', 'samples')} each"
        if limit and samples
        else ""
    )
    return (
        f"evaluates {names} on held-out {code(problem_set(settings.get('problems', '?')))}{size}."
    )


def _sample(settings: Mapping[str, Any]) -> str:
    return (
        f"samples {code(settings.get('start', '?'))} on {code(problem_set(settings.get('problems', '?')))}"
        f"{_prompts(settings)}, and keeps the samples that pass its filters."
    )


def _preference_data(settings: Mapping[str, Any]) -> str:
    names = " and ".join(code(name) for name in settings.get("starts") or ())
    unit = "pairs" if settings.get("objective") == "pairwise" else "labels"
    return (
        f"samples {names or '?'} on {code(problem_set(settings.get('problems', '?')))}{_prompts(settings)}, and "
        f"makes preference {unit} of the responses."
    )


def _prompts(settings: Mapping[str, Any]) -> str:
    prompts, samples = number(settings.get("prompts")), number(settings.get("samples"))
    if not prompts or not samples:
        return ""
    return f", {prompts:,.0f} prompts with {plural(int(samples), 'sample', 'samples')} each"


def _demonstrations(settings: Mapping[str, Any]) -> str:
    rows = number(settings.get("rows"))
    count = f"{rows:,.0f} demonstrations" if rows else "demonstrations"
    return f"writes {count} of {code(settings.get('source', '?'))}."


def _reward_model(settings: Mapping[str, Any]) -> str:
    files = ", ".join(code(name) for name in settings.get("data") or ())
    return f"trains a reward model on {files or '?'}, starting from {code(settings.get('start', '?'))}."


_DESCRIPTIONS = {
    "rl": _rl,
    "sft": _sft,
    "pretrain": _pretrain,
    "sample": _sample,
    "demonstrations": _demonstrations,
    "preferences": _preference_data,
    "reward_model": _reward_model,
    "evaluate": _evaluate,
}
