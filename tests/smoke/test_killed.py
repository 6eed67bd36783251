"""A run that is killed with SIGKILL and started again ends as one that was never stopped, bit for bit.

By default: in the middle of a stage and between two. Marked slow: every kind of stage in its middle, and right
before every rename of a whole run, which is every moment at which something becomes visible.
"""

import json
import os
import random
import shutil
import signal
from pathlib import Path

import pytest

from dianoia.cli import main
from dianoia.storage.run_directory import RunDirectory
from tests.conftest import TINY_BASE
from tests.smoke.commands import Command
from tests.smoke.killing import (
    arguments,
    assert_same,
    before,
    check_every_rename,
    contents,
    kill,
    kill_when,
)
from tests.smoke.moments import Moment


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan on lines that do not wrap."""
    monkeypatch.setenv("COLUMNS", "400")


# By default ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "message"),
    [
        (Moment("zero/metrics.jsonl", 5, "open"), "resumes from step 2"),
        (Moment("evaluation/begun.json"), "done, skipped"),
    ],
    ids=["in the middle", "between two stages"],
)
def test_killed_and_started_again(
    moment: Moment,
    message: str,
    whole_zero: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe, whole = whole_zero
    command = arguments(recipe, tmp_path / "run")
    kill(command, moment)
    assert not RunDirectory(tmp_path / "run").stage("evaluation").done
    zero = RunDirectory(tmp_path / "run").stage("zero")
    assert zero.done or float(zero.seconds_file.read_text()) > 0
    assert main(["report", str(tmp_path / "run")]) == 0
    (tmp_path / "run/report.html").unlink()
    assert main(command) == 0
    assert message in capsys.readouterr().out
    assert_same(tmp_path / "run", whole)


def test_a_second_command_is_refused(
    whole_zero: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While the first one works; a plan and a report are not, and a killed first one holds nobody up."""
    (recipe, whole), run = whole_zero, tmp_path / "run"
    command, lock = arguments(recipe, run), run / ".lock"

    with Command(command) as first:
        first.wait_until((run / "stages/zero/begun.json").exists)
        os.kill(first.pid, signal.SIGSTOP)
        before = contents(run / "stages").keys()
        assert main(command) == main([*command, "--force"]) == 2
        stderr = capsys.readouterr().err
        assert f"process {lock.read_text().split()[0]} on" in stderr and str(run) in stderr
        assert main([*command, "--dry-run"]) == main(["report", str(run)]) == 0
        assert before <= contents(run / "stages").keys(), "nothing was moved away"
        first.kill()
        assert first.finish().returncode == -signal.SIGKILL
    assert lock.exists()
    (run / "report.html").unlink()
    assert main(command) == 0
    assert_same(run, whole)


def test_two_runs_that_differ_are_told_apart(whole_zero: tuple[Path, Path], tmp_path: Path) -> None:
    """The comparison above is worth something: one letter and one leftover break it."""
    _, whole = whole_zero
    for name, text in (("stages/zero/.left.part", ""), ("results.json", "{}")):
        run = tmp_path / "run"
        shutil.copytree(whole, run)
        (run / name).write_text(text)
        with pytest.raises(AssertionError):
            assert_same(run, whole)
        shutil.rmtree(run)
    assert any(name.endswith("model.safetensors") for name in contents(whole))


# Every kind of stage -------------------------------------------------------------------------------

EVERY_KIND = (
    TINY_BASE.replace("12_000", "140_000").replace("1024", "256")  # 500 steps and more: a state
    + """
[stages.zero]
kind = "rl"
start = "base"
problems = "miniature/math"
steps = 4
group_size = 4
problems_per_rollout = 4
minibatches = 2
checkpoint_every = 1
[stages.zero.sampling]
max_tokens = 24
slots = 8
[stages.zero.optimizer]
learning_rate = 1e-2
[stages.zero.progress]
every = 2
problems = 4
samples = 2
rollouts_every = 1
[stages.cold]
kind = "sample"
start = "miniature-base-small"
problems = "miniature/math"
prompts = 10
samples = 3
problems_per_batch = 4
[stages.cold.keep]
correct = false
language = 0.0
shortest = 0
[stages.cold.sampling]
max_tokens = 160
slots = 32
[stages.learnt]
kind = "sft"
start = "miniature-base-small"
datasets = [{ path = "cold" }]
epochs = 3
max_length = 512
tokens_per_step = 1024
evaluation_share = 0.2
evaluation_every = 2
checkpoint_every = 2
[stages.learnt.optimizer]
learning_rate = 1e-3
[stages.helpful]
kind = "reward_model"
start = "base"
data = ["PAIRS"]
heldout_share = 0.25
epochs = 2
samples_per_step = 8
checkpoint_every = 3
[stages.helpful.optimizer]
learning_rate = 1e-2
[stages.evaluation]
kind = "evaluate"
checkpoints = ["base", "zero", "learnt"]
problems = "miniature/math"
limit = 4
samples = 2
max_tokens = 24
slots = 8
"""
)
KINDS = ("base", "zero", "cold", "learnt", "helpful", "evaluation")


def pairs(path: Path) -> Path:
    draw = random.Random(1)
    words = ["two", "six", "ten", "apple", "pear", "box"]
    rows = []
    for number in range(48):
        better, worse = (draw.choices(words, k=draw.randint(3, 8)) for _ in range(2))
        prompts = {"prompt": f"Question {number}?"}
        rows.append(prompts | {"chosen": " ".join([*better, "sir"]), "rejected": " ".join(worse)})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A recipe with every kind of stage, and its run, never stopped."""
    folder = tmp_path_factory.mktemp("every-kind")
    recipe = folder / "every.toml"
    data = pairs(folder / "pairs.jsonl").as_posix()
    recipe.write_text(EVERY_KIND.replace("PAIRS", data), encoding="utf-8")
    assert main(arguments(recipe, folder / "run")) == 0
    return recipe, folder / "run"


MIDDLES = [
    ("base", Moment("base/metrics.jsonl", 27, "open"), "resumes from step 500"),
    ("zero", Moment("zero/metrics.jsonl", 5, "open"), "resumes from step 2"),
    ("cold", Moment("cold/state/problems-0000008.parquet"), "resumes after 2 finished parts"),
    ("learnt", Moment("learnt/metrics.jsonl", 4, "open"), "resumes from step 2"),
    ("helpful", Moment("helpful/metrics.jsonl", 6, "open"), "resumes from step 3"),
    ("evaluation", Moment("parts/learnt.json"), "resumes after 2 finished parts"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "moment", "message"), MIDDLES, ids=[case[0] for case in MIDDLES])
def test_killed_in_the_middle_of_every_kind(
    stage: str,
    moment: Moment,
    message: str,
    whole: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe, reference = whole
    before(stage, KINDS, reference, tmp_path / "run")
    command = arguments(recipe, tmp_path / "run")
    kill(command, moment)
    assert main(command) == 0
    assert message in capsys.readouterr().out
    assert_same(tmp_path / "run", reference)


@pytest.mark.slow
@pytest.mark.parametrize("stage", KINDS)
def test_killed_before_every_rename(stage: str, whole: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, reference = whole
    before(stage, KINDS, reference, tmp_path / "start")
    check_every_rename(recipe, stage, tmp_path)


@pytest.mark.slow
def test_killed_from_outside(whole: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, reference = whole
    command, journal = (
        arguments(recipe, tmp_path / "run"),
        tmp_path / "run/stages/zero/metrics.jsonl",
    )
    kill_when(command, lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 2)
    assert main(command) == 0
    assert_same(tmp_path / "run", reference)
