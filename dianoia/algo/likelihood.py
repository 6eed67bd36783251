"""The loss of supervised fine-tuning, token by token: tensors in, tensors out.

Inputs are logits and the tokens that followed; outputs are numbers a token, which the caller adds up and
divides by one denominator for the whole optimizer step.
"""

import torch
from torch import Tensor


def token_losses(logits_NV: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    """Negative log-likelihood of each target in nats, and whether it was the likeliest token.

    Both `_N`; the first in float32 at least and with a gradient, the second boolean.
    """
    logits_NV = logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32))
    losses_N = torch.nn.functional.cross_entropy(logits_NV, targets_N, reduction="none")
    return losses_N, logits_NV.detach().argmax(-1) == targets_N
