"""A stage in a few words, for a table with one line a stage. No torch."""

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
from dianoia.recipe.graph import Stage, datasets
from dianoia.recipe.plan.number_format import count


def brief(stage: Stage) -> str:
    """Its kind, where it starts, and how much it does."""
    match stage:
        case PretrainStage():
            return f"pretrain: {count(stage.tokens)} tokens"
        case RLStage():
            samples = stage.rollouts * stage.rollout_size
            return f"rl from {_short(stage.start)}: {stage.steps:,} steps, {count(samples)} samples"
        case SFTStage():
            return f"sft from {_short(stage.start)}: {_epochs(stage.epochs)} of {_named(stage)}"
        case SampleStage():
            samples = stage.prompts * stage.samples
            return f"sample from {_short(stage.start)}: {count(samples)} samples"
        case DemonstrationsStage():
            return f"{stage.rows:,} demonstrations of {stage.source}"
        case PreferencesStage():
            starts = " and ".join(map(_short, stage.starts))
            return f"preferences from {starts}: {stage.prompts:,} problems"
        case RewardModelStage():
            return f"reward_model from {_short(stage.start)}: {_epochs(stage.epochs)} of {_named(stage)}"
        case EvaluateStage():
            number = len(stage.checkpoints)
            return f"evaluate: {number} checkpoint{'s' * (number > 1)} x {stage.samples} samples"


def _epochs(number: int) -> str:
    return f"{number} epoch{'s' * (number > 1)}"


def _named(stage: SFTStage | RewardModelStage) -> str:
    return ", ".join(map(_short, datasets(stage)))


def _short(name: str) -> str:
    """The end of a path that is longer than a name."""
    return name if len(name) <= 24 else f"...{name[-20:]}"
