"""The `reward_model` stage: helpful and safety models (DeepSeek-R1 section 3.1 and B.2).

The paper's settings: learning rate 6e-6, 256 samples per step, one epoch, texts of at most 8,192 tokens;
66,000 pairs for helpfulness, 106,000 labelled responses for safety.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from dianoia.config.lora_table import LoRASettings
from dianoia.config.optimizer import OptimizerSettings
from dianoia.config.settings import Settings, Shard


class PairSettings(Settings):
    """Selection of the training pairs."""

    # In points of a judge's scale; the paper keeps pairs whose scores differ by more than 1 (section 3.1).
    margin: float = Field(default=1.0, ge=0, lt=2)
    """A judged pair is kept if its mean scores differ by more than this; below 2, the largest difference."""
    balance_lengths: bool = True
    """Leave pairs out until longer responses are chosen as often as rejected."""


class RewardModelStage(Settings):
    """Trains a reward model: a causal language model's backbone with a scalar head."""

    kind: Literal["reward_model"]
    """Which stage this table is."""
    start: str
    """An earlier stage, a shipped model, a folder, a hub name. A causal language model gets a new head, drawn by
    seed; a reward model keeps its own."""
    objective: Literal["pairwise", "pointwise"] = "pairwise"
    """`pairwise` (Bradley-Terry, the helpful model) or `pointwise` (classification, the safety model)."""
    data: list[str] = Field(min_length=1)
    """Files (JSON, JSONL, CSV, TSV, each also as .gz; Parquet; Arrow), see below, and names of earlier preferences stages with the same objective."""
    template: str = "plain"
    """What stands around a prompt, see recipes."""
    sees: Literal["answer", "response"] | None = None
    """`answer`: what follows the thought; `response`: all of it. Absent: `answer` for pairs, `response` for labels,
    as in the paper."""
    heldout_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of prompts held out, by a hash of the prompt's words; equal prompts are on one side in every run."""
    epochs: int = Field(default=1, ge=1)
    """Passes over the data, each in a new order."""
    samples_per_step: int = Field(default=256, ge=1)
    """Pairs or labelled responses an optimizer step; the last step of an epoch may have fewer."""
    # The paper: 8,192 in training, no limit at scoring (B.2).
    max_length: int = Field(default=8192, ge=8)
    """Most tokens of a text, prompt included; longer ones are left out. Never more than the model has positions.
    None is imposed at scoring."""
    tokens_per_micro_batch: int = Field(default=16384, ge=64)
    """Padded positions of one forward pass, at most 3,072 on a CPU; changes memory and speed, never the result."""
    autocast: Literal["none", "bfloat16", "auto"] = "none"
    """`bfloat16` for the matrix products; `auto`: where the device has instructions for it."""
    recompute: bool = False
    """Keep only the input of each layer for the backward pass and compute the rest again there: a third more work, a
    fraction of the memory, the same result."""
    shard: Shard = "auto"
    """Which ranks hold one copy of model, gradients and optimizer together: `none`, the ranks of a `node`, or `all`; `auto`:
    the first of these with which the stage fits into the memory of a device. Changes memory and speed, and results by
    rounding alone; nothing in a process by itself, see scale."""
    checkpoint_every: int = Field(default=100, ge=1)
    """Optimizer steps between two states to resume from."""
    pairs: PairSettings = PairSettings()
    optimizer: OptimizerSettings
    lora: LoRASettings | None = None
    """Train low-rank adapters on frozen weights, see lora. Absent: all weights are trained."""

    @property
    def scored_part(self) -> Literal["answer", "response"]:
        """The part of a response that is scored."""
        # The helpful model is shown the final summary alone, the safety model the whole response (section 3.1).
        return self.sees or ("answer" if self.objective == "pairwise" else "response")

    def steps(self, examples: int) -> int:
        """Return the optimizer steps over this many examples; the last step of an epoch may be smaller."""
        # `-(-a // b)` is division rounded up.
        return self.epochs * -(-examples // self.samples_per_step)

    @model_validator(mode="after")
    def _every_key_is_read(self) -> Self:
        if self.objective == "pointwise" and self.pairs != PairSettings():
            raise ValueError(
                'pairs is set and objective = "pointwise": labelled responses have no partner to be '
                "compared with, so pairs.margin and pairs.balance_lengths would do nothing; remove "
                'them, or set objective = "pairwise"'
            )
        return self
