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
    """Peak learning rate. R1-Zero: 3e-6 for 671B parameters; a model of a million wants about 1e-3."""
    schedule: Literal["constant", "cosine"] = "constant"
    floor: float = Field(default=0.1, ge=0, le=1)
    """Where the cosine ends, as a share of the peak. The paper's SFT: a tenth."""
    warmup_steps: int = Field(default=0, ge=0)
    """Optimizer steps over which the rate rises linearly; the first of n has 1/n of the peak."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled, on matrices only."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""
    stop_grad_norm: float = Field(default=1000.0, gt=0)
    """A gradient norm above this stops the run with its rollouts saved."""

    @model_validator(mode="after")
    def _stop_above_clip(self) -> Self:
        if self.stop_grad_norm <= self.max_grad_norm:
            raise ValueError(
                f"stop_grad_norm = {self.stop_grad_norm} is not above max_grad_norm = "
                f"{self.max_grad_norm}, so ordinary clipping would stop the run; raise stop_grad_norm"
            )
        return self
