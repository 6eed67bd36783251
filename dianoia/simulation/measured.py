"""An rl stage that has run: the lengths of its responses, the times of its rollouts, and what they say of this machine. No torch.

In: a run directory, `RUN` or `RUN:STAGE`. Out: its recipe's stage with the size of its model, lengths of groups, times per rollout,
and `Factors`: how many times as long sampling, judging and updating took as the rates say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]
from numpy.typing import NDArray
from pydantic import ValidationError

from dianoia.base.errors import ConfigError
from dianoia.base.files import read_json
from dianoia.config import RLStage
from dianoia.hardware.machine import Machine, this_machine
from dianoia.recipe.graph import Recipe
from dianoia.recipe.plan.drawn_problems import prompt_tokens
from dianoia.recipe.plan.layout import ALONE
from dianoia.recipe.plan.model_sizes import Size, size_of
from dianoia.simulation.lengths import LogNormal, Observed, fit
from dianoia.simulation.prediction import RolloutTimes, predict, workload_of
from dianoia.simulation.rates import Rates, rates_of
from dianoia.storage.journal import read_journal
from dianoia.storage.run_directory import RunDirectory, no_run_directory


@dataclass(frozen=True, slots=True)
class MeasuredRollout:
    """Seconds of a rollout, from a row of metrics."""

    mean_length: float
    """Tokens of a response."""
    sampling: float
    judging: float
    updating: float
    """Of all steps that learnt from it."""

    @property
    def total(self) -> float:
        """Seconds of all three; the held-out curve and states are left out."""
        return self.sampling + self.judging + self.updating


def observed_lengths(stage: Path) -> Observed:
    """Return the lengths of the groups that a stage has kept.

    Raises:
        ConfigError: it has kept none.
    """
    groups: list[NDArray[np.int64]] = []
    for file in sorted((stage / "rollouts").glob("*.parquet")):
        table = pq.read_table(file, columns=["problem", "tokens"])
        problems, tokens = (np.asarray(table[name].to_pylist()) for name in ("problem", "tokens"))
        # By problem within a file: each file is one rollout, in which a problem stands once.
        groups += [tokens[problems == problem].astype(np.int64) for problem in np.unique(problems)]
    if not groups:
        raise ConfigError(
            f"--lengths {stage}: it has no rollouts/*.parquet, from which the lengths of responses would come; name the "
            "directory of an rl stage that has run, such as runs/miniature-zero/stages/zero"
        )
    return Observed(groups)


def fitted_lengths(stage: Path, limit: int) -> LogNormal:
    """Return the log-normal distribution of the lengths that a stage has kept."""
    return fit(observed_lengths(stage).groups, limit)


def measured_rollouts(stage: Path) -> list[MeasuredRollout]:
    """Return the times of each rollout of an rl stage; the first one, which warms up, is left out.

    Raises:
        ConfigError: there are no metrics, or fewer than two rollouts.
        DamagedFile: a line of the metrics is damaged.
    """
    file = stage / "metrics.jsonl"
    if not file.is_file():
        raise ConfigError(
            f"--measured {stage}: there is no metrics.jsonl, from which times would come; name the directory of an rl "
            "stage that has run, such as runs/miniature-zero/stages/zero"
        )
    rollouts: list[MeasuredRollout] = []
    # As a journal: a stage that was killed, or that is at work, may have left a part of a line.
    for row in read_journal(file):
        if "generate_seconds" in row:
            times = (row[f"{verb}_seconds"] for verb in ("generate", "score", "update"))
            rollouts.append(MeasuredRollout(row["completions/mean_length"], *times))
        elif rollouts and "update_seconds" in row:  # a further minibatch of the same rollout
            last = rollouts[-1]
            rollouts[-1] = MeasuredRollout(
                last.mean_length,
                last.sampling,
                last.judging,
                last.updating + row["update_seconds"],
            )
    if len(rollouts) < 2:
        raise ConfigError(
            f"--measured {stage}: its metrics have {len(rollouts)} rollouts, and the first one only warms up; name a stage "
            "with more"
        )
    return rollouts[1:]


# Factors ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Factors:
    """How many times as long each part takes as predicted."""

    sampling: float
    judging: float
    updating: float


AS_PLANNED = Factors(1.0, 1.0, 1.0)
"""The rates as they are, uncorrected."""


def factors(measured: Sequence[MeasuredRollout], predicted: Sequence[RolloutTimes]) -> Factors:
    """Return the factors that make the predicted sums equal the measured ones."""
    # Of sums and not means of ratios: a short rollout would count as much as a long one.
    return Factors(
        sum(m.sampling for m in measured) / sum(p.sampling for p in predicted),
        sum(m.judging for m in measured) / sum(p.judging for p in predicted),
        sum(m.updating for m in measured) / sum(p.updating for p in predicted),
    )


# A stage of a run ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FinishedStage:
    """An rl stage of a run."""

    folder: Path
    stage: RLStage
    size: Size
    prompt: float
    """Mean tokens of a prompt."""
    threads: int
    """CPU threads; 0: one per core."""

    def measured(self) -> list[MeasuredRollout]:
        """Return the times of its rollouts, the first left out."""
        return measured_rollouts(self.folder)

    def rates(self, machine: Machine) -> Rates:
        """Return the rates for its model."""
        bfloat16 = self.stage.sampling.dtype == "bfloat16"
        return rates_of(machine, self.size.hidden, self.stage.autocast == "bfloat16", bfloat16)

    def predicted(self, factors: Factors) -> list[RolloutTimes]:
        """Return the prediction for each measured rollout on this machine, with responses of its mean length.

        The spreads of the lengths are those of the stage's kept rollouts.
        """
        machine = this_machine(self.threads)
        rates = self.rates(machine).scaled(factors.sampling, factors.judging, factors.updating)
        limit = self.stage.sampling.largest_max_tokens
        lengths = fitted_lengths(self.folder, limit)
        return [
            predict(
                workload_of(
                    self.stage,
                    self.size,
                    lengths.with_mean(min(max(1.0, row.mean_length), limit - 1)),
                    self.prompt,
                    machine.cpu,
                ),
                rates,
                ALONE,
                seed=index,
            )
            for index, row in enumerate(self.measured())
        ]


def finished_stage(option: str, text: str) -> FinishedStage:
    """Return the stage that `RUN` or `RUN:STAGE` names; without STAGE the first rl stage that has rollouts.

    Args:
        option: which option named it, for messages.

    Raises:
        ConfigError: there is no such run or stage, or its recipe cannot be read.
    """
    path, name = Path(text).expanduser(), None
    if not path.is_dir():  # the last colon: a folder's name may hold others
        head, _, name = text.rpartition(":")
        path = Path(head).expanduser()
    run = RunDirectory(path)
    if not run.recipe.is_file():
        raise ConfigError(f"{option} {text}: {no_run_directory(path, 'it has no recipe.json')}")
    recipe = _recipe(run, f"{option} {text}")
    stages = {key: stage for key, stage in recipe.stages.items() if isinstance(stage, RLStage)}
    begun = [key for key in stages if (run.stage(key).path / "metrics.jsonl").is_file()]
    if (name is not None and name not in begun) or not begun:
        wrong = f"has no rl stage {name!r} with metrics" if name else "has no rl stage with metrics"
        there = f" (it has: {', '.join(begun)})" if begun else ""
        raise ConfigError(
            f"{option} {text}: the run {wrong}{there}, from which lengths and times would come; name RUN or RUN:STAGE of a run "
            "that has trained"
        )
    name = name or begun[0]
    folder = run.stage(name).path
    threads = int(read_json(folder / "begun.json").get("threads") or 0)
    stage = stages[name]
    return FinishedStage(
        folder, stage, size_of(name, recipe), prompt_tokens(stage, recipe), threads
    )


def _recipe(run: RunDirectory, typed: str) -> Recipe:
    """Return the recipe of a run."""
    table = read_json(run.recipe)
    try:  # what the file records about itself is no part of the recipe
        return Recipe.model_validate({k: v for k, v in table.items() if k in Recipe.model_fields})
    except ValidationError as error:
        raise ConfigError(
            f"{typed}: {run.recipe} is not the recipe of this version of Dianoia ({error.errors()[0]['msg']}), so its "
            "lengths and times cannot be read; name a run of this version"
        ) from None


def measured_factors(stage: FinishedStage) -> Factors:
    """Return how many times as long each part of a stage took on this machine as its rates say."""
    return factors(stage.measured(), stage.predicted(AS_PLANNED))
