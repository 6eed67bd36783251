"""The `lora` table of a stage that trains: low-rank adapters on frozen weights (LoRA, https://arxiv.org/abs/2106.09685).

Decisions: no dropout, so that one set of weights gives one set of log-probabilities, in the sampler and in the learner; biases,
norms, embedding and output head stay frozen.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from dianoia.config.settings import Settings

ALL_LINEAR: Literal["all-linear"] = "all-linear"
"""Every linear layer but the output head."""


class LoRASettings(Settings):
    """Train low-rank adapters instead of all weights; absent: all weights are trained."""

    rank: int = Field(default=32, ge=1)
    """Rank r of the matrices A and B of a layer. Larger ranks can learn more and take memory in proportion."""
    alpha: float = Field(default=32.0, gt=0)
    """A layer has the weights W + (`alpha` / `rank`) B A."""
    targets: Literal["all-linear"] | list[str] = ALL_LINEAR
    """`all-linear`: every linear layer but the output head; or the names of layers, or ends of names, such as
    `["q_proj", "v_proj"]`."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the frozen matrices in memory; norms and biases are float32. Adapters, their gradients and AdamW's averages
    are float32 always. `bfloat16` halves the memory of the model and rounds weights that are float32 on the disk."""

    @model_validator(mode="after")
    def _targets_differ(self) -> Self:
        names = self.targets if isinstance(self.targets, list) else [self.targets]
        if not all(names) or not names or len({*names}) != len(names):
            raise ValueError(
                f"targets = {self.targets!r}: a list of targets has the name of at least one layer, and each once; "
                f'write ["q_proj", "v_proj"], for example, or "{ALL_LINEAR}"'
            )
        return self

    def matches(self, name: str) -> bool:
        """Return True if `targets` names the layer `name`, whole or by its end: `q_proj` is the end of `self_attn.q_proj`."""
        if isinstance(self.targets, str):
            return True
        return any(f".{name}".endswith(f".{target}") for target in self.targets)

    def matches_type(self, name: str) -> bool:
        """Return True if `targets` names layers whose names end in `name`, such as `q_proj`: all of them, or some."""
        return isinstance(self.targets, str) or any(
            target.rpartition(".")[2] == name for target in self.targets
        )

    def unmatched(self, names: Iterable[str]) -> list[str]:
        """Return the targets that name none of the layers `names`."""
        if isinstance(self.targets, str):
            return []
        layers = list(names)
        return [
            target
            for target in self.targets
            if not any(f".{name}".endswith(f".{target}") for name in layers)
        ]


def unmatched_message(unmatched: Sequence[str], names: Iterable[str]) -> str:
    """Return the refusal of targets that name no layer; `names` are the layers that can be adapted."""
    ends = sorted({name.rpartition(".")[2] for name in names})
    listed = ", ".join(f'"{end}"' for end in ends) or "none"
    missing = ", ".join(map(repr, unmatched))
    return (
        f"lora.targets names {missing}, and the model has no linear layer of that name that an adapter can be added "
        f'to; its layers are {listed} (the output head is never adapted); name some of these, or write "{ALL_LINEAR}"'
    )
