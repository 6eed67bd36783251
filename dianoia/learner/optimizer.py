"""AdamW, learning-rate schedules, and one step of descent with its gradient clipped.

Inputs are a model and plain numbers; outputs are a torch optimizer, the learning rate's factor for
a step, and the norm of a gradient and what is wrong with it. The DeepSeek-R1 paper states learning rates and, for supervised stages, a cosine decay;
betas, weight decay and warm-up are not stated and stand with the caller.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import nn


def adamw(
    model: nn.Module,
    learning_rate: float,
    betas: tuple[float, float],
    epsilon: float,
    weight_decay: float,
) -> torch.optim.AdamW:
    """AdamW (https://arxiv.org/abs/1711.05101) over the trainable parameters.

    Weight decay applies to matrices only: norms, biases and other vectors are not shrunk.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in trainable)
    return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, eps=epsilon, fused=fused)


def constant(progress: float, floor: float) -> float:
    """1 all the way; `floor` is not read."""
    return 1.0


def cosine(progress: float, floor: float) -> float:
    """Half a cosine from 1 at progress 0 to `floor` at progress 1 (https://arxiv.org/abs/1608.03983)."""
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * progress))


SCHEDULES: Mapping[str, Callable[[float, float], float]] = {"constant": constant, "cosine": cosine}
"""(progress after warm-up from 0 to 1, floor) -> factor, by name."""


def rate_factor(
    step: int, *, schedule: str, warmup_steps: int, total_steps: int, floor: float
) -> float:
    """Factor of the learning rate for optimizer step `step`, counted from 0.

    Warm-up rises linearly and never is 0: step s has (s + 1) / warmup_steps. The schedule then runs
    from step `warmup_steps` (progress 0) to step `total_steps` (progress 1, and held there).
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    length = max(1, total_steps - warmup_steps)
    return SCHEDULES[schedule](min(1.0, (step - warmup_steps) / length), floor)


# One step -----------------------------------------------------------------------------------------


def gradient_norm(optimizer: torch.optim.Optimizer) -> float:
    """Euclidean norm over all trainable parameters, before clipping.

    Parameters that nothing reached get a gradient of zero, so that the optimizer's averages and
    weight decay move in every step alike.
    """
    parameters = _parameters(optimizer)
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    return float(torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))


def faults(loss: float, norm: float, limit: float, of: str = "") -> list[str]:
    """What forbids a step, in words; nothing where it may be taken. `of` names whose numbers."""
    broken = [
        f"the {of}{name} is {value}"
        for name, value in (("loss", loss), ("gradient norm", norm))
        if not math.isfinite(value)
    ]
    if norm > limit and not broken:
        return [f"the {of}gradient norm is {norm:.6g}, above stop_grad_norm={limit:g}"]
    return broken


def descend(optimizer: torch.optim.Optimizer, rate: float, norm: float, max_norm: float) -> None:
    """Scale the gradient, whose norm is `norm`, down to `max_norm`; then a step at `rate`."""
    parameters = _parameters(optimizer)
    if norm > max_norm:
        total = torch.tensor(norm, device=parameters[0].device)
        torch.nn.utils.clip_grads_with_norm_(parameters, max_norm, total)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
