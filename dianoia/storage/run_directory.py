"""The run directory: a run explains itself from its files alone.

    RUN/
      run.json          who ran what: command, code version, library versions, seed, machine
      recipe.json       the recipe with every default and override resolved
      results.json      status of each stage, and evaluations, see `pipeline.results`
      report.html       written by `dianoia report`, which reads the rest and is called by no stage
      track/TRACKER/    what `dianoia.track` has written for a tracker; removing it removes nothing else
      stages/NAME/
        metrics.jsonl       one line per optimizer step (rl, sft, reward_model) or per 20 (pretrain); names as in TRL where it has them
        diagnoses.jsonl     what went wrong while it ran, and what to do (rl)
        rollouts/*.parquet  samples to read, one row per rollout
        problems/*.parquet  (evaluate) means per problem of each checkpoint, see `storage.problem_table`
        checkpoint/         a Hugging Face folder
        state/              what an interrupted stage resumes from
        parts/*.json        (evaluate) one file per checkpoint, so that none is evaluated twice
        data.parquet        (stages that make samples to learn from)
        rejected.parquet    (sample, preferences) what was left out, and why
        sampling.json       (sample) how many were sampled, kept and rejected
        demonstrations.json (demonstrations) how many were written, by domain and language
        preferences.json    (preferences) how many were sampled, judged and left out
        answers/            (sample, preferences) replies of models behind endpoints, so that no request is sent twice
        evaluation.json     (evaluate) estimates by checkpoint, domain and metric; (reward_model) its own
        begun.json          what the stage is made from (`recipe.resume.fingerprint`), written when it starts from scratch
        failure.json        the error that ended the stage; removed when it begins again
        .seconds            seconds of work so far; removed when the stage is done
        manifest.json       content of begun.json, seconds and digests of outputs; written last: a stage is done if and only if it exists
      .lock             locked by the command that uses the folder, see `storage.lock`
      stages/.old/NAME-N/ the folder of a stage before it was re-run from scratch

Times have keys that end in `seconds` or `_per_second`. Nothing else differs between two runs of one seed on one machine.
"""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

import dianoia
from dianoia.base.disk_space import RESERVE_FILE
from dianoia.base.errors import ConfigError, DamagedFile
from dianoia.base.files import SUMS, digest, read_json, read_table, restore_folder, write_json
from dianoia.base.run_files import cure_of

LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pydantic", "pyarrow",
             "lingua-language-detector")  # fmt: skip

STEP_FILE = "at.json"
"""File in the folder of a state: its optimizer step, readable without torch."""
PROBLEM_MEANS = "problems"
"""Folder of the means per problem of an evaluate stage."""
SHIPPED_VERSION = "DIANOIA_SHIPPED_VERSION"
"""Variable with the version of a copy of the package that was made from a checkout for another machine."""
OLD = ".old"
"""Name of the folder, next to those of stages, that keeps the folders of stages before they were re-run."""


