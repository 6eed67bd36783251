"""The plan of a run as data: for each stage its work, memory, time, disk, and what happens to it and why. No torch.

In: a recipe whose inputs have been checked (`recipe.check.inputs`), and the tasks of its stages if there is a run
directory. Out: a `RunPlan`, which `plan.plan_text` prints and `as_json` turns into plain values. Time and memory are
estimates for this machine, and tokens are upper limits. Inputs that are not here yet do not stop a plan: it lists them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from dianoia.base.disk_space import free_bytes
from dianoia.config import EvaluateStage, PreferencesStage, RLStage, SampleStage, SFTStage
from dianoia.config.settings import Shard
from dianoia.hardware.gpus import GPUS
from dianoia.hardware.machine import (
    Machine,
    main_memory,
    other_machine,
    this_machine,
    thread_count,
)
from dianoia.recipe.check.missing_inputs import missing_files, missing_inputs
from dianoia.recipe.check.number_ranges import unusual_numbers
from dianoia.recipe.graph import Recipe, Stage, sources, upstream
from dianoia.recipe.plan.disk import run_parts, stage_needs
from dianoia.recipe.plan.host_memory import host_memory
from dianoia.recipe.plan.layout import ALONE, Layout, Sharding
from dianoia.recipe.plan.memory import TIGHT, Phase, peak
from dianoia.recipe.plan.model_sizes import reward_model_sizes, size_of
from dianoia.recipe.plan.savings import Saving, WayToFit, savings, ways_to_fit
from dianoia.recipe.plan.stage_work import StageWork, stage_work, summarize
from dianoia.recipe.plan.work_time import START_SECONDS, seconds
from dianoia.recipe.resume.stage_status import Action, StageTask
from dianoia.recipe.stage_order import run_seconds
from dianoia.storage.run_directory import OLD
from dianoia.tasks.catalog import FilesSource, general_source, problem_source
from dianoia.tasks.conversation_files import read_conversations
from dianoia.tasks.data.set_summary import summary_lines
from dianoia.text.template import Template, template_of
from dianoia.text.template_fit import CODE, TemplateFit

FORMAT = 1
"""Version of the JSON form."""
_LONG = 30 * 86_400.0
"""Seconds of a stage above which a plan asks for another machine."""
_READ = 256
"""Rows of each file of demonstrations that a plan compares with the template."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """The phase of a stage that needs most memory."""

    activity: str
    """What the stage does then, such as `updating`."""
    bytes: float
    parts: Mapping[str, float]
    """Bytes by part."""
    savings: tuple[Saving, ...] = ()
    """Keys that would lower it; empty if the stage fits into this machine."""
    least: float | None = None
    """Bytes with all savings together; None if the stage fits."""
    ways: tuple[WayToFit, ...] = ()
    """Sets of `shard`, `lora` and `rollouts` with which the stage would fit as it is; empty if it fits."""
    shard: Sharding = "none"
    """Over which ranks the trained model is divided."""


@dataclass(frozen=True, slots=True)
class HostPlan:
    """Main memory of the node of rank 0, which needs most."""

    activity: str
    """What the stage does then, such as `writing a checkpoint`."""
    bytes: float
    parts: Mapping[str, float]
    """Bytes by part, of all ranks of the node together."""


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What one stage will do."""

    name: str
    kind: str
    starts: tuple[str, ...]
    """Checkpoints that it reads, by the recipe's own names."""
    action: str
    """As in `resume.stage_status.Action`; `run` if there is no run directory."""
    reason: str
    """What happens to the stage and why, such as `resumes from step 12`; empty without a run directory."""
    summary: str
    """The work in a few words."""
    work: str
    """The work in full: prompts, completions, optimizer steps, tokens."""
    memory: MemoryPlan | None = None
    """Of a rank's device; None for a stage that does not run, as are the next three."""
    host: HostPlan | None = None
    seconds: float | None = None
    """Estimated time per `unit`; a guess if `waits_for` names stages."""
    disk_bytes: float | None = None
    """Most bytes that the stage has on the disk at one time."""
    unit: str = ""
    """What the time is per, if the amount of data is unknown; empty: the whole stage."""
    waits_for: tuple[str, ...] = ()
    """Earlier stages whose data decide how long the stage takes."""

    @property
    def runs(self) -> bool:
        """True if the stage runs."""
        return self.memory is not None

    @property
    def guessed(self) -> bool:
        """True if the time rests on a guess of how much data earlier stages will write."""
        return self.runs and bool(self.waits_for)


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """Disk space of the run."""

    needed: float
    """Most bytes at one time: of all outputs, and of the states that exist at the same time."""
    parts: Mapping[str, float]
    """Bytes by part: checkpoints, data sets, rollouts, states."""
    free: float | None
    """Bytes; None if unknown."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What a command will do with a recipe."""

    recipe: str
    seed: int
    run_directory: str | None
    jobs: int
    threads: int
    """CPU threads per stage."""
    machine: str
    ranks: int
    """Processes of a stage, each with such a device."""
    nodes: int
    elsewhere: bool
    """True for a plan for another machine than this one."""
    machine_memory: float | None
    """Bytes of a rank's device; on a CPU its share of main memory; None if unknown."""
    host_memory: float | None
    """Bytes of main memory of a node; None if unknown, as for another machine."""
    stages: tuple[StagePlan, ...]
    problem_notes: tuple[str, ...]
    """Sentences on the problem files and demonstrations that the running stages read."""
    unusual: tuple[str, ...]
    """Numbers that hardly any run wants, each with the reason."""
    missing: tuple[str, ...]
    """Inputs that are not here, without which a run would be refused."""
    disk: DiskPlan | None
    """None without a run directory or without a stage that runs."""
    total_seconds: float | None
    """Estimated time of all stages that run, `jobs` of them at the same time; None if a time is per unit or a stage does not
    fit."""
    suggested_gpu: str | None
    """The smallest known GPU that has the memory for all stages, if a stage does not fit into the planned machine or takes
    more than a month there."""
    old_outputs: str | None
    """Folder that receives the present outputs of stages that run again; None if none does."""
    trackers: Mapping[str, str] = field(default_factory=dict)
    """What each tracker of the run does with its metrics, as `writes FOLDER`."""

    @property
    def largest(self) -> float:
        """Bytes of the stage that needs most memory."""
        return max((stage.memory.bytes for stage in self.stages if stage.memory), default=0.0)

    def fits(self, stage: StagePlan) -> bool:
        """Tell whether the machine has the memory of a stage; True if either is unknown."""
        if stage.memory is None or self.machine_memory is None:
            return True
        return stage.memory.bytes <= self.machine_memory and self.host_fits(stage)

    def host_fits(self, stage: StagePlan) -> bool:
        """Tell whether a node has the main memory that several ranks need; True if either is unknown."""
        if self.ranks == 1 or stage.host is None or self.host_memory is None:
            return True
        return stage.host.bytes <= self.host_memory

    @property
    def slow_stages(self) -> list[str]:
        """Names of the stages that take more than a month on the machine."""
        return [stage.name for stage in self.stages if (stage.seconds or 0.0) > _LONG]

    @property
    def joint_memory(self) -> float:
        """Bytes of the `jobs` stages that need most, which may run at the same time."""
        sizes = sorted(stage.memory.bytes for stage in self.stages if stage.memory is not None)
        return sum(sizes[-self.jobs :])

    def as_json(self) -> dict[str, Any]:
        """Return the plan as plain values for JSON."""
        return {"format": FORMAT, **asdict(self)}


