"""Measures time and memory until a recipe with a large problem file has its first batch.

    python -m benchmarks.data --gigabytes 1

Writes a JSONL file of that size into a temporary folder, with about 1,000 bytes per row and no row twice. Then
measures, each in a process of its own: `dianoia run RECIPE --dry-run`; the first batch of 512 problems, after the
checks of a run; the same batch 200,000 problems into the stream, as in a resumed run. It prints both wall-clock and
processor seconds, since other work on the machine changes the first and not the second, and the peak memory.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = [
    "find",
    "the",
    "number",
    "of",
    "ordered",
    "pairs",
    "positive",
    "integers",
    "such",
    "that",
    "divides",
    "remainder",
    "when",
    "polynomial",
    "with",
    "roots",
    "triangle",
    "area",
    "circle",
    "radius",
    "sum",
    "all",
    "values",
    "let",
    "be",
    "given",
    "what",
    "is",
    "largest",
    "smallest",
    "product",
]
BATCH, OFFSET = 512, 200_000
RECIPE = """
name = "large"
threads = 1
[data.large]
path = "{file}"
[stages.zero]
kind = "rl"
start = "miniature-base"
problems = "large"
steps = 400
problems_per_rollout = 512
[stages.zero.sampling]
max_tokens = 64
[stages.zero.optimizer]
learning_rate = 1e-6
"""
DRAW = """
import sys
from dianoia.recipe import load_recipe
from dianoia.recipe.check.inputs import check_inputs
from dianoia.tasks.catalog import problem_source
recipe = load_recipe(sys.argv[1])
check_inputs(recipe)
problems = problem_source(recipe.stages["zero"].problems).draw(1, int(sys.argv[2]), int(sys.argv[3]))
assert len(problems) == int(sys.argv[3])
"""


def write_problems(file: Path, size: int) -> int:
    """Write about `size` bytes of problems and return their number."""
    rng, count, written = random.Random(0), 0, 0
    with file.open("w", encoding="utf-8") as out:
        while written < size:
            # The count makes every question different, so that none is left out as a duplicate.
            question = f"{' '.join(rng.choices(WORDS, k=60))} {count}?"
            row = {
                "prompt": question.capitalize(),
                "answer": str(rng.randrange(1000)),
                "solution": " ".join(rng.choices(WORDS, k=90)),
                "source": "synthetic",
            }
            written += out.write(json.dumps(row) + "\n")
            count += 1
    return count


def measured(command: list[str]) -> tuple[float, float, float]:
    """Run a command and return its wall-clock seconds, processor seconds and peak memory in MiB.

    Raises SystemExit if it fails.
    """
    started = time.perf_counter()
    # Offline: a look at the hub would be measured as reading.
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    # wait4 gives the usage of this child alone; RUSAGE_CHILDREN would add up all of them.
    _, status, usage = os.wait4(process.pid, 0)
    clock = time.perf_counter() - started
    if status:
        raise SystemExit(f"{' '.join(command)} failed with {os.waitstatus_to_exitcode(status)}")
    return clock, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of the file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file, recipe = Path(folder) / "problems.jsonl", Path(folder) / "recipe.toml"
        count = write_problems(file, int(options.gigabytes * 1e9))
        recipe.write_text(RECIPE.format(file=file.as_posix()), encoding="utf-8")
        print(f"{count:,} problems, {file.stat().st_size / 1e9:.2f} GB")
        print(f"{'':36}{'clock s':>9}{'cpu s':>9}{'MiB':>9}")
        # A process per measurement, so that nothing is cached in memory from the one before.
        python = [sys.executable, "-c", DRAW, str(recipe)]
        for name, command in (
            (
                "plan (--dry-run)",
                [sys.executable, "-m", "dianoia", "run", str(recipe), "--dry-run"],
            ),
            (f"first {BATCH} problems", [*python, "0", str(BATCH)]),
            (f"{BATCH} problems after {OFFSET:,}", [*python, str(OFFSET), str(BATCH)]),
        ):
            clock, processor, memory = measured(command)
            print(f"{name:36}{clock:9.1f}{processor:9.1f}{memory:9.0f}")


if __name__ == "__main__":
    main()
