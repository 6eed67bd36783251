"""The run directory: a run explains itself from its files alone.

    RUN/
      run.json          who ran what: command, code version, library versions, seed, machine
      recipe.json       the recipe with every default and override resolved
      results.json      where each stage stands, evaluations, stage table and claims, see `pipeline` and `claims`
      report.html       written by `dianoia report`, which reads the rest and is called by no stage
      stages/NAME/
        metrics.jsonl       a line an optimizer step (rl, sft, reward_model) or every 20 (pretrain); names as in TRL where it has them
        diagnoses.jsonl     what went wrong while it ran, and what to do (rl)
        rollouts/*.parquet  samples to read, a row a rollout
        checkpoint/         a Hugging Face folder
        state/              what an interrupted stage continues from
        parts/*.json        (evaluate) one checkpoint each, so that none is evaluated twice
        data.parquet        (stages that make samples to learn from)
        rejected.parquet    (sample, preferences) what was not kept, and why
        sampling.json       (sample) how many were sampled, kept and rejected
        demonstrations.json (demonstrations) how many were written, by domain and language
        preferences.json    (preferences) how many were sampled, judged and left out
        answers/            (sample, preferences) what models behind endpoints have answered, so that none is asked twice
        evaluation.json     (evaluate) estimates by checkpoint, domain and metric; (reward_model) its own
        begun.json          what the stage is made from (`recipe.resume.fingerprint`), written when it begins
        .seconds            how long commands have worked on it; gone when it is done
        manifest.json       the same and its seconds, written last: a stage is done if and only if it exists
      .lock             held by the command that works in it, see `storage.lock`
      stages/.old/NAME-N/ what was there before a stage was run again from nothing

Times stand under keys that end in `seconds` or `_per_second`, and nothing else differs between two runs of
one seed on one machine.
"""

import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import dianoia
from dianoia.base.disk_space import RESERVE
from dianoia.base.errors import DamagedFile
from dianoia.base.files import SUMS, digest, read_json, read_table, restore_folder, write_json
from dianoia.base.run_files import cure_of
from dianoia.storage.journal import Journal, Metrics, read_journal

__all__ = ["Journal", "Metrics", "RunDirectory", "StageDirectory", "read_journal"]

LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pydantic", "pyarrow",
             "lingua-language-detector")  # fmt: skip

STEP_FILE = "at.json"
"""Beside a state: its optimizer step."""
OLD = ".old"
"""The folder beside the stages' own that keeps what was there before a stage was run again."""


@dataclass(frozen=True, slots=True)
class StageDirectory:
    """Where one stage keeps its files."""

    path: Path

    @property
    def metrics(self) -> Path:
        """A JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def diagnoses(self) -> Path:
        """A JSON object a line: step, code, message, advice."""
        return self.path / "diagnoses.jsonl"

    @property
    def checkpoint(self) -> Path:
        """The stage's result, a Hugging Face folder."""
        return self.path / "checkpoint"

    @property
    def state(self) -> Path:
        """What an interrupted stage continues from."""
        return self.path / "state"

    @property
    def state_step(self) -> Path:
        """The optimizer step of the state, for those who cannot read the state itself."""
        old = (
            self.path / f".{self.state.name}.old"
        )  # all there is, between the two renames of a state
        return (old if old.exists() and not self.state.exists() else self.state) / STEP_FILE

    def parts(self) -> list[Path]:
        """Files of those parts of an interrupted stage that are done."""
        return sorted([*self.state.glob("[!.]*.parquet"), *self.path.glob("parts/[!.]*.json")])

    @property
    def evaluation(self) -> Path:
        """Estimates of an evaluate stage."""
        return self.path / "evaluation.json"

    @property
    def dataset(self) -> Path:
        """Samples to learn from, of a stage that makes them."""
        return self.path / "data.parquet"

    @property
    def rejected(self) -> Path:
        """What a stage that samples did not keep, with the reason."""
        return self.path / "rejected.parquet"

    @property
    def sampling(self) -> Path:
        """Counts of a sample stage."""
        return self.path / "sampling.json"

    @property
    def demonstrations(self) -> Path:
        """Counts of a demonstrations stage."""
        return self.path / "demonstrations.json"

    @property
    def preferences(self) -> Path:
        """Counts of a preferences stage."""
        return self.path / "preferences.json"

    @property
    def answers(self) -> Path:
        """Answers of models behind endpoints, one file each."""
        return self.path / "answers"

    @property
    def begun(self) -> Path:
        """What the stage is made from; written when it begins from nothing."""
        return self.path / "begun.json"

    @property
    def manifest(self) -> Path:
        """Exists if and only if the stage is done."""
        return self.path / "manifest.json"

    @property
    def worked(self) -> Path:
        """Seconds that commands have worked on the stage until now, see `storage.elapsed`."""
        return self.path / ".seconds"

    @property
    def reserve(self) -> Path:
        """Room for the next state while a command works, see `base.disk_space`."""
        return self.path / RESERVE

    def rollouts(self, name: str) -> Path:
        """A Parquet file of rollouts, e.g. `step-00010` or `base`."""
        return self.path / "rollouts" / f"{name}.parquet"

    def rollout_files(self) -> list[Path]:
        """Every rollout file, in order of name."""
        return sorted((self.path / "rollouts").glob("[!.]*.parquet"))

    def outputs(self) -> list[Path]:
        """Files that a finished stage leaves, as far as they are there; of the checkpoint its list of checksums."""
        found = [self.evaluation, self.dataset, self.rejected, self.sampling, self.demonstrations, self.preferences,
                 self.metrics, self.diagnoses, self.checkpoint / SUMS]  # fmt: skip
        return [file for file in [*found, *self.rollout_files()] if file.is_file()]

    @property
    def done(self) -> bool:
        """Whether the stage has written its manifest."""
        return self.manifest.exists()

    def forget_state(self) -> None:
        """Delete what a finished stage no longer needs, the leftovers of a kill too."""
        for folder in self.path.glob(f"*{self.state.name}*"):
            if folder.name.strip(".").split(".")[0] == self.state.name:
                shutil.rmtree(folder, ignore_errors=True)
        for leftover in (
            self.worked,
            self.worked.with_name(f"{self.worked.name}.part"),
            self.reserve,
        ):
            leftover.unlink(missing_ok=True)

    def prepare(self) -> None:
        """Make the folder and undo what a kill may have left half renamed."""
        self.path.mkdir(parents=True, exist_ok=True)
        restore_folder(self.checkpoint)
        restore_folder(self.state)

    @property
    def empty(self) -> bool:
        """Whether nothing was begun here; answers of models behind endpoints belong to no beginning."""
        names = {path.name for path in self.path.iterdir()} if self.path.is_dir() else set()
        return all(name.startswith(".") or name == self.answers.name for name in names)

    def start_from_scratch(self) -> None:
        """An empty folder. What was there goes to `stages/.old/NAME-N`, but answers, which cost, come along."""
        if not self.empty:
            target = self.path.parent / OLD / f"{self.path.name}-{self._times() + 1}"
            target.parent.mkdir(exist_ok=True)
            self.path.rename(target)
        self.path.mkdir(parents=True, exist_ok=True)
        last = StageDirectory(self.path.parent / OLD / f"{self.path.name}-{self._times()}")
        if last.answers.is_dir() and not self.answers.exists():
            last.answers.rename(self.answers)

    def _times(self) -> int:
        """How often the stage was moved away: the largest N of its old folders."""
        found = (p.name.rpartition("-") for p in (self.path.parent / OLD).glob("*"))
        return max(
            (int(n) for name, _, n in found if name == self.path.name and n.isdecimal()), default=0
        )


