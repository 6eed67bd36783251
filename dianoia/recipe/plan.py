"""What a recipe will do, in prompts, groups, completions, optimizer steps, tokens, memory and time.

No torch. Tokens are upper limits where a stage may stop earlier. Memory (`recipe.memory`) is that of the phase
that needs most, and is held against what this machine has; time (`recipe.work`) is an estimate; it says "about".
What is not here yet does not stop a plan: it is listed at the end, and would stop a run.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from dianoia.base.config import (
    EndpointSettings,
    EvaluateStage,
    PretrainStage,
    RewardModelStage,
    RLStage,
    SampleStage,
    SFTStage,
)
from dianoia.base.limits import EVALUATED_AT_ONCE
from dianoia.recipe.advice import changes
from dianoia.recipe.datasets import amounts, survey
from dianoia.recipe.inputs import check_inputs, check_preferences
from dianoia.recipe.memory import PROMPT_TOKENS, Phase, peak
from dianoia.recipe.missing import absent, still_missing
from dianoia.recipe.model import Recipe, Stage, datasets
from dianoia.recipe.sizes import Size, size_of
from dianoia.recipe.work import FILLED, Work, drawing, learning, seconds
from dianoia.roles.preferences import texts_of
from dianoia.runtime.machine import Machine, this_machine

__all__ = ["print_plan", "size_of"]

_CHARACTERS = 3
"""Guess for the characters of a token where there is no tokenizer."""
_LEARN = 3.0
"""Passes of a step: forward, and backward, which is two."""
_TIGHT = 0.9
"""Share of a machine's memory above which an estimate is too close to it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A stage's line of the plan."""

    what: str
    work: Sequence[Work]
    longest: int | None = None
    """Tokens of the longest text that is learnt from, where the data says."""
    unit: str = ""
    """What the time is for, where the whole is not known yet."""


def print_plan(recipe: Recipe, console: Console) -> None:
    """Check the recipe's inputs and print its arithmetic.

    Raises:
        ConfigError, ModelError, ProblemFileError, SandboxError: as `recipe.inputs.check_inputs` of a plan.
    """
    check_inputs(recipe, planned=True)
    machine = this_machine(recipe.threads)
    table = Table(title=f"{recipe.name} (seed {recipe.seed})", title_justify="left")
    table.add_column("stage", no_wrap=True)
    table.add_column("what it does")
    table.add_column("memory", justify="right")
    table.add_column("time", justify="right")
    details = []
    for name, stage in recipe.stages.items():
        size = size_of(name, recipe)
        entry = _entry(name, recipe, size)
        phase = peak(stage, size, machine, entry.longest)
        spent = _about(sum(seconds(work, machine) for work in entry.work)) + entry.unit
        table.add_row(f"{name} ({stage.kind})", entry.what, _bytes(phase.bytes), spent)
        details.append(_memory(name, phase))
        details += _fit(name, stage, size, machine, phase, entry.longest)
    console.print(table)
    console.print("\n".join([f"Time and memory for {machine.name}{_of(machine)}.", *details]))
    for line in still_missing(recipe):
        console.print(
            f"Still missing, and a run would stop before it began: {line}", highlight=False
        )


def _of(machine: Machine) -> str:
    return "" if machine.memory is None else f", {_bytes(machine.memory)}"


def _memory(name: str, phase: Phase) -> str:
    """Parts from the largest down; what is below a hundredth goes without saying."""
    parts = sorted(phase.parts.items(), key=lambda part: -part[1])
    told = [f"{part} {_bytes(size)}" for part, size in parts if size >= phase.bytes / 100]
    return f"Memory of {name}, at its highest while {phase.doing}: {', '.join(told)}."


def _fit(
    name: str, stage: Stage, size: Size, machine: Machine, phase: Phase, longest: int | None
) -> list[str]:
    """Whether it fits, in plain words, and what to do."""
    if machine.memory is None or phase.bytes <= _TIGHT * machine.memory:
        return []
    how = "more than" if phase.bytes > machine.memory else "close to"
    told = (
        f"WARNING: {name} needs about {_bytes(phase.bytes)} while {phase.doing}, {how} the "
        f"{_bytes(machine.memory)} of {machine.name}."
    )
    useful, least = changes(stage, size, machine, longest)
    for change in useful:
        told += f" {name}.{change.text} would bring it to {_bytes(change.bytes)}."
    if least > _TIGHT * machine.memory:
        told += (
            f" All of these together leave {_bytes(least)}: take a smaller model, shorter texts or a larger "
            "machine."
            if useful
            else " No key would lower it: take a smaller model, shorter texts or a larger machine."
        )
    elif len(useful) > 1:
        told += f" All of these together leave {_bytes(least)}."
    return [told]


# What each kind of stage does ---------------------------------------------------------------------


def _entry(name: str, recipe: Recipe, size: Size) -> Entry:
    stage: Stage = recipe.stages[name]
    match stage:
        case PretrainStage():
            return _pretraining(stage, size)
        case SFTStage():
            return _supervision(stage, size, recipe)
        case RLStage():
            return _reinforcement(stage, size)
        case SampleStage():
            return _sampling(stage, size)
        case RewardModelStage():
            return _reward_model(name, stage, recipe, size)
        case EvaluateStage():
            return _evaluation(stage, size)


def _named(size: Size) -> str:
    return f"from {size.name} ({size.parameters / 1e6:.2f} M parameters)"


def _pretraining(stage: PretrainStage, size: Size) -> Entry:
    steps = -(-stage.tokens // stage.tokens_per_step)
    what = (
        f"{size.parameters / 1e6:.2f} M parameters, {stage.tokens / 1e6:.1f} M tokens, about "
        f"{steps:,} optimizer steps of {stage.tokens_per_step:,} tokens"
    )
    return Entry(what, [learning(size, stage.tokens, PROMPT_TOKENS, _LEARN, autocast=False)])


def _supervision(stage: SFTStage, size: Size, recipe: Recipe) -> Entry:
    missing = absent(stage, recipe)
    found = survey(stage, {*recipe.stages, *missing})
    about = amounts(stage, found, recipe.seed)
    what = (
        f"{_named(size)}: {about.samples:,} samples x "
        f"{stage.epochs} epochs = {about.samples * stage.epochs:,}, {found.heldout:,} held out; about "
        f"{about.tokens:,} tokens in {about.rows:,} packed rows; about {about.steps:,} optimizer steps of at "
        f"most {stage.tokens_per_step:,} tokens"
    )
    passes = _LEARN + stage.recompute
    autocast = stage.autocast == "bfloat16"
    work = [learning(size, about.tokens, about.mean, passes, autocast)]
    made = [source for source in datasets(stage) if source in recipe.stages]
    if made:
        what += f"; besides, as many samples as {' and '.join(made)} will write"
    for samples, length in (_written(recipe.stages[source]) for source in made):
        tokens = samples * length * stage.epochs
        what += f", at most {samples:,}, about {_count(tokens)} tokens in {_steps(tokens, stage)}"
        work.append(learning(size, tokens, length, passes, autocast))
    longest = None if made or missing else about.longest
    if not missing:
        return Entry(what, work, longest)
    what += f"; {' and '.join(missing)} is not here yet: " + _a_million(stage)
    unit = [learning(size, 1e6 * stage.epochs, stage.max_length / 2, passes, autocast)]
    return Entry(what, unit, longest, unit=" a million tokens of data")


def _a_million(stage: SFTStage) -> str:
    steps = _steps(1e6 * stage.epochs, stage)
    return f"each million of its tokens is {steps} in {stage.epochs} epochs"


def _steps(tokens: float, stage: SFTStage) -> str:
    return f"{max(1, round(tokens / stage.tokens_per_step)):,} optimizer steps"


def _written(stage: Stage) -> tuple[int, float]:
    """Most samples that a stage will write, and about how many tokens each has."""
    if not isinstance(stage, SampleStage):
        return 0, 0.0
    kept = stage.prompts * min(stage.samples, stage.most_per_problem)
    return kept, PROMPT_TOKENS + FILLED * stage.sampling.max_tokens


def _reinforcement(stage: RLStage, size: Size) -> Entry:
    rollouts, each = stage.rollouts, stage.rollout_size
    completions, longest = rollouts * each, stage.sampling.most_tokens
    algorithm, curve = stage.algorithm, _curve_completions(stage)
    rounds = 1 + (algorithm.dynamic_rounds if algorithm.dynamic_sampling else 0)
    what = (
        f"{_named(size)}: {rollouts:,} rollouts of "
        f"{stage.problems_per_rollout:,} prompts x {stage.group_size} samples = {each:,} completions; "
        f"{completions:,} completions in {rollouts * stage.problems_per_rollout:,} groups; "
        f"{stage.steps:,} optimizer steps of {each // stage.minibatches:,} completions; {curve:,} more "
        f"completions for the held-out curve; at most {(completions * rounds + curve) * longest:,} "
        f"sampled tokens ({longest:,} a completion){_value_model(stage, size)}"
    )
    chosen, length = stage.sampling, FILLED * longest
    draw = drawing(size, completions + curve, longest, chosen.slots, chosen.dtype, rollouts)
    prompts = rollouts * stage.problems_per_rollout * PROMPT_TOKENS
    ppo = algorithm.name == "ppo"
    # the reference runs once, a value model once more for its values, the learner for its own pi_old
    once = (algorithm.kl_coefficient > 0) + ppo + (algorithm.importance_cap is not None)
    passes = once + (_LEARN + stage.recompute) * (1 + ppo)
    autocast = stage.autocast == "bfloat16"
    learn = learning(size, completions * length + prompts, length, passes, autocast)
    return Entry(what, [draw, learn])


def _value_model(stage: RLStage, size: Size) -> str:
    """What PPO needs besides; the head is too small to count."""
    if stage.algorithm.name != "ppo":
        return ""
    memory = _bytes(4 * 4 * size.backbone)
    return f"; beside it a value model of {size.backbone / 1e6:.2f} M parameters, {memory} with its optimizer"


def _curve_completions(stage: RLStage) -> int:
    points = 1 + -(-stage.steps // stage.progress.every)
    return points * stage.progress.problems * stage.progress.samples


def _sampling(stage: SampleStage, size: Size) -> Entry:
    completions, longest = stage.prompts * stage.samples, stage.sampling.max_tokens
    kept = stage.prompts * min(stage.samples, stage.most_per_problem)
    what = (
        f"{_named(size)}: at most {stage.prompts:,} problems x "
        f"{stage.samples} samples = {completions:,} completions, of which at most {kept:,} are kept; at most "
        f"{completions * longest:,} sampled tokens ({longest:,} a completion)"
    )
    for task, most, model in (
        ("grade", completions, stage.judge),
        ("rewrite", kept, stage.rewriter),
    ):
        if isinstance(model, EndpointSettings):
            what += f"; at most {most:,} requests to {model.model} to {task}"
    chosen, calls = stage.sampling, -(-stage.prompts // stage.problems_per_batch)
    return Entry(what, [drawing(size, completions, longest, chosen.slots, chosen.dtype, calls)])


def _reward_model(name: str, stage: RewardModelStage, recipe: Recipe, size: Size) -> Entry:
    missing = absent(stage, recipe)
    noun = "pairs" if stage.objective == "pairwise" else "labelled responses"
    passes, autocast = _LEARN + stage.recompute, stage.autocast == "bfloat16"
    limit = f"texts of at most {stage.max_length:,} tokens"
    texts = 2 if stage.objective == "pairwise" else 1
    if missing:
        what = (
            f"{_named(size)}: {' and '.join(missing)} is not here yet; each thousand {noun} is about "
            f"{stage.epochs * 1000 / stage.samples_per_step:.1f} optimizer steps of "
            f"{stage.samples_per_step:,}; {limit}"
        )
        tokens = 1000 * texts * stage.epochs * stage.max_length / 2
        work = [learning(size, tokens, stage.max_length / 2, passes, autocast)]
        return Entry(what, work, unit=f" a thousand {noun}")
    found = check_preferences(name, stage, recipe)
    count = len(found.train)
    what = (
        f"{_named(size)}: at most {count:,} {noun} to learn "
        f"from and {len(found.heldout):,} held out, of {found.rows:,} rows; {stage.steps(count):,} "
        f"optimizer steps of {min(count, stage.samples_per_step):,} {noun} in {stage.epochs} "
        f"epoch{'s' if stage.epochs > 1 else ''}; {limit}"
    )
    lengths = [len(text) / _CHARACTERS for example in found.train for text in texts_of(example)]
    tokens = (sum(lengths) + count * texts * PROMPT_TOKENS) * stage.epochs
    longest = round(max(lengths, default=0.0)) + PROMPT_TOKENS
    work = [learning(size, tokens, tokens / max(1, count * texts), passes, autocast)]
    return Entry(what, work, longest)


def _evaluation(stage: EvaluateStage, size: Size) -> Entry:
    completions = len(stage.checkpoints) * stage.limit * stage.samples
    what = (
        f"{len(stage.checkpoints)} checkpoints x at most {stage.limit} problems x {stage.samples} "
        f"samples = {completions:,} completions; at most {completions * stage.max_tokens:,} sampled "
        f"tokens ({stage.max_tokens:,} a completion)"
    )
    calls = len(stage.checkpoints) * -(-stage.limit // EVALUATED_AT_ONCE)
    work = drawing(size, completions, stage.max_tokens, stage.slots, stage.dtype, calls)
    return Entry(what, [work])


# Numbers for people -------------------------------------------------------------------------------


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB" if size < 100 else f"{size:,.0f} GB"


def _count(number: float) -> str:
    return f"{number / 1e6:,.0f} M" if number >= 1e6 else f"{number:,.0f}"


def _about(seconds: float) -> str:
    for limit, divisor, unit in ((90, 1, "s"), (5400, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"about {max(1, round(seconds / divisor))} {unit}"
    return f"about {seconds / 86_400:,.0f} days"
