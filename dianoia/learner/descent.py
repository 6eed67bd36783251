"""One optimizer step on a gradient that is there: clip, check, follow the schedule.

In: a model whose `.grad`s hold the step's gradient. Out: changed weights, the gradient's norm, the rate.
"""

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from dianoia.base.errors import TrainingStopped
from dianoia.learner.optimizer import adamw, descend, gradient_norm, rate_factor


class Descent:
    """AdamW with a schedule, for losses without rollouts."""

    def __init__(
        self,
        model: nn.Module,
        *,
        learning_rate: float,
        schedule: str = "constant",
        warmup_steps: int = 0,
        total_steps: int,
        floor: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        adam_epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        max_grad_norm: float = 1.0,
        stop_grad_norm: float = math.inf,
        what: str = "Training",
    ) -> None:
        """`what` begins the message of a step that cannot be taken."""
        self.what = what
        self.optimizer = adamw(model, learning_rate, betas, adam_epsilon, weight_decay)
        self.learning_rate, self.schedule = learning_rate, schedule
        self.warmup_steps, self.total_steps, self.floor = warmup_steps, total_steps, floor
        self.max_grad_norm, self.stop_grad_norm = max_grad_norm, stop_grad_norm
        self.step = 0

    def take(self, loss: float) -> tuple[float, float]:
        """Norm of the gradient before clipping, and the learning rate, of the step just taken.

        Raises TrainingStopped, with the weights untouched, for a loss or gradient that is not finite and for
        a gradient norm above `stop_grad_norm`.
        """
        norm = gradient_norm(self.optimizer)
        self._stop_if_broken(loss, norm)
        rate = self._rate()
        descend(self.optimizer, rate, norm, self.max_grad_norm)
        self.step += 1
        return norm, rate

    def _rate(self) -> float:
        return self.learning_rate * rate_factor(
            self.step,
            schedule=self.schedule,
            warmup_steps=self.warmup_steps,
            total_steps=self.total_steps,
            floor=self.floor,
        )

    def _stop_if_broken(self, loss: float, norm: float) -> None:
        if math.isfinite(loss) and math.isfinite(norm) and norm <= self.stop_grad_norm:
            return
        self.optimizer.zero_grad()
        raise TrainingStopped(
            f"{self.what} stopped before optimizer step {self.step + 1}: the loss is {loss:g} and the gradient "
            f"norm {norm:g} (optimizer.stop_grad_norm = {self.stop_grad_norm:g}). No weight was changed. "
            "Start a new run (another --out) with a lower optimizer.learning_rate (now "
            f"{self.learning_rate:g}) or more optimizer.warmup_steps (now {self.warmup_steps})."
        )

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's averages and the step, as live tensors."""
        return {"optimizer": self.optimizer.state_dict(), "step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
