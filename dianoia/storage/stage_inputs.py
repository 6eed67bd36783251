"""What a stage gets besides its own table, as far as judge and metrics need it; `stages.context` adds the roles."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from dianoia.base.progress import Reporter
from dianoia.storage.journal import Journal, Rows, UnwrittenJournal
from dianoia.storage.run_directory import StageDirectory


@dataclass(frozen=True, slots=True)
class Context:
    """Where a stage writes, what its randomness derives from, and how it finds its inputs."""

    name: str
    directory: StageDirectory
    seed: int
    device: torch.device
    resolve: Callable[[str], str | Path]
    """From a name in the recipe (stage, shipped model, folder, hub name) to what transformers loads."""
    progress: Reporter
    writes: bool = True
    """Whether this process writes files; of the ranks of a stage rank 0 alone does."""

    def journal(self, path: Path, resume_at: int = 0) -> Rows:
        """Open a journal at `resume_at`, see `storage.journal`. Rows of a process that does not write go nowhere."""
        return Journal(path, resume_at) if self.writes else UnwrittenJournal()
