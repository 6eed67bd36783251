"""Estimate of the memory that a stage needs on one device, part by part. No torch.

In: a stage's table, the size of its model, the machine, the ranks that share the work (`plan.layout`). Out: the `Phase` of
the stage that needs most memory, on the rank that needs most.

The estimate follows the code: weights, gradients, both AdamW averages, the reference and the value model are always
float32. With a `lora` table the weights have its dtype, gradients and averages are those of the adapters, there is no
reference model, and sums of weights and adapters are in memory until a layer's backward pass has read them. Ranks that
share a copy (`shard`) hold an equal part each of all of these, and beside it the layers that are at work, whole. The sampler
holds a copy of the weights, with a float32 head on a CPU; servers that draw the rollouts have it on their own devices. On a GPU the
KV cache is released before an update. Activations are what the backward pass reads, by coefficients that the tests
compare with what PyTorch keeps.
All numbers are upper limits: every slot and every micro-batch is full of the longest responses, as far as the KV cache of a GPU,
whose pages the slots share, has room for them. Left out: problems and
data, and states that are being written to the disk (`plan.host_memory` has both).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from dianoia.base.limits import (
    CPU_ROW_TOKENS,
    CPU_TOKENS,
    EVALUATED_AT_ONCE,
    GPU_LOGIT_GRADIENTS_KEPT,
    GPU_LOGITS_AT_ONCE,
    LOGITS_AT_ONCE,
)
from dianoia.config import (
    DemonstrationsStage,
    EvaluateStage,
    LoRASettings,
    PreferencesStage,
    PretrainStage,
    RewardModelStage,
    RLStage,
    SampleStage,
    SFTStage,
)
from dianoia.hardware.machine import Machine
from dianoia.recipe.graph import Stage
from dianoia.recipe.plan.layout import ALONE, Layout
from dianoia.recipe.plan.model_sizes import Size

PROMPT_TOKENS = 80
"""Guess for the tokens of a prompt, whose length is unknown without a tokenizer."""
_FLOAT32, _BFLOAT16 = 4, 2
"""Bytes per number."""
TIGHT = 0.9
"""Share of a machine's memory above which an estimate is too close to it."""
_LIBRARIES = 0.5e9
"""Bytes of Python, PyTorch and its libraries, or of the CUDA context on the device."""
_SAMPLING_COPIES = 4
"""Copies of a distribution over the vocabulary while tokens are sampled."""
_LOSS_COPIES = 4
"""Copies of the logits while the loss and its gradient are computed on a CPU."""
_UNLIMITED = 2**62
"""Token budget on a GPU, where only the recipe bounds a micro-batch."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a stage's loop, and what is in memory during it."""

    activity: str
    """Such as `updating`."""
    parts: Mapping[str, float]
    """Bytes by name."""

    @property
    def bytes(self) -> float:
        """Bytes of all parts together."""
        return sum(self.parts.values())


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward and backward pass of a learner."""

    tokens: float
    """Positions of one pass."""
    scored: float
    """Positions whose logits are computed."""
    autocast: bool = False
    recompute: bool = False
    shared_prompts: bool = False
    """Whether keys and values of shared prompts are concatenated to those of their responses."""


def peak(
    stage: Stage,
    size: Size,
    machine: Machine,
    longest: int | None = None,
    reward_models: Collection[Size] = (),
    layout: Layout = ALONE,
) -> Phase:
    """Return the phase of a rank that needs most memory.

    `longest`: tokens of the longest text, if the data is here; `reward_models`: those that the stage reads.
    """
    phases: list[Phase]
    match stage:
        case RLStage():
            phases = _reinforcement(stage, size, machine, reward_models, layout)
        case DemonstrationsStage():
            phases = [Phase("writing", {"libraries": _LIBRARIES})]
        case SampleStage() | PreferencesStage():
            sampling = stage.sampling
            batch = _share(stage.problems_per_batch, layout), stage.samples
            cache = _decoding(
                size, machine, sampling.slots, sampling.max_tokens, *batch, sampling.dtype
            )
            phases = _inference(size, machine, cache, sampling.dtype)
            phases = _paged(phases, machine, sampling.cache_share, sampling.slots, *batch)
        case EvaluateStage():
            # An evaluation passes at most EVALUATED_AT_ONCE problems to the sampler in one call.
            batch = _share(min(EVALUATED_AT_ONCE, stage.limit), layout), stage.samples
            cache = _decoding(size, machine, stage.slots, stage.max_tokens, *batch, stage.dtype)
            phases = _inference(size, machine, cache, stage.dtype)
            phases = _paged(phases, machine, stage.cache_share, stage.slots, *batch)
        case SFTStage() | RewardModelStage() | PretrainStage():
            phases = _supervision(stage, size, machine, longest, layout)
    return max(phases, key=lambda phase: phase.bytes)


def _share(count: int, layout: Layout) -> int:
    """Return how many of `count` problems a rank has at most."""
    return -(-count // layout.ranks)


# Phases -------------------------------------------------------------------------------------------


def _reinforcement(
    stage: RLStage,
    size: Size,
    machine: Machine,
    reward_models: Collection[Size],
    layout: Layout,
) -> list[Phase]:
    algorithm, sampling = stage.algorithm, stage.sampling
    longest = sampling.largest_max_tokens
    ppo, trained = algorithm.name == "ppo", trained_parameters(stage.lora, size)
    # the value model trains as much of its backbone as the policy, on frozen weights that it shares with it
    valued = (size.backbone if stage.lora is None else trained) * ppo
    reference = size.parameters
    if stage.lora is not None:  # adapters are copied when the reference becomes the policy
        reference = trained * (stage.steps >= algorithm.reference_every)
    # in memory during the whole stage
    models = {
        **_trained_model(stage.lora, size, layout),
        "reference": _FLOAT32 * reference * (algorithm.kl_coefficient > 0) / layout.group,
        "value model": 3.0 * _FLOAT32 * valued / layout.group,
        # every rank scores its own rollouts, so each has a copy
        "reward models": float(sum(_FLOAT32 * model.backbone for model in reward_models)),
    }
    batch = _share(stage.problems_per_rollout, layout), stage.group_size
    decoding = {"KV cache": 0.0}
    if not (layout.served or stage.rollouts.served):
        models["sampler"] = _sampler_weights(size, machine, sampling.dtype)
        decoding = _decoding(size, machine, sampling.slots, longest, *batch, sampling.dtype)
    training = _training(size, machine, _micro_batch(stage, machine, layout), stage.lora, layout)
    if ppo:
        summed_over = 1 if machine.cpu else layout.group
        training["gradients"] += _FLOAT32 * valued * machine.workers / summed_over
        # while sampling, the value model's gradients of the last step are still there
        decoding["gradients"] = float(_FLOAT32 * valued) / layout.group
    # a CPU keeps the KV cache during an update
    cache = {"KV cache": decoding["KV cache"] * machine.cpu}
    libraries = {"libraries": _LIBRARIES}
    phases = [
        Phase("sampling", {**models, **decoding, **libraries}),
        Phase("updating", {**models, **cache, **training, **libraries}),
    ]
    if stage.lora is not None and machine.cpu:
        merged = {"merged weights": _merged_checkpoint(stage.lora, size)}
        phases.append(Phase("writing", {**models, **cache, **merged, **libraries}))
    return _paged(phases, machine, sampling.cache_share, sampling.slots, *batch)


def _micro_batch(stage: RLStage, machine: Machine, layout: Layout) -> Pass:
    """Return the pass over as many full rows as fit into a micro-batch, at least one."""
    longest = stage.sampling.largest_max_tokens
    row = longest + PROMPT_TOKENS
    # On a CPU, micro-batches beyond CPU_TOKENS fall out of the cache, so the learner cuts them smaller.
    budget = min(stage.tokens_per_micro_batch, CPU_TOKENS if machine.cpu else _UNLIMITED)
    # A replica never has more rows than its share of the minibatch.
    replicas = machine.workers * layout.ranks
    rows_per_replica = -(-stage.rollout_size // stage.minibatches // replicas)
    rows = max(1, min(budget // row, rows_per_replica))
    autocast = stage.autocast != "none"
    return Pass(rows * row, rows * longest, autocast, stage.recompute, shared_prompts=True)


def _supervision(
    stage: SFTStage | RewardModelStage | PretrainStage,
    size: Size,
    machine: Machine,
    longest: int | None,
    layout: Layout,
) -> list[Phase]:
    lora = None if isinstance(stage, PretrainStage) else stage.lora
    if isinstance(stage, PretrainStage):
        # Pretraining runs one micro-batch per step, on all threads.
        tokens = -(-stage.tokens_per_step // layout.ranks)
        batch, replicas = Pass(tokens, tokens), 1
    else:
        cpu_limit = CPU_ROW_TOKENS if isinstance(stage, SFTStage) else CPU_TOKENS
        budget = min(stage.tokens_per_micro_batch, cpu_limit if machine.cpu else _UNLIMITED)
        # One text may be longer than the budget: it is then a micro-batch of its own.
        text = min(stage.max_length, longest or stage.max_length)
        texts = 2 if isinstance(stage, RewardModelStage) and stage.objective == "pairwise" else 1
        tokens = max(budget, text * texts)
        scored = tokens if isinstance(stage, SFTStage) else 0  # a reward model has no logits
        autocast = stage.autocast != "none"
        batch, replicas = Pass(tokens, scored, autocast, stage.recompute), machine.workers
    models, libraries = _trained_model(lora, size, layout), {"libraries": _LIBRARIES}
    training = _training(size, machine, batch, lora, layout, replicas)
    phases = [Phase("updating", {**models, **training, **libraries})]
    if lora is not None and machine.cpu:
        merged = {"merged weights": _merged_checkpoint(lora, size)}
        phases.append(Phase("writing", {**models, **merged, **libraries}))
    return phases


def _inference(size: Size, machine: Machine, decoding: dict[str, float], dtype: str) -> list[Phase]:
    """Return the phases of a stage that only samples: the loaded model is released once the sampler has its copy."""
    sampler = {"sampler": _sampler_weights(size, machine, dtype)}
    libraries = {"libraries": _LIBRARIES}
    return [
        Phase("loading", {"weights": _FLOAT32 * size.parameters, **sampler, **libraries}),
        Phase("sampling", {**sampler, **decoding, **libraries}),
    ]


# Parts --------------------------------------------------------------------------------------------


def _sampler_weights(size: Size, machine: Machine, dtype: str) -> float:
    """Return the bytes of the native sampler's weights.

    In bfloat16 on a CPU, embedding and head are two tables even if they are tied: the head is float32.
    """
    if dtype == "float32" or not machine.cpu:
        return (_FLOAT32 if dtype == "float32" else _BFLOAT16) * size.parameters
    return _BFLOAT16 * size.backbone + _FLOAT32 * size.embedding


def _decoding(
    size: Size,
    machine: Machine,
    slots: int,
    longest: int,
    problems: int,
    samples: int,
    dtype: str,
) -> dict[str, float]:
    """Return the bytes of decoding: the KV cache of every slot at full length and of the prompts, and token sampling.

    On a GPU `_paged` bounds the cache.
    """
    # A slot holds a response of at most `longest` tokens and one token to start from.
    used = min(slots, problems * samples)
    # the samples of a prompt share it, and in C each core may read one prompt ahead; on a GPU they may come after each other
    prompt_rows = min(problems, used + machine.workers) if machine.cpu else used
    numbers = (used * (1 + longest) + prompt_rows * PROMPT_TOKENS) * size.cache_per_token
    # a CPU keeps float32 states around bfloat16 products
    width = _FLOAT32 if dtype == "float32" or machine.cpu else _BFLOAT16
    return {
        "KV cache": float(width * numbers),
        "distributions": float(_SAMPLING_COPIES * _FLOAT32 * used * size.vocabulary),
    }


def _paged(
    phases: list[Phase], machine: Machine, share: float, slots: int, problems: int, samples: int
) -> list[Phase]:
    """Return the phases with the KV cache that a GPU has room for: samples take pages of it as they grow.

    That is at most `share` of the memory that the other parts leave, and at least what one sample needs at full length.
    A cache that can give way does not make a stage tight: it is counted up to TIGHT of the machine.
    """
    if machine.cpu or machine.memory is None:
        return phases
    paged: list[Phase] = []
    for phase in phases:
        full = phase.parts.get("KV cache", 0.0)
        others = phase.bytes - full
        room = min(share * (machine.memory - others), TIGHT * machine.memory - others)
        least = full / min(slots, problems * samples)
        paged.append(replace(phase, parts={**phase.parts, "KV cache": min(full, max(least, room))}))
    return paged


def trained_parameters(lora: LoRASettings | None, size: Size) -> int:
    """Return the number of parameters that a stage trains: all, or those of its adapters, whose targets are ends of names."""
    if lora is None:
        return size.parameters
    hidden, queries, keys = size.hidden, size.query_width, size.key_width
    widths = {
        "q_proj": hidden + queries,
        "k_proj": hidden + keys,
        "v_proj": hidden + keys,
        "o_proj": queries + hidden,
        "gate_proj": hidden + size.intermediate,
        "up_proj": hidden + size.intermediate,
        "down_proj": size.intermediate + hidden,
    }
    adapted = (width for name, width in widths.items() if lora.matches_type(name))
    return size.layers * lora.rank * sum(adapted)


def _trained_model(lora: LoRASettings | None, size: Size, layout: Layout) -> dict[str, float]:
    """Return the bytes of a model in training that a rank has all the time, without gradients."""
    trained, group = trained_parameters(lora, size), layout.group
    parts = {
        "weights": _weight_bytes(lora) * size.parameters / group,
        "AdamW": 2.0 * _FLOAT32 * trained / group,
    }
    return parts if lora is None else {**parts, "adapters": _FLOAT32 * trained / group}


def _weight_bytes(lora: LoRASettings | None) -> int:
    """Return the bytes per number of the weights in training."""
    return _FLOAT32 if lora is None or lora.dtype == "float32" else _BFLOAT16


def _gathered(lora: LoRASettings | None, size: Size) -> float:
    """Return the bytes of what a rank of a shard holds whole while it works: two layers, embedding, norms and head.

    One layer is at work and the next one on its way; what no layer holds stays whole for the whole pass. Each of these has
    a whole gradient until it has been summed over the ranks, unless it is frozen.
    """
    layer = size.layer_parameters // max(1, size.layers)
    outside = size.parameters - size.layer_parameters
    gradients = 2 * layer + outside if lora is None else 0
    return float(_weight_bytes(lora) * (2 * layer + outside) + _FLOAT32 * gradients)


def _merged_checkpoint(lora: LoRASettings, size: Size) -> float:
    """Return the bytes of the merged model that is written at the end; what no adapter changes is float32 already, or not."""
    merged = size.layer_parameters if lora.dtype == "float32" else size.parameters
    return float(_FLOAT32 * merged)


def _training(
    size: Size,
    machine: Machine,
    batch: Pass,
    lora: LoRASettings | None = None,
    layout: Layout = ALONE,
    replicas: int | None = None,
) -> dict[str, float]:
    """Return the bytes that a step adds to weights and averages; each replica has gradients and activations."""
    count = machine.workers if replicas is None else replicas
    if layout.sharded:  # all threads of a rank work on one micro-batch
        count = 1
    layer = size.layer_parameters // max(1, size.layers)
    # On a CPU a rank of a shard sums its micro-batches before the ranks sum theirs, and has the whole gradient until then.
    summed_over = 1 if machine.cpu else layout.group
    # A GPU's fused layers round their weights as they run, and again where they run again; the backward pass reads them.
    rounded = layer if batch.recompute and not machine.cpu else size.layer_parameters
    parts = {
        "gradients": float(_FLOAT32 * trained_parameters(lora, size) * count) / summed_over,
        "bfloat16 weights": float(_BFLOAT16 * rounded * count * batch.autocast),
        "activations": count * activations(size, batch, machine.cpu),
        "logits": count * _cpu_logits(size, batch) if machine.cpu else gpu_logits(size, batch),
    }
    if layout.sharded:
        parts["gathered layers"] = _gathered(lora, size)
    if lora is None:
        return parts
    # The gradient of a layer's sums W + s B A is dense, and exists for one layer at a time.
    parts["gradients"] += _FLOAT32 * layer * count
    # Products keep the sums for their backward pass, of one layer at a time where layers run again.
    summed_parameters = layer if batch.recompute else size.layer_parameters
    width = _BFLOAT16 if batch.autocast else _FLOAT32
    del parts["bfloat16 weights"]
    parts["merged weights"] = float(count * (width * summed_parameters + _FLOAT32 * layer))
    if not machine.cpu:  # a frozen head has no gradient
        parts["logits"] -= 2 * _FLOAT32 * size.embedding * bool(batch.scored)
    elif lora.dtype == "bfloat16":
        parts["logits"] += count * _FLOAT32 * size.embedding * bool(batch.scored)
    return parts


def _cpu_logits(size: Size, batch: Pass) -> float:
    """Return the bytes of a chunk of logits and of the copies that loss and gradient need."""
    logits = min(batch.scored * size.vocabulary, max(LOGITS_AT_ONCE, size.vocabulary))
    return float(_LOSS_COPIES * _FLOAT32 * logits)


def gpu_logits(size: Size, batch: Pass) -> float:
    """Return the bytes of the head on a GPU, as `learner.kernels.head_gpu` computes it, compiled.

    These are the logits of a chunk, the gradients of the logits (of all tokens if they are few enough to keep, else of a
    chunk), the head in the dtype of its product, its gradient, and what a chunk adds to the gradient.
    """
    if not batch.scored:
        return 0.0
    logits = batch.scored * size.vocabulary
    chunk = min(logits, max(GPU_LOGITS_AT_ONCE, size.vocabulary))
    gradients = logits if logits <= GPU_LOGIT_GRADIENTS_KEPT else chunk
    width = _BFLOAT16 if batch.autocast else _FLOAT32
    return float(_FLOAT32 * chunk + width * gradients + (width + 2 * _FLOAT32) * size.embedding)


def activations(size: Size, batch: Pass, cpu: bool = True) -> float:
    """Return the bytes that a pass keeps for its backward pass, plus the working memory of one layer."""
    layer = layer_bytes(size, batch.autocast, batch.shared_prompts, cpu)
    outside_layers = 3 * _FLOAT32 * size.hidden
    if batch.recompute:  # only the input of each layer is kept
        inputs = _FLOAT32 * size.hidden * size.layers
        return batch.tokens * (inputs + 2 * layer + outside_layers)
    return batch.tokens * (layer * (size.layers + 1) + outside_layers)


def layer_bytes(size: Size, autocast: bool, shared_prompts: bool, cpu: bool = True) -> float:
    """Return the bytes per token that one layer keeps for its backward pass.

    Counted once in transformers' Llama, Qwen2 and Qwen3: inputs and results of both norms and inputs of the products;
    queries, keys, values and attention outputs; four times the intermediate width of the feed-forward part.
    """
    # bytes per number of each width
    hidden, intermediate, queries, keys = (26, 8, 6, 4) if autocast else (24, 16, 12, 8)
    if size.qk_norm:
        queries, keys = queries + (6 if autocast else 8), keys + (6 if autocast else 8)
    if shared_prompts:  # keys and values are copied once more, behind those of the prompt
        copies = 2 if autocast else 8
        if cpu:
            keys += copies
        else:  # CUDA attention expands keys and values to one per query head
            queries += copies
    return (
        hidden * size.hidden
        + intermediate * size.intermediate
        + queries * size.query_width
        + keys * size.key_width
    )
