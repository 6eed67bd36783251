"""Prints a plan: a table with one line per stage, or all details. No torch.

In: a `RunPlan`. Out: text on a console. Nothing is computed or checked here.
"""

import shlex
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dianoia.hardware.machine import CPU_NAME
from dianoia.recipe.plan.memory import TIGHT
from dianoia.recipe.plan.number_format import format_bytes, format_seconds, plural
from dianoia.recipe.plan.run_plan import (
    DiskPlan,
    HostPlan,
    MemoryPlan,
    RunPlan,
    StagePlan,
)
from dianoia.recipe.plan.savings import Saving, WayToFit
from dianoia.recipe.resume.stage_status import Action

_FEW_STAGES = 3
"""A recipe with at most so many stages also gets their work in words without --verbose."""
_MIN_SUMMARY_WIDTH = 20
"""Columns for the summary of a stage, even on a narrower terminal."""
_WAYS = 3
"""Most sets of changes that are named for a stage that does not fit."""
_SMALL_PART = 0.01
"""Share of the memory or disk space below which a part is not listed."""


def print_plan(plan: RunPlan, console: Console, details: bool = True) -> None:
    """Print a plan; without `details`, one line per stage and what needs attention."""
    title = f"{plan.recipe} (seed {plan.seed})"
    if plan.run_directory:
        title += f" in {plan.run_directory}"
    if details:
        console.print(_detailed_table(title, plan))
    else:
        _print(console, _short_table(title, plan, console.width))
    # Warnings come last, where they stay visible above the prompt of the shell.
    for line in [*_notes(plan, details), *_warnings(plan)]:
        _print(console, line)
    if not details:
        _print(console, "--verbose adds what each stage does in detail and its memory by parts.")


def _notes(plan: RunPlan, details: bool) -> Iterator[str]:
    """Yield lines on the stages: work, problems, memory, reasons."""
    if not details and len(plan.stages) <= _FEW_STAGES:
        for stage in plan.stages:
            yield f"{stage.name} ({stage.kind}): {stage.work}"
    if plan.problem_notes:
        yield "\n".join(["Problems read from files.", *plan.problem_notes])
    yield _estimates(plan)
    for stage in plan.stages:
        if details and stage.memory is not None:
            yield _memory_parts(stage.name, stage.memory)
        if stage.memory is not None and stage.memory.least is not None:
            yield _memory_warning(stage.name, stage.memory, plan)
    yield from _sharded_stages(plan)
    yield from _main_memory(plan)
    if not details:
        yield from _rerun_reasons(plan.stages)
    yield from _guessed_times(plan.stages)


def _warnings(plan: RunPlan) -> Iterator[str]:
    """Yield lines on the run as a whole: odd numbers, joint memory, disk, missing inputs."""
    for warning in plan.unusual:
        yield f"WARNING: {warning}"
    yield from _other_machine(plan)
    if plan.jobs > 1:
        yield _joint_memory(plan)
    if plan.old_outputs is not None:
        yield f"Stages that run again start from scratch; their present outputs are moved to {plan.old_outputs}."
    if plan.trackers:
        yield f"Trackers: {'; '.join(f'{name} {action}' for name, action in plan.trackers.items())}."
    if plan.disk is not None:
        yield _disk(plan.disk, plan.run_directory)
    for sentence in plan.missing:
        yield f"Missing, and a run would be refused: {sentence}"


