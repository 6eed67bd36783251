"""Work of each kind of stage: its arithmetic in words, and the numbers behind its estimated time. No torch.

In: a stage of a recipe and the size of its model. Out: `StageWork`. In words, tokens are upper limits where a stage may stop
earlier. Data that does not exist yet counts in words by its upper limit if an earlier stage will write it, in time by the
share of it that is usual, and per unit (a million tokens, a thousand pairs) if it is a missing file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dianoia.base.limits import EVALUATED_AT_ONCE
from dianoia.base.preference_records import TextExample
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
from dianoia.recipe.check.missing_inputs import missing_files
from dianoia.recipe.check.training_data import (
    estimate_amounts,
    read_preferences,
    survey_datasets,
)
from dianoia.recipe.graph import Recipe, Stage, datasets, general_models
from dianoia.recipe.plan.drawn_problems import (
    demonstration_tokens,
    problem_count,
    prompt_tokens,
)
from dianoia.recipe.plan.memory import PROMPT_TOKENS, trained_parameters
from dianoia.recipe.plan.model_sizes import Size, reward_model_sizes
from dianoia.recipe.plan.number_format import format_bytes, format_count, plural
from dianoia.recipe.plan.work_time import FILLED, Texts, Work, sampling_work, training_work
from dianoia.text.template import template_of

_CHARACTERS_PER_TOKEN = 3
"""Guess for texts of preferences, whose tokenizer a plan does not read."""
_KEPT = 0.7
"""Guess for the share of its upper limit that a sample stage writes: it was 0.44 to 0.88 in the miniature."""
_NO_TIES = 0.35
"""Guess for the share of pairs that a reward model learns from: ties and pairs within the margin are left out. It was 0.32 in
the miniature."""
_GRADING = 0.7e-3
"""Seconds of a core per completion to parse, grade and measure it, beside the model; a program in a sandbox takes longer."""
_COLLECTING = 0.3e-3
"""The same for a response that rules compare with others."""
_WRITING = 0.1e-3
"""The same for a demonstration, which is only written."""
_ANSWER = 0.4
"""Guess for the share of a response that is its answer, all that some reward models see."""
_UNIT_TOKENS = 1e8
"""Tokens per which the work on a missing data set is given. The paper's 800,000 samples have 43 times as many."""
_TRAINING_PASSES = 3.0
"""Forward passes that a training step costs: the forward pass, and the backward pass, which counts as two."""


@dataclass(frozen=True, slots=True)
class StageWork:
    """Work of a stage."""

    description: str
    work: Sequence[Work]
    longest: int | None = None
    """Tokens of the longest text to learn from, if the data is here."""
    unit: str = ""
    """What the time is per, if the amount of data is unknown, such as ` per thousand pairs`."""
    waits_for: tuple[str, ...] = ()
    """Earlier stages whose data decide how long the stage takes; its work is then a guess."""
    host_seconds: float = 0.0
    """Seconds beside the model: grading, parsing, writing."""


def stage_work(name: str, recipe: Recipe, size: Size, ranks: int = 1) -> StageWork:
    """Return the work of a stage that `ranks` share; `size` is that of its model."""
    stage: Stage = recipe.stages[name]
    match stage:
        case PretrainStage():
            return _pretraining(stage, size)
        case SFTStage():
            return _fine_tuning(stage, size, recipe)
        case RLStage():
            return _reinforcement(stage, size, recipe, reward_model_sizes(name, recipe), ranks)
        case SampleStage():
            return _sampling(stage, size, recipe, ranks)
        case DemonstrationsStage():
            description = f"{stage.rows:,} demonstrations of {stage.source}; no model"
            return StageWork(description, [], host_seconds=stage.rows * _WRITING)
        case PreferencesStage():
            return _preferences(stage, size, recipe, ranks)
        case RewardModelStage():
            return _reward_model(name, stage, recipe, size)
        case EvaluateStage():
            return _evaluation(stage, size, recipe, ranks)


