"""Measures held-out accuracy and reward of the miniature's R1-Zero against steps and seconds, for Dianoia and TRL.

    python -m benchmarks.learning                           the recipe's 16 steps on both sides
    python -m benchmarks.learning --steps 2 --small --heldout 16     a first look

Both have the same model, problems in the same order, reward, hyperparameters and threads. Their steps alternate, so that
other work on the machine affects both alike. Seconds are those of steps: the clock stops during the held-out
measurement, which is Dianoia's for both. Points go to DIR/learning.json at once, the figure to DIR/learning.svg.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.table.link import ROOT, Child
from benchmarks.table.peers import FOLDER, peers, versions

SMALL = {"problems_per_rollout": 4, "group_size": 4}
Point = dict[str, float]


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.learning", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("--steps", type=int, default=16)
    add("--every", type=int, default=2, help="steps between two points")
    add("--heldout", type=int, default=64, help="held-out problems per point, 4 samples each")
    add("--seed", type=int, default=1)
    add("--threads", type=int, default=2)
    add("--trl-batch", type=int, default=64, help="completions per micro-batch of TRL")
    add("--small", action="store_true", help=f"use {SMALL}, only to see that it works")
    add("--out", type=Path, default=ROOT / "runs" / "benchmark")
    add("--peers", type=Path, default=FOLDER, help="TRL's environment")
    return parser.parse_args()


def point(child: Child, step: int, seconds: float) -> Point:
    """Return the held-out metrics after a step."""
    return {"step": step, "seconds": seconds, **child.ask("heldout")}


def last_within(points: list[Point], seconds: float) -> Point:
    """Return the last point that was reached within some seconds."""
    return [point for point in points if point["seconds"] <= seconds][-1]


def summary(points: dict[str, list[Point]]) -> str:
    """Compare both after the same steps, and after the seconds that Dianoia took."""
    ours, theirs = points["dianoia"], points["trl"]
    last = ours[-1]
    then = last_within(theirs, last["seconds"])
    return (
        f"after {last['step']:.0f} steps: trl {theirs[-1]['accuracy']:.1%} "
        f"({theirs[-1]['seconds']:.0f} s), dianoia {last['accuracy']:.1%} ({last['seconds']:.0f} s)\n"
        f"after {last['seconds']:.0f} seconds: trl {then['accuracy']:.1%} (step {then['step']:.0f}), "
        f"dianoia {last['accuracy']:.1%} (step {last['step']:.0f})"
    )


def learning_curves(
    options: argparse.Namespace, sides: dict[str, Child], save: Any
) -> dict[str, list[Point]]:
    """Train both step by step and return their points; `save` gets all points after each new one."""
    seconds = dict.fromkeys(sides, 0.0)
    curves = {name: [point(child, 0, 0.0)] for name, child in sides.items()}
    for step in range(1, options.steps + 1):
        for name, child in sides.items():
            seconds[name] += child.ask("step")["seconds"]
            if step % options.every == 0 or step == options.steps:
                curves[name].append(point(child, step, seconds[name]))
                print(
                    name, " ".join(f"{k} {v:.3g}" for k, v in curves[name][-1].items()), flush=True
                )
                save(curves)
    return curves


def main() -> None:
    """Train both, write the points, draw the figure."""
    arguments = options()
    python, file = peers(arguments.peers), arguments.out.resolve() / "learning.json"
    log = file.with_suffix(".log")
    about = {"threads": arguments.threads, "seed": arguments.seed, **versions(python)}
    common = {
        "seed": arguments.seed, "steps": arguments.steps, "threads": arguments.threads,
        "problems": arguments.heldout, "changes": SMALL if arguments.small else {},
    }  # fmt: skip
    batch = 16 if arguments.small else arguments.trl_batch
    with (
        Child(sys.executable, "benchmarks.learning.ours", arguments.threads, log) as ours,
        Child(python, "benchmarks.learning.theirs", arguments.threads, log) as theirs,
    ):
        ours.ask("open", **common)
        theirs.ask("open", batch=batch, **common)

        def save(points: dict[str, list[Point]]) -> None:
            file.write_text(json.dumps({"about": about, "points": points}, indent=1))

        curves = learning_curves(arguments, {"dianoia": ours, "trl": theirs}, save)
    print(summary(curves))
    draw = [python, "-m", "benchmarks.figures", "learning", file, file.with_suffix(".svg")]
    subprocess.run(draw, check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
