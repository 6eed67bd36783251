"""What a recipe will do, in prompts, groups, completions, optimizer steps, tokens, memory and time.

No torch. Tokens are upper limits where a stage may stop earlier. Memory counts weights, gradients, Adam's
two averages, the reference, a value model with all of these, reward models, the sampler's copy and its key-value cache,
all in 4 bytes, and leaves out activations. Time is arithmetic over this machine's own rate of matrix multiplication, and so an estimate
for a CPU; it says "about".
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dianoia.base.config import (
    DemonstrationsStage,
    EndpointSettings,
    EvaluateStage,
    ModelShape,
    PreferencesStage,
    PretrainStage,
    RewardModelStage,
    RLStage,
    SampleStage,
    SFTStage,
)
from dianoia.base.run import OLD
from dianoia.recipe.datasets import amounts, survey
from dianoia.recipe.inputs import check_inputs, check_preferences, model_config, text_config
from dianoia.recipe.model import Recipe, Stage, datasets, reward_models, sources
from dianoia.recipe.standing import Action, Todo
from dianoia.roles.preferences import Preferences, texts_of

_EFFICIENCY = 0.4
"""Share of the plain matrix rate that training and sampling reach on small models."""
_PROMPT_TOKENS = 80
"""Guess for a prompt where its length is not known without a tokenizer."""
_FILLED = 0.4
"""Guess for the share of max_tokens that a response fills."""
_CHARACTERS = 3
"""Guess for the characters of a token where there is no tokenizer."""
_BYTES = 4
_VALUE_COPIES = 4
"""A value model's weights, gradients and Adam's two averages."""


@dataclass(frozen=True, slots=True)
class Size:
    """What the arithmetic needs of a model."""

    parameters: int
    cache_per_token: int
    """Numbers in the key-value cache a token."""
    name: str


def print_plan(
    recipe: Recipe, console: Console, plan: Sequence[Todo] = (), place: Path | None = None
) -> None:
    """Check the recipe's inputs and print its arithmetic; with a plan, also what happens to each stage in `place`.

    Raises:
        ConfigError, ModelError, ProblemFileError: as `recipe.inputs.check_inputs`.
    """
    check_inputs(recipe)
    where = f" in {place}" if place else ""
    title = Text(f"{recipe.name} (seed {recipe.seed}){where}")
    table = Table(title=title, title_justify="left")
    table.add_column("stage", no_wrap=True)
    table.add_column("what it does", overflow="fold")  # a path must not lose its end
    table.add_column("memory", justify="right")
    table.add_column("time", justify="right")
    rate = multiply_rate()
    for name, stage in recipe.stages.items():
        size = size_of(name, recipe)
        what, operations, numbers = _arithmetic(name, recipe, size)
        costs = _bytes(numbers), _about(operations / rate)
        todo = next((todo for todo in plan if todo.name == name), None)
        if todo is not None:
            what = f"{todo.why}\n{what}"
            costs = costs if todo.works else ("", "")
        table.add_row(*map(Text, (f"{name} ({stage.kind})", what, *costs)))
    console.print(table)
    if place and any(todo.action is Action.AGAIN for todo in plan):
        console.print(
            f"What runs again begins from nothing; what is there now is kept in {place / 'stages' / OLD}.",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def size_of(name: str, recipe: Recipe) -> Size:
    """The size of the model a stage works on; of the largest one that it evaluates."""
    stage = recipe.stages[name]
    if isinstance(stage, PretrainStage):
        return _size(_as_config(stage.model, stage.vocabulary), name)
    if isinstance(stage, DemonstrationsStage):
        return Size(0, 0, "no model")
    found = [
        size_of(source, recipe)
        if source in recipe.stages
        else _size(text_config(model_config(f"stages.{name}", source)), source)
        for source in sources(stage)
    ]
    return max(found, key=lambda size: size.parameters)


def _judge_size(name: str, source: str, recipe: Recipe) -> Size:
    """The size of a reward model that stage `name` reads; its head is too small to count."""
    if source in recipe.stages:
        return replace(size_of(source, recipe), name=source)
    return _size(text_config(model_config(f"stages.{name}", source)), source)


def _as_config(shape: ModelShape, vocabulary: int) -> dict[str, Any]:
    return {
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "intermediate_size": shape.intermediate_size,
        "vocab_size": vocabulary,
        "tie_word_embeddings": True,
    }


def _size(config: dict[str, Any], name: str) -> Size:
    """Parameters of a dense decoder with gated feed-forward layers; norms are too small to count.

    Another architecture gets the same formula, and so a rough number.
    """
    hidden, layers = config.get("hidden_size", 0), config.get("num_hidden_layers", 0)
    heads = config.get("num_attention_heads", 1)
    kv_heads = config.get("num_key_value_heads") or heads
    head = config.get("head_dim") or hidden // heads
    attention = 2 * hidden * head * (heads + kv_heads)
    layer = attention + 3 * hidden * config.get("intermediate_size", 4 * hidden)
    tables = 1 if config.get("tie_word_embeddings") else 2
    parameters = layers * layer + tables * hidden * config.get("vocab_size", 0)
    return Size(parameters, 2 * layers * kv_heads * head, name)


def _arithmetic(name: str, recipe: Recipe, size: Size) -> tuple[str, float, float]:
    stage: Stage = recipe.stages[name]
    match stage:
        case PretrainStage():
            return _pretraining(stage, size)
        case SFTStage():
            return _supervision(stage, size, recipe)
        case RLStage():
            judges = {
                k: _judge_size(name, source, recipe) for k, source in reward_models(stage).items()
            }
            return _reinforcement(stage, size, judges)
        case SampleStage():
            return _sampling(stage, size)
        case DemonstrationsStage():
            return f"{stage.rows:,} demonstrations of {stage.source}; no model", 0.0, 0.0
        case PreferencesStage():
            return _preferences(stage, size)
        case RewardModelStage():
            return _reward_model(stage, check_preferences(name, stage, recipe), size, recipe)
        case EvaluateStage():
            return _evaluation(stage, size)


def _pretraining(stage: PretrainStage, size: Size) -> tuple[str, float, float]:
    steps = -(-stage.tokens // stage.tokens_per_step)
    what = (
        f"{size.parameters / 1e6:.2f} M parameters, {stage.tokens / 1e6:.1f} M tokens, about "
        f"{steps:,} optimizer steps of {stage.tokens_per_step:,} tokens"
    )
    return what, 6.0 * size.parameters * stage.tokens, 4.0 * size.parameters


def _supervision(stage: SFTStage, size: Size, recipe: Recipe) -> tuple[str, float, float]:
    found = survey(stage, recipe.stages)
    about = amounts(stage, found, recipe.seed)
    what = (
        f"from {size.name} ({size.parameters / 1e6:.2f} M parameters): {about.samples:,} samples x "
        f"{stage.epochs} epochs = {about.samples * stage.epochs:,}, {found.heldout:,} held out; about "
        f"{about.tokens:,} tokens in {about.rows:,} packed rows; about {about.steps:,} optimizer steps of at "
        f"most {stage.tokens_per_step:,} tokens"
    )
    made = [source for source in datasets(stage) if source in recipe.stages]
    if made:
        what += f"; besides, as many samples as {' and '.join(made)} will write"
    return what, 6.0 * size.parameters * about.tokens, 4.0 * size.parameters


def _reinforcement(
    stage: RLStage, size: Size, judges: Mapping[str, Size]
) -> tuple[str, float, float]:
    rollouts, each = stage.rollouts, stage.rollout_size
    completions, longest = rollouts * each, stage.sampling.most_tokens
    algorithm, curve = stage.algorithm, _curve_completions(stage)
    rounds = 1 + (algorithm.dynamic_rounds if algorithm.dynamic_sampling else 0)
    what = (
        f"from {size.name} ({size.parameters / 1e6:.2f} M parameters): {rollouts:,} rollouts of "
        f"{stage.problems_per_rollout:,} prompts x {stage.group_size} samples = {each:,} completions; "
        f"{completions:,} completions in {rollouts * stage.problems_per_rollout:,} groups; "
        f"{stage.steps:,} optimizer steps of {each // stage.minibatches:,} completions; {curve:,} more "
        f"completions for the held-out curve; at most {(completions * rounds + curve) * longest:,} "
        f"sampled tokens ({longest:,} a completion){_value_model(stage, size)}"
        f"{_scenarios(stage, judges)}"
    )
    sampled = (completions + curve) * longest * _FILLED
    reference = algorithm.kl_coefficient > 0
    trained = (
        completions * longest * _FILLED + rollouts * stage.problems_per_rollout * _PROMPT_TOKENS
    )
    # forward 2 operations a parameter and token, backward 4; a value model runs once more for its values
    passes = 6 + 2 * reference + 8 * (algorithm.name == "ppo")
    operations = size.parameters * (2 * sampled + passes * trained) + _judging(stage, judges)
    copies = 5 + reference + _VALUE_COPIES * (algorithm.name == "ppo")
    cache = stage.sampling.slots * (longest + _PROMPT_TOKENS) * size.cache_per_token
    held = sum(judge.parameters for judge in judges.values())
    return what, operations, copies * size.parameters + held + cache


def _value_model(stage: RLStage, size: Size) -> str:
    """What PPO needs besides; the head is too small to count."""
    if stage.algorithm.name != "ppo":
        return ""
    memory = _bytes(_VALUE_COPIES * size.parameters)
    return f"; beside it a value model of {size.parameters / 1e6:.2f} M parameters, {memory} with its optimizer"


def _scenarios(stage: RLStage, judges: Mapping[str, Size]) -> str:
    """From when general prompts come in, how many, and what scores them."""
    chosen = stage.preferences
    if chosen is None:
        return ""
    general = chosen.general(stage.problems_per_rollout)
    told = " and ".join(f"{count:,} {name}" for name, count in general.items() if count)
    models = ", ".join(
        f"{name} model {judge.name} ({judge.parameters / 1e6:.2f} M parameters, {_bytes(judge.parameters)})"
        for name, judge in judges.items()
    )
    return (
        f"; from step {_general_from(stage):,} on {sum(general.values()):,} of {stage.problems_per_rollout:,} prompts "
        f"are general ({told}), {_general_rollouts(stage) * sum(general.values()) * stage.group_size:,} completions "
        f"in all, scored by the {models}"
    )


def _general_from(stage: RLStage) -> int:
    """The step at which the first rollout with general prompts begins."""
    assert stage.preferences is not None, "asked for a stage with preferences"
    return -(-stage.preferences.from_step // stage.minibatches) * stage.minibatches


def _general_rollouts(stage: RLStage) -> int:
    return stage.rollouts - _general_from(stage) // stage.minibatches


def _judging(stage: RLStage, judges: Mapping[str, Size]) -> float:
    """Operations of reward models: one pass over every general completion and its prompt."""
    if stage.preferences is None:
        return 0.0
    general = stage.preferences.general(stage.problems_per_rollout)
    tokens = stage.sampling.most_tokens * _FILLED + _PROMPT_TOKENS
    held = _points(stage) * stage.progress.problems * stage.progress.samples
    counts = {n: _general_rollouts(stage) * c * stage.group_size for n, c in general.items()}
    return sum(2.0 * one.parameters * tokens * (counts[n] + held) for n, one in judges.items())


def _points(stage: RLStage) -> int:
    """Points of the held-out curve."""
    return 1 + -(-stage.steps // stage.progress.every)


def _curve_completions(stage: RLStage) -> int:
    """Of all points; each general set has a curve of its own."""
    sets = 1 + len(reward_models(stage))
    return _points(stage) * stage.progress.problems * stage.progress.samples * sets


def _sampling(stage: SampleStage, size: Size) -> tuple[str, float, float]:
    completions, longest = stage.prompts * stage.samples, stage.sampling.max_tokens
    kept = stage.prompts * min(stage.samples, stage.most_per_problem)
    what = (
        f"from {size.name} ({size.parameters / 1e6:.2f} M parameters): at most {stage.prompts:,} problems x "
        f"{stage.samples} samples = {completions:,} completions, of which at most {kept:,} are kept; at most "
        f"{completions * longest:,} sampled tokens ({longest:,} a completion)"
    )
    for task, most, model in (
        ("grade", completions, stage.judge),
        ("rewrite", kept, stage.rewriter),
    ):
        if isinstance(model, EndpointSettings):
            what += f"; at most {most:,} requests to {model.model} to {task}"
    operations = 2 * size.parameters * completions * longest * _FILLED
    cache = stage.sampling.slots * (longest + _PROMPT_TOKENS) * size.cache_per_token
    return what, operations, 2 * size.parameters + cache


def _preferences(stage: PreferencesStage, size: Size) -> tuple[str, float, float]:
    completions, longest = stage.prompts * stage.responses_per_problem, stage.sampling.max_tokens
    pairwise = stage.objective == "pairwise"
    rows = f"{stage.most_rows:,} {'pairs' if pairwise else 'labelled responses'}"
    verdicts = stage.most_rows * (stage.judgements if pairwise else 1)
    what = (
        f"from {' and '.join(stage.starts)} (at most {size.parameters / 1e6:.2f} M parameters): at most "
        f"{stage.prompts:,} problems x {stage.samples} samples x {len(stage.starts)} checkpoints = {completions:,} "
        f"responses; at most {rows} with {verdicts:,} verdicts; at most {completions * longest:,} sampled tokens "
        f"({longest:,} a response)"
    )
    if isinstance(stage.judge, EndpointSettings):
        what += f"; at most {verdicts:,} requests to {stage.judge.model} to judge"
    operations = 2 * size.parameters * completions * longest * _FILLED
    cache = stage.sampling.slots * (longest + _PROMPT_TOKENS) * size.cache_per_token
    return what, operations, 2 * size.parameters + cache


def _reward_model(
    stage: RewardModelStage, found: Preferences, size: Size, recipe: Recipe
) -> tuple[str, float, float]:
    made = {s: recipe.stages[s] for s in datasets(stage) if s in recipe.stages}
    coming = [judged for judged in made.values() if isinstance(judged, PreferencesStage)]
    more = sum(judged.most_rows for judged in coming)
    count, texts = len(found.train) + more, 2 if stage.objective == "pairwise" else 1
    noun = "pairs" if stage.objective == "pairwise" else "labelled responses"
    held = f"and {len(found.heldout):,} held out, of {found.rows:,} rows"
    if made:
        held = f"or hold out, {more:,} of them from {' and '.join(made)}"
    what = (
        f"from {size.name} ({size.parameters / 1e6:.2f} M parameters): at most {count:,} {noun} to learn "
        f"from {held}; {'at most ' if made else ''}{stage.steps(count):,} optimizer steps "
        f"of {min(count, stage.samples_per_step):,} {noun} in {stage.epochs} "
        f"epoch{'s' if stage.epochs > 1 else ''}; texts of at most {stage.max_length:,} tokens"
    )
    characters = sum(len(text) for example in found.train for text in texts_of(example))
    tokens = characters / _CHARACTERS + count * texts * _PROMPT_TOKENS
    tokens += sum(j.most_rows * texts * j.sampling.max_tokens * _FILLED for j in coming)
    return what, 6.0 * size.parameters * tokens * stage.epochs, 4.0 * size.parameters


def _evaluation(stage: EvaluateStage, size: Size) -> tuple[str, float, float]:
    completions = len(stage.checkpoints) * stage.limit * stage.samples
    what = (
        f"{len(stage.checkpoints)} checkpoints x at most {stage.limit} problems x {stage.samples} "
        f"samples = {completions:,} completions; at most {completions * stage.max_tokens:,} sampled "
        f"tokens ({stage.max_tokens:,} a completion)"
    )
    operations = 2 * size.parameters * completions * stage.max_tokens * _FILLED
    cache = stage.slots * (stage.max_tokens + _PROMPT_TOKENS) * size.cache_per_token
    return what, operations, 2 * size.parameters + cache


def multiply_rate() -> float:
    """Operations a second that training may expect of this machine's CPU, by a short measurement."""
    a, b = np.ones((1024, 256), np.float32), np.ones((256, 512), np.float32)
    a @ b
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return _EFFICIENCY * 2 * a.shape[0] * a.shape[1] * b.shape[1] / best


def _bytes(numbers: float) -> str:
    size = numbers * _BYTES
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _about(seconds: float) -> str:
    for limit, divisor, unit in ((90, 1, "s"), (5400, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"about {max(1, round(seconds / divisor))} {unit}"
    return f"about {seconds / 86_400:,.0f} days on this CPU"