def summarize(stage: Stage, recipe: Recipe) -> str:
    """Return kind, start and amount of a stage in a few words, for a table with one line per stage."""
    match stage:
        case PretrainStage():
            return f"pretrain: {format_count(stage.tokens)} tokens"
        case RLStage():
            samples = format_count(stage.rollout_count * stage.rollout_size)
            return f"rl from {_short(stage.start)}: {stage.steps:,} steps, {samples} samples"
        case SFTStage() | RewardModelStage():
            sets = ", ".join(map(_short, datasets(stage)))
            epochs = plural(stage.epochs, "epoch")
            return f"{stage.kind} from {_short(stage.start)}: {epochs} of {sets}"
        case SampleStage():
            samples = format_count((problem_count(stage, recipe) or stage.prompts) * stage.samples)
            return f"sample from {_short(stage.start)}: {samples} samples"
        case DemonstrationsStage():
            return f"{stage.rows:,} demonstrations of {stage.source}"
        case PreferencesStage():
            starts = " and ".join(map(_short, stage.starts))
            problems = problem_count(stage, recipe) or stage.prompts
            return f"preferences from {starts}: {problems:,} problems"
        case EvaluateStage():
            checkpoints = plural(len(stage.checkpoints), "checkpoint")
            return f"evaluate: {checkpoints} x {plural(stage.samples, 'sample')}"


def _short(name: str) -> str:
    """Return the end of a path that is longer than a name."""
    return name if len(name) <= 24 else f"...{name[-20:]}"


def _start(stage: SFTStage | RLStage | SampleStage | RewardModelStage, size: Size) -> str:
    """Return where a stage starts, by the recipe's own name, with the size of the model."""
    lora = None if isinstance(stage, SampleStage) else stage.lora
    trained = trained_parameters(lora, size) / 1e6
    adapters = (
        "" if lora is None else f", adapters of rank {lora.rank}, {trained:.2f} M, are trained"
    )
    return f"from {stage.start} ({size.parameters / 1e6:.2f} M parameters{adapters})"


# Supervised training -----------------------------------------------------------------------------


def _pretraining(stage: PretrainStage, size: Size) -> StageWork:
    steps = -(-stage.tokens // stage.tokens_per_step)
    description = (
        f"{size.parameters / 1e6:.2f} M parameters, {stage.tokens / 1e6:.1f} M tokens, about "
        f"{steps:,} optimizer steps of {stage.tokens_per_step:,} tokens"
    )
    texts = _texts(stage.tokens, PROMPT_TOKENS)
    work = training_work(size, texts, _TRAINING_PASSES, autocast=False)
    return StageWork(description, [work])


def _fine_tuning(stage: SFTStage, size: Size, recipe: Recipe) -> StageWork:
    missing = missing_files(stage, recipe)
    template = template_of(stage.template, recipe.templates)
    survey = survey_datasets(stage, template, {*recipe.stages, *missing})
    amounts = estimate_amounts(stage, survey, recipe.seed)
    # Recomputing activations costs one more forward pass.
    passes, autocast = _TRAINING_PASSES + stage.recompute, stage.autocast != "none"
    epochs = plural(stage.epochs, "epoch")
    # data sets that are files
    description = (
        f"{_start(stage, size)}: {epochs} in steps of at most {stage.tokens_per_step:,} tokens"
    )
    if survey.rows:
        description = (
            f"{_start(stage, size)}: {amounts.samples:,} samples x {epochs} = "
            f"{amounts.samples * stage.epochs:,}, {survey.heldout:,} held out; about {amounts.tokens:,} tokens in "
            f"{amounts.rows:,} packed rows; about {amounts.steps:,} optimizer steps of at most "
            f"{stage.tokens_per_step:,} tokens"
        )
    training_text = _texts(amounts.tokens, amounts.mean_tokens)
    # Of no tokens where no data set is a file.
    work = [training_work(size, training_text, passes, autocast)]
    # data sets that earlier stages will write
    writers = [source for source in datasets(stage) if source in recipe.stages]
    if writers:
        also = "also " if survey.rows else ""
        description += f"; {also}as many samples as {' and '.join(writers)} will write"
    for writer in (recipe.stages[source] for source in writers):
        limit, expected, length = _output(writer, stage.start, recipe)
        tokens = expected * length * stage.epochs
        description += (
            f", at most {limit:,}, about {format_count(tokens)} tokens in {_steps(tokens, stage)}"
        )
        work.append(training_work(size, _texts(tokens, length), passes, autocast))
    # Unknown as soon as a part of the data is: the longest text may be in that part.
    longest = None if writers or missing else amounts.longest
    if not missing:
        return StageWork(description, work, longest, waits_for=tuple(writers))
    # data sets that are not here
    tokens = _UNIT_TOKENS * stage.epochs
    description += (
        f"; {_are_missing(missing)}: every {format_count(_UNIT_TOKENS)} tokens of data "
        f"are {_steps(tokens, stage)} in {epochs}"
    )
    texts = _texts(tokens, FILLED * stage.max_length)
    unit_work = training_work(size, texts, passes, autocast)
    unit = f" per {format_count(_UNIT_TOKENS)} tokens of data"
    return StageWork(description, [unit_work], longest, unit)


def _texts(tokens: float, length: float) -> Texts:
    """Return texts of `length` tokens without prompts, so many that they have `tokens` tokens together."""
    return Texts(tokens / max(1.0, length), length)


def _are_missing(names: Sequence[str]) -> str:
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} not here yet"


