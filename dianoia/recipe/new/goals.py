"""The stages of each goal, as tables with reasons.

zero, lora:  model --rl--> zero; both evaluated
r1:          model --rl--> zero --sample--> cold; model --sft--> dev1 --rl(+ language)--> dev2 --sample--> reasoning;
             model --sft--> dev3 --rl--> r1; all evaluated. Reward models and rewriting need data or a model of the user's:
             qwen-r1.toml shows them.
distill:     teacher --sample--> samples (or a file); model --sft--> student; both evaluated
"""

from collections.abc import Iterator, Sequence

from dianoia.base.errors import ConfigError
from dianoia.recipe.new import numbers
from dianoia.recipe.new.draft import Table
from dianoia.recipe.new.facts import MANY_SAMPLES, Facts, ModelFacts
from dianoia.recipe.new.numbers import Choice
from dianoia.text.template import TEMPLATES

_BOXED = "Please reason step by step, and put your final answer within \\boxed{}."
"""Qwen's own words for mathematics."""
_PROGRAMS = {"code", "input", "gym"}
"""Verifiers whose answers are no boxed expression."""


class Form:
    """The template of a model's prompts, and the table that defines it if it is the recipe's own."""

    def __init__(self, facts: Facts, model: ModelFacts, with_thought: bool) -> None:
        self.reason, self.table = "", None
        template_name = facts.request.template
        self.name: str
        if template_name is not None:
            if template_name not in TEMPLATES:
                names = ", ".join(TEMPLATES)
                raise ConfigError(
                    f"--template {template_name}: there is no such template; built in are {names}. A template of your own is a table of the "
                    "recipe: docs/recipes.md shows one"
                )
            self.name, self.reason = template_name, "as you asked"
        elif model.template is not None:
            self.name, self.reason = model.template, "the one that the model was trained under"
        elif not model.is_instruct:
            self.name, self.reason = "r1-zero", "paper, table 1: for a base model"
        else:
            self.name = "thinking" if with_thought else "boxed"
            self.table = self._own_table(facts, with_thought)

    def _own_table(self, facts: Facts, with_thought: bool) -> Table:
        table = Table(f"templates.{self.name}").add(
            "chat",
            True,
            "the model's own chat template: an instruct model has seen no other prompt",
        )
        if not set(facts.problems.verifiers) & _PROGRAMS:
            table.add("system", _BOXED, "the last box is the answer")
        if with_thought:
            table.add("tags", ["<think>", "</think>"], "a thought between them, then the answer")
        return table

    @property
    def has_tags(self) -> bool:
        """True if responses have tags, whose form can be rewarded."""
        if self.name in TEMPLATES:
            return TEMPLATES[self.name].tags is not None
        return self.table is None or "tags" in self.table.entries


def goal_tables(facts: Facts) -> list[Table]:
    """Return the tables of the request's goal."""
    goal = facts.request.goal
    if goal == "distill":
        return list(_distill(facts))
    if goal == "r1":
        return list(_r1(facts))
    return list(_zero(facts, lora=goal == "lora"))


def start_form(facts: Facts) -> Form:
    """Return the form of the first prompts of a goal.

    Raises:
        ConfigError: the goal needs thoughts between tags, and the template has none.
    """
    model = facts.teacher or facts.model
    form = Form(facts, model, with_thought=facts.request.goal in ("r1", "distill"))
    if facts.request.goal in ("r1", "distill") and not form.has_tags:
        raise ConfigError(
            f"--template {form.name} has no tags, and {facts.request.goal} passes on thoughts, which stand between tags; use r1-zero, "
            "or the goal zero"
        )
    return form


def _zero(facts: Facts, lora: bool) -> Iterator[Table]:
    form = start_form(facts)
    if form.table is not None:
        yield form.table
    yield from _rl(facts, "zero", facts.model.source, form, lora=lora)
    yield from _evaluation(facts, [facts.model.source, "zero"], form)


