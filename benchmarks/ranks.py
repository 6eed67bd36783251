"""Two ranks on two cores beside one rank on one: a step of reinforcement learning, and an evaluation.

    python -m benchmarks.ranks [--ranks 2] [--repeats 2] [--out FOLDER]

Each repeat runs the shipped recipe `miniature-zero`, cut short, with one rank and then with several, one thread each, by the
real command. A step is the time of sampling, scoring and updating 256 samples of at most 128 tokens, without the first, which
warms up; the evaluation is that of its stage, 16,384 samples. One rank evaluates in the process that has trained; several begin
new processes, whose first use of model and verifiers counts. Numbers are medians. What the machine itself allows is measured
beside it: as many commands of one rank at the same time, a core each, which share no work and slow one another down all the
same, by caches, memory and clock.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

_PHASES = ("generate_seconds", "score_seconds", "update_seconds")
_OVERRIDES = [
    "zero.steps=5",
    "zero.problems_per_rollout=16",
    "zero.group_size=16",
    "zero.sampling.max_tokens=128",
    "zero.progress.problems=0",
    "evaluation.limit=512",
]


def started(ranks: int, out: Path, cores: set[int]) -> subprocess.Popen[bytes]:
    """Start the recipe with so many ranks, on those cores alone: its verifiers have no others either."""
    command = [sys.executable, "-m", "dianoia", "run", "miniature-zero", "--out", str(out)]
    command += ["--ranks", str(ranks), "--set", f"threads={ranks}"]
    command += [word for override in _OVERRIDES for word in ("--set", override)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pinned = partial(os.sched_setaffinity, 0, cores)
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, preexec_fn=pinned)


def seconds(out: Path) -> tuple[list[float], list[float]]:
    """Return the seconds of each step of a run but the first, and of its evaluation."""
    lines = (out / "stages/zero/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    steps = [sum(row[phase] for phase in _PHASES) for row in rows if row["step"] > 1]
    evaluation = json.loads((out / "stages/evaluation/evaluation.json").read_text(encoding="utf-8"))
    return steps, [sum(evaluation["seconds"].values())]


def measure(folder: Path, ranks: int, repeats: int) -> dict[str, tuple[list[float], list[float]]]:
    """Return the seconds of steps and evaluations by who ran: one rank, several, and as many commands of one at a time."""
    cores = sorted(os.sched_getaffinity(0))[:ranks]
    times: dict[str, tuple[list[float], list[float]]] = {}
    for repeat in range(repeats):
        # In turns, so that other work on the machine meets all alike.
        for name, count, parts in (
            ("one", 1, [{cores[0]}]),
            ("several", ranks, [set(cores)]),
            ("side by side", 1, [{core} for core in cores]),
        ):
            outs = [folder / f"{name}-{repeat}-{number}" for number in range(len(parts))]
            pairs = zip(outs, parts, strict=True)
            processes = [started(count, out, part) for out, part in pairs]
            for process in processes:
                if process.wait():
                    raise SystemExit("a run has failed; its message stands above")
            for out in outs:
                for collected, found in zip(
                    times.setdefault(name, ([], [])), seconds(out), strict=True
                ):
                    collected += found
    return times


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    ranks = arguments.ranks
    with tempfile.TemporaryDirectory() as folder:
        times = measure(arguments.out or Path(folder), ranks, arguments.repeats)
    print(
        f"{'':12}  1 rank  {ranks} ranks  faster by  {ranks} commands of 1 rank, each  the machine's own"
    )
    for number, name in enumerate(("a step", "evaluation")):
        one, several, beside = (median(times[key][number]) for key in times)
        print(
            f"{name:12}{one:6.2f} s {several:7.2f} s {one / several:10.2f} {beside:25.2f} s "
            f"{ranks * one / beside:17.2f}"
        )


if __name__ == "__main__":
    main()