def plan_run(
    recipe: Recipe,
    tasks: Sequence[StageTask] = (),
    run_directory: Path | None = None,
    jobs: int = 1,
    gpu: str | None = None,
    layout: Layout = ALONE,
) -> RunPlan:
    """Return the plan of a recipe whose inputs have been checked.

    `tasks`: what happens to each stage in `run_directory`; `jobs`: how many stages run at the same time; `gpu`: plan for
    a machine with this GPU, by a name that people type, instead of this machine; `layout`: ranks of each stage, which
    share a model as its key `shard` says.

    Raises:
        ConfigError: no GPU of that name is known.
    """
    # Stages that run at the same time share the cores, so each has fewer threads.
    threads = thread_count(recipe.threads, jobs * (layout.node_ranks if gpu is None else 1))
    machine = this_machine(threads) if gpu is None else other_machine(gpu)
    machine = _divided(machine, layout)
    task_of = {task.name: task for task in tasks}
    # Without a run directory every stage runs.
    running = [name for name in recipe.stages if name not in task_of or task_of[name].runs]
    works = {
        name: stage_work(name, recipe, size_of(name, recipe), layout.ranks)
        for name in recipe.stages
    }
    main = None if gpu else main_memory()
    reruns = any(task.action is Action.RERUN for task in tasks)
    plan = RunPlan(
        recipe=recipe.name,
        seed=recipe.seed,
        run_directory=None if run_directory is None else str(run_directory),
        jobs=jobs,
        threads=threads,
        machine=machine.name,
        ranks=layout.ranks,
        nodes=layout.nodes,
        elsewhere=gpu is not None,
        machine_memory=machine.memory,
        host_memory=main,
        stages=tuple(
            _plan_stage(name, recipe, machine, task_of.get(name), work, layout, main)
            for name, work in works.items()
        ),
        problem_notes=tuple(_problem_notes(recipe, running)),
        unusual=tuple(unusual_numbers(recipe)),
        missing=tuple(missing_inputs(recipe)),
        disk=_disk_plan(recipe, tasks, run_directory, jobs, elsewhere=gpu is not None),
        total_seconds=None,
        suggested_gpu=None,
        old_outputs=str(run_directory / "stages" / OLD) if run_directory and reruns else None,
    )
    plan = replace(plan, total_seconds=_total_seconds(plan, recipe))
    too_large = any(stage.memory and stage.memory.least for stage in plan.stages)
    if not too_large and not (machine.cpu and plan.slow_stages):
        return plan
    needed = {name: works[name] for name in running}
    return replace(plan, suggested_gpu=_smallest_gpu(recipe, needed, machine, layout))


