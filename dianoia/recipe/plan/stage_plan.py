"""What each kind of stage will do, in words and numbers: a line of the plan. No torch.

In: a stage of a recipe and the size of its model. Out: `Entry`, with the work that its time is made of. Tokens are
upper limits where a stage may stop earlier. What is not here yet, a file or what an earlier stage will write, is
told by its most, or by the million.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dianoia.base.limits import EVALUATED_AT_ONCE
from dianoia.config import (
    DemonstrationsStage,
    EndpointSettings,
    EvaluateStage,
    PreferencesStage,
    PretrainStage,
    RewardModelStage,
    RLStage,
    SampleStage,
    SFTStage,
)
from dianoia.datasets.preference_data import texts_of
from dianoia.recipe.check.inputs import check_preferences
from dianoia.recipe.check.missing import absent
from dianoia.recipe.check.reward_parts_check import further
from dianoia.recipe.check.supervised_data import amounts, survey
from dianoia.recipe.graph import Recipe, Stage, datasets, general_models
from dianoia.recipe.plan.memory import PROMPT_TOKENS
from dianoia.recipe.plan.model_sizes import Size, judge_sizes
from dianoia.recipe.plan.number_format import count, in_bytes
from dianoia.recipe.plan.work_time import FILLED, Work, drawing, learning

_CHARACTERS = 3
"""Guess for the characters of a token where there is no tokenizer."""
_UNIT = 1e8
"""Tokens of data by which a data set that is not here yet is told. The paper's 800,000 samples have 43 times as many."""
_LEARN = 3.0
"""Passes of a step: forward, and backward, which is two."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A stage's line of the plan."""

    what: str
    work: Sequence[Work]
    longest: int | None = None
    """Tokens of the longest text that is learnt from, where the data says."""
    unit: str = ""
    """What the time is for, where the whole is not known yet."""
    awaits: tuple[str, ...] = ()
    """Earlier stages whose data decide how long it takes: the work is the most that it can be."""


def entry_of(name: str, recipe: Recipe, size: Size) -> Entry:
    """The line of a stage; `size` is that of its model."""
    stage: Stage = recipe.stages[name]
    match stage:
        case PretrainStage():
            return _pretraining(stage, size)
        case SFTStage():
            return _supervision(stage, size, recipe)
        case RLStage():
            return _reinforcement(stage, size, judge_sizes(name, recipe))
        case SampleStage():
            return _sampling(stage, size)
        case DemonstrationsStage():
            return Entry(f"{stage.rows:,} demonstrations of {stage.source}; no model", [])
        case PreferencesStage():
            return _judged(stage, size)
        case RewardModelStage():
            return _reward_model(name, stage, recipe, size)
        case EvaluateStage():
            return _evaluation(stage, size)


def _named(stage: SFTStage | RLStage | SampleStage | RewardModelStage, size: Size) -> str:
    """Where a stage starts: the recipe's own word for it, not where that came from."""
    return f"from {stage.start} ({size.parameters / 1e6:.2f} M parameters)"


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
    what = f"{_named(stage, size)}: {stage.epochs} epochs in steps of at most {stage.tokens_per_step:,} tokens"
    if found.rows:
        what = (
            f"{_named(stage, size)}: {about.samples:,} samples x "
            f"{stage.epochs} epochs = {about.samples * stage.epochs:,}, {found.heldout:,} held out; about "
            f"{about.tokens:,} tokens in {about.rows:,} packed rows; about {about.steps:,} optimizer steps of at "
            f"most {stage.tokens_per_step:,} tokens"
        )
    passes = _LEARN + stage.recompute
    autocast = stage.autocast == "bfloat16"
    work = [learning(size, about.tokens, about.mean, passes, autocast)]
    made = [source for source in datasets(stage) if source in recipe.stages]
    if made:
        what += f"; {'besides, ' if found.rows else ''}as many samples as {' and '.join(made)} will write"
    for samples, length in (_written(recipe.stages[source]) for source in made):
        tokens = samples * length * stage.epochs
        what += f", at most {samples:,}, about {count(tokens)} tokens in {_steps(tokens, stage)}"
        work.append(learning(size, tokens, length, passes, autocast))
    longest = None if made or missing else about.longest
    if not missing:
        return Entry(what, work, longest, awaits=tuple(made))
    tokens = _UNIT * stage.epochs
    what += (
        f"; {' and '.join(missing)} is not here yet: each {count(_UNIT)} tokens of it are {_steps(tokens, stage)} "
        f"in {stage.epochs} epochs"
    )
    unit = [learning(size, tokens, FILLED * stage.max_length, passes, autocast)]
    return Entry(what, unit, longest, unit=f" for {count(_UNIT)} tokens of data")