def _print(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _estimates(plan: RunPlan) -> str:
    """Return a sentence on the machine that time and memory are meant for, and what the largest stage leaves of it."""
    memory = plan.machine_memory
    size = "" if memory is None else f" with {format_bytes(memory)} of memory"
    elsewhere = ", which is not this machine" if plan.elsewhere else ""
    # On a CPU the ranks of a node share its cores and memory.
    each = "a share of " if plan.machine == CPU_NAME else ""
    ranks = "" if plan.ranks == 1 else f"{_ranks(plan)}, each with {each}"
    sentence = f"Time and memory are estimates for {ranks}{plan.machine}{size}{elsewhere}."
    if plan.ranks > 1:
        sentence += " Memory is that of a rank."
    free_memory = 0.0 if memory is None else memory - plan.largest
    if plan.elsewhere and free_memory >= 0:
        share = free_memory / max(1.0, memory or 1.0)
        sentence += f" The largest stage leaves {format_bytes(free_memory)} of it ({share:.0%})."
    return sentence + _total(plan)


def _ranks(plan: RunPlan) -> str:
    return f"{plural(plan.ranks, 'rank')} on {plural(plan.nodes, 'node')}"


def _sharded_stages(plan: RunPlan) -> Iterator[str]:
    """Yield a line per sharding that stages have."""
    for shard, ranks in (("node", -(-plan.ranks // plan.nodes)), ("all", plan.ranks)):
        names = [s.name for s in plan.stages if s.memory is not None and s.memory.shard == shard]
        if names and ranks > 1:
            yield (
                f"{', '.join(names)}: weights, gradients and optimizer states are divided among {ranks} ranks "
                f'(shard = "{shard}").'
            )


def _main_memory(plan: RunPlan) -> Iterator[str]:
    """Yield a line on the main memory of a node, if several ranks share it; with a warning if there is less."""
    hosts = [(s.host.bytes, s.name, s.host) for s in plan.stages if s.host is not None]
    if plan.ranks == 1 or not hosts:
        return
    needed, name, host = max(hosts, key=lambda item: item[0])
    need = f"Main memory: at most about {format_bytes(needed)} of a node ({_host_parts(host)}), in {name} while {host.activity}"
    if plan.host_memory is None:
        yield f"{need}."
    elif needed > plan.host_memory:
        yield f"WARNING: {need}, and this machine has {format_bytes(plan.host_memory)}."
    else:
        yield f"{need}; this machine has {format_bytes(plan.host_memory)}."


def _host_parts(host: HostPlan) -> str:
    parts = sorted(host.parts.items(), key=lambda part: -part[1])
    return ", ".join(
        f"{part} {format_bytes(size)}" for part, size in parts if size >= _SMALL_PART * host.bytes
    )


def _total(plan: RunPlan) -> str:
    """Return a sentence on the time of the whole run; empty for a single stage."""
    times = [stage.seconds for stage in plan.stages if stage.seconds and not stage.unit]
    if len(times) < 2 or not all(map(plan.fits, plan.stages)):
        return ""
    if plan.total_seconds is None:
        return f" Known times add up to {format_seconds(sum(times))}."
    if plan.jobs == 1:
        return f" The whole run: {format_seconds(plan.total_seconds)}."
    return (
        f" The whole run: {format_seconds(plan.total_seconds)} with {plan.jobs} stages at a time, "
        f"{format_seconds(sum(times))} one after the other."
    )


def _other_machine(plan: RunPlan) -> Iterator[str]:
    """Yield a line on stages that the machine cannot hold or finish, and on one that could hold them."""
    large = [stage.name for stage in plan.stages if not plan.fits(stage)]
    slow = [name for name in plan.slow_stages if name not in large]
    reasons = []
    if large:
        verb = "does" if len(large) == 1 else "do"
        reasons.append(f"{', '.join(large)} {verb} not fit {plan.machine}")
    if slow:
        verb = "takes" if len(slow) == 1 else "take"
        reasons.append(f"{', '.join(slow)} {verb} more than a month on {plan.machine}")
    if not reasons:
        return
    line = f"{' and '.join(reasons)}."
    if plan.suggested_gpu:
        line += (
            f" The smallest known GPU with the memory for the recipe as it is: {plan.suggested_gpu}. To plan for it, or for "
            f"another one: --dry-run --for {shlex.quote(plan.suggested_gpu)}"
        )
    yield line


# Tables ------------------------------------------------------------------------------------------


def _detailed_table(title: str, plan: RunPlan) -> Table:
    table = Table(title=Text(title), title_justify="left")
    table.add_column("stage", no_wrap=True)
    table.add_column("what it does", overflow="fold")  # a long path must not lose its end
    table.add_column("memory", justify="right")
    table.add_column("time", justify="right")
    for stage in plan.stages:
        work = f"{stage.reason}\n{stage.work}" if stage.reason else stage.work
        time = _time_cell(stage) if plan.fits(stage) else "does not fit"
        cells = (f"{stage.name} ({stage.kind})", work, _memory_cell(stage), time)
        table.add_row(*map(Text, cells))
    return table


def _short_table(title: str, plan: RunPlan, width: int) -> str:
    """Return a table with one line per stage: names are never cut, the summary takes the remaining columns."""
    rows = [("stage", "what it does", "memory", "time")]
    for stage in plan.stages:
        # A stage that is skipped, resumed or run again shows that instead of its work.
        summary = stage.summary if stage.action == Action.RUN else _short_reason(stage)
        # The unit of data that is missing would not fit into the column.
        time = "unknown" if stage.runs and stage.unit else _time_cell(stage)
        if not plan.fits(stage):
            time = "does not fit"
        rows.append((stage.name, summary, _memory_cell(stage), time))
    # Every column but the summary gets the width of its longest cell.
    name_width, _, memory_width, time_width = (
        max(len(row[column]) for row in rows) for column in range(4)
    )
    spaces = 3 * len("  ")
    summary_width = max(_MIN_SUMMARY_WIDTH, width - name_width - memory_width - time_width - spaces)
    lines = (
        f"{name:{name_width}}  {_cut(summary, summary_width):{summary_width}}  "
        f"{memory:>{memory_width}}  {time:>{time_width}}".rstrip()
        for name, summary, memory, time in rows
    )
    return "\n".join([title, *lines])


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3].rstrip()}..."


def _memory_cell(stage: StagePlan) -> str:
    return "" if stage.memory is None else format_bytes(stage.memory.bytes)


def _time_cell(stage: StagePlan) -> str:
    return "" if stage.seconds is None else format_seconds(stage.seconds) + stage.unit


def _short_reason(stage: StagePlan) -> str:
    """Return what happens to a stage; the reason of a stage that runs again stands below the table."""
    return stage.reason.partition(": ")[0] if stage.action == Action.RERUN else stage.reason


# Lines below the table ---------------------------------------------------------------------------


def _rerun_reasons(stages: Sequence[StagePlan]) -> list[str]:
    return [f"{stage.name} {stage.reason}" for stage in stages if stage.action == Action.RERUN]


def _guessed_times(stages: Sequence[StagePlan]) -> list[str]:
    """Return a line on the stages whose time depends on data that earlier stages write."""
    names = [stage.name for stage in stages if stage.guessed]
    if not names:
        return []
    return [
        f"The time of {', '.join(names)} is a guess: it depends on how much data earlier stages write."
    ]


def _memory_parts(name: str, memory: MemoryPlan) -> str:
    """Return the parts of a stage's memory, largest first."""
    parts = sorted(memory.parts.items(), key=lambda part: -part[1])
    listed = [
        f"{part} {format_bytes(size)}" for part, size in parts if size >= _SMALL_PART * memory.bytes
    ]
    return f"Memory of {name}, largest while {memory.activity}: {', '.join(listed)}."


def _memory_warning(name: str, memory: MemoryPlan, plan: RunPlan) -> str:
    """Return a warning on a stage that does not fit, with the keys that would help."""
    assert plan.machine_memory is not None and memory.least is not None, "only if it does not fit"
    relation = "more than" if memory.bytes > plan.machine_memory else "close to"
    sentences = [
        f"WARNING: {name} needs about {format_bytes(memory.bytes)} while {memory.activity}, {relation} the "
        f"{format_bytes(plan.machine_memory)} of {plan.machine}.",
        *(_saving(name, saving) for saving in memory.savings),
    ]
    # No combination of keys makes the stage fit.
    too_much = memory.least > TIGHT * plan.machine_memory
    if memory.savings and (len(memory.savings) > 1 or too_much):
        sentences.append(f"All of these together would leave {format_bytes(memory.least)}.")
    if not memory.savings:
        sentences.append("No key would lower it.")
    if memory.ways:
        ways = "; or ".join(map(_way, memory.ways[:_WAYS]))
        sentences.append(f"It would fit with {ways}.")
    elif too_much:
        sentences.append("Use a smaller model, shorter texts or a larger machine.")
        if plan.ranks > 1:
            sentences.append("Neither `shard` nor `lora` nor `rollouts` would make it fit.")
    return " ".join(sentences)


def _saving(name: str, saving: Saving) -> str:
    return f"{name}.{saving.text} would lower it to {format_bytes(saving.bytes)}."


def _way(way: WayToFit) -> str:
    return f"{' and '.join(way.keys)} ({format_bytes(way.bytes)})"


def _joint_memory(plan: RunPlan) -> str:
    """Return a line on the stages that run at the same time, with a warning if they do not fit together."""
    jobs = f"Up to {plural(plan.jobs, 'stage')} run at the same time, each with {plural(plan.threads, 'thread')}"
    needed = format_bytes(plan.joint_memory)
    if plan.machine_memory is None or plan.joint_memory <= TIGHT * plan.machine_memory:
        return f"{jobs}; the largest need {needed} together."
    return (
        f"{jobs}. WARNING: the largest need {needed} together, and {plan.machine} has "
        f"{format_bytes(plan.machine_memory)}; give a smaller --jobs."
    )


def _disk(disk: DiskPlan, run_directory: str | None) -> str:
    """Return a line on the disk space of the run by parts, with a warning if there is less."""
    needed, free = disk.needed, disk.free
    parts = sorted(disk.parts.items(), key=lambda part: -part[1])
    listed = ", ".join(
        f"{part} {format_bytes(size)}" for part, size in parts if size >= _SMALL_PART * needed
    )
    need = f"Disk: at most about {format_bytes(needed)} at one time ({listed})"
    if free is None:
        return f"{need}."
    if free < needed:
        return (
            f"WARNING: {need}, and {format_bytes(free)} are free at {run_directory}, so a run would be refused; free "
            f"{format_bytes(needed - free)} there or give another --out."
        )
    return f"{need}; {format_bytes(free)} are free."
