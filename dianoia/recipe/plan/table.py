"""What a recipe will do, in prompts, groups, completions, optimizer steps, tokens, memory and time.

No torch. Tokens are upper limits where a stage may stop earlier. Memory (`recipe.plan.memory`) is that of the phase
that needs most, and is held against what this machine has; time (`recipe.plan.work_time`) is an estimate; it says "about".
What is not here yet does not stop a plan: it is listed at the end, and would stop a run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dianoia.base.disk_space import free_bytes
from dianoia.config import EvaluateStage
from dianoia.hardware.machine import Machine, this_machine, thread_count
from dianoia.recipe.check.inputs import check_inputs
from dianoia.recipe.check.missing import absent, still_missing
from dianoia.recipe.check.problem_sets_check import told_problems
from dianoia.recipe.check.ranges import unusual
from dianoia.recipe.graph import Recipe
from dianoia.recipe.plan.advice import Change, changes
from dianoia.recipe.plan.brief import brief
from dianoia.recipe.plan.disk import needed
from dianoia.recipe.plan.memory import Phase, peak
from dianoia.recipe.plan.model_sizes import judge_sizes, size_of
from dianoia.recipe.plan.number_format import about, in_bytes
from dianoia.recipe.plan.stage_plan import entry_of
from dianoia.recipe.plan.work_time import seconds
from dianoia.recipe.resume.stage_status import Action, StageTask
from dianoia.storage.run_directory import OLD

__all__ = ["print_plan", "size_of"]

_FEW = 3
"""Stages of a recipe whose plan also says in words what each does."""
_LEAST_ROOM = 20
"""Columns for what a stage does, also where a terminal is narrower."""
_TIGHT = 0.9
"""Share of a machine's memory above which an estimate is too close to it."""


def print_plan(
    recipe: Recipe,
    console: Console,
    plan: Sequence[StageTask] = (),
    place: Path | None = None,
    jobs: int = 1,
    details: bool = True,
) -> None:
    """Check the recipe's inputs and print its arithmetic; with a plan, also what happens to each stage in `place`.

    `jobs`: how many stages run side by side. Without `details` a stage has one line.

    Raises:
        ConfigError, ModelError, ProblemFileError, SandboxError: as `recipe.check.inputs.check_inputs` of a plan.
    """
    check_inputs(recipe, planned=True)
    threads = thread_count(recipe.threads, jobs)
    machine = this_machine(threads)
    todos = {todo.name: todo for todo in plan}
    lines = [_line(name, recipe, machine, todos.get(name)) for name in recipe.stages]
    where = f" in {place}" if place else ""
    title = f"{recipe.name} (seed {recipe.seed}){where}"
    if details:
        console.print(_table(Text(title), lines))
    else:
        _say(console, _short_table(title, lines, console.width))
    if not details and len(lines) <= _FEW:
        _say(console, "\n".join(f"{line.name} ({line.kind}): {line.what}" for line in lines))
    problems = _problems(recipe, todos)
    if problems:
        _say(console, "\n".join(["Problems read from files.", *problems]))
    told = [text for line in lines for text in (line.memory_parts if details else line.warnings)]
    _say(console, "\n".join([f"Time and memory for {machine.name}{_of(machine)}.", *told]))
    if not details:
        for text in [*_reasons(lines), *_awaited(lines)]:
            _say(console, text)
    for text in unusual(recipe):
        _say(console, f"WARNING: {text}")
    if jobs > 1:
        _say(console, _side_by_side(jobs, threads, [line.bytes for line in lines], machine))
    if place:
        _say_disk(console, recipe, plan, place, jobs)
    for text in still_missing(recipe):
        _say(console, f"Still missing, and a run would stop before it began: {text}")
    if not details:
        _say(console, "What each stage does in detail, and its memory by parts: --verbose")


@dataclass(frozen=True, slots=True)
class _Line:
    """A stage in the plan."""

    name: str
    kind: str
    brief: str
    what: str
    """The arithmetic in words."""
    memory: str
    time: str
    todo: StageTask | None
    bytes: float = 0.0
    memory_parts: tuple[str, ...] = ()
    """Sentences on its memory, warnings among them."""
    warnings: tuple[str, ...] = ()
    awaits: tuple[str, ...] = ()
    """Earlier stages whose data decide how long it takes."""

    @property
    def short_time(self) -> str:
        """For the table with a line a stage."""
        return "unknown" if self.awaits and self.time else self.time.partition(" for ")[0]


