"""Bytes that stages write to the disk of a run, and whether there is room for them. No torch.

In: a stage's table and the size of its model. Out: `Needs`. States hold float32 weights and both of AdamW's averages,
those of a reference and a value model too; a new state is written beside the old one. Texts are guessed by tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dianoia.base import disk_space as space
from dianoia.config import (
    DemonstrationsStage,
    EvaluateStage,
    PreferencesStage,
    PretrainStage,
    RewardModelStage,
    RLStage,
    SampleStage,
    SFTStage,
)
from dianoia.recipe.graph import Recipe, Stage
from dianoia.recipe.plan.model_sizes import Size, size_of
from dianoia.recipe.plan.work_time import FILLED
from dianoia.recipe.resume.stage_status import StageTask

_WEIGHTS, _TRAINED = 4, 12
"""Bytes of a parameter: in a checkpoint, and in a state with its averages."""
_TOKEN = 4
"""Guess for the bytes of a token of text, in a file that is read as text or compressed."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a stage writes."""

    kept: float
    """Bytes that stay: a checkpoint or a data set."""
    state: float
    """Bytes of one state; 0 where there is none."""
    states: int
    """How many of them are there at one time."""

    @property
    def most(self) -> float:
        """Bytes at the stage's highest."""
        return max(self.kept + self.state, self.states * self.state)


def needs_of(stage: Stage, size: Size) -> Needs:
    """What a stage of a model of this size writes."""
    weights = _WEIGHTS * size.parameters
    match stage:
        case RLStage():
            algorithm, saved = stage.algorithm, stage.rollouts // stage.checkpoint_every
            state = _TRAINED * size.parameters
            state += weights if algorithm.kl_coefficient > 0 else 0
            state += _TRAINED * size.backbone if algorithm.name == "ppo" else 0
            return Needs(weights, state, min(2, max(1, saved)))
        case PretrainStage() | SFTStage() | RewardModelStage():
            return Needs(weights, _TRAINED * size.parameters, 2)
        case SampleStage():
            tokens = stage.prompts * stage.samples * FILLED * stage.sampling.max_tokens
            return Needs(_TOKEN * tokens, _TOKEN * tokens, 1)
        case PreferencesStage():
            tokens = (
                stage.prompts * stage.responses_per_problem * FILLED * stage.sampling.max_tokens
            )
            return Needs(_TOKEN * tokens, _TOKEN * tokens, 1)
        case EvaluateStage():
            kept = min(stage.keep, stage.limit) * len(stage.checkpoints) * stage.samples
            return Needs(_TOKEN * kept * FILLED * stage.max_tokens, 0, 0)
        case DemonstrationsStage():
            return Needs(_TOKEN * 100 * stage.rows, 0, 0)


def needed(recipe: Recipe, plan: Sequence[StageTask], jobs: int = 1) -> float:
    """Bytes that the stages write which a plan has work for: what stays, and the states of those at work together."""
    every = [
        needs_of(recipe.stages[todo.name], size_of(todo.name, recipe)) for todo in plan if todo.runs
    ]
    passing = sorted((needs.most - needs.kept for needs in every), reverse=True)
    return sum(needs.kept for needs in every) + sum(passing[: max(1, jobs)])


def check_disk(recipe: Recipe, plan: Sequence[StageTask], path: Path, jobs: int = 1) -> None:
    """Look for free space before the first stage begins.

    Raises:
        MachineFault: there is less than the stages of the plan write; the message says how much to free.
    """
    if any(todo.runs for todo in plan):
        count = sum(todo.runs for todo in plan)
        what = f"the work of {count} stage{'s' * (count > 1)}, states included,"
        there = sum(_written(path, todo) for todo in plan if todo.runs and not todo.from_scratch)
        wanted = needed(recipe, plan, jobs) - there + 3 * count * space.SMALL
        space.need(path, wanted, what)


def _written(path: Path, todo: StageTask) -> int:
    """Bytes of the state of a stage that goes on: they are there already."""
    return state_bytes(path / "stages" / todo.name)


def state_bytes(folder: Path) -> int:
    """Bytes of what an interrupted stage goes on from."""
    return sum(file.stat().st_size for file in (folder / "state").glob("*"))


def set_aside(name: str, recipe: Recipe, folder: Path) -> None:
    """Keep room for a stage's next state, or for what it writes where it has none.

    Raises:
        MachineFault: there is less.
    """
    needs = needs_of(recipe.stages[name], size_of(name, recipe))
    trained = isinstance(recipe.stages[name], PretrainStage | RLStage | SFTStage | RewardModelStage)
    what = f"{name}, for its states and its checkpoint," if trained else name
    if not trained:
        space.need(folder, needs.most + space.SMALL, what)
        return
    space.need(folder, max(needs.most - state_bytes(folder), needs.state) + 3 * space.SMALL, what)
    space.hold(folder, int(needs.state) + 2 * space.SMALL, what)
