"""What a recipe will do, in prompts, groups, completions, optimizer steps, tokens, memory and time.

No torch. Tokens are upper limits where a stage may stop earlier. Memory (`recipe.memory`) is that of the phase
that needs most, and is held against what this machine has; time (`recipe.work`) is an estimate; it says "about".
What is not here yet does not stop a plan: it is listed at the end, and would stop a run.
"""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dianoia.base.run import OLD
from dianoia.recipe.advice import Change, changes
from dianoia.recipe.entries import entry_of
from dianoia.recipe.inputs import check_inputs
from dianoia.recipe.memory import Phase, peak
from dianoia.recipe.missing import absent, still_missing
from dianoia.recipe.model import Recipe
from dianoia.recipe.problems import told_problems
from dianoia.recipe.sizes import judge_sizes, size_of
from dianoia.recipe.standing import Action, Todo
from dianoia.recipe.units import about, in_bytes
from dianoia.recipe.work import seconds
from dianoia.runtime.machine import Machine, this_machine, threads_of

__all__ = ["print_plan", "size_of"]

_TIGHT = 0.9
"""Share of a machine's memory above which an estimate is too close to it."""


def print_plan(
    recipe: Recipe,
    console: Console,
    plan: Sequence[Todo] = (),
    place: Path | None = None,
    jobs: int = 1,
) -> None:
    """Check the recipe's inputs and print its arithmetic; with a plan, also what happens to each stage in `place`.

    `jobs`: how many stages run side by side.

    Raises:
        ConfigError, ModelError, ProblemFileError, SandboxError: as `recipe.inputs.check_inputs` of a plan.
    """
    check_inputs(recipe, planned=True)
    threads = threads_of(recipe.threads, jobs)
    machine = this_machine(threads)
    where = f" in {place}" if place else ""
    table = Table(title=Text(f"{recipe.name} (seed {recipe.seed}){where}"), title_justify="left")
    table.add_column("stage", no_wrap=True)
    table.add_column("what it does", overflow="fold")  # a path must not lose its end
    table.add_column("memory", justify="right")
    table.add_column("time", justify="right")
    details: list[str] = []
    problems: dict[str, None] = {}
    memory: list[float] = []
    for name in recipe.stages:
        todo = next((todo for todo in plan if todo.name == name), None)
        cells, more, needed = _line(name, recipe, machine, todo)
        table.add_row(*map(Text, cells))
        details += more
        memory.append(needed)
        stage = recipe.stages[name]
        works = todo is None or todo.works
        problems |= dict.fromkeys(
            told_problems(stage) if works and not absent(stage, recipe) else ()
        )
    console.print(table)
    if problems:
        _say(console, "\n".join(["Problems read from files.", *problems]))
    _say(console, "\n".join([f"Time and memory for {machine.name}{_of(machine)}.", *details]))
    if jobs > 1:
        _say(console, _side_by_side(jobs, threads, memory, machine))
    if place and any(todo.action is Action.AGAIN for todo in plan):
        kept = place / "stages" / OLD
        _say(console, f"What runs again begins from nothing; what is there now is kept in {kept}.")
    for line in still_missing(recipe):
        _say(console, f"Still missing, and a run would stop before it began: {line}")


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _line(
    name: str, recipe: Recipe, machine: Machine, todo: Todo | None
) -> tuple[tuple[str, str, str, str], list[str], float]:
    """The cells of a stage; if it works, what there is to say of its memory, and its bytes."""
    stage, size = recipe.stages[name], size_of(name, recipe)
    entry, judges = entry_of(name, recipe, size), judge_sizes(name, recipe).values()
    phase = peak(stage, size, machine, entry.longest, judges)
    spent = about(sum(seconds(work, machine) for work in entry.work)) + entry.unit
    what = entry.what if todo is None else f"{todo.why}\n{entry.what}"
    if todo is not None and not todo.works:
        return (f"{name} ({stage.kind})", what, "", ""), [], 0.0
    details = [_memory(name, phase)]
    if machine.memory is not None and phase.bytes > _TIGHT * machine.memory:
        useful = changes(stage, size, machine, entry.longest, judges)
        details.append(_too_much(name, machine, phase, *useful))
    return (f"{name} ({stage.kind})", what, in_bytes(phase.bytes), spent), details, phase.bytes


def _side_by_side(jobs: int, threads: int, memory: Sequence[float], machine: Machine) -> str:
    """How many stages run at a time, and whether those that need most fit together."""
    most = sum(sorted(memory)[-jobs:])
    told = f"Up to {jobs} stages run side by side, each with {threads} thread{'s' * (threads > 1)}"
    if machine.memory is None or most <= _TIGHT * machine.memory:
        return f"{told}; those that need most take {in_bytes(most)} together."
    return (
        f"{told}. WARNING: those that need most take {in_bytes(most)} together, and {machine.name} has "
        f"{in_bytes(machine.memory)}; give a smaller --jobs."
    )


def _of(machine: Machine) -> str:
    return "" if machine.memory is None else f", {in_bytes(machine.memory)}"


def _memory(name: str, phase: Phase) -> str:
    """Parts from the largest down; what is below a hundredth goes without saying."""
    parts = sorted(phase.parts.items(), key=lambda part: -part[1])
    told = [f"{part} {in_bytes(size)}" for part, size in parts if size >= phase.bytes / 100]
    return f"Memory of {name}, at its highest while {phase.doing}: {', '.join(told)}."


def _too_much(
    name: str, machine: Machine, phase: Phase, useful: Sequence[Change], least: float
) -> str:
    """What does not fit, in plain words, and what to do."""
    assert machine.memory is not None, "asked only where it is known"
    how = "more than" if phase.bytes > machine.memory else "close to"
    told = (
        f"WARNING: {name} needs about {in_bytes(phase.bytes)} while {phase.doing}, {how} the "
        f"{in_bytes(machine.memory)} of {machine.name}."
    )
    for change in useful:
        told += f" {name}.{change.text} would bring it to {in_bytes(change.bytes)}."
    if not useful:
        told += " No key would lower it:"
    elif len(useful) > 1 or least > _TIGHT * machine.memory:
        told += f" All of these together leave {in_bytes(least)}"
        told += ":" if least > _TIGHT * machine.memory else "."
    if least > _TIGHT * machine.memory:
        told += " take a smaller model, shorter texts or a larger machine."
    return told
