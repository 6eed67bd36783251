"""A sampler that rank 0 of a stage alone has, such as one over servers: it draws everything, and every rank gets it.

In and out as in `interface.Sampler`; all ranks make the same calls. Weights in shards are gathered on rank 0's CPU first.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor

from dianoia.base.errors import Stopped
from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.distributed.group import RankGroup
from dianoia.learner.lora import MergedWeights
from dianoia.sampler.interface import OnFinish, Sampler, SamplerStats, WeightUpdate


class FirstRankSampler:
    """Implements `interface.Sampler` on every rank of a group."""

    def __init__(self, sampler: Sampler | None, vocabulary: int, group: RankGroup) -> None:
        """sampler: of rank 0; None on all others."""
        assert (sampler is not None) == group.writes, "rank 0 has it, and no other"
        self._sampler, self._group = sampler, group
        self._update: WeightUpdate | None = None
        self._version: int | None = None
        self.vocabulary = vocabulary
        """See `interface.Sampler.vocabulary`."""

    @property
    def stats(self) -> SamplerStats:
        """See `interface.Sampler.stats`; of rank 0 alone."""
        return SamplerStats() if self._sampler is None else self._sampler.stats

    def close(self) -> None:
        """Close rank 0's sampler."""
        close = getattr(self._sampler, "close", None)
        if close is not None:
            close()

    def load(self, update: WeightUpdate) -> None:
        """See `interface.Sampler.load`."""
        self._update = update if update.version != self._version else None

    def pull(self) -> int:
        """See `interface.Sampler.pull`; collective where the weights are in shards."""
        update, self._update = self._update, None
        if update is not None:
            tensors = self._whole(update.tensors)
            if self._sampler is not None:
                self._sampler.load(WeightUpdate(update.version, tensors))
                self._sampler.pull()
            self._version = update.version
        assert self._version is not None, "load() gives the sampler its weights; call it first"
        return self._version

    def _whole(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return weights that rank 0 can read alone."""
        if not (isinstance(weights, MergedWeights) and weights.is_sharded):
            return weights
        whole: dict[str, Tensor] = {}
        # All ranks read the same names in the same order, and rank 0 keeps what it reads.
        for name, tensor in weights.items():
            if self._group.writes:
                whole[name] = tensor.to("cpu", copy=True)
        return whole

    def generate(
        self,
        requests: Sequence[Request],
        params: SamplingParams,
        on_finish: OnFinish | None = None,
    ) -> list[list[Completion]]:
        """See `interface.Sampler.generate`; `on_finish` is called on rank 0. A stop reaches every rank."""
        self.pull()
        outcome: list[list[Completion]] | str = []
        if self._sampler is not None:
            try:
                outcome = self._sampler.generate(requests, params, on_finish)
            except Stopped as reason:
                outcome = str(reason)
        outcome = self._group.broadcast(outcome, "receive completions")
        if isinstance(outcome, str):
            raise Stopped(outcome)
        return outcome