def check_output(stage: StageDirectory, file: Path) -> None:
    """Compare a file of a stage that is done with the digest in its manifest.

    Raises:
        DamagedFile: it is missing or another one; the message says what to do.
    """
    written = read_table(stage.manifest).get("outputs", {}).get(file.name) if stage.done else None
    if written is None:
        return
    cure = cure_of(file)
    if not file.is_file():
        raise DamagedFile(f"{file}: the file is missing, and its stage is done; {cure}")
    if digest(file) != written:
        raise DamagedFile(
            f"{file}: the file is not what the stage wrote, as its manifest shows: it was cut, changed or damaged by the "
            f"disk; {cure}"
        )


def dataset_path(stage: StageDirectory, source: str) -> Path:
    """The file of a data set that `stage` reads: that of an earlier stage of its run, else a path."""
    made = StageDirectory(stage.path.parent / source).dataset
    return made if made.is_file() else Path(source).expanduser()


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Where one run keeps its files."""

    path: Path

    def stage(self, name: str) -> StageDirectory:
        """The folder of a stage."""
        return StageDirectory(self.path / "stages" / name)

    @property
    def results(self) -> Path:
        """Evaluations and claims."""
        return self.path / "results.json"

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.json"

    @property
    def about(self) -> Path:
        """Command, versions, seed, machine."""
        return self.path / "run.json"

    @property
    def report(self) -> Path:
        """The page that `dianoia report` writes."""
        return self.path / "report.html"


def code_version() -> str:
    """The package's version, with the commit and a mark for local changes where there is a checkout."""
    root = Path(dianoia.__file__).parents[1]
    if not (root / ".git").exists():
        return dianoia.__version__
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    changed = "+changes" if _git(root, "status", "--porcelain", "--", "dianoia") else ""
    return f"{dianoia.__version__}+{commit}{changed}" if commit else dianoia.__version__


def _git(root: Path, *arguments: str) -> str:
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""  # no git on this machine: the version alone has to do
    return answer.stdout.strip()


def library_versions() -> dict[str, str]:
    """Versions of the libraries a result depends on; one that is missing is left out."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def describe_run(
    command: str, seed: int, threads: int, sandbox: str | None = None, jobs: int = 1
) -> dict[str, Any]:
    """What `run.json` says; no sandbox where no problem is judged by running a program."""
    return {
        "command": command,
        "dianoia": code_version(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": library_versions(),
        "seed": seed,
        "threads": threads,
        "jobs": jobs,
        "sandbox": sandbox,
    }


def write_about(run: RunDirectory, about: Mapping[str, Any]) -> None:
    """Write `run.json`; a resumed run keeps every command that contributed to it."""
    before = read_json(run.about) if run.about.exists() else {}
    if not isinstance(before, dict) or not isinstance(before.get("earlier", []), list):
        raise DamagedFile(
            f"{run.about}: the file is not what a run writes there; {cure_of(run.about)}"
        )
    earlier = before.get("earlier", [])
    if before:
        previous = {k: v for k, v in before.items() if k != "earlier"}
        earlier = [*earlier, previous] if previous != dict(about) else earlier
    write_json(run.about, {**about, "earlier": earlier}, checked=True)
