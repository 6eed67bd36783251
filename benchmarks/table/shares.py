"""The shares of verifier, problems and checkpoints in a step of the miniature's R1-Zero (`recipes/miniature-zero.toml`)."""

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.table.grpo import Setting
from benchmarks.table.link import ROOT
from benchmarks.table.rows import Row

RECIPE = ROOT / "recipes" / "miniature-zero.toml"


def share_rows(setting: Setting, steps: int) -> Iterator[Row]:
    """Yield medians over several steps after the first; a checkpoint counts one tenth, as in a run with one every ten."""
    with setting.ours() as ours:
        steps_parts = ours.ask("shares", threads=setting.threads, steps=steps)
    step = statistics.median(part["seconds"] for part in steps_parts)
    for name in ("rollout", "verifier", "update", "data", "checkpoint"):
        seconds = statistics.median(part[name] for part in steps_parts)
        yield Row(f"step_share_{name}", "step", step, seconds, "s", "share", {"steps": steps_parts})


def parts(folder: Path, threads: int, steps: int) -> list[dict[str, float]]:
    """Run several steps in this process and return the seconds of each and of its parts."""
    from benchmarks.table.stage import opened  # noqa: PLC0415 - the parent needs no torch

    recipe = folder / "recipe.toml"
    text = RECIPE.read_text(encoding="utf-8").replace("seed = 1", f"seed = 1\nthreads = {threads}")
    recipe.write_text(text, encoding="utf-8")
    stage = opened(recipe, folder, progress={"problems": 0}, checkpoint_every=10_000)
    training, steps_parts = stage.training, []
    for _ in range(steps + 1):
        seconds = _timed(training.train_on_rollout)
        row, counts = stage.last(), training.config.problem_counts(0)
        steps_parts.append({
            "seconds": seconds,
            "rollout": row["generate_seconds"],
            "verifier": row["score_seconds"],
            "update": row["update_seconds"],
            "data": _timed(lambda: training.problem_sets.next(counts)),  # noqa: B023 - called at once
            "checkpoint": _timed(training.save) / 10,  # every ten rollouts by default
        })  # fmt: skip
    return steps_parts[1:]


def _timed(call: object) -> float:
    assert callable(call)
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
