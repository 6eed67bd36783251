"""The optimizer's table, shared by every stage that trains."""

from typing import Literal, Self

from pydantic import Field, model_validator

from dianoia.config.settings import Settings


class OptimizerSettings(Settings):
    """AdamW and its schedule.

    The papers state only learning rates; betas, weight decay, warm-up and clipping are ours to choose
    (paper section 7.6 lists them as open). The defaults are those of most reproductions.
    """

    learning_rate: float = Field(gt=0)
    """Peak rate. The paper: R1-Zero 3e-6 at 671 B parameters (section 2), SFT 5e-5, students 2e-5 to 1e-4 (B.4),
    reward models 6e-6 (3.1). RL of a model of a million parameters needs about 2e-4."""
    schedule: Literal["constant", "cosine"] = "constant"
    """`constant`, or `cosine` from the peak down to `floor` × peak at the last step."""
    floor: float = Field(default=0.1, ge=0, le=1)
    """Where the cosine ends, as a share of the peak. The paper's SFT: a tenth (B.4)."""
    warmup_steps: int = Field(default=0, ge=0)
    """Optimizer steps of linear warm-up: step s, counted from 0, has (s + 1) / `warmup_steps` of the peak rate."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """AdamW's first average."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """AdamW's second average."""
    epsilon: float = Field(default=1e-8, gt=0)
    """AdamW's epsilon."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled, on matrices only; vectors (norms, biases) are never shrunk."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """The gradient is scaled down to this norm."""
    stop_grad_norm: float = Field(default=1000.0, gt=0)
    """A gradient norm above this, or a loss that is not finite, stops the stage before a weight changes; an `rl`
    stage saves the rollouts of the step. Must be above `max_grad_norm`."""

    @model_validator(mode="after")
    def _stop_above_clip(self) -> Self:
        # The norm is compared before clipping.
        if self.stop_grad_norm <= self.max_grad_norm:
            raise ValueError(
                f"stop_grad_norm = {self.stop_grad_norm} is not above max_grad_norm = "
                f"{self.max_grad_norm}, so ordinary clipping would stop the run; raise stop_grad_norm"
            )
        return self
