"""Held-out accuracy and reward of the miniature's R1-Zero against steps and seconds, Dianoia beside TRL.

    python -m benchmarks.learning                           the recipe's 16 steps on both sides
    python -m benchmarks.learning --steps 2 --small --heldout 16     a first look

The same model, problems in the same order, reward, hyperparameters and threads; steps take turns, so that both meet the same
machine. Seconds are those of steps: the held-out measure, which is Dianoia's for both, stops the clock. Points go to DIR/learning.json as
they come, the figure to DIR/learning.svg.
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
    """The command line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.learning", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("--steps", type=int, default=16)
    add("--every", type=int, default=2, help="steps between two points")
    add("--heldout", type=int, default=64, help="held-out problems a point, 4 samples each")
    add("--seed", type=int, default=1)
    add("--threads", type=int, default=2)
    add("--trl-batch", type=int, default=64, help="completions that TRL takes at a time")
    add("--small", action="store_true", help=f"steps of {SMALL}: only to see that it works")
    add("--out", type=Path, default=ROOT / "runs" / "benchmark")
    add("--peers", type=Path, default=FOLDER, help="TRL's environment")
    return parser.parse_args()


def point(child: Child, step: int, seconds: float) -> Point:
    """The held-out measure after a step."""
    return {"step": step, "seconds": seconds, **child.ask("heldout")}


def at(points: list[Point], seconds: float) -> Point:
    """The last point that was reached within some seconds."""
    return [found for found in points if found["seconds"] <= seconds][-1]


def summary(found: dict[str, list[Point]]) -> str:
    """Both after the same steps, and after the seconds that Dianoia took."""
    ours, theirs = found["dianoia"], found["trl"]
    last = ours[-1]
    then = at(theirs, last["seconds"])
    return (
        f"after {last['step']:.0f} steps: trl {theirs[-1]['accuracy']:.1%} "
        f"({theirs[-1]['seconds']:.0f} s), dianoia {last['accuracy']:.1%} ({last['seconds']:.0f} s)\n"
        f"after {last['seconds']:.0f} seconds: trl {then['accuracy']:.1%} (step {then['step']:.0f}), "
        f"dianoia {last['accuracy']:.1%} (step {last['step']:.0f})"
    )


def learnt(asked: argparse.Namespace, sides: dict[str, Child], keep: Any) -> dict[str, list[Point]]:
    """The points of both, step by step; `keep` is called with them whenever there is another."""
    seconds = dict.fromkeys(sides, 0.0)
    found = {name: [point(child, 0, 0.0)] for name, child in sides.items()}
    for step in range(1, asked.steps + 1):
        for name, child in sides.items():
            seconds[name] += child.ask("step")["seconds"]
            if step % asked.every == 0 or step == asked.steps:
                found[name].append(point(child, step, seconds[name]))
                print(
                    name, " ".join(f"{k} {v:.3g}" for k, v in found[name][-1].items()), flush=True
                )
                keep(found)
    return found


def main() -> None:
    """Train both, keep the points, draw."""
    asked = options()
    python, file = peers(asked.peers), asked.out.resolve() / "learning.json"
    log = file.with_suffix(".log")
    about = {"threads": asked.threads, "seed": asked.seed, **versions(python)}
    given = {
        "seed": asked.seed, "steps": asked.steps, "threads": asked.threads,
        "problems": asked.heldout, "changes": SMALL if asked.small else {},
    }  # fmt: skip
    batch = 16 if asked.small else asked.trl_batch
    with (
        Child(sys.executable, "benchmarks.learning.ours", asked.threads, log) as ours,
        Child(python, "benchmarks.learning.theirs", asked.threads, log) as theirs,
    ):
        ours.ask("open", **given)
        theirs.ask("open", batch=batch, **given)

        def keep(found: dict[str, list[Point]]) -> None:
            file.write_text(json.dumps({"about": about, "points": found}, indent=1))

        found = learnt(asked, {"dianoia": ours, "trl": theirs}, keep)
    print(summary(found))
    draw = [python, "-m", "benchmarks.figures", "learning", file, file.with_suffix(".svg")]
    subprocess.run(draw, check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
