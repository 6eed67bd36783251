"""Compares the plan of a finished run with the time that its stages took.

    python -m benchmarks.plan RUN [RUN ...]

In: run directories of `dianoia run`. Out: a table of seconds per stage, planned on this machine and taken where the run was,
and their ratio; below it the whole run, from the first stage's beginning to the last one's end. The comparison means something
on the machine that ran, with nothing else on its cores.
"""

import argparse
import os
from datetime import datetime
from pathlib import Path

# NumPy reads the number of threads once: with several, the measured rate of a core would be half of the true one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from dianoia.base.files import read_json, read_table
from dianoia.recipe import Recipe
from dianoia.recipe.plan.run_plan import RunPlan, plan_run
from dianoia.storage.run_directory import RunDirectory

_FACTOR = 2.0
"""Times that differ by more than this factor are marked."""


def main() -> None:
    """Print a table per run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    for path in parser.parse_args().runs:
        print(f"{path}\n{compare(RunDirectory(path))}\n")


def compare(run: RunDirectory) -> str:
    """Return the table of a run."""
    table = read_json(run.recipe)
    # What the file records about itself is no part of the recipe.
    recipe = Recipe.model_validate({k: v for k, v in table.items() if k in Recipe.model_fields})
    jobs = int(read_table(run.about).get("jobs") or 1)
    plan = plan_run(recipe, jobs=jobs)
    taken = {
        stage.name: float(read_table(run.stage(stage.name).manifest)["seconds"])
        for stage in plan.stages
        if run.stage(stage.name).done
    }
    lines = [_line("stage", "planned", "taken", "ratio")]
    for stage in plan.stages:
        if stage.seconds is not None and stage.name in taken:
            ratio = stage.seconds / taken[stage.name]
            mark = " *" if not 1 / _FACTOR <= ratio <= _FACTOR else ""
            numbers = f"{stage.seconds:.1f}", f"{taken[stage.name]:.1f}", f"{ratio:.2f}"
            lines.append(_line(stage.name, *numbers) + mark)
    return "\n".join([*lines, *_whole(plan, run, taken)])


def _whole(plan: RunPlan, run: RunDirectory, taken: dict[str, float]) -> list[str]:
    """Return the line on the whole run; empty if a stage is missing."""
    if plan.total_seconds is None or set(taken) != {stage.name for stage in plan.stages}:
        return []
    began = {
        name: datetime.fromisoformat(read_table(run.stage(name).begun)["began"]).timestamp()
        for name in taken
    }
    elapsed = max(began[name] + taken[name] for name in taken) - min(began.values())
    ratio = plan.total_seconds / elapsed
    return [
        _line(
            f"{plan.jobs} at a time", f"{plan.total_seconds:.1f}", f"{elapsed:.1f}", f"{ratio:.2f}"
        )
    ]


def _line(name: str, planned: str, taken: str, ratio: str) -> str:
    return f"{name:24}{planned:>10}{taken:>10}{ratio:>8}"


if __name__ == "__main__":
    main()
