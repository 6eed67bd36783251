"""Changes of single keys that would lower the memory of a stage that does not fit, with the peak that each leaves. No torch.

In: a stage's table and what `plan.memory.peak` takes. Out: `Saving`s, best first. A saving costs time (recomputation, fewer
samples at once, communication) or precision of the sampler; without a KL penalty there is no reference model; adapters train
fewer weights. No saving changes the data that a stage learns from, so shorter texts are not among them.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import product

from dianoia.config import (
    EvaluateStage,
    LoRASettings,
    PreferencesStage,
    RewardModelStage,
    RLStage,
    SampleStage,
    SFTStage,
)
from dianoia.hardware.machine import Machine
from dianoia.recipe.graph import Stage
from dianoia.recipe.plan.layout import ALONE, Layout, Sharding
from dianoia.recipe.plan.memory import peak
from dianoia.recipe.plan.model_sizes import Size

_WORTHWHILE = 0.98
"""A change that leaves more than this share of the peak is not suggested."""
_MIN_SLOTS = 8
_SMALL_MICRO_BATCH = 1024
"""Tokens of the micro-batch that an rl stage is advised to try."""


@dataclass(frozen=True, slots=True)
class Saving:
    """A change of one key, and the peak that it leaves."""

    text: str
    """The key as in a recipe, such as `recompute = true`."""
    bytes: float
    """Peak with this change alone."""


def savings(
    stage: Stage,
    size: Size,
    machine: Machine,
    longest: int | None,
    reward_models: Collection[Size] = (),
    layout: Layout = ALONE,
) -> tuple[list[Saving], float]:
    """Return the changes that help, best first, and the peak in bytes with all that help together."""

    def peak_bytes(changed: Stage) -> float:
        return peak(changed, size, machine, longest, reward_models, layout).bytes

    # Try every change alone, then add them greedily, best first.
    before = peak_bytes(stage)
    candidates = (Saving(text, peak_bytes(changed)) for text, changed in _alternatives(stage))
    useful = sorted(
        (saving for saving in candidates if saving.bytes < _WORTHWHILE * before),
        key=lambda saving: saving.bytes,
    )
    least = before
    for saving in useful:
        # Looked up again, for the stage as it is by now: a model copy of the first stage would lose the changes before.
        changed = _with_key(stage, saving.text)
        if peak_bytes(changed) < least:
            stage, least = changed, peak_bytes(changed)
    return useful, least


def _with_key(stage: Stage, text: str) -> Stage:
    """Return the stage with the alternative that sets the same key as `text`."""
    key = text.partition(" = ")[0]
    return next(
        changed
        for alternative, changed in _alternatives(stage)
        if alternative.startswith(f"{key} = ")
    )


def _alternatives(stage: Stage) -> Iterator[tuple[str, Stage]]:
    """Yield each change as text, and the stage with it."""
    if isinstance(stage, RLStage | SFTStage | RewardModelStage):
        yield from _learner_alternatives(stage)
    match stage:
        case RLStage() | SampleStage() | PreferencesStage():
            sampling = stage.sampling
            for key, value in _sampler_alternatives(sampling.slots, sampling.dtype):
                changed = {"sampling": sampling.model_copy(update={key: value})}
                yield f"sampling.{key} = {_toml(value)}", stage.model_copy(update=changed)
        case EvaluateStage():
            for key, value in _sampler_alternatives(stage.slots, stage.dtype):
                yield f"{key} = {_toml(value)}", stage.model_copy(update={key: value})


def _learner_alternatives(
    stage: RLStage | SFTStage | RewardModelStage,
) -> Iterator[tuple[str, Stage]]:
    if not stage.recompute:
        yield "recompute = true", stage.model_copy(update={"recompute": True})
    # A packed row must still hold the longest text, so sft and reward models go down to max_length.
    tokens = _SMALL_MICRO_BATCH if isinstance(stage, RLStage) else stage.max_length
    if stage.tokens_per_micro_batch > tokens:
        changed = stage.model_copy(update={"tokens_per_micro_batch": tokens})
        yield f"tokens_per_micro_batch = {tokens}", changed
    if isinstance(stage, RLStage) and stage.algorithm.kl_coefficient > 0:
        algorithm = stage.algorithm.model_copy(update={"kl_coefficient": 0.0})
        yield "algorithm.kl_coefficient = 0.0", stage.model_copy(update={"algorithm": algorithm})


def _sampler_alternatives(slots: int, dtype: str) -> Iterator[tuple[str, int | str]]:
    if slots > _MIN_SLOTS:
        yield "slots", max(_MIN_SLOTS, slots // 4)
    if dtype == "float32":
        yield "dtype", "bfloat16"


def _toml(value: int | str) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


# Ways to fit --------------------------------------------------------------------------------------

_ADAPTERS = LoRASettings(dtype="bfloat16")


@dataclass(frozen=True, slots=True)
class WayToFit:
    """Changes that make a stage fit together, none of which can be left out."""

    keys: tuple[str, ...]
    """As in a recipe, such as `stages.zero.shard = "node"`."""
    bytes: float
    """Peak of a rank with all of them."""


def ways_to_fit(
    name: str,
    stage: Stage,
    size: Size,
    machine: Machine,
    room: float,
    longest: int | None = None,
    reward_models: Collection[Size] = (),
    layout: Layout = ALONE,
) -> list[WayToFit]:
    """Return the smallest sets of `shard`, `lora` and `rollouts` with which the stage needs at most `room` bytes of a rank.

    `name`: of the stage. A set is left out if a part of it is enough. The one that leaves most room comes first.
    """
    ways: list[WayToFit] = []
    for changes in _combinations(name, stage, layout):
        keys = tuple(change.key for change in changes)
        # Sets come in order of size, so that every part of this one has been tried.
        if any(set(way.keys) < set(keys) for way in ways):
            continue
        changed, changed_layout = stage, layout
        for change in changes:
            changed = change.stage(changed)
            changed_layout = change.layout(changed_layout)
        needed = peak(changed, size, machine, longest, reward_models, changed_layout).bytes
        if needed <= room:
            ways.append(WayToFit(keys, needed))
    return sorted(ways, key=lambda way: way.bytes)


@dataclass(frozen=True, slots=True)
class _Change:
    """One of `shard`, `lora` and `rollouts`."""

    key: str
    shard: Sharding | None = None
    lora: bool = False
    served: bool = False

    def stage(self, stage: Stage) -> Stage:
        return stage.model_copy(update={"lora": _ADAPTERS}) if self.lora else stage

    def layout(self, layout: Layout) -> Layout:
        layout = layout if self.shard is None else layout.with_shard(self.shard)
        return replace(layout, served=layout.served or self.served)


def _combinations(name: str, stage: Stage, layout: Layout) -> Iterator[tuple[_Change, ...]]:
    """Yield every set of the changes that the stage can take, the smallest first; one sharding in each at most."""
    alternatives: list[list[_Change]] = []
    if isinstance(stage, RLStage | SFTStage | RewardModelStage):
        order = layout.choices()
        # A narrower sharding needs more memory, so that it never helps.
        wider = order[order.index(layout.shard) + 1 :] if layout.shard in order else ()
        alternatives.append(
            [_Change(f'stages.{name}.shard = "{shard}"', shard=shard) for shard in wider]
        )
        if stage.lora is None:
            key = f'stages.{name}.lora = {{ rank = {_ADAPTERS.rank}, dtype = "bfloat16" }}'
            alternatives.append([_Change(key, lora=True)])
    if isinstance(stage, RLStage) and not (layout.served or stage.rollouts.served):
        key = f'stages.{name}.rollouts.engine = "vllm"'
        alternatives.append([_Change(key, served=True)])
    options: list[list[_Change | None]] = [[None, *changes] for changes in alternatives]
    # `None` in each list stands for no change of that key.
    chosen = [tuple(filter(None, changes)) for changes in product(*options)]
    yield from sorted(filter(None, chosen), key=len)
