"""Disks, limits and memory that give no more, by real means: one line, nothing finished lost, the same command goes on.

A small file system in memory, a disk mounted for reading, limits on files and addresses of a process. Skipped where the
user may not mount.
"""

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from dianoia.base import stopping
from dianoia.cli import main
from dianoia.learner.policy import PolicyLearner
from dianoia.sampler.native.engine import NativeSampler
from tests.conftest import TINY_ZERO, Make
from tests.smoke.commands import SECONDS, Command, fresh, run_command
from tests.smoke.disks import fill, mount
from tests.smoke.killing import assert_same

MANY = TINY_ZERO.replace("steps = 4", "steps = 16").replace(
    "checkpoint_every = 1", "checkpoint_every = 10"
)


def slow(*values: object) -> object:
    """A case that is tried where time is no matter."""
    return pytest.param(*values, marks=pytest.mark.slow)


def limited(arguments: list[str], limit: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a new interpreter, under a limit of the shell such as `ulimit -n 8`."""
    return subprocess.run(
        ["bash", "-c", f'{limit}; exec "$@"', "bash", *fresh(arguments)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def said(done: subprocess.CompletedProcess[str], status: int = 2) -> str:
    """The one message of a command that was refused or stopped."""
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    lines = [line for line in done.stderr.splitlines() if line.startswith("dianoia: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.fixture(scope="module")
def long_zero(copy_of: Callable[[str, Make], Path], tiny_base: Path) -> tuple[Path, Path]:
    """A recipe of eight rollouts, with a state after ten of them, and its run, never stopped."""

    def make(folder: Path) -> None:
        recipe = folder / "zero.toml"
        recipe.write_text(MANY.replace("{base}", tiny_base.as_posix()), encoding="utf-8")
        assert main(["run", str(recipe), "--out", str(folder / "run")]) == 0

    folder = copy_of("long-zero", make)
    return folder / "zero.toml", folder / "run"


def arguments(recipe: Path, out: Path, *options: str) -> list[str]:
    return ["run", str(recipe), "--out", str(out), *options]


# A disk that is full -------------------------------------------------------------------------------


def test_a_disk_that_is_too_small_is_refused_before_any_work(
    disk: Path, long_zero: tuple[Path, Path]
) -> None:
    recipe, whole = long_zero
    (disk / "big").write_bytes(bytes(3_700_000))
    refusal = said(run_command(arguments(recipe, disk / "run")))
    for part in (str(disk / "run"), "needs", "free", "same command again"):
        assert part in refusal
    assert not (disk / "run").exists(), "nothing has begun"
    (disk / "big").unlink()
    assert run_command(arguments(recipe, disk / "run")).returncode == 0
    assert_same(disk / "run", whole)


@pytest.mark.parametrize(("jobs", "step"), [("1", 3), slow("1", 11), slow("2", 3), slow("2", 11)])
def test_a_disk_that_fills_up_costs_no_step(
    jobs: str, step: int, disk: Path, long_zero: tuple[Path, Path]
) -> None:
    """Another program takes all that is free, between two states; what a stage set aside is its own."""
    recipe, whole = long_zero
    (out := disk / "run").mkdir()
    journal = out / "stages/zero/metrics.jsonl"
    with Command(arguments(recipe, out, "--jobs", jobs)) as process:
        process.wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") > step)
        fill(disk / "big")
        ended = process.finish()
    assert ended.returncode == 2, ended.stderr
    output = ended.stderr
    assert "no space left" in output and "Free some space" in output and "Traceback" not in output
    reached = journal.read_bytes().count(b"\n") - 1
    (disk / "big").unlink()
    done = run_command(arguments(recipe, out))
    assert done.returncode == 0, done.stderr
    assert f"resumes after step {reached}" in done.stdout, "no step is done twice"
    assert_same(out, whole)


def test_an_output_that_is_full(long_zero: tuple[Path, Path]) -> None:
    recipe, whole = long_zero
    message = "output of this command: there is no space"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(fresh(["tasks"]), stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and message in done.stderr
    for line in (arguments(recipe, whole, "--dry-run"), ["report", str(whole)]):
        done = run_command(line, fill_output)
        assert done.returncode == 2 and message in done.stderr
    (whole / "report.html").unlink()


def fill_output() -> None:
    """Have the standard output of this process be full."""
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, 1)
    os.close(full)


def test_an_output_that_nobody_reads(long_zero: tuple[Path, Path]) -> None:
    recipe, whole = long_zero
    line = " ".join(fresh(arguments(recipe, whole, "--dry-run")))
    done = subprocess.run(
        ["bash", "-c", f"{line} | true; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 2 and done.stderr == ""


# A disk that cannot be written, and names ----------------------------------------------------------


def test_a_disk_that_can_only_be_read(disk: Path, long_zero: tuple[Path, Path]) -> None:
    recipe, whole = long_zero
    shutil.copytree(whole, disk / "run")
    mount("-o", "remount,ro", str(disk))
    for line in (
        arguments(recipe, disk / "new"),
        arguments(recipe, disk / "run"),
        ["report", str(disk / "run")],
    ):
        assert "can only be read" in said(run_command(line))
    assert run_command(arguments(recipe, disk / "run", "--dry-run")).returncode == 0
    mount("-o", "remount,rw", str(disk))


@pytest.mark.parametrize(
    ("out", "parts"),
    [
        ("file", ["--out", "file is a file", "another --out"]),
        ("file/run", ["--out", "file is a file"]),
        ("x" * 300, ["longer than the file system allows", "shorter --out"]),
        ("/".join(["deep"] * 1200), ["longer than the file system allows"]),
        ("/proc/run", ["/proc/run"]),
        ("/dev/null/run", ["/dev/null/run", "a part of this path is a file"]),
    ],
    ids=["file", "in a file", "long", "deep", "proc", "device"],
)
def test_an_out_that_cannot_be(
    out: str,
    parts: list[str],
    tiny_zero: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.chdir(tmp_path)
    assert main(arguments(tiny_zero, Path(out))) == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith("dianoia: ") and stderr.count("\n") == 1
    for part in parts:
        assert part in stderr
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "zero.toml"]


@pytest.mark.parametrize("out", ["", " ", "bad\udcffname"], ids=["empty", "blank", "no UTF-8"])
def test_an_out_that_is_no_name(
    out: str, tiny_zero: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", str(tiny_zero), "--out", out])
    assert caught.value.code == 2 and "argument --out" in capsys.readouterr().err


def test_a_run_directory_that_is_taken_away(disk: Path, long_zero: tuple[Path, Path]) -> None:
    recipe, _ = long_zero
    out = disk / "run"
    # far more steps than are left by then
    changes = ("--set", "zero.steps=100", "--set", "zero.progress.problems=0")
    with Command(arguments(recipe, out, *changes)) as process:
        process.wait_until((out / "stages/zero/state").exists)
        shutil.rmtree(out)
        ended = process.finish()
    assert "it is missing" in said(ended)


def test_links_in_a_run_directory(
    tiny_zero: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    for name in (
        ".lock",
        "stages/zero/.seconds",
        "stages/zero/metrics.jsonl",
        "stages/zero/rollouts",
    ):
        out = tmp_path / "run"
        (out / name).parent.mkdir(parents=True)
        (out / name).symlink_to(precious)
        assert main(arguments(tiny_zero, out)) == 2
        assert "link" in capsys.readouterr().err and precious.read_text() == "mine"
        shutil.rmtree(out)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    assert main(arguments(tiny_zero, tmp_path / "run")) == 0, "the run directory itself may be one"


# Limits of a process -------------------------------------------------------------------------------


@pytest.mark.parametrize("kilobytes", [20, slow(2), slow(60)])
def test_a_limit_on_the_size_of_files(kilobytes: int, tiny_zero: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    limit = kilobytes * 1024
    prepare = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))
    refusal = said(run_command(arguments(tiny_zero, out), prepare))
    assert "larger than a limit" in refusal and "ulimit -f" in refusal and str(out) in refusal
    assert run_command(arguments(tiny_zero, out)).returncode == 0


@pytest.mark.parametrize("megabytes", [600, slow(300), slow(900)])
def test_a_limit_on_memory(megabytes: int, tiny_zero: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    message = said(limited(arguments(tiny_zero, out), f"ulimit -v {megabytes * 1000}"))
    assert "memory" in message and "ulimit -v" in message and "same command again" in message


def test_memory_that_runs_out_in_a_stage(
    tiny_zero: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The error of PyTorch, at the third step, is a message."""
    update = PolicyLearner.update

    def full(self: PolicyLearner, *rows: object) -> object:
        if self.step == 2:
            raise RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8000000 bytes"
            )
        return update(self, *rows)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(PolicyLearner, "update", full)
        assert main(arguments(tiny_zero, tmp_path / "run")) == 2
    stderr = capsys.readouterr().err
    assert "memory has run out (another 8 MB" in stderr and "Traceback" not in stderr
    assert main(arguments(tiny_zero, tmp_path / "run")) == 0
    assert "resumes after step 2" in capsys.readouterr().out


