"""Predicts the time of a rollout with its updates on a cluster. No torch.

In: a stage of a recipe, the size of its model, lengths of responses, the speed of a rank, ranks. Out: `RolloutTimes`. Without
`samplers` every rank samples, scores and learns, one after the other. With them so many ranks only sample, on servers, while the
others learn; weights go through a folder on shared storage, and `staleness` lets both work at the same time.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dianoia.base.errors import ConfigError
from dianoia.config import RLStage
from dianoia.recipe.plan.layout import Layout
from dianoia.recipe.plan.memory import trained_parameters
from dianoia.recipe.plan.model_sizes import Size
from dianoia.simulation.decoding import Decoder, decoder_of
from dianoia.simulation.learning import Learning, gather, update_times
from dianoia.simulation.lengths import Lengths
from dianoia.simulation.rates import Rates
from dianoia.simulation.timeline import Rollout, Times, simulate

_TOKEN_BYTES = 8
"""Bytes of a sampled token on its way to other ranks: its id and its log-probability."""
_HOST_LINK = 1e9
"""Bytes per second at which rollouts travel between hosts (gloo over TCP)."""
_DRAWS = 3
"""Rollouts over which a synchronous step is averaged."""
_STEADY = 8
"""Rollouts of an asynchronous run, of which the second half counts: the first ones begin together."""


@dataclass(frozen=True, slots=True)
class RolloutTimes:
    """Mean seconds per rollout, with all of its updates."""

    ranks: int
    samplers: int
    """Ranks that only sample; 0: every rank does everything."""
    staleness: int
    sampling: float
    """From the first response to the last one."""
    tail: float
    """Part of it after the last response had got a slot: fewer and fewer are left."""
    judging: float
    """Grading, and collecting the rollouts on every rank."""
    updating: float
    """Arithmetic of the updates."""
    communication: float
    """For which the updates wait."""
    weights: float
    """Until the samplers have the new weights."""
    total: float
    """Seconds per rollout of a long run. Less than the sum of the parts if samplers and learners work at the same time."""
    tokens: float
    """Tokens of the responses of a rollout."""
    longest: float
    """Seconds of the longest response of a rollout with a sampler to itself."""
    sampler_busy: float
    """Share of the total in which a sampler had at least one response."""
    learner_busy: float
    """Share of the total in which the learner worked."""

    @property
    def tokens_per_second(self) -> float:
        """Tokens of responses per second of the whole."""
        return self.tokens / self.total

    @property
    def tokens_per_device(self) -> float:
        """The same per rank."""
        return self.tokens_per_second / self.ranks


@dataclass(frozen=True, slots=True)
class Workload:
    """An rl stage as far as its time is concerned."""

    problems: int
    group_size: int
    learning: Learning
    lengths: Lengths
    slots: int
    bfloat16: bool
    """Dtype of the sampler."""
    weight_bytes: float
    """Bytes of the weights that samplers receive."""

    @property
    def completions(self) -> int:
        """Responses of a rollout."""
        return self.problems * self.group_size


def workload_of(stage: RLStage, size: Size, lengths: Lengths, prompt: float, cpu: bool) -> Workload:
    """Return the workload of a stage."""
    algorithm = stage.algorithm
    ppo = algorithm.name == "ppo"
    # as in the plan: passes of the reference, of the value model for its values, of the learner for its own pi_old
    extra = (algorithm.kl_coefficient > 0) + ppo + (algorithm.importance_cap is not None)
    learning = Learning(
        size,
        trained_parameters(stage.lora, size),
        extra + (3.0 + stage.recompute) * (1 + ppo),
        stage.minibatches,
        stage.tokens_per_micro_batch,
        prompt,
        shared_prompts=cpu,
    )
    bfloat16 = stage.sampling.dtype == "bfloat16"
    return Workload(
        stage.problems_per_rollout,
        stage.group_size,
        learning,
        lengths,
        stage.sampling.slots,
        bfloat16,
        float((2 if bfloat16 else 4) * size.parameters),
    )


def predict(
    work: Workload,
    rates: Rates,
    layout: Layout,
    samplers: int = 0,
    staleness: int = 0,
    overlap: bool = False,
    seed: int = 0,
) -> RolloutTimes:
    """Return the times of a rollout on `layout.ranks` ranks, of which `samplers` only sample.

    `staleness` and `overlap` as in `timeline.simulate`.

    Raises:
        ConfigError: `staleness` without samplers, or no rank is left to learn.
    """
    check_samplers(layout, samplers, staleness)
    # One generator for all rollouts, drawn in their order: a sweep over ranks sees the same lengths in each point.
    random = np.random.default_rng(seed)
    learners = replace(layout, ranks=layout.ranks - samplers)
    decoder = decoder_of(work.learning.size, rates, work.slots, work.bfloat16)
    # A rank of a CPU is several samplers, one per core; each gets `slots` of its own.
    decoders = [decoder] * ((samplers or layout.ranks) * rates.workers)
    drawn = [
        work.lengths.draw(work.problems, work.group_size, random)
        for _ in range(_STEADY if staleness else _DRAWS)
    ]
    updates = [update_times(work.learning, tokens, rates, learners) for tokens in drawn]
    # From the learners' layout: samplers hold no shards.
    weights = weights_seconds(work, rates, learners, samplers)
    judging = [judging_seconds(tokens, rates, layout, learners) for tokens in drawn]
    rollouts = [
        Rollout(tokens, seconds, update.seconds, weights)
        for tokens, update, seconds in zip(drawn, updates, judging, strict=True)
    ]
    # On GPUs a sample may differ in its last bits with its company, so ranks deal the problems out beforehand.
    dealt = rates.bandwidth is not None and not samplers
    times = simulate(rollouts, decoders, work.learning.prompt, staleness, overlap, dealt)
    total, first = _steady(times, staleness)
    updating = _mean([update.arithmetic for update in updates])
    communication = _mean([update.communication for update in updates])
    return RolloutTimes(
        layout.ranks,
        samplers,
        staleness,
        sampling=_mean([time.sampled - time.began for time in times[first:]]),
        tail=_mean([time.sampled - max(time.began, time.drained) for time in times[first:]]),
        judging=_mean(judging),
        updating=updating,
        communication=communication,
        weights=weights,
        total=total,
        tokens=_mean([float(tokens.sum()) for tokens in drawn]),
        longest=_mean([_longest(decoder, tokens, work.learning.prompt) for tokens in drawn]),
        sampler_busy=times[-1].busy * times[-1].sampled / times[-1].released,
        learner_busy=min(1.0, (updating + communication) / total),
    )


def check_samplers(layout: Layout, samplers: int, staleness: int) -> None:
    """Raise ConfigError for `staleness` without ranks that only sample, and where none is left to learn."""
    if staleness and not samplers:
        raise ConfigError(
            f"staleness = {staleness} lets samplers work while the learner does, so it needs ranks that only sample; "
            "give some with --samplers, or leave --staleness out"
        )
    if samplers >= layout.ranks and samplers:
        raise ConfigError(
            f"--samplers {samplers}: of {layout.ranks} ranks none would be left to learn; give fewer"
        )


def _steady(times: list[Times], staleness: int) -> tuple[float, int]:
    """Return the seconds per rollout of a long run, and the first rollout that counts."""
    if not staleness:
        return times[-1].released / len(times), 0
    # From one end of updates to another: a beginning in which all k + 1 rollouts start together does not count.
    first = len(times) // 2
    return (times[-1].updated - times[first - 1].updated) / (len(times) - first), first


def judging_seconds(
    tokens: NDArray[np.int64], rates: Rates, layout: Layout, learners: Layout
) -> float:
    """Return the seconds of grading, one core per rank, and of collecting the rollouts on every rank."""
    collecting = _TOKEN_BYTES * float(tokens.sum()) / _HOST_LINK if layout.ranks > 1 else 0.0
    return tokens.size * rates.judging / (learners.ranks * rates.workers) + collecting


def weights_seconds(work: Workload, rates: Rates, learners: Layout, samplers: int) -> float:
    """Return the seconds from the last update until the samplers have its weights.

    On the same ranks the weights are copied, after the parts of a shard have been gathered. Samplers elsewhere read a folder that
    rank 0 writes to shared storage.
    """
    gathered = gather(4.0 * work.learning.size.parameters, learners.group, learners, rates)
    if samplers:
        # Written by rank 0 and read by the samplers, one after the other.
        return gathered + 2 * work.weight_bytes / rates.disk
    return gathered + work.weight_bytes / (rates.bandwidth or rates.link)


def _longest(decoder: Decoder, tokens: NDArray[np.int64], prompt: float) -> float:
    return decoder.alone(float(tokens.max()), prompt)


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)
