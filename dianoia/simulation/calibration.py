"""The rl stage of a finished run, and how much longer it took on this machine than the rates say. No torch.

In: a run directory, `RUN` or `RUN:STAGE`. Out: its recipe's stage with the size of its model, and `Factors`.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from dianoia.base.errors import ConfigError
from dianoia.base.files import read_json
from dianoia.config import RLStage
from dianoia.hardware.machine import Machine, this_machine
from dianoia.recipe.graph import Recipe
from dianoia.recipe.plan.drawn_problems import prompt_tokens
from dianoia.recipe.plan.layout import ALONE
from dianoia.recipe.plan.model_sizes import Size, size_of
from dianoia.simulation.measured import (
    Factors,
    MeasuredRollout,
    factors,
    fitted_lengths,
    measured_rollouts,
)
from dianoia.simulation.prediction import RolloutTimes, predict, workload_of
from dianoia.simulation.rates import Rates, rates_of
from dianoia.storage.run_directory import RunDirectory, no_run_directory

AS_PLANNED = Factors(1.0, 1.0, 1.0)


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
