"""The real commands with servers of rollouts: the same results, nothing left running, and resumed after a SIGKILL."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.smoke.commands import Command, run_command

pytestmark = pytest.mark.slow
RECIPE = """
name = "served"
seed = 3
threads = 1
[stages.zero]
kind = "rl"
start = "miniature-base-small"
problems = "miniature/math"
steps = 4
group_size = 4
problems_per_rollout = 8
checkpoint_every = 1
[stages.zero.sampling]
max_tokens = 48
[stages.zero.algorithm]
importance_cap = 2.0
[stages.zero.optimizer]
learning_rate = 4e-4
[stages.zero.progress]
every = 2
problems = 8
samples = 2
"""
COMMAND = json.dumps(
    [sys.executable, "-m", "dianoia", "serve", "{model}", "--port", "{port}", "--rollouts"]
)
SERVED = ["--set", 'zero.rollouts.engine="vllm"', "--set", f"zero.rollouts.command={COMMAND}"]


@pytest.fixture(autouse=True)
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.toml").write_text(RECIPE)


def results(run: str) -> tuple[list[dict[str, Any]], bytes]:
    stage = Path(run, "stages", "zero")
    rows = map(json.loads, (stage / "metrics.jsonl").read_text().splitlines())
    metrics = [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in rows]
    return metrics, (stage / "checkpoint" / "model.safetensors").read_bytes()


def servers_of(folder: Path) -> list[int]:
    """Processes whose command names a folder of weights of this test, or its log."""
    mine = []
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes()
            log = Path(process / "fd" / "1").readlink()
        except (OSError, ValueError):
            continue
        if b"--rollouts" in words and folder in log.parents:
            mine.append(int(process.name))
    return mine


@pytest.mark.parametrize("staleness", [0, 1])
def test_a_run_with_servers_is_killed_and_resumes_to_the_results_of_one_without(
    staleness: int, tmp_path: Path
) -> None:
    ahead = ["--set", f"zero.rollouts.staleness={staleness}"]
    assert run_command(["run", "r.toml", "--out", "here", *ahead]).returncode == 0
    arguments = ["run", "r.toml", "--out", "there", *ahead, *SERVED]
    with Command(arguments) as command:
        command.wait_until(lambda: Path("there/stages/zero/state/at.json").is_file())
        assert servers_of(tmp_path)
        command.kill()
    deadline = time.monotonic() + 60
    while servers_of(tmp_path):
        assert time.monotonic() < deadline, "a server has outlived the run"
        time.sleep(0.1)
    finished = run_command(arguments)
    assert finished.returncode == 0, finished.stderr
    assert "resumes after step" in finished.stdout
    assert results("here") == results("there")
    assert not servers_of(tmp_path)


def test_servers_that_end_stop_the_run_with_their_log(tmp_path: Path) -> None:
    broken = json.dumps([sys.executable, "-c", "raise SystemExit('no such luck')", "{model}{port}"])
    servers = [*SERVED[:2], "--set", f"zero.rollouts.command={broken}"]
    finished = run_command(["run", "r.toml", "--out", "run", *servers])
    assert finished.returncode != 0
    assert "no server of rollouts is left" in finished.stderr
    assert "has ended with status 1" in finished.stderr and "no such luck" in finished.stderr
    assert "Traceback" not in finished.stderr
