"""Measures time and memory of a GRPO step over group size, completion length, vocabulary and model size.

    python -m benchmarks.growth                              every sweep
    python -m benchmarks.growth --sweeps length --most 2     the two smallest sizes of one

Each size runs in a process of its own, because its peak memory is measured; `memory` is what a step adds to the process
after loading. Work is the FLOP of sampling and learning (`benchmarks.table.arithmetic`). `x work` is the growth of a
figure over the sweep, divided by the growth of the work: it should not be much above 1. The figure goes to
DIR/growth.svg.
"""

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.growth.sweeps import SWEEPS, grown, relative_growth
from benchmarks.table.cases import Case
from benchmarks.table.grpo import OURS
from benchmarks.table.link import ROOT, Child
from benchmarks.table.peers import FOLDER, peers


def measured(case: Case, options: argparse.Namespace) -> dict[str, float]:
    """Return the medians of several steps, after one to warm up."""
    results_folder = options.out.resolve() / "growth"
    with Child(sys.executable, OURS, options.threads, results_folder / "growth.log") as child:
        folder = results_folder / f"{case.name}-{case.vocabulary}-{case.hidden}-{case.group}"
        child.ask("open", case=asdict(case), folder=str(folder), threads=options.threads,
                  dtype=options.dtype)  # fmt: skip
        loaded, work = child.ask("peak"), child.ask("work", case=asdict(case))
        runs = [child.ask("step") for _ in range(1 + options.runs)][1:]
        peak = child.ask("peak")
    medians = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    return {**medians, "memory": max(1.0, (peak - loaded) / 1e6), "peak": peak / 1e6, "work": work}


def main() -> None:
    """Run the sweeps, write the results, draw the figure."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.growth", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("--sweeps", nargs="+", choices=list(SWEEPS), default=list(SWEEPS))
    add("--most", type=int, default=4, help="sizes per sweep, from the smallest")
    add("--runs", type=int, default=3, help="measured steps, after one to warm up")
    add("--threads", type=int, default=2)
    add("--dtype", choices=("float32", "bfloat16"), default="float32")
    add("--out", type=Path, default=ROOT / "runs" / "benchmark")
    add("--peers", type=Path, default=FOLDER, help="the environment with matplotlib")
    options = parser.parse_args()
    file, results = options.out.resolve() / "growth.json", {}
    file.parent.mkdir(parents=True, exist_ok=True)
    for name in options.sweeps:
        results[name] = points = []
        for value in SWEEPS[name][: options.most]:
            points.append({"size": value, **measured(grown(name, value), options)})
            shown = " ".join(f"{key} {figure:.4g}" for key, figure in points[-1].items())
            print(f"{name} {shown}", flush=True)
            file.write_text(json.dumps(results, indent=1), encoding="utf-8")
        rates = [
            f"{key} {relative_growth(points, key):.2f} x work" for key in ("seconds", "memory")
        ]
        print(f"{name}: {', '.join(rates)}", flush=True)
    python = peers(options.peers)
    draw = [python, "-m", "benchmarks.figures", "growth", file, file.with_suffix(".svg")]
    subprocess.run(draw, check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