@dataclass(frozen=True, slots=True)
class StageDirectory:
    """Paths of the files of one stage."""

    path: Path

    @property
    def metrics(self) -> Path:
        """One JSON object per line."""
        return self.path / "metrics.jsonl"

    @property
    def diagnoses(self) -> Path:
        """One JSON object per line: step, code, message, advice."""
        return self.path / "diagnoses.jsonl"

    @property
    def checkpoint(self) -> Path:
        """The stage's result, a Hugging Face folder."""
        return self.path / "checkpoint"

    @property
    def state(self) -> Path:
        """Return the path of what an interrupted stage resumes from."""
        return self.path / "state"

    @property
    def state_step(self) -> Path:
        """File with the optimizer step of the state, readable without torch."""
        # Between the two renames of `whole_folder` only the old state exists.
        old = self.path / f".{self.state.name}.old"
        return (old if old.exists() and not self.state.exists() else self.state) / STEP_FILE

    def parts(self) -> list[Path]:
        """Return the files of the finished parts of an interrupted stage."""
        # Hidden files are halves that a kill has left.
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
        """Samples that were left out, with the reason."""
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
        """Replies of models behind endpoints, one file each."""
        return self.path / "answers"

    @property
    def begun(self) -> Path:
        """Return the path of what the stage is made from; written when it starts from scratch."""
        return self.path / "begun.json"

    @property
    def failure(self) -> Path:
        """The error that ended the stage; removed when the stage begins again."""
        return self.path / "failure.json"

    @property
    def manifest(self) -> Path:
        """Exists if and only if the stage is done."""
        return self.path / "manifest.json"

    @property
    def seconds_file(self) -> Path:
        """Seconds of work on the stage so far, see `storage.journal`."""
        return self.path / ".seconds"

    @property
    def reserve(self) -> Path:
        """Disk space reserved for the next state, see `base.disk_space`."""
        return self.path / RESERVE_FILE

    def rollouts(self, name: str) -> Path:
        """Return a Parquet file of rollouts by its name, e.g. `step-00010` or `base`."""
        return self.path / "rollouts" / f"{name}.parquet"

    def rollout_files(self) -> list[Path]:
        """Return the rollout files, sorted by name."""
        return sorted((self.path / "rollouts").glob("[!.]*.parquet"))

    def problem_means(self, name: str) -> Path:
        """Return the Parquet file of an evaluate stage with the means per problem of a checkpoint, by its file name."""
        return self.path / PROBLEM_MEANS / f"{name}.parquet"

    def problem_means_files(self) -> list[Path]:
        """Return the files of means per problem, sorted by name."""
        return sorted((self.path / PROBLEM_MEANS).glob("[!.]*.parquet"))

    def output_name(self, file: Path) -> str:
        """Return the key of an output in the manifest: its name, of means per problem with their folder."""
        # A file of rollouts has the same name as that of the means.
        means = file.parent.name == PROBLEM_MEANS
        return f"{PROBLEM_MEANS}/{file.name}" if means else file.name

    def outputs(self) -> list[Path]:
        """Return the files that a finished stage leaves and that exist; of the checkpoint its list of checksums."""
        files = [self.evaluation, self.dataset, self.rejected, self.sampling, self.demonstrations, self.preferences,
                 self.metrics, self.diagnoses, self.checkpoint / SUMS]  # fmt: skip
        files += [*self.rollout_files(), *self.problem_means_files()]
        return [file for file in files if file.is_file()]

    @property
    def done(self) -> bool:
        """True if the stage has written its manifest."""
        return self.manifest.exists()

    def forget_state(self) -> None:
        """Delete the state and other files that a finished stage no longer needs, also those that a kill left."""
        # `state`, and `.state.part` and `.state.old` of an interrupted `whole_folder`.
        for folder in self.path.glob(f"*{self.state.name}*"):
            # The glob alone would also take a file such as `statements.json`.
            if folder.name.strip(".").split(".")[0] == self.state.name:
                shutil.rmtree(folder, ignore_errors=True)
        for leftover in (
            self.seconds_file,
            self.seconds_file.with_name(f"{self.seconds_file.name}.part"),
            self.reserve,
        ):
            leftover.unlink(missing_ok=True)

    def prepare(self) -> None:
        """Create the folder, and finish or undo a rename that a kill has interrupted."""
        self.path.mkdir(parents=True, exist_ok=True)
        # Before anything reads either: between the two renames the folder is there under its old name alone.
        restore_folder(self.checkpoint)
        restore_folder(self.state)

    @property
    def is_empty(self) -> bool:
        """True if the stage has never begun. Replies of models behind endpoints do not count."""
        # Hidden files are the reserve, the seconds and temporary files.
        names = {path.name for path in self.path.iterdir()} if self.path.is_dir() else set()
        return all(name.startswith(".") or name == self.answers.name for name in names)

    def start_from_scratch(self) -> None:
        """Make the folder empty. Its files go to `stages/.old/NAME-N`, but replies of endpoints, which cost money, stay."""
        if not self.is_empty:
            target = self.path.parent / OLD / f"{self.path.name}-{self._last_number() + 1}"
            target.parent.mkdir(exist_ok=True)
            # One rename, so that a kill leaves the old folder either here or there, and never in halves.
            self.path.rename(target)
        self.path.mkdir(parents=True, exist_ok=True)
        # Also after a kill between the renames: then the folder is new and the replies are still in the old one.
        last = StageDirectory(self.path.parent / OLD / f"{self.path.name}-{self._last_number()}")
        if last.answers.is_dir() and not self.answers.exists():
            last.answers.rename(self.answers)

    def _last_number(self) -> int:
        """Return the largest N of the old folders `NAME-N`; 0 if there is none."""
        parts = (path.name.rpartition("-") for path in (self.path.parent / OLD).glob("*"))
        numbers = (int(n) for name, _, n in parts if name == self.path.name and n.isdecimal())
        return max(numbers, default=0)


