"""Dianoia's process of `benchmarks.learning`: the recipe's own stage, one step per command."""

import tempfile
import time
from pathlib import Path

from benchmarks.learning.task import RECIPE, Task, task
from benchmarks.table.link import Link
from benchmarks.table.stage import Opened, opened


class Ours:
    """The commands that the parent can send."""

    def __init__(self) -> None:
        self.task: Task
        self.stage: Opened
        self.problems = 0

    def open(
        self, seed: int, steps: int, threads: int, problems: int, changes: dict[str, int]
    ) -> bool:
        """Open the stage at its start; `changes` are smaller sizes for a quick test."""
        self.task, self.problems = task(seed, steps), problems
        folder = Path(tempfile.mkdtemp())
        text = RECIPE.read_text(encoding="utf-8")
        text = text.replace("seed = 1", f"seed = {seed}\nthreads = {threads}")
        (folder / "recipe.toml").write_text(text, encoding="utf-8")
        self.stage = opened(
            folder / "recipe.toml", folder, steps=steps, progress={"problems": 0}, **changes
        )
        return True

    def step(self) -> dict[str, float]:
        """Run one rollout and its update."""
        start = time.perf_counter()
        self.stage.training.train_on_rollout()
        return {"seconds": time.perf_counter() - start, "train_reward": self.stage.last()["reward"]}

    def heldout(self) -> dict[str, float]:
        """Return the held-out metrics of the current weights."""
        training = self.stage.training
        return self.task.heldout(training.roller, training.start.stop_ids, self.problems)


def main() -> None:
    """Answer commands until the parent is done."""
    ours = Ours()
    Link().serve({"open": ours.open, "step": ours.step, "heldout": ours.heldout})


if __name__ == "__main__":
    main()
