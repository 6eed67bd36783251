"""Compares the model of a rollout (`dianoia.simulation`) with the times that rl stages took on this machine.

    python -m benchmarks.step_model --fit RUN:STAGE RUN:STAGE [RUN:STAGE ...]

The rates come from the plan's constants, this machine's measured rate and the times of the stage named by `--fit`; all others are
predicted, none of their times is read before. Lengths have the mean that each rollout had, and the spreads of the stage's own
kept rollouts. A line per stage: seconds of all rollouts but the first, predicted and taken, for sampling, judging, updating and
together. Lines that miss by more than a quarter are marked.
"""

import argparse
import os

# NumPy reads the number of threads once: with several, the measured rate of a core would be half of the true one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from dianoia.simulation.measured import Factors, FinishedStage, finished_stage, measured_factors

_QUARTER = 0.25


def compare(stage: FinishedStage, fitted: Factors) -> tuple[str, float]:
    """Return the line of a stage, and its predicted over its measured total."""
    predicted, taken = stage.predicted(fitted), stage.measured()
    pairs = [
        (sum(p.sampling for p in predicted), sum(m.sampling for m in taken)),
        (sum(p.judging for p in predicted), sum(m.judging for m in taken)),
        (sum(p.updating for p in predicted), sum(m.updating for m in taken)),
        (sum(p.total for p in predicted), sum(m.total for m in taken)),
    ]
    ratio = pairs[-1][0] / pairs[-1][1]
    cells = "".join(f"{p:7.1f} {m:6.1f} " for p, m in pairs)
    mark = " *" if abs(ratio - 1) > _QUARTER else ""
    shape = f"{stage.stage.problems_per_rollout}x{stage.stage.group_size}"
    # RUN/stages/NAME
    name = f"{stage.folder.parts[-3]}:{stage.folder.name}"
    return f"{name[-24:]:24} {shape:>7}{cells}{ratio:6.2f}{mark}", ratio


def main() -> None:
    """Fit one stage and print a line per stage."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.step_model", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--fit", required=True, metavar="RUN:STAGE", help="the stage to fit")
    parser.add_argument("stages", nargs="+", metavar="RUN:STAGE", help="stages to predict")
    options = parser.parse_args()
    fitted = measured_factors(finished_stage("--fit", options.fit))
    print(
        f"fitted to {options.fit}: sampling takes {fitted.sampling:.2f} times as long as planned, judging "
        f"{fitted.judging:.2f}, updating {fitted.updating:.2f}"
    )
    print(f"{'':32}{'sampling':>13} {'judging':>13} {'updating':>13} {'together':>13}")
    print(f"{'stage':32}" + "   pred. taken" * 4 + "  ratio")
    for name in options.stages:
        print(compare(finished_stage("RUN:STAGE", name), fitted)[0], flush=True)


if __name__ == "__main__":
    main()
