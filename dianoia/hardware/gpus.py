"""Known GPUs: memory and peak rates, by the names that people type and by those that `nvidia-smi` reports. No torch.

In: a name. Out: `Gpu`. The figures are those of the makers' public data sheets: NVIDIA's for B200 (DGX and HGX B200),
H200, H100, H800 (an H100 with 400 GB/s of NVLink), GH200, A100, A40, A10, A10G, L40S, L40, L4, V100, T4 and the RTX A series, and the whitepapers of the
architectures Ampere GA102, Ada and Blackwell for the GeForce cards. Rates are without sparsity (some sheets print only those
with it, twice as high), links per direction (the sheets of NVLink print the sum of both), and of bfloat16 products with float32 sums; data-base sites that multiply clock
and cores give up to 3 % more for L4 and L40S. Compared with published copies of the sheets on 2026-11-30: B200, H200, A100,
A40, L40S, L40, L4, RTX 5090, 4090, 3090, and in part H100 and A10. 1 GB is 10^9 bytes, which is at most what the card reports. Not here: GPUs of other makers, on which nothing
of this package has run.
"""

import re
from dataclasses import dataclass

from dianoia.base.errors import ConfigError, nearest

_FILLERS = {"nvidia", "geforce", "tesla", "gpu", "generation", "card", "tensor", "core"} | {
    *("sxm", "sxm2", "sxm4", "sxm5", "sxm6", "hbm2", "hbm2e", "hbm3", "hbm3e"),
}
"""Words of a name that tell no two of the known GPUs apart."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """Memory and peak rates of a GPU for dense matrices."""

    name: str
    memory: float
    """10^9 bytes."""
    bfloat16: float
    """10^12 operations per second."""
    float32: float
    """10^12 operations per second, without TF32."""
    bandwidth: float
    """10^9 bytes per second."""
    link: float
    """10^9 bytes per second and direction to the other GPUs of a node: NVLink, or PCIe where most such cards have no other."""

    @property
    def has_bfloat16(self) -> bool:
        """True if the GPU has units for bfloat16; without them its products run at the rate of float32."""
        return self.bfloat16 > self.float32


GPUS = (
    Gpu("B200", 180, 2250, 75, 8000, 900),
    Gpu("H200", 141, 989, 67, 4800, 450),
    Gpu("H200-NVL", 141, 835, 60, 4800, 450),
    Gpu("GH200", 96, 989, 67, 4000, 450),
    Gpu("H100", 80, 989, 67, 3350, 450),
    Gpu("H800", 80, 989, 67, 3350, 200),
    Gpu("H100-PCIe", 80, 756, 51, 2000, 64),
    Gpu("H100-NVL", 94, 835, 60, 3900, 300),
    Gpu("A100-80GB", 80, 312, 19.5, 2039, 300),
    Gpu("A100-40GB", 40, 312, 19.5, 1555, 300),
    Gpu("L40S", 48, 362, 91.6, 864, 32),
    Gpu("L40", 48, 181, 90.5, 864, 32),
    Gpu("RTX 6000 Ada", 48, 364, 91.1, 960, 32),
    Gpu("A6000", 48, 155, 38.7, 768, 32),
    Gpu("A40", 48, 150, 37.4, 696, 32),
    Gpu("RTX 5090", 32, 209, 105, 1792, 64),
    Gpu("RTX 4090", 24, 165, 82.6, 1008, 32),
    Gpu("RTX 3090", 24, 71, 35.6, 936, 32),
    Gpu("A5000", 24, 111, 27.8, 768, 32),
    Gpu("A10", 24, 125, 31.2, 600, 32),
    Gpu("A10G", 24, 70, 31.5, 600, 32),
    Gpu("L4", 24, 121, 30.3, 300, 32),
    # Volta and Turing have no units for bfloat16.
    Gpu("V100-32GB", 32, 15.7, 15.7, 900, 150),
    Gpu("V100-16GB", 16, 15.7, 15.7, 900, 150),
    Gpu("T4", 16, 8.1, 8.1, 320, 16),
)
"""Of several with one name, such as `A100`, the first is meant."""
UNKNOWN = next(gpu for gpu in GPUS if gpu.name == "A10")
"""Rates that count for a GPU which is not in the table: those of a slow one."""


def gpu_named(name: str) -> Gpu:
    """Return the GPU that a person means: `H100`, `a100 40gb` or `4090`, the memory and `RTX` being optional.

    Raises:
        ConfigError: there is none; the message has the nearest name and all of them.
    """
    words = _words(name)
    for gpu in GPUS:
        full = _words(gpu.name)
        # Whole names only: the PCIe card of an H100 is another one than the H100.
        if words and words | {_memory(gpu)} == full | {_memory(gpu)}:
            return gpu
    hint = nearest(name.strip().upper(), (gpu.name.upper() for gpu in GPUS))
    raise ConfigError(
        f"--for {name}: no GPU of that name is known, so its memory and speed are not either{hint} (known: "
        f"{', '.join(gpu.name for gpu in GPUS)})"
    )


def gpu_reported(name: str, memory: float) -> Gpu | None:
    """Return the GPU that `nvidia-smi` calls `name` and that has `memory` bytes; None if it is not known."""
    words = _words(name)
    # Memory may be missing from the reported name; then the nearest size tells the models apart.
    fits = [gpu for gpu in GPUS if _words(gpu.name) - {_memory(gpu)} <= words]
    return min(
        fits,
        key=lambda gpu: (-len(_words(gpu.name)), abs(gpu.memory * 1e9 - memory)),
        default=None,
    )


def _words(name: str) -> frozenset[str]:
    """Return the words of a name that tell GPUs apart, such as `a100` and `40gb`."""
    spaced = re.sub(r"rtx|[^a-z0-9]", " ", name.lower())
    joined = re.sub(r"\b(\d+) ?(?:g|gb|gib)\b", r"\1gb", spaced)
    return frozenset(joined.split()) - _FILLERS


def _memory(gpu: Gpu) -> str:
    return f"{gpu.memory:.0f}gb"
