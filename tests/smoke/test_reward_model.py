"""Reward models by the real command: learnt, measured, resumed, refused, read by transformers."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dianoia.cli import main
from dianoia.roles.learned import RewardModel
from dianoia.runtime.progress import Progress

RECIPE = """
name = "tiny-helpful"
threads = 1
[stages.helpful]
kind = "reward_model"
start = "{base}"
data = ["{data}"]
heldout_share = 0.25
epochs = 4
samples_per_step = 32
checkpoint_every = 5
[stages.helpful.optimizer]
learning_rate = 1e-2
"""
WORDS = "two six ten apple pear box red blue buys sells".split()
Write = Callable[..., Path]


def pairs(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """The better response says "Alice" somewhere; lengths are drawn alike for both."""
    draw = random.Random(seed)

    def words() -> list[str]:
        return draw.choices(WORDS, k=draw.randint(3, 8))

    rows = []
    for number in range(count):
        chosen, rejected = words(), words()
        chosen[draw.randrange(len(chosen))] = "Alice"
        rows.append(
            {
                "prompt": f"Question {number}?",
                "chosen": " ".join(chosen),
                "rejected": " ".join(rejected),
            }
        )
    return rows


def labelled(count: int) -> list[dict[str, Any]]:
    rows = []
    for row in pairs(count // 2):
        rows.append({"prompt": row["prompt"], "response": row["chosen"], "label": "safe"})
        rows.append({"prompt": row["prompt"], "response": row["rejected"], "label": "unsafe"})
    return rows


@pytest.fixture
def write(tmp_path: Path, tiny_base: Path) -> Write:
    """Writes rows and a recipe that learns from them."""

    def write(rows: list[dict[str, Any]], recipe: str = RECIPE) -> Path:
        data = tmp_path / "rows.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        path = tmp_path / "helpful.toml"
        text = recipe.replace("{base}", tiny_base.as_posix()).replace("{data}", data.as_posix())
        path.write_text(text, encoding="utf-8")
        return path

    return write


def run(recipe: Path, out: Path, *overrides: str) -> int:
    options = [part for override in overrides for part in ("--set", override)]
    return main(["run", str(recipe), "--out", str(out), *options])


def read(out: Path, name: str) -> Any:
    return json.loads((out / "stages/helpful" / name).read_text(encoding="utf-8"))


def metrics(out: Path) -> list[dict[str, Any]]:
    lines = (out / "stages/helpful/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in rows]


def test_a_preference_is_learnt_that_length_does_not_explain(write: Write, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run(write(pairs(500)), out) == 0
    found = read(out, "evaluation.json")
    accuracy, baseline = (found["reward_model"][name] for name in ("accuracy", "baseline"))
    assert accuracy["value"] >= 0.9 and accuracy["low"] > 0.8
    assert baseline["value"] == 0.5, "length says nothing"
    assert found["reward_model"]["margin"]["low"] > 0
    data = found["data"]
    assert data["rows"] == 500
    assert data["train"] + data["heldout"] + sum(data["left_out"].values()) == 500
    assert accuracy["n"] == data["heldout"]
    rows = metrics(out)
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows[0]["epoch"] == 0 and rows[-1]["epoch"] == 3
    assert rows[-1]["loss"] < 0.3 < rows[0]["loss"]
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert results["reward_models"]["helpful"]["accuracy"] == accuracy
    assert main(["report", str(out)]) == 0
