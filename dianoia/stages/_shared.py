"""What several stages have in common: the skeleton of training, and batches of problems with a file each."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dianoia.base.disk_space import release_space
from dianoia.base.errors import Stopped
from dianoia.base.files import whole_folder
from dianoia.base.records import Problem, SamplingParams
from dianoia.base.stopping import request_stop, stop_if_requested, stop_reason
from dianoia.config import SamplingSettings
from dianoia.distributed.group import ranks
from dianoia.learner.trainer import Learner
from dianoia.sampler.rollouts import RolloutSampler
from dianoia.stages.context import StageContext


class Training(ABC):
    """A stage that trains: it resumes from its state, saves it, and writes a checkpoint at the end."""

    context: StageContext
    learner: Learner

    @property
    def step(self) -> int:
        """Optimizer steps taken."""
        return self.learner.step

    @abstractmethod
    def progress(self) -> dict[str, Any]:
        """Return what an exact continuation needs besides the learner: plain values and tensors."""

    @abstractmethod
    def write_checkpoint(self, folder: Path) -> None:
        """Write an ordinary Hugging Face folder by `Learner.write`, which every rank calls."""

    def load_state(self) -> Mapping[str, Any] | None:
        """Let the learner resume from the stage's state; returns the `progress` in it, None where there is no state."""
        progress = self.learner.load_state(self.context.directory.state)
        # A folder of weights may differ from one machine to another.
        self.learner.trainer.require_equal()
        if progress is not None:
            self.context.print_line(f"resumes after step {self.step}")
        return progress

    def save(self, progress: dict[str, Any] | None = None) -> None:
        """Replace the stage's state; `progress`: as it was when the learner came to its present step, if it has moved on.

        Rank 0 writes it, by itself unless the ranks hold the model together: a stage resumes with any number of ranks.
        """
        # A rank with a whole copy has nothing to add to what rank 0 writes; one with a shard has to give its rows.
        if not (self.context.writes or self.context.sharding):
            return
        self.learner.save_state(self.context.directory.state, progress or self.progress())

    def stop_if_requested(self, steps: int) -> None:
        """Save and raise the reason, if a stop is requested. Call it between two of the `steps`."""
        # Before the first step there is nothing to save.
        self.stop_together(self.save if self.step else None, self.point(steps))

    def stop_together(self, save: Callable[[], None] | None, point: str) -> None:
        """Save and raise the reason on every rank, if a stop is requested of rank 0, the only one that hears of it."""
        if self.context.decided(stop_reason() is not None, "look for a stop"):
            request_stop(Stopped("stopped"))
        stop_if_requested(save, point)

    def point(self, steps: int) -> str:
        """Return where the stage is, for a message."""
        return f"after step {self.step:,} of {steps:,}"

    def finish(self) -> None:
        """Write the checkpoint."""
        # Before the checkpoint is written, which may need just this space.
        release_space()  # disk space reserved for the next state: there is none
        folder = self.context.directory.checkpoint
        # Every rank takes part, and rank 0 writes. The folder appears under its name only when it is complete.
        with whole_folder(folder) if ranks().writes else nullcontext(folder) as part:
            self.write_checkpoint(part)


def sampler_of(
    context: StageContext, start: str, template: str | None, settings: SamplingSettings
) -> tuple[RolloutSampler, SamplingParams]:
    """Return what samples the model `start`, and its sampling parameters."""
    model = context.language_model(start)
    roller = context.sampler(
        model,
        template,
        slots=settings.slots,
        dtype=settings.dtype,
        cache_share=settings.cache_share,
    )
    params = roller.sampling_params(
        settings.max_tokens, settings.temperature, settings.top_p, settings.top_k
    )
    return roller, params


@dataclass(frozen=True, slots=True)
class Batch:
    """A part of a range of problems; done if and only if its file exists."""

    problems: Sequence[Problem]
    start: int
    """Number of the first problem, counted from the beginning of the range."""
    path: Path

    @property
    def end(self) -> int:
        """Number of problems of the range up to and including this batch."""
        return self.start + len(self.problems)


def batches(
    context: StageContext, problems: Sequence[Problem], size: int, name: str = "problems"
) -> list[Batch]:
    """Cut a range of problems into batches, whose files lie in the stage's state."""
    folder = context.directory.state
    return [
        Batch(problems[start : start + size], start, folder / f"{name}-{start:07d}.parquet")
        for start in range(0, len(problems), size)
    ]
