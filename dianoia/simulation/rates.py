"""Speed of a rank, of the links between ranks, and of disks. No torch.

In: a machine as the plan knows it (`hardware.machine`), data sheets of GPUs. Out: `Rates`. Shares of the data sheets' figures
are those that `hardware.machine` has from measurements; those of links are guesses until somebody measures them here.
"""

from dataclasses import dataclass, replace

from dianoia.hardware.gpus import Gpu
from dianoia.hardware.machine import Machine
from dianoia.recipe.plan.work_time import CORE_WIDTH, LAYER_SECONDS

GRADING = 0.7e-3
"""Seconds of a core per completion to parse, grade and measure it, as in `recipe.plan.stage_work`."""
LINK_SHARE = 0.8
"""Share of a link's data sheet that a large collective reaches: NCCL's tests show 0.75 to 0.85 on NVLink and InfiniBand."""
NETWORK = 50e9
"""Bytes per second and direction between nodes, per GPU: an adapter of 400 Gbit/s for each, as in a DGX H100."""
DISK = 2e9
"""Bytes per second at which a folder of weights is written to shared storage, or read from it, where nothing else is known."""
_CPU_LINK = 2e9
"""Bytes per second between two processes of a CPU over gloo, and what a rank's memory copies beside its work."""
_LATENCY = 20e-6
"""Seconds that a collective takes however small it is, per doubling of the ranks."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What one rank does in a second."""

    training: float
    """Operations of a learner."""
    decoding: float
    """Operations of a sampler."""
    bandwidth: float | None
    """Bytes that a decoding step reads; None on a CPU, where it is not the bound."""
    workers: int = 1
    """Parts of a rank that decode and learn for themselves: the threads of a CPU. They share the rates."""
    layer_seconds: float = 0.0
    """Seconds of one layer per decoding step beside reading and arithmetic."""
    judging: float = GRADING
    """Seconds per completion, of one core per rank."""
    link: float = LINK_SHARE * 450e9
    """Bytes per second and direction between ranks of a node."""
    network: float = LINK_SHARE * NETWORK
    """The same between nodes, per rank."""
    latency: float = _LATENCY
    disk: float = DISK

    def share(self, ranks: int) -> "Rates":
        """Return the rates of one of `ranks` ranks that share this device, as those of a CPU share its threads."""
        return replace(
            self,
            training=self.training / ranks,
            decoding=self.decoding / ranks,
            # Threads are whole: with more ranks than threads each rank still counts one, at its part of the speed.
            workers=max(1, self.workers // ranks),
        )

    def scaled(self, sampling: float, judging: float, updating: float) -> "Rates":
        """Return the rates at which each part takes so many times as long."""
        return replace(
            self,
            training=self.training / updating,
            decoding=self.decoding / sampling,
            bandwidth=None if self.bandwidth is None else self.bandwidth / sampling,
            layer_seconds=self.layer_seconds * sampling,
            judging=self.judging * judging,
        )


def rates_of(
    machine: Machine,
    width: int,
    autocast: bool,
    sampler_bfloat16: bool,
    gpu: Gpu | None = None,
    network: float = NETWORK,
    disk: float = DISK,
) -> Rates:
    """Return the rates of a rank with such a device, for a model of hidden size `width`.

    `gpu`: its data sheet, which has the link between GPUs of a node; None: as on an H100. `network`: bytes per second and
    direction between nodes, per rank.
    """
    # A CPU's rate is that of wide products, which a narrow model does not reach; a GPU's has its share already.
    share = width / (width + CORE_WIDTH) if machine.cpu else 1.0
    link = LINK_SHARE * (450e9 if gpu is None else 1e9 * gpu.link)
    return Rates(
        training=share * (machine.bfloat16 if autocast else machine.float32),
        decoding=share * (machine.bfloat16 if sampler_bfloat16 else machine.float32),
        bandwidth=machine.bandwidth,
        workers=machine.workers,
        # What reading does not explain of a GPU's step; on a CPU only arithmetic counts.
        layer_seconds=0.0 if machine.cpu else LAYER_SECONDS,
        link=_CPU_LINK if machine.cpu else link,
        network=LINK_SHARE * network,
        disk=disk,
    )