def _steps(tokens: float, stage: SFTStage) -> str:
    return f"{max(1, round(tokens / stage.tokens_per_step)):,} optimizer steps"


def _output(stage: Stage, reader: str, recipe: Recipe) -> tuple[int, float, float]:
    """Return the most samples that a stage will write, how many it is expected to write, and the mean tokens of each.

    `reader` is the checkpoint that learns from them, whose tokenizer counts.
    """
    if isinstance(stage, DemonstrationsStage):
        return stage.rows, float(stage.rows), demonstration_tokens(stage, reader, recipe)
    if not isinstance(stage, SampleStage):
        return 0, 0.0, 0.0
    # Rejection sampling keeps at most `most_per_problem` samples of a problem.
    problems = problem_count(stage, recipe) or stage.prompts
    limit = problems * min(stage.samples, stage.most_per_problem)
    length = prompt_tokens(stage, recipe) + FILLED * stage.sampling.max_tokens
    return limit, _KEPT * limit, length


# Reinforcement learning --------------------------------------------------------------------------


def _reinforcement(
    stage: RLStage, size: Size, recipe: Recipe, scorers: Mapping[str, Size], ranks: int
) -> StageWork:
    rollouts, per_rollout = stage.rollout_count, stage.rollout_size
    completions, longest = rollouts * per_rollout, stage.sampling.largest_max_tokens
    algorithm, curve = stage.algorithm, _curve_completions(stage)
    # dynamic sampling may draw a rollout again, several times
    draws = 1 + (algorithm.dynamic_rounds if algorithm.dynamic_sampling else 0)
    description = (
        f"{_start(stage, size)}: {rollouts:,} rollouts of "
        f"{stage.problems_per_rollout:,} prompts x {stage.group_size} samples = {per_rollout:,} completions; "
        f"{completions:,} completions in {rollouts * stage.problems_per_rollout:,} groups; "
        f"{stage.steps:,} optimizer steps of {per_rollout // stage.minibatches:,} completions; {curve:,} more "
        f"completions for the held-out curve; at most {(completions * draws + curve) * longest:,} "
        f"sampled tokens ({longest:,} per completion){_value_model(stage, size)}"
        f"{_general_prompts(stage, scorers)}{_reward_parts(stage, completions, scorers)}"
    )
    sampling, prompt = stage.sampling, prompt_tokens(stage, recipe)
    prompts = rollouts * stage.problems_per_rollout
    sampled = sampling_work(
        size,
        completions + curve,
        longest,
        sampling.slots,
        sampling.dtype,
        rollouts,
        prompts + _curve_points(stage) * stage.progress.problems,
        prompt,
        ranks,
    )
    ppo = algorithm.name == "ppo"
    # extra forward passes: the reference's, the value model's for its values, the learner's for its own pi_old
    extra = (algorithm.kl_coefficient > 0) + ppo + (algorithm.importance_cap is not None)
    passes = extra + (_TRAINING_PASSES + stage.recompute) * (1 + ppo)
    autocast = stage.autocast != "none"
    texts = Texts(completions, FILLED * longest, prompts, prompt)
    trained = training_work(size, texts, passes, autocast)
    return StageWork(
        description,
        [sampled, trained, *_reward_model_work(stage, scorers, prompt, recipe)],
        host_seconds=(completions + curve) * _GRADING,
    )


def _value_model(stage: RLStage, size: Size) -> str:
    """Return a clause on the value model of PPO, whose head is too small to count; empty for GRPO."""
    if stage.algorithm.name != "ppo":
        return ""
    memory = format_bytes(4 * 4 * size.backbone)
    return f"; also a value model of {size.backbone / 1e6:.2f} M parameters, {memory} with its optimizer"


