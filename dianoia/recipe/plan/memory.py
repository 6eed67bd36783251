"""What a stage keeps in memory, part by part, in the phases it goes through. No torch.

In: a stage's table, the size of its model, the machine. Out: `Phase`s, of which the largest is what the stage
needs. As the code does it: weights, gradients, both of AdamW's averages, the reference and the value model are
float32 always; the sampler holds a copy of its own, whose head is float32 on a CPU; off the CPU its cache is given
back before an update. Activations are those that the backward pass reads, by coefficients that the tests hold to
what PyTorch keeps. Counted as upper limits: every slot and every micro-batch is full, and holds the longest
responses. Left out: the problems and data themselves, states on their way to the disk.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from dianoia.base.limits import (
    CPU_ROW_TOKENS,
    CPU_TOKENS,
    EVALUATED_AT_ONCE,
    GPU_LOGITS_AT_ONCE,
    GPU_SLOPES_KEPT,
    LOGITS_AT_ONCE,
    MEMBERS,
    SPARE_ROWS,
)
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
from dianoia.hardware.machine import Machine
from dianoia.recipe.graph import Stage
from dianoia.recipe.plan.model_sizes import Size

PROMPT_TOKENS = 80
"""Guess for a prompt where its length is not known without a tokenizer."""
_FULL, _HALF = 4, 2
"""Bytes of a float32 and of a bfloat16."""
_ITSELF = 0.45e9
"""PyTorch, its libraries and Python, or CUDA's own part of the device."""
_KERNELS = 0.4e9
"""What a CPU's library keeps of compiled kernels in bfloat16, one for every shape that it has met lately."""
_DRAWN = 4
"""Copies of a distribution over the vocabulary while tokens are drawn."""
_SCORED = 4
"""Copies of the logits while they are scored and their gradient is taken."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A time in a stage, and what is in memory then."""

    doing: str
    parts: Mapping[str, float]
    """Bytes by name."""

    @property
    def bytes(self) -> float:
        """All parts together."""
        return sum(self.parts.values())


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward and backward pass of a learner."""

    tokens: float
    """Positions of one pass."""
    scored: float
    """Positions whose logits are taken."""
    autocast: bool = False
    recompute: bool = False
    joined: bool = False
    """Whether keys of shared prompts are joined to those of their responses."""


def peak(
    stage: Stage,
    size: Size,
    machine: Machine,
    longest: int | None = None,
    judges: Collection[Size] = (),
) -> Phase:
    """The phase that needs most. `longest`: tokens of the longest text, where the data is known; `judges`: the
    reward models that the stage reads."""
    phases: list[Phase]
    match stage:
        case RLStage():
            phases = _reinforcement(stage, size, machine, judges)
        case DemonstrationsStage():
            phases = [Phase("writing", {"PyTorch itself": _ITSELF})]
        case SampleStage() | PreferencesStage():
            chosen = stage.sampling
            drawn = stage.problems_per_batch, stage.samples
            cache = _cache(size, machine, chosen.slots, chosen.max_tokens, *drawn, chosen.dtype)
            phases = _drawing(size, machine, cache, chosen.dtype)
        case EvaluateStage():
            drawn = min(EVALUATED_AT_ONCE, stage.limit), stage.samples
            cache = _cache(size, machine, stage.slots, stage.max_tokens, *drawn, stage.dtype)
            phases = _drawing(size, machine, cache, stage.dtype)
        case SFTStage() | RewardModelStage() | PretrainStage():
            phases = [_supervision(stage, size, machine, longest)]
    return max(phases, key=lambda phase: phase.bytes)


# Phases -------------------------------------------------------------------------------------------


def _reinforcement(
    stage: RLStage, size: Size, machine: Machine, judges: Collection[Size]
) -> list[Phase]:
    algorithm, chosen, longest = stage.algorithm, stage.sampling, stage.sampling.most_tokens
    ppo = algorithm.name == "ppo"
    held = {
        "weights": _FULL * size.parameters,
        "AdamW": 2.0 * _FULL * size.parameters,
        "reference": _FULL * size.parameters * (algorithm.kl_coefficient > 0),
        "value model": 3.0 * _FULL * size.backbone * ppo,
        "reward models": float(sum(_FULL * judge.backbone for judge in judges)),
        "sampler": _sampler(size, machine, chosen.dtype),
    }
    drawn = stage.problems_per_rollout, stage.group_size
    cache = _cache(size, machine, chosen.slots, longest, *drawn, chosen.dtype)
    learning = _learning(size, machine, _micro_batch(stage, machine))
    if ppo:
        learning["gradients"] += _FULL * size.backbone * machine.workers
    kept = {"cache": cache["cache"] * machine.cpu}
    itself = {"PyTorch itself": _ITSELF}
    if ppo:  # the value model's gradients of the last step are still there
        cache["gradients"] = _FULL * size.backbone
    return [
        Phase("drawing", {**held, **cache, **itself}),
        Phase("updating", {**held, **kept, **learning, **itself}),
    ]


def _micro_batch(stage: RLStage, machine: Machine) -> Pass:
    longest = stage.sampling.most_tokens
    row = longest + PROMPT_TOKENS
    budget = min(stage.tokens_per_micro_batch, CPU_TOKENS if machine.cpu else 2**62)
    rows = max(
        1, min(budget // row, -(-stage.rollout_size // stage.minibatches // machine.workers))
    )
    return Pass(
        rows * row, rows * longest, stage.autocast == "bfloat16", stage.recompute, joined=True
    )


def _supervision(
    stage: SFTStage | RewardModelStage | PretrainStage,
    size: Size,
    machine: Machine,
    longest: int | None,
) -> Phase:
    if isinstance(stage, PretrainStage):
        batch, lanes = Pass(stage.tokens_per_step, stage.tokens_per_step), 1
    else:
        limit = CPU_ROW_TOKENS if isinstance(stage, SFTStage) else CPU_TOKENS
        budget = min(stage.tokens_per_micro_batch, limit if machine.cpu else 2**62)
        text = min(stage.max_length, longest or stage.max_length)
        texts = 2 if isinstance(stage, RewardModelStage) and stage.objective == "pairwise" else 1
        tokens = max(budget, text * texts)
        scored = tokens if isinstance(stage, SFTStage) else 0
        autocast = stage.autocast == "bfloat16"
        batch, lanes = Pass(tokens, scored, autocast, stage.recompute), machine.workers
    held = {"weights": _FULL * size.parameters, "AdamW": 2.0 * _FULL * size.parameters}
    learning = _learning(size, machine, batch, lanes)
    return Phase("updating", {**held, **learning, "PyTorch itself": _ITSELF})


def _drawing(size: Size, machine: Machine, cache: dict[str, float], dtype: str) -> list[Phase]:
    """The model as it is loaded goes once the sampler has its copy."""
    sampler, itself = {"sampler": _sampler(size, machine, dtype)}, {"PyTorch itself": _ITSELF}
    return [
        Phase("loading", {"weights": _FULL * size.parameters, **sampler, **itself}),
        Phase("drawing", {**sampler, **cache, **itself}),
    ]


# Parts --------------------------------------------------------------------------------------------


def _sampler(size: Size, machine: Machine, dtype: str) -> float:
    """Weights of the native sampler; on a CPU in bfloat16 embedding and head are two tables, one of them in float32."""
    if dtype == "float32" or not machine.cpu:
        return (_FULL if dtype == "float32" else _HALF) * size.parameters
    return _HALF * size.backbone + _FULL * size.table


def _cache(
    size: Size,
    machine: Machine,
    slots: int,
    longest: int,
    problems: int,
    samples: int,
    dtype: str,
) -> dict[str, float]:
    """Keys and values of every slot at full length and of the prompts, and what drawing a token needs."""
    used = min(slots, problems * samples)
    units = problems * -(-samples // MEMBERS)
    rows = min(units, used + SPARE_ROWS * machine.workers)
    numbers = (used * (1 + longest) + rows * PROMPT_TOKENS) * size.cache_per_token
    # a CPU keeps states in float32 around bfloat16 products, where it can
    width = _FULL if dtype == "float32" or machine.cpu else _HALF
    return {
        "kernels": _kernels(machine, dtype != "float32"),
        "cache": float(width * numbers),
        "distributions": float(_DRAWN * _FULL * used * size.vocabulary),
    }


def _kernels(machine: Machine, bfloat16: bool) -> float:
    return _KERNELS * (machine.cpu and bfloat16)


def _learning(
    size: Size, machine: Machine, batch: Pass, lanes: int | None = None
) -> dict[str, float]:
    """What a step adds to weights and averages; every lane has gradients and activations of its own."""
    count = machine.workers if lanes is None else lanes
    return {
        "gradients": float(_FULL * size.parameters * count),
        "kernels": _kernels(machine, batch.autocast),
        "bfloat16 weights": float(_HALF * size.matrices * count * batch.autocast),
        "activations": count * activations(size, batch, machine.cpu),
        "logits": count * _logits(size, batch) if machine.cpu else _gpu_logits(size, batch),
    }


def _logits(size: Size, batch: Pass) -> float:
    """Logits of a CPU, with the copies that their loss and gradient take."""
    logits = min(batch.scored * size.vocabulary, max(LOGITS_AT_ONCE, size.vocabulary))
    return float(_SCORED * _FULL * logits)


def _gpu_logits(size: Size, batch: Pass) -> float:
    """As `learner.kernels.head_gpu` computes them, compiled: logits of a chunk, the slopes that are kept (else of a chunk), the
    head in the format of its products, its gradient, and what a chunk adds to it."""
    if not batch.scored:
        return 0.0
    every = batch.scored * size.vocabulary
    once = min(every, max(GPU_LOGITS_AT_ONCE, size.vocabulary))
    slopes = every if every <= GPU_SLOPES_KEPT else once
    width = _HALF if batch.autocast else _FULL
    return float(_FULL * once + width * slopes + (width + 2 * _FULL) * size.table)


def activations(size: Size, batch: Pass, cpu: bool = True) -> float:
    """Bytes that a pass keeps for its backward pass, and the working room of one layer."""
    layer = layer_bytes(size, batch.autocast, batch.joined, cpu)
    outside = 3 * _FULL * size.hidden
    if batch.recompute:
        return batch.tokens * (_FULL * size.hidden * size.layers + 2 * layer + outside)
    return batch.tokens * (layer * (size.layers + 1) + outside)


def layer_bytes(size: Size, autocast: bool, joined: bool, cpu: bool = True) -> float:
    """Bytes that one layer keeps a token.

    Counted once in transformers' Llama, Qwen2 and Qwen3: inputs of both norms, their results and what enters the
    products; queries, keys, values and what attention saw; four times the inner width of the feed-forward part.
    """
    hidden, inner, queries, keys = (26, 8, 6, 4) if autocast else (24, 16, 12, 8)
    if size.normed:
        queries, keys = queries + (6 if autocast else 8), keys + (6 if autocast else 8)
    if joined:  # keys and values of a prompt beside those of its responses, once more
        more = 2 if autocast else 8
        keys, queries = (
            keys + more * cpu,
            queries + more * (not cpu),
        )  # CUDA has one for every query head
    return hidden * size.hidden + inner * size.inner + queries * size.queries + keys * size.keys
