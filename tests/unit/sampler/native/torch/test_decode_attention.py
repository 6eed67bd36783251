"""Attention over rows of a cache in parts: the law of the parts, and the kernels where Triton can interpret them."""

import importlib.util
import os

import pytest
import torch
import torch.nn.functional as F

from dianoia.hardware.matmul import matmul_float32
from dianoia.sampler.native.torch import decode_attention
from dianoia.sampler.native.torch.decode_attention import (
    Rotation,
    attend_slots_reference,
    merge_splits,
    rope_into_cache_reference,
    split_count,
)

HAS_INTERPRETER = importlib.util.find_spec("triton") is not None and os.environ.get(
    "TRITON_INTERPRET"
)
"""Run with `TRITON_INTERPRET=1` where Triton is installed, which PyTorch for a CPU does not bring along."""


def test_two_parts_by_hand() -> None:
    """Normalisers 1 and 3: a quarter of the first part and three quarters of the second."""
    parts = torch.tensor([4.0, 8.0]).view(2, 1, 1, 1)
    masses = torch.tensor([1.0, 3.0]).log().view(2, 1, 1)
    assert merge_splits(parts, masses).item() == pytest.approx(7.0)


def case(
    group: int = 2, head: int = 16
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...], torch.Tensor]:
    """Queries, keys and values of four rows of 192 tokens, and how far each is filled."""
    draw = torch.Generator().manual_seed(0)
    filled_B = torch.tensor([1, 64, 65, 192], dtype=torch.int32)
    queries = torch.randn(4, 3 * group, head, generator=draw)
    cached = tuple(torch.randn(4 * 192, 3, head, generator=draw) for _ in range(2))
    return queries, cached, filled_B


def expected(
    queries: torch.Tensor, cached: tuple[torch.Tensor, ...], i: int, count: int
) -> torch.Tensor:
    """Ordinary attention of one token to the first `count` of row `i`."""
    keys, values = (
        part.view(4, 192, *part.shape[1:])[i, :count].transpose(0, 1) for part in cached
    )
    output = F.scaled_dot_product_attention(
        queries[i][:, None], keys, values, scale=0.3, enable_gqa=True
    )
    return output[:, 0]


@pytest.mark.parametrize("splits", [1, 2, 4, 8])
@pytest.mark.parametrize("group", [1, 2, 7])
def test_a_row_in_parts_is_the_whole_row(splits: int, group: int) -> None:
    queries, cached, filled_B = case(group)
    output = attend_slots_reference(queries, cached, filled_B, 0.3, (192, splits))
    for i, count in enumerate(filled_B.tolist()):
        assert torch.allclose(output[i], expected(queries, cached, i, count), atol=1e-5)


@pytest.mark.parametrize(
    ("count", "kv_heads", "longest", "desired"),
    [
        (64, 8, 512, 1),  # 512 programs are enough for 132 processors
        (16, 8, 512, 4),  # 128 programs: four parts of 128 tokens each
        (1, 8, 256, 2),  # no part is shorter than 128 tokens
        (1, 8, 65_536, 64),
        (256, 8, 8_192, 8),  # rows that long are divided in any case
    ],
)
def test_parts_keep_an_h100_busy(count: int, kv_heads: int, longest: int, desired: int) -> None:
    assert split_count(count, kv_heads, longest, processors=132) == desired


def test_turning_by_hand() -> None:
    """One head of two numbers turned by a right angle: (3, 4) becomes (-4, 3); the value stays as it is."""
    rotation = Rotation(None, 0.0, torch.tensor([[0.0, 0.0]]), torch.tensor([[-1.0, 1.0]]))
    cached = torch.zeros(4, 1, 2), torch.zeros(4, 1, 2)
    qkv = torch.tensor([[3.0, 4.0, 1.0, 0.0, 5.0, 6.0]])
    queries = rope_into_cache_reference(qkv, rotation, torch.tensor([2]), cached, 4)
    assert queries.tolist() == [[[-4.0, 3.0]]]
    assert cached[0][:, 0].tolist() == [[0, 0], [0, 0], [0, 1], [0, 0]]
    assert cached[1][:, 0].tolist() == [[0, 0], [0, 0], [5, 6], [0, 0]]


def test_norms_come_before_turning() -> None:
    """(3, 4) has a mean square of 12.5; a weight of 2 makes it twice as long."""
    norms = torch.full((2, 2), 2.0)
    rotation = Rotation(norms, 0.0, torch.ones(1, 2), torch.zeros(1, 2))
    cached = torch.zeros(1, 1, 2), torch.zeros(1, 1, 2)
    qkv = torch.tensor([[3.0, 4.0, 3.0, 4.0, 3.0, 4.0]])
    queries = rope_into_cache_reference(qkv, rotation, torch.tensor([0]), cached, 1)
    desired = torch.tensor([3.0, 4.0]) * 2 / 12.5**0.5
    assert torch.allclose(queries[0, 0], desired) and torch.allclose(cached[0][0, 0], desired)
    assert cached[1][0, 0].tolist() == [3.0, 4.0]


def test_a_product_of_halves_is_float32() -> None:
    """1 + 2^-8 takes nine bits of fraction, one more than bfloat16 has behind a product of 1."""
    remaining = torch.tensor([[1.0, 2.0**-8]]).bfloat16()
    product = matmul_float32(remaining, torch.ones(2, 1).bfloat16())
    assert product.dtype == torch.float32 and product.item() == 1.0 + 2.0**-8


# The kernels, interpreted -------------------------------------------------------------------------


@pytest.mark.skipif(not HAS_INTERPRETER, reason="needs Triton and TRITON_INTERPRET=1")
@pytest.mark.parametrize("splits", [1, 4])
@pytest.mark.parametrize("group", [1, 2, 7])
def test_the_attention_kernel_interpreted(splits: int, group: int) -> None:
    queries, cached, filled_B = case(group)
    output = decode_attention.attend_slots(queries, cached, filled_B, 0.3, (192, splits))
    assert torch.allclose(
        output, attend_slots_reference(queries, cached, filled_B, 0.3, (192, splits)), atol=1e-4
    )


@pytest.mark.skipif(not HAS_INTERPRETER, reason="needs Triton and TRITON_INTERPRET=1")
@pytest.mark.parametrize("normed", [True, False])
def test_the_turning_kernel_interpreted(normed: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    qkv = torch.randn(3, (4 + 2 * 2) * 16, generator=draw)
    norms = torch.rand(6, 16, generator=draw) if normed else None
    tables = (torch.randn(3, 16, generator=draw) for _ in range(2))
    rotation, used_B = Rotation(norms, 1e-6, *tables), torch.tensor([0, 5, 63])
    ours, theirs = ([torch.zeros(3 * 64, 2, 16) for _ in range(2)] for _ in range(2))
    turned = decode_attention.rope_into_cache(qkv, rotation, used_B, tuple(ours), 64)
    plain = rope_into_cache_reference(qkv, rotation, used_B, tuple(theirs), 64)
    for first, other in zip((turned, *ours), (plain, *theirs), strict=True):
        assert torch.allclose(first, other, atol=1e-5)