def _disk_plan(
    recipe: Recipe,
    tasks: Sequence[StageTask],
    run_directory: Path | None,
    jobs: int,
    *,
    elsewhere: bool,
) -> DiskPlan | None:
    """Return what the run will write; None without a run directory, and where no stage runs."""
    if run_directory is None or not any(task.runs for task in tasks):
        return None
    # The disk of another machine is not known.
    free = None if elsewhere else free_bytes(run_directory)
    parts = run_parts(recipe, tasks, jobs)
    return DiskPlan(sum(parts.values()), parts, free)


def _total_seconds(plan: RunPlan, recipe: Recipe) -> float | None:
    """Return the time of the whole run, as the scheduler orders its stages."""
    running = [stage for stage in plan.stages if stage.runs]
    if not all(plan.fits(stage) and not stage.unit for stage in running):
        return None
    needs = {stage.name: upstream(stage.name, recipe) for stage in running}
    seconds_of = {stage.name: stage.seconds or 0.0 for stage in running}
    return run_seconds(needs, seconds_of, plan.jobs)


def _smallest_gpu(
    recipe: Recipe, works: Mapping[str, StageWork], machine: Machine, layout: Layout
) -> str | None:
    """Return the known GPU with least memory, but more than that of the machine if it is a GPU, that holds every stage.

    None if there is none.
    """
    # Only the kind of device decides how much memory a stage needs.
    any_gpu = other_machine(GPUS[0].name)
    phases = (
        # The widest sharding that the stage allows: it needs least memory of each.
        _peak(name, recipe, any_gpu, work, _candidates(recipe.stages[name], layout)[-1])
        for name, work in works.items()
    )
    # Divided, as a stage may fill only this share of a device.
    needed = max(phase.bytes for phase in phases) / TIGHT
    present = 0.0 if machine.cpu or machine.memory is None else machine.memory
    sizes = ((gpu, gpu.memory * 1e9) for gpu in GPUS if gpu.has_bfloat16)
    fitting = [gpu for gpu, memory in sizes if memory >= needed and memory > present]
    # Of equal ones `min` takes the first, and the table lists the faster ones first.
    return min(fitting, key=lambda gpu: gpu.memory).name if fitting else None