def check_output(stage: StageDirectory, file: Path) -> None:
    """Compare a file of a stage with the digest in its manifest; do nothing if the stage is not done.

    Raises:
        DamagedFile: the file is missing or has changed; the message says what to do.
    """
    # A stage that is not done has no digests yet: its files are checked when it is.
    outputs = read_table(stage.manifest).get("outputs", {}) if stage.done else {}
    written = outputs.get(stage.output_name(file))
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
    """Return the file of a data set that `stage` reads: of an earlier stage named `source`, else the path `source`."""
    output = StageDirectory(stage.path.parent / source).dataset
    return output if output.is_file() else Path(source).expanduser()


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Paths of the files of one run."""

    path: Path

    def stage(self, name: str) -> StageDirectory:
        """Return the folder of a stage."""
        return StageDirectory(self.path / "stages" / name)

    @property
    def results(self) -> Path:
        """Status of each stage, and evaluations."""
        return self.path / "results.json"

    @property
    def recipe(self) -> Path:
        """The recipe with every default resolved."""
        return self.path / "recipe.json"

    @property
    def about(self) -> Path:
        """Command, versions, seed, machine."""
        return self.path / "run.json"

    @property
    def report(self) -> Path:
        """The page that `dianoia report` writes."""
        return self.path / "report.html"

    def last_change(self) -> datetime | None:
        """Return when a stage last wrote a file, or results were brought up to date: the last sign of life of a run."""
        times = [status.st_mtime for status in statuses_below(self.path / "stages")]
        with suppress(OSError):  # not written yet
            times.append(self.results.lstat().st_mtime)
        return datetime.fromtimestamp(max(times), UTC) if times else None


def statuses_below(folder: Path) -> Iterator[os.stat_result]:
    """Yield the status of every file and folder below a folder, of a link its own; what goes away meanwhile is left out."""
    # A stage at work removes and renames folders. os.walk passes over one that is gone, where rglob would raise.
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            try:
                status = Path(parent, name).lstat()
            except OSError:
                continue
            yield status


@cache
def code_version() -> str:
    """Return the package's version; in a checkout with the commit and a mark for local changes.

    Both as they were when a process first asked: code that has changed since then is not what it runs.
    """
    root = Path(dianoia.__file__).parents[1]
    # An installed package has no .git; the folder above it may belong to another repository.
    if not (root / ".git").exists():
        return os.environ.get(SHIPPED_VERSION, dianoia.__version__)
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    # Of the package alone: a changed note or test changes no result.
    changed = "+changes" if _git(root, "status", "--porcelain", "--", "dianoia") else ""
    return f"{dianoia.__version__}+{commit}{changed}" if commit else dianoia.__version__


def _git(root: Path, *arguments: str) -> str:
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""  # no git on this machine
    return answer.stdout.strip()


@cache
def library_versions() -> Mapping[str, str]:
    """Return the versions of the libraries that results depend on, without those that are not installed."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return MappingProxyType(versions)


def describe_run(
    command: str,
    seed: int,
    threads: int,
    sandbox: str | None = None,
    jobs: int = 1,
    ranks: int = 1,
) -> dict[str, Any]:
    """Return the content of `run.json`; `sandbox` is None if no problem is graded by running a program.

    `threads` are those of a stage, which its `ranks` share.
    """
    return {
        "command": command,
        "dianoia": code_version(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": dict(library_versions()),
        "seed": seed,
        "threads": threads,
        "jobs": jobs,
        "ranks": ranks,
        "sandbox": sandbox,
    }


def write_about(run: RunDirectory, about: Mapping[str, Any]) -> None:
    """Write `run.json`; a resumed run keeps a record of each earlier command."""
    before = read_json(run.about) if run.about.exists() else {}
    if not isinstance(before, dict) or not isinstance(before.get("earlier", []), list):
        raise DamagedFile(
            f"{run.about}: the file does not have the content that a run writes; {cure_of(run.about)}"
        )
    earlier = before.get("earlier", [])
    # The same command again adds nothing, so that a run which is resumed often keeps a short record.
    if before:
        previous = {k: v for k, v in before.items() if k != "earlier"}
        earlier = [*earlier, previous] if previous != dict(about) else earlier
    write_json(run.about, {**about, "earlier": earlier}, checked=True)


def no_run_directory(path: Path, reason: str) -> ConfigError:
    """Return the error for a folder that is no run directory."""
    return ConfigError(
        f"{path} is not a run directory: {reason}; give the folder that `dianoia run` wrote, the one with recipe.json and "
        "stages/ in it"
    )
