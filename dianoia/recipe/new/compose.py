"""Writes the recipe of a request: chooses, fits it to the machine, and checks it as a dry run does. No torch.

In: a `Request`. Out: a `NewRecipe`, whose text loads and whose plan fits the machine; nothing is written to disk for good.
"""

import re
import shlex
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dianoia.base.errors import ConfigError, UserError
from dianoia.recipe.check.inputs import check_inputs
from dianoia.recipe.graph import Recipe
from dianoia.recipe.load import load_recipe
from dianoia.recipe.new.draft import Draft, Table
from dianoia.recipe.new.facts import Facts, Request, gather
from dianoia.recipe.new.goals import goal_tables
from dianoia.recipe.plan.memory import TIGHT
from dianoia.recipe.plan.number_format import format_bytes, format_count
from dianoia.recipe.plan.run_plan import RunPlan, StagePlan, plan_run
from dianoia.recipe.templates import inherit_templates

_ABOUT = {
    "zero": "R1-Zero: reinforcement learning and nothing else (DeepSeek-R1 v2, section 2)",
    "lora": "R1-Zero with low-rank adapters in place of all weights (docs/lora.md)",
    "r1": "The whole of DeepSeek-R1 (v2, figure 2)",
    "distill": "Distillation: supervised fine-tuning on a teacher's samples (DeepSeek-R1 v2, B.4.3)",
}


@dataclass(frozen=True, slots=True)
class NewRecipe:
    """A recipe that has been checked."""

    name: str
    text: str
    facts: Facts
    recipe: Recipe
    plan: RunPlan
    savings: tuple[str, ...]
    """Keys that were set so that it fits the machine."""


def compose(request: Request) -> NewRecipe:
    """Write the recipe of a request.

    Raises:
        ConfigError, ModelError, ProblemFileError: what cannot work, with the option as typed.
    """
    facts = gather(request)
    name = request.name or _name(request)
    draft = Draft(_introduction(facts, name), [_top(facts, name), *goal_tables(facts)])
    savings: list[str] = []
    while True:
        recipe = _checked(draft, name)
        plan = plan_run(recipe, gpu=request.gpu)
        stage = next((s for s in plan.stages if _is_tight(s, plan)), None)
        if stage is None:
            return NewRecipe(name, draft.as_toml(), facts, recipe, plan, tuple(savings))
        # Ends: each key saves only so often, and then there is none left.
        saving = _save(draft, stage, plan)
        if saving is None:
            raise ConfigError(_too_large(stage, plan, facts))
        savings.append(f"{stage.name}.{saving}")


def _name(request: Request) -> str:
    """Return a name for the run directory: the model's last part and the goal, in letters that a folder's name may have."""
    stem = Path(request.model.rstrip("/")).name if "/" in request.model else request.model
    slug = re.sub(r"[^a-z0-9.]+", "-", stem.lower()).strip("-.")
    return f"{slug or 'model'}-{request.goal}"


def _introduction(facts: Facts, name: str) -> str:
    request = facts.request
    options = {
        "--model": request.model, "--problems": request.problems, "--teacher": request.teacher, "--reward": request.reward,
        "--test": request.test, "--template": request.template, "--for": request.gpu,
    }  # fmt: skip
    words = [word for key, text in options.items() if text is not None for word in (key, text)]
    count = (
        "without end" if facts.problems.train is None else f"{facts.problems.train:,} for training"
    )
    return (
        f"{_ABOUT[request.goal]}: {request.model} ({_parameters(facts.model.parameters)}) on\n"
        f"{request.problems} ({count}, {facts.problems.heldout:,} held out; verifier {', '.join(facts.problems.verifiers)}).\n"
        "\n"
        f"    dianoia run {shlex.quote(name)}.toml --dry-run     # arithmetic, memory, time\n"
        f"    dianoia run {shlex.quote(name)}.toml               # runs it, or resumes\n"
        "    dianoia help KEY     # what a key means\n"
        "\n"
        f"Written by `dianoia new {request.goal} {shlex.join(words)}`.\n"
        'Every number has its reason. "paper" is DeepSeek-R1 (arXiv 2501.12948v2), "ours" a choice without a measurement.'
    )


def _parameters(count: float) -> str:
    if count >= 1e9:
        return f"{count / 1e9:.1f} B parameters"
    return (
        f"{count / 1e6:.2g} M parameters" if count < 10e6 else f"{format_count(count)} parameters"
    )


def _top(facts: Facts, name: str) -> Table:
    goal_titles = {
        "zero": "R1-Zero",
        "lora": "R1-Zero with LoRA",
        "r1": "R1",
        "distill": "Distillation",
    }
    top = Table("").add("name", name)
    top.add(
        "description",
        f"{goal_titles[facts.request.goal]}: {facts.model.source} on {facts.problems.name}",
    )
    return top.add("seed", 1)


def _checked(draft: Draft, name: str) -> Recipe:
    """Return the recipe of a draft, with its inputs checked; messages name the file as it will be called."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.toml"
        file.write_text(draft.as_toml(), encoding="utf-8")
        try:
            recipe = inherit_templates(load_recipe(file))
            check_inputs(recipe, planned=True)
        except UserError as error:
            raise type(error)(str(error).replace(str(file), file.name)) from None
        return recipe


# Fitting the machine -------------------------------------------------------------------------------


def _is_tight(stage: StagePlan, plan: RunPlan) -> bool:
    memory = plan.machine_memory
    return stage.memory is not None and memory is not None and stage.memory.bytes > TIGHT * memory


def _save(draft: Draft, stage: StagePlan, plan: RunPlan) -> str | None:
    """Set the key that saves most memory in a stage, and return it as text; None if there is none."""
    memory = stage.memory
    assert memory is not None and plan.machine_memory is not None, (
        "only tight stages are made smaller"
    )
    if not memory.savings:
        return None
    # The best comes first; the weight of the divergence last, since it alone changes what is learnt.
    saving = min(memory.savings, key=lambda saving: saving.text.startswith("algorithm."))
    key, _, text = saving.text.partition(" = ")
    value: Any = tomllib.loads(f"value = {text}")["value"]
    reason = (
        f"to fit {plan.machine}: with this {format_bytes(saving.bytes)}, without {format_bytes(memory.bytes)} of "
        f"{format_bytes(plan.machine_memory)}"
    )
    draft.set(stage.name, key, value, reason)
    return saving.text


def _too_large(stage: StagePlan, plan: RunPlan, facts: Facts) -> str:
    assert stage.memory is not None and plan.machine_memory is not None, (
        "only tight stages are too large"
    )
    ways = ["a smaller --model"]
    if facts.request.goal == "zero":
        ways.append("the goal lora, which needs less")
    if plan.suggested_gpu:
        ways.append(
            f"--for {shlex.quote(plan.suggested_gpu)}, to write it for a machine with that GPU"
        )
    return (
        f"--model {facts.model.source}: {stage.name} needs about {format_bytes(stage.memory.bytes)} of memory while "
        f"{stage.memory.activity}, also with every key that saves some, and {plan.machine} has "
        f"{format_bytes(plan.machine_memory)}; use {', or '.join(ways)}"
    )
