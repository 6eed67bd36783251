"""Seconds per rollout over the number of GPUs: synchronous, and with weights that are one rollout old.

In: the model of a rollout (`dianoia.simulation`). Out: `Curve`s, as plain values for the figure and the tables. The stage is
R1-Zero's (512 problems x 16 samples, 16 steps) on Qwen2.5-7B and H200s, at three lengths.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.scale.fits import size, stage
from dianoia.config import RLStage
from dianoia.hardware.gpus import gpu_named
from dianoia.hardware.machine import other_machine
from dianoia.simulation.lengths import BETWEEN, WITHIN, LogNormal
from dianoia.simulation.prediction import workload_of
from dianoia.simulation.rates import rates_of
from dianoia.simulation.sweep import Cluster, Point, sweep

MODEL, GPU = "7 B", "H200"
GPUS = (8, 16, 32, 64, 128, 256, 512, 1024)
SHOWN = (8, 64, 1024)
"""Of them those in the table."""
LENGTHS = ((1_000, 4_096), (4_000, 16_384), (12_000, 32_768))
"""Mean and most tokens of a response."""
PROMPT = 150.0
SLOTS = 128
PAYS = 0.9
"""Old weights pay where a rollout takes less than this share of the synchronous time: they cost more than nothing in learning."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Predictions at one mean length."""

    mean: int
    limit: int
    synchronous: list[Point]
    stale: list[Point]
    overlapping: list[Point]
    """Of the numbers in the table alone."""

    @property
    def pays_from(self) -> int | None:
        """Smallest number of GPUs at which old weights pay; None if there is none."""
        for synchronous, stale in zip(self.synchronous, self.stale, strict=True):
            if stale.times.total < PAYS * synchronous.times.total:
                return synchronous.times.ranks
        return None

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "pays_from": self.pays_from}


def curve(mean: int, limit: int, gpus: Sequence[int] = GPUS) -> Curve:
    """Return the curves of a mean length."""
    machine = other_machine(GPU)
    model = size(MODEL)
    rates = rates_of(machine, model.hidden, True, True, gpu_named(GPU))
    cluster = Cluster(machine, rates, per_node=8)
    # Slots that are not full of longest responses share pages, so more of them fit than an upper limit of memory has.
    upper, settings = _stage(limit, slots=16), _stage(limit, SLOTS)
    lengths = LogNormal(0.0, BETWEEN, WITHIN, limit).with_mean(mean)
    work = workload_of(settings, model, lengths, PROMPT, cpu=False)
    synchronous = sweep(upper, work, cluster, gpus)
    base = synchronous[0].times.tokens_per_device
    stale, overlapping = (
        sweep(upper, work, cluster, counts, staleness=1, overlap=overlap, per_device=base)
        for overlap, counts in ((False, gpus), (True, [n for n in gpus if n in SHOWN]))
    )
    return Curve(mean, limit, synchronous, stale, overlapping)


def _stage(limit: int, slots: int) -> RLStage:
    """Return the stage of the table of what fits, with responses of at most `limit` tokens."""
    table = stage(lora=False)
    sampling = table.sampling.model_copy(update={"max_tokens": limit, "slots": slots})
    return table.model_copy(update={"sampling": sampling})
