"""Objects as bytes and back."""

import numpy as np
import pytest
import torch

from dianoia.base.records import Completion
from dianoia.distributed.object_bytes import pack, unpack

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(0.25),
        torch.randn(3, 5).T,  # not contiguous
        torch.tensor([float("nan"), -0.0, float("inf")]),
        torch.arange(4, dtype=torch.bfloat16),
        torch.tensor([True, False]),
        torch.empty(0, dtype=torch.int32),
        torch.ones(2, requires_grad=True),
    ],
)
def test_a_tensor_comes_back_bit_for_bit(tensor: torch.Tensor) -> None:
    back = unpack(pack({"of": [tensor]}), CPU)["of"][0]
    assert back.dtype == tensor.dtype and back.shape == tensor.shape
    assert not back.requires_grad
    assert back.reshape(-1).view(torch.uint8).tolist() == (
        tensor.detach().reshape(-1).contiguous().view(torch.uint8).tolist()
    )


def test_other_objects_are_pickled() -> None:
    value = (Completion((1, 2), (-0.5, -1.0), True, 3), {"é": None}, np.arange(3, dtype=np.int16))
    first, second, third = unpack(pack(value), CPU)
    assert first == value[0] and first.weights_version == 3
    assert second == {"é": None} and third.tolist() == [0, 1, 2]


def test_arrays_are_not_copied_into_the_pickle() -> None:
    ids = np.zeros(100_000, dtype=np.int32)
    assert ids.nbytes <= pack([ids, ids + 1]).numel() // 2 < ids.nbytes + 1000