def _r1(facts: Facts) -> Iterator[Table]:
    form, model = start_form(facts), facts.model.source
    if form.table is not None:
        yield form.table
    yield from _rl(
        facts, "zero", model, form, comment="R1-Zero: reinforcement learning alone (section 2)."
    )
    cold = numbers.prompts(facts, 4000, "thousands")
    yield from _sample(facts, "cold", "zero", form, cold, "Cold start (B.3.2): right, readable samples of zero. The paper has DeepSeek-V3 rewrite them; a [stages.cold.rewriter] table as in qwen-r1.toml does.")  # fmt: skip
    yield from _sft(
        facts, "dev1", model, ["cold"], form, 3, "the base again, not zero, as in the paper"
    )
    yield from _rl(
        facts,
        "dev2",
        "dev1",
        form,
        language=True,
        comment="Reasoning RL with the language reward (3.2, eq. 7).",
    )
    rejected = numbers.prompts(facts, 15_000, "600,000 samples")
    yield from _sample(facts, "reasoning", "dev2", form, rejected, "Rejection sampling (B.3.3). The paper adds 200,000 samples of writing and facts: name a file of yours in dev3.datasets.")  # fmt: skip
    yield from _sft(
        facts, "dev3", model, ["reasoning"], form, 2, "the base again, not dev2, as in the paper"
    )
    yield from _rl(facts, "r1", "dev3", form, language=True, comment="RL for all scenarios (3.2), here by rules alone. Helpful and safety models need prompts of yours: qwen-r1.toml shows their stages.")  # fmt: skip
    yield from _evaluation(facts, [model, "zero", "dev1", "dev2", "dev3", "r1"], form)
    parts = Table(
        "claims",
        comment="Which checkpoint plays which part of the paper: the stage table of the report.",
    )
    parts.add("base", model)
    for part in ("zero", "dev1", "dev2", "dev3", "r1"):
        parts.add(part, part)
    yield parts


def _distill(facts: Facts) -> Iterator[Table]:
    form, teacher = start_form(facts), facts.request.teacher
    assert teacher is not None, "checked in Request"
    if facts.teacher is None:
        # A file of samples: the form of the released models is the usual one.
        if facts.request.template is None:
            form.name, form.table = "r1", None
            form.reason = "the form of the released models: <think> ... </think>, then the answer; the plan says if the samples have another"  # fmt: skip
        dataset = teacher
    else:
        if form.table is not None:
            yield form.table
        prompt_choice = numbers.prompts(facts, 10_000, "600,000 samples of reasoning")
        yield from _sample(
            facts, "samples", teacher, form, prompt_choice, "What the teacher gets right (B.3.3)."
        )
        dataset = "samples"
        form.reason = "as the teacher's samples have it"
    yield from _sft(facts, "student", facts.model.source, [dataset], form, 2, "the student")
    # Before, the student answers under a template that it knows; the two may define one of their own each.
    before = Form(facts, facts.model, with_thought=False)
    if before.table is not None and before.name != form.name:
        yield before.table
    yield from _evaluation(facts, [facts.model.source, "student"], form, before)


# Stages ------------------------------------------------------------------------------------------


def _put(table: Table, key: str, choice: Choice) -> None:
    table.add(key, choice.value, choice.reason)


def _put_template(table: Table, form: Form) -> None:
    table.add("template", form.name, form.reason)


