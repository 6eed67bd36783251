"""The mask of all losses: values at masked positions are replaced before any arithmetic."""

import torch
from torch import Tensor


def at(mask_BT: Tensor, values_BT: Tensor) -> Tensor:
    """Return the values with 0 at masked positions, which then carry no gradient, not even of a NaN."""
    # torch.where and not a product: 0 times NaN is NaN.
    return torch.where(mask_BT, values_BT, torch.zeros_like(values_BT))
