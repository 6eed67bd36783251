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
        begun.json          what the stage is made from (`recipe.fingerprint`), written when it begins
        .seconds            how long commands have worked on it; gone when it is done
        manifest.json       the same and its seconds, written last: a stage is done if and only if it exists
      .lock             held by the command that works in it, see `base.lock`
      stages/.old/NAME-N/ what was there before a stage was run again from nothing

Times stand under keys that end in `seconds` or `_per_second`, and nothing else differs between two runs of
one seed on one machine.
"""

import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import dianoia
from dianoia.base.cures import cure_of
from dianoia.base.errors import DamagedFile
from dianoia.base.faults import naming
from dianoia.base.files import (
    SUMS,
    digest,
    read_bytes,
    read_json,
    read_table,
    restore_folder,
    write_json,
    write_text,
)
from dianoia.base.space import RESERVE, make_room

LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pydantic", "pyarrow",
             "lingua-language-detector")  # fmt: skip

STEP_FILE = "at.json"
"""Beside a state: its optimizer step."""
OLD = ".old"
"""The folder beside the stages' own that keeps what was there before a stage was run again."""

Metrics = Mapping[str, float | int | str | None]


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
        """Seconds that commands have worked on the stage until now, see `base.worked`."""
        return self.path / ".seconds"

    @property
    def reserve(self) -> Path:
        """Room for the next state while a command works, see `base.space`."""
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
        return [file for file in found if file.is_file()]

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

    def begin_anew(self) -> None:
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


class Journal:
    """Appends JSON lines; rows from `resume_at` on are dropped when a stage resumes there."""

    def __init__(self, path: Path, resume_at: int = 0) -> None:
        """Raises DamagedFile where a row that is kept cannot be read."""
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(_line(row) for row in _kept(path, resume_at))
        write_text(path, text)
        self.path, self._bytes, self._digest = path, 0, hashlib.sha256()
        self._count(text.encode())
        _journals[path] = self

    def append(self, row: Metrics) -> None:
        """Write one row. The file is closed again, so that a kill loses at most the row in hand."""
        line = _line(row).encode()
        with naming(self.path):
            try:
                _append(self.path, line)
            except OSError as error:
                with suppress(OSError):
                    os.truncate(self.path, self._bytes)  # half a line would stand before the next
                if not make_room(error, self.path):
                    raise
                _append(self.path, line)
        self._count(line)

    def _count(self, text: bytes) -> None:
        self._bytes += len(text)
        self._digest.update(text)

    def reached(self) -> dict[str, Any]:
        """How far the journal has come: its bytes, and their SHA-256."""
        return {"bytes": self._bytes, "sha256": self._digest.hexdigest()}


_journals: WeakValueDictionary[Path, Journal] = WeakValueDictionary()


def journals_reached(folder: Path) -> dict[str, dict[str, Any]]:
    """How far each journal in the folder of a stage has come, by name, of those that are written now."""
    return {
        path.name: journal.reached()
        for path, journal in sorted(_journals.items())
        if path.parent == folder
    }


def _kept(path: Path, resume_at: int) -> Iterator[dict[str, Any]]:
    """Rows before `resume_at`; damage behind the first row that is dropped does not matter."""
    dropping = False
    for number, line in _lines(path):
        try:
            row = _row(path, number, line)
        except DamagedFile:
            if dropping:
                continue
            raise
        if row["step"] < resume_at:
            yield row
        else:
            dropping = True


def _append(path: Path, line: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        written = file.write(line)
        if written < len(line):  # the rest does not fit, and the system says so when it is tried
            file.write(line[written:])


def _line(row: Metrics) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a journal; a last line cut by a kill is passed over, as it never counted.

    Raises:
        DamagedFile: a line is no row; the message names it and how to remove it.
    """
    for number, line in _lines(path):
        yield _row(path, number, line)


def readable_rows(path: Path, say: Callable[[str], object]) -> Iterator[dict[str, Any]]:
    """Rows of a journal without those that are damaged, each of which is said."""
    for number, line in _lines(path):
        try:
            yield _row(path, number, line)
        except DamagedFile as error:
            say(str(error))


def _lines(path: Path) -> list[tuple[int, bytes]]:
    """Whole lines with their numbers. As bytes: a kill can cut a letter in two, and only whole lines are text."""
    if not path.exists():
        return []
    return list(enumerate(read_bytes(path).split(b"\n")[:-1], start=1))


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        row = None
    if isinstance(row, dict) and isinstance(row.get("step"), int | float):
        return row
    zeros = (
        "zero bytes, as after the machine lost power"
        if b"\0" in line
        else "no row of JSON with a step"
    )
    raise DamagedFile(
        f"{path}, line {number}: the line is damaged ({zeros}); remove it (sed -i {number}d {shlex.quote(str(path))}) and "
        "type the same command again: what it said is missing from curves, nothing else depends on it"
    )


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