def _general_prompts(stage: RLStage, scorers: Mapping[str, Size]) -> str:
    """Return a clause on the general prompts: from which step, how many, and which models score them."""
    if stage.preferences is None:
        return ""
    counts = stage.preferences.general_counts(stage.problems_per_rollout)
    listed = " and ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    models = ", ".join(
        f"{part} model {model.name} ({model.parameters / 1e6:.2f} M parameters, {format_bytes(4 * model.parameters)})"
        for part, model in scorers.items()
        if part in counts
    )
    total = sum(counts.values())
    return (
        f"; from step {_first_general_step(stage):,} on {total:,} of {stage.problems_per_rollout:,} prompts "
        f"are general ({listed}), {_general_rollouts(stage) * total * stage.group_size:,} completions "
        f"in all, scored by the {models}"
    )


def _first_general_step(stage: RLStage) -> int:
    """Return the step at which the first rollout with general prompts begins."""
    assert stage.preferences is not None, "the caller has a stage with general prompts"
    # Rounded up to a whole rollout, whose prompts are drawn before its first step.
    return -(-stage.preferences.from_step // stage.minibatches) * stage.minibatches


def _general_rollouts(stage: RLStage) -> int:
    return stage.rollout_count - _first_general_step(stage) // stage.minibatches


def _reward_parts(stage: RLStage, completions: int, scorers: Mapping[str, Size]) -> str:
    """Return a clause on the parts of the reward with their weights; empty if they are accuracy and format only."""
    rewards = stage.rewards
    origins = {function.title: f" ({function.path})" for function in rewards.functions}
    origins |= {
        part.name: f" (reward model {scorers[part.name].name}, {format_bytes(4 * scorers[part.name].parameters)})"
        for part in rewards.models
    }
    # The paper's reward needs no explanation, so the plan leaves it out.
    weighted = {name for name, weight in rewards.parts.items() if weight}
    if weighted == {"accuracy", "format"} and not rewards.functions:
        return ""
    parts = [
        f"{name}{'' if weight == 1 else f' x {weight:g}'}{origins.get(name, '')}"
        for name, weight in rewards.parts.items()
        if weight or name in origins  # a part of weight 0 is still computed and logged
    ]
    # A grader behind an endpoint costs money per request, so the plan counts them.
    requests = ""
    if rewards.judge is not None:
        requests = (
            f"; at most {completions:,} grading requests to {rewards.judge.model}, and one more per completion of the "
            "held-out curve"
        )
    return f"; reward = {' + '.join(parts)}{requests}"


def _reward_model_work(
    stage: RLStage, scorers: Mapping[str, Size], prompt: float, recipe: Recipe
) -> list[Work]:
    """Return the work of the reward models: one pass over each completion that they score, with its prompt."""
    response = stage.sampling.largest_max_tokens * FILLED
    lengths = {
        part: prompt + response * _seen_share(recipe.stages.get(model.name))
        for part, model in scorers.items()
    }
    # Parts under rewards.models score every completion, those of general prompts only theirs.
    counts = dict.fromkeys(scorers, stage.rollout_count * stage.rollout_size)
    if stage.preferences is not None:
        prompts = stage.preferences.general_counts(stage.problems_per_rollout)
        heldout = _curve_points(stage) * stage.progress.problems * stage.progress.samples
        for part in general_models(stage):
            counts[part] = _general_rollouts(stage) * prompts[part] * stage.group_size + heldout
    return [
        training_work(model, Texts(counts[part], lengths[part]), 1.0, False, False)
        for part, model in scorers.items()
    ]


def _seen_share(reward_model: Stage | None) -> float:
    """Return the share of a response that a reward model sees: all of it unless its stage says otherwise."""
    sees_answer = (
        isinstance(reward_model, RewardModelStage) and reward_model.scored_part == "answer"
    )
    return _ANSWER if sees_answer else 1.0


def _curve_points(stage: RLStage) -> int:
    """Return the number of points of the held-out curve."""
    return 1 + -(-stage.steps // stage.progress.every)


def _curve_completions(stage: RLStage) -> int:
    """Return the completions of all points of the held-out curves; each general set has a curve of its own."""
    # The rules' own curve, and one per set of general prompts.
    curves = 1 + len(general_models(stage))
    return _curve_points(stage) * stage.progress.problems * stage.progress.samples * curves


# Sampling and evaluation -------------------------------------------------------------------------


def _sampling(stage: SampleStage, size: Size, recipe: Recipe, ranks: int) -> StageWork:
    problems = problem_count(stage, recipe) or stage.prompts
    completions, longest = problems * stage.samples, stage.sampling.max_tokens
    accepted = problems * min(stage.samples, stage.most_per_problem)
    description = (
        f"{_start(stage, size)}: {_problems(stage, recipe)} x "
        f"{stage.samples} samples = {completions:,} completions, of which at most {accepted:,} are kept; at most "
        f"{completions * longest:,} sampled tokens ({longest:,} per completion)"
    )
    for purpose, requests, model in (
        ("grade", completions, stage.judge),
        ("rewrite", accepted, stage.rewriter),
    ):
        if isinstance(model, EndpointSettings):
            description += f"; at most {requests:,} requests to {model.model} to {purpose}"
    sampling, calls = stage.sampling, -(-problems // stage.problems_per_batch)
    prompt = prompt_tokens(stage, recipe)
    work = sampling_work(
        size, completions, longest, sampling.slots, sampling.dtype, calls, problems, prompt, ranks
    )
    return StageWork(description, [work], host_seconds=completions * _GRADING)


def _problems(stage: SampleStage | PreferencesStage | EvaluateStage, recipe: Recipe) -> str:
    """Return the number of problems in words: exact where it can be known, else the number in the recipe as a limit."""
    limit = stage.limit if isinstance(stage, EvaluateStage) else stage.prompts
    count = problem_count(stage, recipe)
    if count is None:
        return f"at most {plural(limit, 'problem')}"
    return plural(count, "problem") + (f" ({limit:,} asked for)" if count < limit else "")


def _preferences(stage: PreferencesStage, size: Size, recipe: Recipe, ranks: int) -> StageWork:
    problems = problem_count(stage, recipe) or stage.prompts
    completions, longest = problems * stage.responses_per_problem, stage.sampling.max_tokens
    pairwise, rows = stage.objective == "pairwise", _preference_rows(stage, recipe)
    verdicts = rows * (stage.judgements if pairwise else 1)
    description = (
        f"from {' and '.join(stage.starts)} (at most {size.parameters / 1e6:.2f} M parameters): "
        f"{_problems(stage, recipe)} x {stage.samples} samples x {plural(len(stage.starts), 'checkpoint')} = "
        f"{completions:,} responses; at most {rows:,} {_noun(stage.objective)} with {verdicts:,} verdicts; "
        f"at most {completions * longest:,} sampled tokens ({longest:,} per response)"
    )
    if isinstance(stage.judge, EndpointSettings):
        description += f"; at most {verdicts:,} requests to {stage.judge.model} to judge"
    # Each checkpoint samples every batch in a call of its own.
    sampling, batches = stage.sampling, -(-problems // stage.problems_per_batch)
    calls = batches * len(stage.starts)
    prompts, prompt = problems * len(stage.starts), prompt_tokens(stage, recipe)
    work = sampling_work(
        size, completions, longest, sampling.slots, sampling.dtype, calls, prompts, prompt, ranks
    )
    return StageWork(description, [work], host_seconds=completions * _COLLECTING)


def _preference_rows(stage: PreferencesStage, recipe: Recipe) -> int:
    """Return the most rows that a preferences stage will write."""
    return stage.max_rows // stage.prompts * (problem_count(stage, recipe) or stage.prompts)


def _evaluation(stage: EvaluateStage, size: Size, recipe: Recipe, ranks: int) -> StageWork:
    problems = problem_count(stage, recipe) or stage.limit
    completions = len(stage.checkpoints) * problems * stage.samples
    description = (
        f"{plural(len(stage.checkpoints), 'checkpoint')} x {_problems(stage, recipe)} x "
        f"{plural(stage.samples, 'sample')} = {completions:,} completions; at most "
        f"{completions * stage.max_tokens:,} sampled tokens ({stage.max_tokens:,} per completion)"
    )
    # Every call of the sampler ends with a few long responses, which costs extra steps.
    calls = len(stage.checkpoints) * -(-problems // EVALUATED_AT_ONCE)
    prompts = len(stage.checkpoints) * problems
    prompt = prompt_tokens(stage, recipe)
    work = sampling_work(
        size, completions, stage.max_tokens, stage.slots, stage.dtype, calls, prompts, prompt, ranks
    )
    return StageWork(description, [work], host_seconds=completions * _GRADING)


# Reward models -----------------------------------------------------------------------------------


def _noun(objective: str) -> str:
    return "pairs" if objective == "pairwise" else "labelled responses"


def _reward_model(name: str, stage: RewardModelStage, recipe: Recipe, size: Size) -> StageWork:
    missing = missing_files(stage, recipe)
    if missing:
        return _reward_model_per_thousand(stage, missing, size)
    # Files are counted exactly; rows of earlier stages by their upper limit.
    preferences = read_preferences(name, stage, recipe)
    writers = {
        source: writer
        for source in datasets(stage)
        if isinstance(writer := recipe.stages.get(source), PreferencesStage)
    }
    limits = {source: _preference_rows(writer, recipe) for source, writer in writers.items()}
    from_stages = sum(limits.values())
    examples = len(preferences.train) + from_stages
    noun = _noun(stage.objective)
    heldout = f"and {len(preferences.heldout):,} held out, of {preferences.rows:,} rows"
    if writers:
        heldout = f"or hold out, {from_stages:,} of them from {' and '.join(writers)}"
    description = (
        f"{_start(stage, size)}: at most {examples:,} {noun} to learn from {heldout}; "
        f"{'at most ' if writers else ''}{stage.steps(examples):,} optimizer steps of "
        f"{min(examples, stage.samples_per_step):,} {noun} in {plural(stage.epochs, 'epoch')}; texts of at most "
        f"{stage.max_length:,} tokens"
    )
    is_pairwise = stage.objective == "pairwise"
    longest, of_files = _file_texts(preferences.train, is_pairwise)
    learnt = (1 - stage.heldout_share) * (_NO_TIES if is_pairwise else _KEPT)
    seen_share = FILLED * _seen_share(stage)
    work = [_reward_model_training(stage, size, of_files)]
    for source, writer in writers.items():
        problems = problem_count(writer, recipe) or writer.prompts
        responses = problems * writer.samples * len(writer.starts)
        # A response of several pairs runs once.
        count = min(_texts_per_example(stage) * learnt * limits[source], learnt * responses)
        seen = seen_share * writer.sampling.max_tokens
        # Labelled responses come in any order, so that each has its prompt to itself.
        prompts = (1 - stage.heldout_share) * problems if is_pairwise else count
        texts = Texts(count, seen, prompts, prompt_tokens(writer, recipe))
        work.append(_reward_model_training(stage, size, texts))
    return StageWork(description, work, None if writers else longest, waits_for=tuple(writers))


def _file_texts(examples: Sequence[TextExample], share_prompts: bool) -> tuple[int, Texts]:
    """Return the tokens of the longest text with its prompt, and the different texts; each runs once per epoch."""
    texts = {(tuple(example.messages), text) for example in examples for text in texts_of(example)}
    lengths = [len(text) / _CHARACTERS_PER_TOKEN for _, text in texts]
    prompts = len({messages for messages, _ in texts}) if share_prompts else len(texts)
    longest = round(max(lengths, default=0.0)) + PROMPT_TOKENS
    return longest, Texts(len(texts), sum(lengths) / max(1, len(texts)), prompts, PROMPT_TOKENS)


def _texts_per_example(stage: RewardModelStage) -> int:
    return 2 if stage.objective == "pairwise" else 1


def _reward_model_per_thousand(
    stage: RewardModelStage, missing: Sequence[str], size: Size
) -> StageWork:
    """Return the work per thousand examples, for data that is not here."""
    noun = _noun(stage.objective)
    description = (
        f"{_start(stage, size)}: {_are_missing(missing)}; every thousand {noun} are about "
        f"{stage.epochs * 1000 / stage.samples_per_step:.1f} optimizer steps of "
        f"{stage.samples_per_step:,}; texts of at most {stage.max_length:,} tokens"
    )
    texts = Texts(1000 * _texts_per_example(stage), FILLED * stage.max_length)
    work = _reward_model_training(stage, size, texts)
    return StageWork(description, [work], unit=f" per thousand {noun}")


def _reward_model_training(stage: RewardModelStage, size: Size, texts: Texts) -> Work:
    """Return the work of all epochs over `texts`."""
    epochs = replace(texts, count=stage.epochs * texts.count, prompts=stage.epochs * texts.prompts)
    passes = _TRAINING_PASSES + stage.recompute
    return training_work(size, epochs, passes, stage.autocast != "none", False)
