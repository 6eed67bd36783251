"""What fits: models from 0.5 to 70 billion parameters, all weights and adapters, by number and size of GPUs.

In: the plan's estimate of memory (`dianoia.recipe.plan`). Out: rows of a table. The stage is R1-Zero's with what saves memory
without changing what is learnt: recomputation, bfloat16 products, one longest response per micro-batch, 16 slots.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dianoia.config import RLStage
from dianoia.hardware.machine import Machine
from dianoia.models.hub_config import KNOWN
from dianoia.recipe.plan.layout import Layout
from dianoia.recipe.plan.memory import TIGHT, peak
from dianoia.recipe.plan.model_sizes import Size, size_from_config

TOKENS = 8192
"""Most tokens of a response."""
SLOTS = 16
MODELS = {
    "0.5 B": "Qwen/Qwen2.5-0.5B-Instruct",
    "1.5 B": "Qwen/Qwen2.5-1.5B",
    "3 B": "Qwen/Qwen2.5-3B",
    "7 B": "Qwen/Qwen2.5-7B",
    "14 B": "Qwen/Qwen2.5-14B",
    "32 B": "Qwen/Qwen2.5-32B",
    "70 B": "meta-llama/Llama-3.3-70B-Instruct",
}
CLUSTERS = (
    (1, 24),
    (1, 48),
    (1, 80),
    (1, 141),
    (8, 24),
    (8, 80),
    (8, 141),
    (16, 80),
    (64, 80),
    (64, 141),
)
"""GPUs, and 10^9 bytes of memory of each."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How a stage fits."""

    shard: str
    """The key's value with least communication, or empty if none fits."""
    served: bool = False
    """Whether it fits only with the rollouts on servers, whose GPUs are not counted."""

    def __str__(self) -> str:
        """Return the cell of the table."""
        if not self.shard:
            return "no"
        named = {"none": "yes", "node": "node", "all": "all"}[self.shard]
        return f"{named} + servers" if self.served else named


def stage(lora: bool) -> RLStage:
    """Return the stage whose memory the table has."""
    table = {
        "kind": "rl",
        "start": "a model",
        "problems": "miniature/math",
        "steps": 16,
        "group_size": 16,
        "problems_per_rollout": 512,
        "minibatches": 16,
        "autocast": "bfloat16",
        "recompute": True,
        "tokens_per_micro_batch": TOKENS,
        "sampling": {"max_tokens": TOKENS, "slots": SLOTS, "dtype": "bfloat16"},
        "algorithm": {"kl_coefficient": 0.001},
        "optimizer": {"learning_rate": 1e-6},
        **({"lora": {"rank": 32, "dtype": "bfloat16"}} if lora else {}),
    }
    return RLStage.model_validate(table)


def size(name: str) -> Size:
    """Return the size of a model by its name in the table."""
    return size_from_config(KNOWN[MODELS[name]], name)


def fit(model: Size, lora: bool, gpus: int, memory: float) -> Fit:
    """Return how the stage fits on so many GPUs of `memory` bytes, eight per node."""
    machine = Machine("a GPU", memory, 1, 1e14, 1e14, 1e12)
    layout = Layout(gpus, 8)
    for served in (False, True):
        for shard in layout.choices():
            candidate = Layout(gpus, 8, shard, served)
            if peak(stage(lora), model, machine, layout=candidate).bytes <= TIGHT * memory:
                return Fit(shard, served)
    return Fit("")


def table(models: Sequence[str] = tuple(MODELS)) -> list[list[str]]:
    """Return header and rows."""
    rows = [["model", "trained", *(f"{gpus} x {memory} GB" for gpus, memory in CLUSTERS)]]
    for name in models:
        for lora in (False, True):
            cells = [str(fit(size(name), lora, gpus, 1e9 * memory)) for gpus, memory in CLUSTERS]
            rows.append([name, "LoRA" if lora else "all weights", *cells])
    return rows