def _plan_stage(
    name: str,
    recipe: Recipe,
    machine: Machine,
    task: StageTask | None,
    work: StageWork,
    layout: Layout,
    main: float | None,
) -> StagePlan:
    stage = recipe.stages[name]
    # Nobody has written this template into the recipe, so the plan says which one it is.
    inherited = recipe.inherited_templates.get(name)
    plan = StagePlan(
        name=name,
        kind=stage.kind,
        starts=tuple(sources(stage)),
        action=str(Action.RUN if task is None else task.action),
        reason="" if task is None else task.reason,
        summary=", ".join(filter(None, [summarize(stage, recipe), inherited])),
        work=f"{work.description}; {inherited}" if inherited else work.description,
    )
    # A stage that does not run costs nothing, so its estimates stay None.
    if task is not None and not task.runs:
        return plan
    size = size_of(name, recipe)
    layout = _sharded(name, recipe, machine, work, layout)
    phase = _peak(name, recipe, machine, work, layout)
    host = host_memory(stage, size, machine, layout, phase, main)
    return replace(
        plan,
        memory=_plan_memory(name, recipe, machine, work, layout),
        host=HostPlan(host.activity, host.bytes, dict(host.parts)),
        seconds=START_SECONDS
        # Work beside the model is shared by all ranks, and is not faster on another device.
        + work.host_seconds / layout.ranks
        + sum(seconds(part, machine, layout.ranks) for part in work.work),
        disk_bytes=stage_needs(stage, size).peak,
        unit=work.unit,
        waits_for=work.waits_for,
    )


def sharding_of(name: str, recipe: Recipe, layout: Layout) -> Sharding:
    """Return how the ranks of `layout` hold the model of a stage on this machine, by its key `shard`."""
    stage = recipe.stages[name]
    if len(_candidates(stage, layout)) == 1:
        return _candidates(stage, layout)[0].shard
    machine = _divided(this_machine(thread_count(recipe.threads, layout.node_ranks)), layout)
    work = stage_work(name, recipe, size_of(name, recipe), layout.ranks)
    return _sharded(name, recipe, machine, work, layout).shard


def _sharded(
    name: str, recipe: Recipe, machine: Machine, work: StageWork, layout: Layout
) -> Layout:
    """Return the layout with the sharding of the stage: the first of its choices that fits, or the widest."""
    candidates = _candidates(recipe.stages[name], layout)
    if machine.memory is None:
        return candidates[0]
    for candidate in candidates:
        # From least communication to least memory, so that the first that fits is the fastest.
        if _peak(name, recipe, machine, work, candidate).bytes <= TIGHT * machine.memory:
            return candidate
    return candidates[-1]


def _candidates(stage: Stage, layout: Layout) -> list[Layout]:
    """Return the layouts that the key `shard` of a stage allows, from the one with least communication.

    A stage that trains nothing has whole copies on every rank, and so has a process by itself.
    """
    shard: Shard = getattr(stage, "shard", "none")
    if layout.ranks == 1:
        return [layout.with_shard("none")]
    return [
        layout.with_shard(choice) for choice in (layout.choices() if shard == "auto" else (shard,))
    ]


