"""Disk space of a run: the bytes that its stages write, and whether there is room for them. No torch.

In: a stage's table and the size of its model. Out: `DiskNeeds`, the parts of a run's disk space, or MachineFault. A state holds float32 weights and both
AdamW averages, also those of a reference and a value model; a new state is written while the old one still exists.
With a `lora` table a state holds the adapters
alone. Sizes of texts are guesses from tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dianoia.base import disk_space
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
from dianoia.recipe.plan.memory import trained_parameters
from dianoia.recipe.plan.model_sizes import Size, size_of
from dianoia.recipe.plan.number_format import plural
from dianoia.recipe.resume.stage_status import StageTask

_WEIGHT_BYTES, _STATE_BYTES = 4, 12
"""Bytes per parameter: of a checkpoint, and of a state with both AdamW averages."""
_TOKEN_BYTES = 4
"""Guess for the bytes of a token of text in a file."""
MOST_FILLED = 0.4
"""Share of max_tokens that a response fills at most in the mean: more than is expected, since a full disk ends a run."""
_DEMONSTRATION_TOKENS = 100
"""Guess for the tokens of a demonstration."""


@dataclass(frozen=True, slots=True)
class DiskNeeds:
    """Bytes that a stage writes."""

    output: float
    """Bytes of a checkpoint or a data set."""
    state: float
    """Bytes of one state; 0 if the stage has none."""
    states: int
    """States that exist at the same time."""
    rollouts: float = 0.0
    """Bytes of the rollouts that are kept for reading."""

    @property
    def peak(self) -> float:
        """Most bytes that the stage has on the disk at one time."""
        return self.rollouts + max(self.output + self.state, self.states * self.state)

    @property
    def temporary(self) -> float:
        """Bytes of the peak that are gone when the stage is done."""
        return self.peak - self.output - self.rollouts


def stage_needs(stage: Stage, size: Size) -> DiskNeeds:
    """Return the disk needs of a stage whose model has this size."""
    weights = _WEIGHT_BYTES * size.parameters  # an adapter beside them is too small to count
    match stage:
        case RLStage():
            # A run that saves a single state never has two at once.
            algorithm, saves = stage.algorithm, stage.rollout_count // stage.checkpoint_every
            trained = trained_parameters(stage.lora, size)
            valued = size.backbone if stage.lora is None else trained
            state = _STATE_BYTES * trained
            # The state includes the reference, which moves during training, and PPO's value model with its averages.
            state += _WEIGHT_BYTES * trained if algorithm.kl_coefficient > 0 else 0
            state += _STATE_BYTES * valued if algorithm.name == "ppo" else 0
            saved_samples = (
                -(-stage.rollout_count // stage.progress.rollouts_every) * stage.rollout_size
            )
            texts = _TOKEN_BYTES * saved_samples * MOST_FILLED * stage.sampling.largest_max_tokens
            return DiskNeeds(weights, state, min(2, max(1, saves)), texts)
        case SFTStage() | RewardModelStage():
            return DiskNeeds(weights, _STATE_BYTES * trained_parameters(stage.lora, size), 2)
        case PretrainStage():
            return DiskNeeds(weights, _STATE_BYTES * size.parameters, 2)
        case SampleStage():
            # Parts are kept until the data set is written from them, so both exist at the end.
            samples = stage.prompts * stage.samples
            text = _TOKEN_BYTES * samples * MOST_FILLED * stage.sampling.max_tokens
            return DiskNeeds(text, text, 1)
        case PreferencesStage():
            responses = stage.prompts * stage.responses_per_problem
            text = _TOKEN_BYTES * responses * MOST_FILLED * stage.sampling.max_tokens
            return DiskNeeds(text, text, 1)
        case EvaluateStage():
            saved = min(stage.keep, stage.limit) * len(stage.checkpoints) * stage.samples
            return DiskNeeds(0, 0, 0, _TOKEN_BYTES * saved * MOST_FILLED * stage.max_tokens)
        case DemonstrationsStage():
            return DiskNeeds(_TOKEN_BYTES * _DEMONSTRATION_TOKENS * stage.rows, 0, 0)


def run_parts(recipe: Recipe, tasks: Sequence[StageTask], jobs: int = 1) -> dict[str, float]:
    """Return the bytes that the running stages have on the disk at one time, by part.

    Checkpoints, data sets and rollouts of all stages stay; states are those of the `jobs` stages with most of them.
    """
    running = [task.name for task in tasks if task.runs]
    needs = {name: stage_needs(recipe.stages[name], size_of(name, recipe)) for name in running}
    trained = {name for name in needs if trains(recipe.stages[name])}
    temporary = sorted((stage.temporary for stage in needs.values()), reverse=True)
    return {
        "checkpoints": sum(stage.output for name, stage in needs.items() if name in trained),
        "data sets": sum(stage.output for name, stage in needs.items() if name not in trained),
        "rollouts": sum(stage.rollouts for stage in needs.values()),
        # States are temporary: at most `jobs` stages have them at one time.
        "states": sum(temporary[: max(1, jobs)]),
    }


def trains(stage: Stage) -> bool:
    """Tell whether a stage trains a model, and so has states."""
    return isinstance(stage, PretrainStage | RLStage | SFTStage | RewardModelStage)


def check_disk(recipe: Recipe, tasks: Sequence[StageTask], path: Path, jobs: int = 1) -> None:
    """Check the free space before the first stage begins.

    Raises:
        MachineFault: there is less than the stages write; the message says how much to free.
    """
    running = [task for task in tasks if task.runs]
    if running:
        # a resumed stage has its state on the disk already
        existing = sum(
            _state_bytes(path / "stages" / task.name) for task in running if not task.from_scratch
        )
        margin = 3 * len(running) * disk_space.SMALL_FILES_BYTES
        needed = sum(run_parts(recipe, tasks, jobs).values()) - existing + margin
        disk_space.require_space(
            path, needed, f"the work of {plural(len(running), 'stage')}, states included,"
        )


def _state_bytes(folder: Path) -> int:
    """Return the bytes of the state from which a stage would resume."""
    return sum(file.stat().st_size for file in (folder / "state").glob("*"))


def reserve_stage_space(name: str, recipe: Recipe, folder: Path) -> None:
    """Reserve room for the next state of a stage that trains; for another, check that its output has room.

    Raises:
        MachineFault: there is less.
    """
    needs = stage_needs(recipe.stages[name], size_of(name, recipe))
    if not trains(recipe.stages[name]):
        disk_space.require_space(folder, needs.peak + disk_space.SMALL_FILES_BYTES, name)
        return
    user = f"{name}, for its states and its checkpoint,"
    # The existing state is replaced, so its bytes are part of the peak already.
    needed = max(needs.peak - _state_bytes(folder), needs.state) + 3 * disk_space.SMALL_FILES_BYTES
    disk_space.require_space(folder, needed, user)
    disk_space.reserve_space(folder, int(needs.state) + 2 * disk_space.SMALL_FILES_BYTES, user)
