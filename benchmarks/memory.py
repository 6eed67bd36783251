"""Compares the memory that `--dry-run` estimates with the peak of a real run, for random models, each in its own process.

    python -m benchmarks.memory                    every case
    python -m benchmarks.memory --case rl --threads 2

Responses of a random model rarely end before the limit, so slots and micro-batches fill up as the estimate assumes.
No answer of it is right, and without weight decay such steps would change nothing and not run.
Both the peak and the estimate are those of the whole process, Python and PyTorch included. Only for a CPU.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from dianoia.bases import shipped_model
from dianoia.hardware.machine import Machine
from dianoia.recipe import load_recipe
from dianoia.recipe.plan.memory import Phase, peak
from dianoia.recipe.plan.model_sizes import size_of

HEAD = """
name = "memory"
threads = {threads}
"""
RL = """
[stages.stage]
kind = "rl"
start = "{start}"
problems = "miniature/math"
steps = 2
group_size = 8
problems_per_rollout = 4
minibatches = 2
recompute = {recompute}
autocast = "{autocast}"
[stages.stage.sampling]
max_tokens = 150
slots = 32
dtype = "{dtype}"
[stages.stage.algorithm]
name = "{algorithm}"
[stages.stage.optimizer]
learning_rate = 1e-5
weight_decay = 0.1
[stages.stage.progress]
problems = 0
"""
SFT = """
[stages.stage]
kind = "sft"
start = "{start}"
datasets = [{{ path = "{data}" }}]
epochs = 1
max_length = 1024
tokens_per_step = 2048
evaluation_share = 0.0
recompute = {recompute}
[stages.stage.optimizer]
learning_rate = 1e-5
"""
EVALUATE = """
[stages.stage]
kind = "evaluate"
checkpoints = ["{start}"]
problems = "miniature/math"
limit = 4
samples = 16
max_tokens = 200
slots = 64
dtype = "{dtype}"
"""
LORA = """
[stages.stage.lora]
rank = 32
dtype = "{lora}"
"""
PLAIN = {"recompute": "false", "dtype": "float32", "algorithm": "grpo", "autocast": "none"}
CASES = {
    "rl": (RL, {}),
    "rl, recompute": (RL, {"recompute": "true"}),
    "rl, ppo": (RL, {"algorithm": "ppo"}),
    "rl, bfloat16": (RL, {"autocast": "bfloat16", "dtype": "bfloat16"}),
    "sft": (SFT, {}),
    "sft, recompute": (SFT, {"recompute": "true"}),
    "rl, lora": (RL + LORA, {"lora": "float32"}),
    "rl, lora, recompute": (RL + LORA, {"lora": "bfloat16", "recompute": "true"}),
    "rl, lora, bfloat16": (
        RL + LORA,
        {"lora": "bfloat16", "autocast": "bfloat16", "dtype": "bfloat16"},
    ),
    "rl, lora, ppo": (RL + LORA, {"lora": "float32", "algorithm": "ppo"}),
    "sft, lora": (SFT + LORA, {"lora": "float32"}),
    "sft, lora, recompute": (SFT + LORA, {"lora": "bfloat16", "recompute": "true"}),
    "evaluate": (EVALUATE, {}),
    "evaluate, bfloat16": (EVALUATE, {"dtype": "bfloat16"}),
}


def random_model(folder: Path, hidden: int = 512, layers: int = 6) -> Path:
    """Save a Qwen2 with random weights, about 25 million parameters, and the miniature's tokenizer; return its folder."""
    shipped = shipped_model("miniature-base")
    assert shipped is not None, "the miniature's base ships with the package"
    # The tokenizer alone is the shipped one; the weights are random and larger.
    for file in shipped.glob("*token*"):
        shutil.copy(file, folder)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=1536,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=4,
        intermediate_size=4 * hidden,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        eos_token_id=0,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


def write_recipe(case: str, start: Path, folder: Path, threads: int) -> Path:
    """Write the recipe of a case and its data; return the recipe's path."""
    data, recipe = folder / "data.jsonl", folder / "memory.toml"
    # Eight equal rows: memory depends on lengths and not on content.
    row = '{"prompt": "Count.", "completion": "' + "one two three " * 60 + '"}\n'
    data.write_text(row * 8, encoding="utf-8")
    text, changes = CASES[case]
    values = {**PLAIN, **changes, "start": start.as_posix(), "data": data.as_posix()}
    recipe.write_text((HEAD + text).format(threads=threads, **values), encoding="utf-8")
    return recipe


def estimated(recipe: Path, threads: int) -> Phase:
    """Return the plan's estimate for the recipe's only stage, on a CPU with some number of threads."""
    loaded = load_recipe(recipe)
    # 100 GB, so that the plan does not adapt to what is free here.
    machine = Machine("a CPU", None, threads, 1e11, 1e11, None)
    return peak(loaded.stages["stage"], size_of("stage", loaded), machine)


_RUN = """
import resource, sys
from pathlib import Path
from dianoia.cli import main
status, statistics = main(sys.argv[1:]), Path("/proc/self/status")
if statistics.exists():  # ru_maxrss would include the memory that the parent had when it forked
    (line,) = [line for line in statistics.read_text().splitlines() if line.startswith("VmHWM")]
    peak = int(line.split()[1]) * 1024
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print("\\npeak", peak)
sys.exit(status)
"""


def measured(recipe: Path, out: Path) -> float:
    """Run a recipe and return its peak memory in bytes."""
    command = [sys.executable, "-c", _RUN, "run", str(recipe), "--out", str(out)]
    # A process per case, since peak memory never falls within one.
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return float(process.stdout.rsplit("peak ", 1)[1])


def main() -> None:
    """Measure and print one line per case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=CASES, action="append", help="default: every case")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    for case in arguments.case or CASES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            recipe = write_recipe(case, random_model(folder), folder, arguments.threads)
            estimate = estimated(recipe, arguments.threads)
            peak_bytes = measured(recipe, folder / "run")
        print(
            f"{case:20} estimated {estimate.bytes / 1e6:6,.0f} MB while {estimate.activity:8} "
            f"measured {peak_bytes / 1e6:6,.0f} MB  ratio {estimate.bytes / peak_bytes:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