def _divided(machine: Machine, layout: Layout) -> Machine:
    """Return the machine as each rank of it may use it: the ranks of a node without GPUs share its memory."""
    if machine.memory is None or not machine.cpu:
        return machine
    return replace(machine, memory=machine.memory / layout.node_ranks)


def _plan_memory(
    name: str, recipe: Recipe, machine: Machine, work: StageWork, layout: Layout
) -> MemoryPlan:
    phase = _peak(name, recipe, machine, work, layout)
    plan = MemoryPlan(phase.activity, phase.bytes, dict(phase.parts), shard=layout.shard)
    if machine.memory is None or phase.bytes <= TIGHT * machine.memory:
        return plan
    # Looking for savings is only worth its time if the stage does not fit.
    stage, size = recipe.stages[name], size_of(name, recipe)
    scorers = reward_model_sizes(name, recipe).values()
    useful, least = savings(stage, size, machine, work.longest, scorers, layout)
    room = TIGHT * machine.memory
    ways = ways_to_fit(name, stage, size, machine, room, work.longest, scorers, layout)
    return replace(plan, savings=tuple(useful), least=least, ways=tuple(ways))


def _peak(name: str, recipe: Recipe, machine: Machine, work: StageWork, layout: Layout) -> Phase:
    scorers = reward_model_sizes(name, recipe).values()
    stage, size = recipe.stages[name], size_of(name, recipe)
    return peak(stage, size, machine, work.longest, scorers, layout)


# Notes on problems and demonstrations -------------------------------------------------------------


def _problem_notes(recipe: Recipe, running: Sequence[str]) -> list[str]:
    """Return sentences on the files of problems and demonstrations that the running stages read, each once."""
    notes: dict[str, None] = {}
    for name in running:
        stage = recipe.stages[name]
        # A missing file has no notes; `missing` lists it.
        if missing_files(stage, recipe):
            continue
        stage_notes = _file_notes(stage, recipe)
        # Several stages may read one file: a dictionary keeps each note once, in order.
        notes |= dict.fromkeys(stage_notes)
        if stage_notes and isinstance(stage, EvaluateStage) and not stage.whole_file:
            note = (
                f"{name} evaluates only on the held-out part of its file; if the file is a test set, whole_file = true "
                "takes all of it."
            )
            notes[note] = None
    return list(notes)


def _file_notes(stage: Stage, recipe: Recipe) -> list[str]:
    """Return sentences on the files that a stage reads; none for built-in problem sets."""
    match stage:
        case EvaluateStage():
            sets = [problem_source(stage.problems, stage.whole_file)]
        case SampleStage() | PreferencesStage():
            sets = [problem_source(stage.problems)]
        case RLStage():
            preferences = stage.preferences
            general = (
                () if preferences is None else (preferences.problems, preferences.safety_problems)
            )
            sets = [
                problem_source(stage.problems),
                *(general_source(problems) for problems in general if problems),
            ]
        case SFTStage():
            return _template_misfit(stage, template_of(stage.template, recipe.templates))
        case _:
            return []
    return [
        line
        for source in sets
        if isinstance(source, FilesSource)
        for line in summary_lines(source.summary)
    ]


def _template_misfit(stage: SFTStage, template: Template) -> list[str]:
    """Return a warning if the first responses of the files do not fit the template; the stage itself checks all."""
    # Only the first rows, since a plan should take seconds.
    fit = TemplateFit(template)
    for dataset in stage.datasets:
        path = Path(dataset.path).expanduser()
        for conversation in islice(read_conversations(path), _READ) if path.is_file() else ():
            fit.add(conversation)
    misfit = fit.misfit()
    files = ", ".join(dataset.path for dataset in stage.datasets)
    return [] if misfit is None else [f"{files}: WARNING: {CODE}: {misfit[0]}. {misfit[1]}."]