def test_too_few_open_files(long_zero: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, _ = long_zero
    done = limited(arguments(recipe, tmp_path / "run"), "ulimit -n 8")
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert "open files" in said(done)


# Being told to stop --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "status", "name", "jobs"),
    [
        (signal.SIGINT, 130, "Ctrl-C", "1"),
        (signal.SIGTERM, 143, "SIGTERM", "1"),
        slow(signal.SIGTERM, 143, "SIGTERM", "2"),
        slow(signal.SIGINT, 130, "Ctrl-C", "2"),
    ],
)
def test_nothing_is_lost_by_stopping(
    number: signal.Signals,
    status: int,
    name: str,
    jobs: str,
    long_zero: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    """To every process of the command, as a terminal and a batch system do; the first state is due much later."""
    recipe, whole = long_zero
    out = tmp_path / "run"
    journal = out / "stages/zero/metrics.jsonl"
    with Command(arguments(recipe, out, "--jobs", jobs)) as process:
        process.wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") > 5)
        os.killpg(process.pid, number)
        ended = process.finish()
    output = ended.stderr
    assert ended.returncode == status, output
    assert f"{name}: stops after the current step" in ended.stdout
    reached = journal.read_bytes().count(b"\n") - 1
    point = f"stopped by {name}: zero after step {reached} of 16; the same command resumes"
    assert point in output, output
    done = run_command(arguments(recipe, out))
    assert f"resumes after step {reached}" in done.stdout, "no step is done twice"
    assert_same(out, whole)


def signal_in_sampling(call: int) -> None:
    """Have a call of the sampler find a signal that came long ago."""
    generate, calls = NativeSampler.generate, []

    def signalled(self: NativeSampler, *arguments: object) -> object:
        calls.append(call)
        if len(calls) == call:
            stopping.GRACE_SECONDS = -1.0
            os.kill(os.getpid(), signal.SIGTERM)
        return generate(self, *arguments)  # type: ignore[arg-type]

    NativeSampler.generate = signalled  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize(
    ("call", "reached", "point"),
    [
        # Held-out problems before the first rollout, then a rollout of two steps and held-out problems, again and again.
        (6, 4, "after step 4 of 16, in a rollout that is drawn again"),
        slow(2, 0, "after step 0 of 16, in a rollout that is drawn again"),
        slow(5, 4, "after step 4 of 16"),  # of the held-out curve, whose point belongs to step 4
    ],
)
def test_a_rollout_that_takes_too_long_is_given_up(
    call: int, reached: int, point: str, long_zero: tuple[Path, Path], tmp_path: Path
) -> None:
    recipe, whole = long_zero
    out = tmp_path / "run"
    stopped = run_command(arguments(recipe, out), partial(signal_in_sampling, call))
    assert stopped.returncode == 143, stopped.stdout + stopped.stderr
    assert f"dianoia: stopped by SIGTERM: zero {point}; the same command resumes" in stopped.stderr
    done = run_command(arguments(recipe, out))
    assert done.returncode == 0, done.stderr
    assert (f"resumes after step {reached}" in done.stdout) == (reached > 0)
    assert_same(out, whole)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_at_once(
    number: signal.Signals, long_zero: tuple[Path, Path], tmp_path: Path
) -> None:
    """As a kill does: the run resumes from its last state."""
    recipe, whole = long_zero
    out = tmp_path / "run"
    journal = out / "stages/zero/metrics.jsonl"
    first = signal.SIGTERM if number is signal.SIGINT else signal.SIGINT
    with Command(arguments(recipe, out)) as process:
        process.wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") > 5)
        os.kill(process.pid, first)
        os.kill(process.pid, number)
        ended = process.finish()
    # Both may be seen at the same moment, and then SIGTERM is the later one.
    assert ended.returncode in (130, 143)
    assert "ended at once by" in ended.stderr and "the same command resumes" in ended.stderr
    assert main(arguments(recipe, out)) == 0
    assert_same(out, whole)
