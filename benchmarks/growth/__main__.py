"""Time and memory of a GRPO step over group size, completion length, vocabulary and model size.

    python -m benchmarks.growth                              every sweep
    python -m benchmarks.growth --sweeps length --most 2     the two smallest sizes of one

Each size runs in a process of its own, for its peak memory; `memory` is what a step adds to the process that has loaded everything. Work
is the operations of drawing and learning (`benchmarks.table.arithmetic`); `x work` says how much faster than the work
a figure grew over the sweep: 1 is as fast, and nothing may be above it by much. The figure goes to DIR/growth.svg.
"""

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.growth.sweeps import SWEEPS, exceeds, grown
from benchmarks.table.cases import Case
from benchmarks.table.grpo import OURS
from benchmarks.table.link import ROOT, Child
from benchmarks.table.peers import FOLDER, peers


def measured(chosen: Case, asked: argparse.Namespace) -> dict[str, float]:
    """Medians of some steps after one to warm up."""
    place = asked.out.resolve() / "growth"
    with Child(sys.executable, OURS, asked.threads, place / "growth.log") as child:
        folder = place / f"{chosen.name}-{chosen.vocabulary}-{chosen.hidden}-{chosen.group}"
        child.ask("open", case=asdict(chosen), folder=str(folder), threads=asked.threads,
                  dtype=asked.dtype)  # fmt: skip
        loaded, work = child.ask("peak"), child.ask("work", case=asdict(chosen))
        runs = [child.ask("step") for _ in range(1 + asked.runs)][1:]
        peak = child.ask("peak")
    found = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    return {**found, "memory": max(1.0, (peak - loaded) / 1e6), "peak": peak / 1e6, "work": work}


def main() -> None:
    """Sweep, keep, draw."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.growth", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("--sweeps", nargs="+", choices=list(SWEEPS), default=list(SWEEPS))
    add("--most", type=int, default=4, help="sizes of each, from the smallest")
    add("--runs", type=int, default=3, help="after one to warm up")
    add("--threads", type=int, default=2)
    add("--dtype", choices=("float32", "bfloat16"), default="float32")
    add("--out", type=Path, default=ROOT / "runs" / "benchmark")
    add("--peers", type=Path, default=FOLDER, help="the environment with matplotlib")
    asked = parser.parse_args()
    file, found = asked.out.resolve() / "growth.json", {}
    file.parent.mkdir(parents=True, exist_ok=True)
    for name in asked.sweeps:
        found[name] = points = []
        for value in SWEEPS[name][: asked.most]:
            points.append({"size": value, **measured(grown(name, value), asked)})
            shown = " ".join(f"{key} {figure:.4g}" for key, figure in points[-1].items())
            print(f"{name} {shown}", flush=True)
            file.write_text(json.dumps(found, indent=1), encoding="utf-8")
        rates = [f"{key} {exceeds(points, key):.2f} x work" for key in ("seconds", "memory")]
        print(f"{name}: {', '.join(rates)}", flush=True)
    python = peers(asked.peers)
    draw = [python, "-m", "benchmarks.figures", "growth", file, file.with_suffix(".svg")]
    subprocess.run(draw, check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
