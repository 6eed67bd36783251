"""`shard = "all"` by the real command on two ranks: every kind of training stage, and what replicas would have left."""

import json
from pathlib import Path

import pytest

from dianoia.cli import main

# No step is clipped, so that even the bits are those of replicas.
RECIPE = """
name = "shards"
threads = 2
[stages.base]
kind = "pretrain"
tokens = 4096
tokens_per_step = 1024
vocabulary = 400
model = {{ hidden_size = 64, layers = 2, heads = 2, kv_heads = 1, head_dim = 32, intermediate_size = 128, max_positions = 256 }}
optimizer = {{ learning_rate = 1e-3, max_grad_norm = 900 }}
shard = "{shard}"
[stages.taught]
kind = "sft"
start = "base"
datasets = [{{ path = "{samples}" }}]
max_length = 200
tokens_per_step = 1024
epochs = 1
checkpoint_every = 1
optimizer = {{ learning_rate = 1e-3, max_grad_norm = 900 }}
shard = "{shard}"
[stages.judge]
kind = "reward_model"
start = "taught"
data = ["{pairs}"]
samples_per_step = 32
max_length = 200
recompute = true
pairs = {{ balance_lengths = false }}
optimizer = {{ learning_rate = 1e-3, max_grad_norm = 900 }}
shard = "{shard}"
[stages.ppo]
kind = "rl"
start = "taught"
problems = "miniature/math"
steps = 2
group_size = 4
problems_per_rollout = 4
checkpoint_every = 1
algorithm = {{ name = "ppo" }}
lora = {{ rank = 16, dtype = "bfloat16" }}
sampling = {{ max_tokens = 24, slots = 8 }}
rewards = {{ random = 1.0 }}
progress = {{ problems = 2, samples = 2 }}
optimizer = {{ learning_rate = 1e-3, max_grad_norm = 900 }}
shard = "{shard}"
"""


def write_data(folder: Path) -> dict[str, str]:
    """Write samples and pairs; returns their paths by the names in the recipe."""
    sums = [(a, b) for a in range(8) for b in range(8)]
    samples = [
        {
            "messages": [
                {"role": "user", "content": f"What is {a} + {b}?"},
                {
                    "role": "assistant",
                    "content": f"<think>{a} and {b}</think> <answer>{a + b}</answer>",
                },
            ]
        }
        for a, b in sums
    ]
    pairs = [
        {
            "prompt": f"What is {a} + {b}?",
            "chosen": f"It is {a + b}.",
            "rejected": f"It is {a + b + 1}.",
        }
        for a, b in sums
    ]
    paths = {}
    for name, rows in (("samples", samples), ("pairs", pairs)):
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        paths[name] = path.as_posix()
    return paths


def weights(run: Path) -> dict[str, bytes]:
    """The weights of every stage."""
    files = sorted((run / "stages").glob("*/checkpoint/**/*.safetensors"))
    return {file.relative_to(run).as_posix(): file.read_bytes() for file in files}


@pytest.mark.slow
def test_two_ranks_with_one_model_leave_what_two_with_a_copy_each_leave(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, left = write_data(tmp_path), {}
    for shard in ("none", "all"):
        recipe = tmp_path / f"{shard}.toml"
        recipe.write_text(RECIPE.format(shard=shard, **data), encoding="utf-8")
        assert main(["run", str(recipe), "--out", str(tmp_path / shard), "--ranks", "2"]) == 0
        left[shard] = weights(tmp_path / shard)
    assert left["all"] == left["none"] and len(left["all"]) == 5
    # The key is no part of what a stage is made from: nothing runs again.
    recipe = str(tmp_path / "none.toml")
    capsys.readouterr()
    assert main(["run", recipe, "--out", str(tmp_path / "all"), "--dry-run", "--json"]) == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert [stage["action"] for stage in stages] == ["skip"] * 4