def _steps(tokens: float, stage: SFTStage) -> str:
    return f"{max(1, round(tokens / stage.tokens_per_step)):,} optimizer steps"


def _written(stage: Stage) -> tuple[int, float]:
    """Most samples that a stage will write, and about how many tokens each has."""
    if isinstance(stage, DemonstrationsStage):
        return stage.rows, 2.0 * PROMPT_TOKENS
    if not isinstance(stage, SampleStage):
        return 0, 0.0
    kept = stage.prompts * min(stage.samples, stage.most_per_problem)
    return kept, PROMPT_TOKENS + FILLED * stage.sampling.max_tokens


def _reinforcement(stage: RLStage, size: Size, judges: Mapping[str, Size]) -> Entry:
    rollouts, each = stage.rollouts, stage.rollout_size
    completions, longest = rollouts * each, stage.sampling.most_tokens
    algorithm, curve = stage.algorithm, _curve_completions(stage)
    rounds = 1 + (algorithm.dynamic_rounds if algorithm.dynamic_sampling else 0)
    what = (
        f"{_named(stage, size)}: {rollouts:,} rollouts of "
        f"{stage.problems_per_rollout:,} prompts x {stage.group_size} samples = {each:,} completions; "
        f"{completions:,} completions in {rollouts * stage.problems_per_rollout:,} groups; "
        f"{stage.steps:,} optimizer steps of {each // stage.minibatches:,} completions; {curve:,} more "
        f"completions for the held-out curve; at most {(completions * rounds + curve) * longest:,} "
        f"sampled tokens ({longest:,} a completion){_value_model(stage, size)}"
        f"{_general(stage, judges)}{further(stage, completions, judges)}"
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
    return Entry(what, [draw, learn, *_scoring(stage, judges)])


def _value_model(stage: RLStage, size: Size) -> str:
    """What PPO needs besides; the head is too small to count."""
    if stage.algorithm.name != "ppo":
        return ""
    memory = in_bytes(4 * 4 * size.backbone)
    return f"; beside it a value model of {size.backbone / 1e6:.2f} M parameters, {memory} with its optimizer"


def _general(stage: RLStage, judges: Mapping[str, Size]) -> str:
    """From when general prompts come in, how many, and what scores them."""
    chosen = stage.preferences
    if chosen is None:
        return ""
    general = chosen.general(stage.problems_per_rollout)
    told = " and ".join(f"{count:,} {name}" for name, count in general.items() if count)
    models = ", ".join(
        f"{name} model {judge.name} ({judge.parameters / 1e6:.2f} M parameters, {in_bytes(4 * judge.parameters)})"
        for name, judge in judges.items()
        if name in general
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


def _scoring(stage: RLStage, judges: Mapping[str, Size]) -> list[Work]:
    """Of reward models: one pass over every completion that they score, and its prompt."""
    length = stage.sampling.most_tokens * FILLED + PROMPT_TOKENS
    counts = dict.fromkeys(judges, stage.rollouts * stage.rollout_size)
    if stage.preferences is not None:
        general = stage.preferences.general(stage.problems_per_rollout)
        held = _points(stage) * stage.progress.problems * stage.progress.samples
        of = {n: _general_rollouts(stage) * c * stage.group_size for n, c in general.items()}
        counts |= {name: of[name] + held for name in general_models(stage)}
    return [
        learning(judge, counts[name] * length, length, 1.0, autocast=False)
        for name, judge in judges.items()
    ]


def _points(stage: RLStage) -> int:
    """Points of the held-out curve."""
    return 1 + -(-stage.steps // stage.progress.every)


def _curve_completions(stage: RLStage) -> int:
    """Of all points; each general set has a curve of its own."""
    sets = 1 + len(general_models(stage))
    return _points(stage) * stage.progress.problems * stage.progress.samples * sets


def _sampling(stage: SampleStage, size: Size) -> Entry:
    completions, longest = stage.prompts * stage.samples, stage.sampling.max_tokens
    kept = stage.prompts * min(stage.samples, stage.most_per_problem)
    what = (
        f"{_named(stage, size)}: at most {stage.prompts:,} problems x "
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


def _judged(stage: PreferencesStage, size: Size) -> Entry:
    completions, longest = stage.prompts * stage.responses_per_problem, stage.sampling.max_tokens
    pairwise = stage.objective == "pairwise"
    verdicts = stage.most_rows * (stage.judgements if pairwise else 1)
    what = (
        f"from {' and '.join(stage.starts)} (at most {size.parameters / 1e6:.2f} M parameters): at most "
        f"{stage.prompts:,} problems x {stage.samples} samples x {len(stage.starts)} checkpoints = {completions:,} "
        f"responses; at most {stage.most_rows:,} {_noun(stage.objective)} with {verdicts:,} verdicts; at most "
        f"{completions * longest:,} sampled tokens ({longest:,} a response)"
    )
    if isinstance(stage.judge, EndpointSettings):
        what += f"; at most {verdicts:,} requests to {stage.judge.model} to judge"
    chosen, calls = stage.sampling, -(-stage.prompts // stage.problems_per_batch)
    calls *= len(stage.starts)
    return Entry(what, [drawing(size, completions, longest, chosen.slots, chosen.dtype, calls)])


def _noun(objective: str) -> str:
    return "pairs" if objective == "pairwise" else "labelled responses"


def _reward_model(name: str, stage: RewardModelStage, recipe: Recipe, size: Size) -> Entry:
    missing = absent(stage, recipe)
    if missing:
        return _preferences_to_come(stage, missing, size)
    found = check_preferences(name, stage, recipe)
    made = {s: recipe.stages[s] for s in datasets(stage) if s in recipe.stages}
    coming = [judged for judged in made.values() if isinstance(judged, PreferencesStage)]
    more = sum(judged.most_rows for judged in coming)
    examples, texts = len(found.train) + more, 2 if stage.objective == "pairwise" else 1
    noun = _noun(stage.objective)
    held = f"and {len(found.heldout):,} held out, of {found.rows:,} rows"
    if made:
        held = f"or hold out, {more:,} of them from {' and '.join(made)}"
    what = (
        f"{_named(stage, size)}: at most {examples:,} {noun} to learn "
        f"from {held}; {'at most ' if made else ''}{stage.steps(examples):,} "
        f"optimizer steps of {min(examples, stage.samples_per_step):,} {noun} in {stage.epochs} "
        f"epoch{'s' if stage.epochs > 1 else ''}; texts of at most {stage.max_length:,} tokens"
    )
    lengths = [len(text) / _CHARACTERS for example in found.train for text in texts_of(example)]
    tokens = sum(lengths) + examples * texts * PROMPT_TOKENS
    tokens += sum(j.most_rows * texts * j.sampling.max_tokens * FILLED for j in coming)
    longest = None if made else round(max(lengths, default=0.0)) + PROMPT_TOKENS
    each = tokens / max(1, examples * texts)
    work = _of_rewards(stage, size, tokens * stage.epochs, each)
    return Entry(what, [work], longest, awaits=tuple(made))


def _preferences_to_come(stage: RewardModelStage, missing: Sequence[str], size: Size) -> Entry:
    noun, texts = _noun(stage.objective), 2 if stage.objective == "pairwise" else 1
    what = (
        f"{_named(stage, size)}: {' and '.join(missing)} is not here yet; each thousand {noun} is about "
        f"{stage.epochs * 1000 / stage.samples_per_step:.1f} optimizer steps of "
        f"{stage.samples_per_step:,}; texts of at most {stage.max_length:,} tokens"
    )
    length = FILLED * stage.max_length
    work = _of_rewards(stage, size, 1000 * texts * stage.epochs * length, length)
    return Entry(what, [work], unit=f" a thousand {noun}")


def _of_rewards(stage: RewardModelStage, size: Size, tokens: float, length: float) -> Work:
    return learning(size, tokens, length, _LEARN + stage.recompute, stage.autocast == "bfloat16")


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
