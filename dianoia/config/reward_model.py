"""The `reward_model` stage: helpful and safety models (DeepSeek-R1 section 3.1 and B.2).

The paper's settings: learning rate 6e-6, 256 samples a step, one epoch, texts of at most 8,192 tokens;
66,000 pairs for helpfulness, 106,000 labelled responses for safety.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from dianoia.config.optimizer import OptimizerSettings
from dianoia.config.settings import Settings


class PairSettings(Settings):
    """Which pairs are learnt from."""

    margin: float = Field(default=1.0, ge=0, lt=2)
    """A judged pair is kept if its mean scores differ by more; the largest difference is 2."""
    balance_lengths: bool = True
    """Leave pairs out until longer responses are chosen as often as rejected, at every ratio of lengths."""


class RewardModelStage(Settings):
    """Trains a reward model: a causal language model's backbone with a scalar head."""

    kind: Literal["reward_model"]
    start: str
    """An earlier stage, a model that ships with Dianoia, a folder, or a hub name."""
    objective: Literal["pairwise", "pointwise"] = "pairwise"
    """pairwise (Bradley-Terry) from pairs, as the helpful model; pointwise from labels, as the safety model."""
    data: list[str] = Field(min_length=1)
    """Files of pairs or of labelled responses (JSONL, CSV, Parquet), or earlier `preferences` stages."""
    template: str = "plain"
    """What stands around a prompt."""
    sees: Literal["answer", "response"] | None = None
    """Only what follows the thought, or the whole response; absent: answer for pairs, response for labels."""
    heldout_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of prompts that are held out, by a hash of the prompt's words."""
    epochs: int = Field(default=1, ge=1)
    samples_per_step: int = Field(default=256, ge=1)
    """Pairs, or labelled responses, an optimizer step."""
    max_length: int = Field(default=8192, ge=8)
    """Most tokens of a text that is learnt from; never more than the model has positions."""
    tokens_per_micro_batch: int = Field(default=16384, ge=64)
    """Padded tokens in one forward pass; changes memory and speed, never the result."""
    autocast: Literal["none", "bfloat16"] = "none"
    recompute: bool = False
    """Keep no activations but the input of each layer, and compute the rest again in the backward pass."""
    checkpoint_every: int = Field(default=100, ge=1)
    """Optimizer steps between two states to resume from."""
    pairs: PairSettings = PairSettings()
    optimizer: OptimizerSettings

    @property
    def view(self) -> Literal["answer", "response"]:
        """What of a response is scored."""
        return self.sees or ("answer" if self.objective == "pairwise" else "response")

    def steps(self, examples: int) -> int:
        """Optimizer steps over so many examples; the last one of an epoch may be smaller."""
        return self.epochs * -(-examples // self.samples_per_step)

    @model_validator(mode="after")
    def _pairs_are_for_pairs(self) -> Self:
        if self.objective == "pointwise" and self.pairs != PairSettings():
            raise ValueError(
                'pairs is set and objective = "pointwise": labelled responses have no partner to be '
                "compared with, so pairs.margin and pairs.balance_lengths would do nothing; remove "
                'them, or set objective = "pairwise"'
            )
        return self
