"""What would lower the memory that a stage needs, with how far. No torch.

In: a stage's table, the size of its model, the machine. Out: changes of one key each, as a recipe has them, and
the peak that each leaves. They cost time (computing again, fewer samples at once) or precision in the sampler;
without a divergence there is no reference. None of them changes what is learnt from, so lengths are not among
them.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from dianoia.config import (
    EvaluateStage,
    PreferencesStage,
    RewardModelStage,
    RLStage,
    SampleStage,
    SFTStage,
)
from dianoia.hardware.machine import Machine
from dianoia.recipe.graph import Stage
from dianoia.recipe.plan.memory import peak
from dianoia.recipe.plan.model_sizes import Size

_WORTH_IT = 0.98
"""A change that leaves more than this share of the peak is not worth a word."""
_FEWEST_SLOTS = 8
_ROW = 1024


@dataclass(frozen=True, slots=True)
class Change:
    """One key of a recipe, and what it leaves."""

    text: str
    """Such as `recompute = true`."""
    bytes: float
    """Of the peak with this change alone."""


def changes(
    stage: Stage, size: Size, machine: Machine, longest: int | None, judges: Collection[Size] = ()
) -> tuple[list[Change], float]:
    """Changes that help, the one that helps most first, and the peak with all of them that help together."""

    def needed(one: Stage) -> float:
        return peak(one, size, machine, longest, judges).bytes

    before = needed(stage)
    found = [Change(text, needed(changed)) for text, changed in alternatives(stage)]
    useful = sorted((one for one in found if one.bytes < _WORTH_IT * before), key=lambda c: c.bytes)
    least = before
    for one in useful:
        changed = _with(stage, one.text)
        if needed(changed) < least:
            stage, least = changed, needed(changed)
    return useful, least


def _with(stage: Stage, text: str) -> Stage:
    """The stage with the alternative of the same key."""
    key = text.partition(" = ")[0]
    return next(changed for other, changed in alternatives(stage) if other.startswith(f"{key} = "))


def alternatives(stage: Stage) -> Iterator[tuple[str, Stage]]:
    """Each change as text, and the stage with it."""
    if isinstance(stage, RLStage | SFTStage | RewardModelStage):
        yield from _learning(stage)
    match stage:
        case RLStage() | SampleStage() | PreferencesStage():
            for key, value in _drawing(stage.sampling.slots, stage.sampling.dtype):
                sampling = stage.sampling.model_copy(update={key: value})
                changed = stage.model_copy(update={"sampling": sampling})
                yield f"sampling.{key} = {_toml(value)}", changed
        case EvaluateStage():
            for key, value in _drawing(stage.slots, stage.dtype):
                yield f"{key} = {_toml(value)}", stage.model_copy(update={key: value})


def _learning(stage: RLStage | SFTStage | RewardModelStage) -> Iterator[tuple[str, Stage]]:
    if not stage.recompute:
        yield "recompute = true", stage.model_copy(update={"recompute": True})
    row = _ROW if isinstance(stage, RLStage) else stage.max_length
    if stage.tokens_per_micro_batch > row:
        changed = stage.model_copy(update={"tokens_per_micro_batch": row})
        yield f"tokens_per_micro_batch = {row}", changed
    if isinstance(stage, RLStage) and stage.algorithm.kl_coefficient > 0:
        algorithm = stage.algorithm.model_copy(update={"kl_coefficient": 0.0})
        yield "algorithm.kl_coefficient = 0.0", stage.model_copy(update={"algorithm": algorithm})


def _drawing(slots: int, dtype: str) -> Iterator[tuple[str, int | str]]:
    if slots > _FEWEST_SLOTS:
        yield "slots", max(_FEWEST_SLOTS, slots // 4)
    if dtype == "float32":
        yield "dtype", "bfloat16"


def _toml(value: int | str) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
