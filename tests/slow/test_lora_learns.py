"""Twenty steps of R1-Zero with adapters raise the held-out accuracy of the miniature's base; minutes on one core."""

import json
from pathlib import Path

import pytest

from dianoia.cli import main

ROOT = Path(__file__).parents[2]
LORA = (
    "seed=1",
    "zero.steps=20",
    "zero.progress.every=20",
    "zero.lora.rank=32",
    "zero.optimizer.learning_rate=2e-3",
    "evaluation.limit=128",
)


@pytest.mark.slow
def test_twenty_steps_raise_accuracy_by_twenty_points(tmp_path: Path) -> None:
    options = [word for override in LORA for word in ("--set", override)]
    recipe, out = ROOT / "recipes/miniature-zero.toml", tmp_path / "run"
    assert main(["run", str(recipe), "--out", str(out), *options]) == 0
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))["evaluations"]
    before, after = (results[name]["math"]["pass@1"] for name in ("miniature-base", "zero"))
    assert after["value"] >= before["value"] + 0.2
    assert after["low"] > before["high"]