def _table(title: Text, lines: Sequence[_Line]) -> Table:
    """Every stage with its arithmetic."""
    table = Table(title=title, title_justify="left")
    table.add_column("stage", no_wrap=True)
    table.add_column("what it does", overflow="fold")  # a path must not lose its end
    table.add_column("memory", justify="right")
    table.add_column("time", justify="right")
    for line in lines:
        what = line.what if line.todo is None else f"{line.todo.reason}\n{line.what}"
        cells = (f"{line.name} ({line.kind})", what, line.memory, line.time)
        table.add_row(*map(Text, cells))
    return table


def _short_table(title: str, lines: Sequence[_Line], width: int) -> str:
    """A line a stage: names whole, and what it does in the room that is left."""
    rows = [("stage", "what it does", "memory", "time")]
    for line in lines:
        acted = line.todo is not None and line.todo.action is not Action.RUN
        what = _acts(line.todo) if acted and line.todo is not None else line.brief
        rows.append((line.name, what, line.memory, line.short_time))
    names, _, memory, time = (max(len(row[column]) for row in rows) for column in range(4))
    room = max(_LEAST_ROOM, width - names - memory - time - 6)
    return "\n".join(
        [
            title,
            *(
                f"{name:{names}}  {_cut(what, room):{room}}  {needed:>{memory}}  {spent:>{time}}".rstrip()
                for name, what, needed, spent in rows
            ),
        ]
    )


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 3].rstrip()}..."


def _acts(todo: StageTask) -> str:
    """What happens to a stage, without the reason."""
    return todo.reason.partition(": ")[0] if todo.action is Action.RERUN else todo.reason


def _reasons(lines: Sequence[_Line]) -> list[str]:
    """Why stages run again, in full."""
    return [
        f"{line.name} {line.todo.reason}"
        for line in lines
        if line.todo is not None and line.todo.action is Action.RERUN
    ]


def _awaited(lines: Sequence[_Line]) -> list[str]:
    """Which times cannot be known yet."""
    named = [line.name for line in lines if line.awaits and line.time]
    if not named:
        return []
    return [
        f"Not known before earlier stages have written: the time of {', '.join(named)} (--verbose has an upper bound)."
    ]


def _problems(recipe: Recipe, todos: Mapping[str, StageTask]) -> list[str]:
    """What files of problems hold, of the stages that work."""
    found: dict[str, None] = {}
    for name, stage in recipe.stages.items():
        works = name not in todos or todos[name].runs
        if works and not absent(stage, recipe):
            found |= dict.fromkeys(told_problems(stage))
            if isinstance(stage, EvaluateStage) and not stage.whole_file and told_problems(stage):
                found[_held_out(name)] = None
    return list(found)


def _held_out(name: str) -> str:
    return f"{name} evaluates on the held-out side alone; for a file that is a test set, whole_file = true takes all of it."


def _say_disk(
    console: Console, recipe: Recipe, plan: Sequence[StageTask], place: Path, jobs: int
) -> None:
    """What runs again, and whether the disk has room."""
    if any(todo.action is Action.RERUN for todo in plan):
        kept = place / "stages" / OLD
        _say(console, f"What runs again begins from nothing; what is there now is kept in {kept}.")
    if not any(todo.runs for todo in plan):
        return
    wanted, free = needed(recipe, plan, jobs), free_bytes(place)
    told = f"On the disk: at most about {in_bytes(wanted)}, states included"
    if free is None:
        _say(console, f"{told}.")
    elif free < wanted:
        _say(
            console,
            f"WARNING: {told}, and {in_bytes(free)} are free where {place} lies; free {in_bytes(wanted - free)} there or "
            "give another --out.",
        )
    else:
        _say(console, f"{told}; {in_bytes(free)} are free.")


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _line(name: str, recipe: Recipe, machine: Machine, todo: StageTask | None) -> _Line:
    """A stage of the plan; if it does not work, without its memory and time."""
    stage, size = recipe.stages[name], size_of(name, recipe)
    entry, judges = entry_of(name, recipe, size), judge_sizes(name, recipe).values()
    if todo is not None and not todo.runs:
        return _Line(name, stage.kind, brief(stage), entry.what, "", "", todo)
    phase = peak(stage, size, machine, entry.longest, judges)
    spent = about(sum(seconds(work, machine) for work in entry.work))
    warnings = []
    if machine.memory is not None and phase.bytes > _TIGHT * machine.memory:
        useful = changes(stage, size, machine, entry.longest, judges)
        warnings.append(_too_much(name, machine, phase, *useful))
    return _Line(
        name,
        stage.kind,
        brief(stage),
        entry.what,
        in_bytes(phase.bytes),
        spent + entry.unit,
        todo,
        phase.bytes,
        (_memory(name, phase), *warnings),
        tuple(warnings),
        entry.awaits,
    )


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