def _rl(
    facts: Facts,
    name: str,
    start: str,
    form: Form,
    *,
    lora: bool = False,
    language: bool = False,
    comment: str = "",
) -> Iterator[Table]:
    stage = Table(f"stages.{name}", comment=comment)
    stage.add("kind", "rl").add("start", start).add("problems", facts.problems.name)
    _put_template(stage, form)
    step_count = numbers.steps(facts)
    _put(stage, "steps", step_count)
    _put(stage, "group_size", numbers.group_size(facts))
    _put(stage, "problems_per_rollout", numbers.problems_per_rollout(facts))
    dtype = numbers.dtype(facts)
    if dtype.value == "bfloat16":
        _put(stage, "autocast", dtype)
    yield stage
    if lora:
        adapter = Table(f"stages.{name}.lora").add("rank", 32, "verl; rewards carry so little information that rank 1 to 32 learn like all weights")  # fmt: skip
        adapter.add("alpha", 32.0, "the adapter counts in full").add("targets", "all-linear", "attention alone learns worse")  # fmt: skip
        yield adapter
    sampling = Table(f"stages.{name}.sampling")
    _put(sampling, "max_tokens", numbers.max_tokens(facts))
    sampling.add("temperature", 1.0, "paper")
    if dtype.value == "bfloat16":
        sampling.add("dtype", "bfloat16", "half the weights and cache; the head stays float32")
    yield sampling
    yield from _rewards(facts, name, form, language)
    algorithm = Table(f"stages.{name}.algorithm").add("name", "grpo", "paper")
    algorithm.add("kl_coefficient", 0.001, "paper").add("reference_every", 400, "paper")
    yield algorithm
    optimizer = Table(f"stages.{name}.optimizer")
    _put(optimizer, "learning_rate", numbers.learning_rate(facts, lora))
    if not facts.model.is_tiny:
        optimizer.add("warmup_steps", max(1, int(step_count.value) // 20), "ours: AdamW's averages are empty at first")  # fmt: skip
    yield optimizer
    interval = max(1, int(step_count.value) // 10)
    progress = Table(f"stages.{name}.progress").add(
        "every", interval, "ten points of the held-out curve"
    )
    progress.add("problems", min(64, facts.problems.heldout), "held-out problems per point")
    yield progress.add("rollouts_every", interval, "rollouts that are kept to read")


def _rewards(facts: Facts, name: str, form: Form, language: bool) -> Iterator[Table]:
    rewards = Table(f"stages.{name}.rewards").add("accuracy", 1.0, "paper: equal weights (eq. 4)")
    if form.has_tags:
        rewards.add("format", 1.0, "the thought and the answer between their tags")
    else:
        rewards.add("format", 0.0, "no tags, so there is no form to reward")
    if language:
        rewards.add(
            "language", 1.0, "paper, eq. 7: the share of the thought in the problem's language"
        )
    if facts.request.reward is not None:
        functions = [{"path": facts.request.reward, "weight": 1.0}]
        rewards.add("functions", functions, "yours; weight 0 would measure it without rewarding")
    yield rewards


def _sample(
    facts: Facts, name: str, start: str, form: Form, prompt_choice: Choice, comment: str
) -> Iterator[Table]:
    stage = Table(f"stages.{name}", comment=comment)
    stage.add("kind", "sample").add("start", start).add("problems", facts.problems.name)
    _put_template(stage, form)
    _put(stage, "prompts", prompt_choice)
    yield stage.add("samples", 4, "per problem, of which one that is right is kept; paper: several")
    sampling = Table(f"stages.{name}.sampling")
    _put(sampling, "max_tokens", numbers.max_tokens(facts))
    if numbers.dtype(facts).value == "bfloat16":
        sampling.add("dtype", "bfloat16")
    yield sampling.add("temperature", 1.0, "paper")


def _sft(
    facts: Facts,
    name: str,
    start: str,
    datasets: Sequence[str],
    form: Form,
    epochs: int,
    reason: str,
) -> Iterator[Table]:
    stage = Table(f"stages.{name}").add("kind", "sft").add("start", start, reason)
    stage.add("datasets", [{"path": path} for path in datasets])
    _put_template(stage, form)
    stage.add("epochs", epochs, "paper: 2 to 3")
    length = numbers.sample_length(facts)
    _put(stage, "max_length", length)
    samples = 8 if facts.model.is_tiny else 32
    stage.add("tokens_per_step", samples * int(length.value), f"ours: {samples} of the longest samples; paper: a batch of 128, without a unit")  # fmt: skip
    stage.add(
        "tokens_per_micro_batch",
        max(int(length.value), 4096),
        "ours: memory and speed, never the result",
    )
    counted = facts.problems.train if facts.samples is None else facts.samples
    if counted is not None and counted < MANY_SAMPLES:
        stage.add(
            "evaluation_share", 0.0, "ours: too few samples to hold some out for an evaluation loss"
        )
    dtype = numbers.dtype(facts)
    if dtype.value == "bfloat16":
        _put(stage, "autocast", dtype)
    yield stage
    optimizer = Table(f"stages.{name}.optimizer")
    _put(optimizer, "learning_rate", numbers.fine_tuning_rate(facts))
    yield optimizer


def _evaluation(
    facts: Facts, checkpoints: Sequence[str], form: Form, before: Form | None = None
) -> Iterator[Table]:
    """Yield the evaluation; `before`: the form of the first checkpoint, where it is another one."""
    stage = Table(
        "stages.evaluation", comment="Before and after, on problems that no stage trains on."
    )
    stage.add("kind", "evaluate").add("checkpoints", list(checkpoints))
    if facts.test is not None:
        stage.add("problems", facts.test.name, "your test set")
        stage.add(
            "whole_file",
            True,
            "all of it; without this key, the tenth of the file that is held out",
        )
        count = facts.test.heldout
    else:
        stage.add(
            "problems", facts.problems.name, "the part that is held out, by a hash of the question"
        )
        count = facts.problems.heldout
    if before is not None and before.name != form.name:
        first, *others = checkpoints
        names = {first: before.name, **dict.fromkeys(others, form.name)}
        stage.add("template", names, "each as it was trained")
    else:
        _put_template(stage, form)
    limit = max(1, min(count, 500))
    stage.add("limit", limit, f"of {count:,} problems" if count > limit else "all that there are")
    stage.add("samples", 4, "per problem; paper: 4 to 64 by the size of the set (D.1)")
    _put(stage, "max_tokens", numbers.max_tokens(facts)._replace(reason="as in training"))
    stage.add("temperature", 0.6, "paper (D.1)").add("top_p", 0.95, "paper (D.1)")
    if numbers.dtype(facts).value == "bfloat16":
        stage.add("dtype", "bfloat16")
    yield stage
