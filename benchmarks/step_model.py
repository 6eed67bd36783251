"""Compares the model of a rollout (`dianoia.simulation`) with the times that rl stages took on this machine.

    python -m benchmarks.step_model --fit RUN/stages/zero RUN/stages/dev2 RUN/stages/ppo ...

The rates come from the plan's constants, this machine's measured rate and the times of the stage named by `--fit`; all others are
predicted, none of their times is read before. Lengths have the mean that each rollout had, and the spreads of the stage's own
kept rollouts. A line per stage: seconds of all rollouts but the first, predicted and taken, for sampling, judging, updating and
together. Lines that miss by more than a quarter are marked.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

# NumPy reads the number of threads once: with several, the measured rate of a core would be half of the true one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from dianoia.base.files import read_json
from dianoia.config import RLStage
from dianoia.hardware.machine import this_machine
from dianoia.models.hub_config import model_config
from dianoia.recipe.plan.layout import ALONE
from dianoia.recipe.plan.model_sizes import Size, size_from_config
from dianoia.simulation.measured import (
    Factors,
    MeasuredRollout,
    factors,
    fitted_lengths,
    measured_rollouts,
)
from dianoia.simulation.prediction import RolloutTimes, predict, workload_of
from dianoia.simulation.rates import Rates, rates_of

_QUARTER = 0.25
_PROMPT = 25.0
"""Tokens of a prompt of the miniature: 12 to 30 (log/2026-11-30-time-of-a-run.md)."""


@dataclass(frozen=True, slots=True)
class MeasuredStage:
    """A finished stage and what is predicted for it."""

    path: Path
    stage: RLStage
    size: Size
    threads: int
    measured: list[MeasuredRollout]

    @classmethod
    def read(cls, path: Path) -> "MeasuredStage":
        """Read configuration, size of the checkpoint and times of a stage."""
        begun = read_json(path / "begun.json")
        config = model_config("stage", str(path / "checkpoint"))
        size = size_from_config(config, path.name)
        stage = RLStage.model_validate(begun["configuration"])
        return cls(path, stage, size, int(begun["threads"]), measured_rollouts(path))

    def rates(self) -> Rates:
        """Return this machine's rates for the stage's model, as the plan has them."""
        machine = this_machine(self.threads)
        bfloat16 = self.stage.sampling.dtype == "bfloat16"
        return rates_of(machine, self.size.hidden, self.stage.autocast == "bfloat16", bfloat16)

    def predicted(self, fitted: Factors) -> list[RolloutTimes]:
        """Return the prediction for each rollout, with rates that are so many times slower than the plan's."""
        limit = self.stage.sampling.largest_max_tokens
        lengths = fitted_lengths(self.path, limit)
        rates = self.rates().scaled(fitted.sampling, fitted.judging, fitted.updating)
        return [
            predict(
                workload_of(
                    self.stage, self.size, lengths.with_mean(row.mean_length), _PROMPT, True
                ),
                rates,
                ALONE,
                seed=index,
            )
            for index, row in enumerate(self.measured)
        ]


def compare(stage: MeasuredStage, fitted: Factors) -> tuple[str, float]:
    """Return the line of a stage, and its predicted over its measured total."""
    predicted, taken = stage.predicted(fitted), stage.measured
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
    return f"{stage.path.name[:14]:14} {shape:>7}{cells}{ratio:6.2f}{mark}", ratio


def main() -> None:
    """Fit one stage and print a line per stage."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fit", type=Path, required=True, help="directory of the stage to fit")
    parser.add_argument("stages", nargs="+", type=Path, help="directories of stages to predict")
    options = parser.parse_args()
    reference = MeasuredStage.read(options.fit)
    fitted = factors(reference.measured, reference.predicted(Factors(1.0, 1.0, 1.0)))
    print(
        f"fitted to {options.fit}: sampling takes {fitted.sampling:.2f} times as long as planned, judging "
        f"{fitted.judging:.2f}, updating {fitted.updating:.2f}"
    )
    print(f"{'':22}{'sampling':>13} {'judging':>13} {'updating':>13} {'together':>13}")
    print(f"{'stage':22}" + "   pred. taken" * 4 + "  ratio")
    for path in options.stages:
        print(compare(MeasuredStage.read(path), fitted)[0], flush=True)


if __name__ == "__main__":
    main()
