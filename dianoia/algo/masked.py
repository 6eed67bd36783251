"""What stands at masked positions is replaced before any arithmetic: one function for all of the maths."""

import torch
from torch import Tensor


def at(mask_BT: Tensor, values_BT: Tensor) -> Tensor:
    """The values with 0 at masked positions, which then carry no gradient, not even of a NaN."""
    return torch.where(mask_BT, values_BT, torch.zeros_like(values_BT))
