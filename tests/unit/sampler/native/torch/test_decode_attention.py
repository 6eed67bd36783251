"""Attention over pages: what a token gets, and the kernels where Triton can interpret them."""

import importlib.util
import os

import pytest
import torch
import torch.nn.functional as F

from dianoia.hardware.matmul import matmul_float32
from dianoia.sampler.native.torch import decode_attention
from dianoia.sampler.native.torch.decode_attention import (
    SPAN,
    Places,
    Rotation,
    Tiles,
    attend_tiles_reference,
    rope_into_pages_reference,
    tokens_at_once,
)
from dianoia.sampler.native.torch.page_pool import PAGE

HAS_INTERPRETER = importlib.util.find_spec("triton") is not None and os.environ.get(
    "TRITON_INTERPRET"
)
"""Run with `TRITON_INTERPRET=1` where Triton is installed, which PyTorch for a CPU does not bring along."""
interpreted = pytest.mark.skipif(not HAS_INTERPRETER, reason="needs Triton and TRITON_INTERPRET=1")
LENGTH, KV, HEAD = 600, 3, 16
"""Tokens of each of three samples: two whole spans of the kernels and a part of one."""

Case = tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor], torch.Tensor]


def case(group: int = 2, seed: int = 0) -> Case:
    """Queries for every token of three samples, and their keys and values in pages of a random order."""
    draw = torch.Generator().manual_seed(0)
    pages = -(-LENGTH // PAGE)
    queries = torch.randn(3 * LENGTH, KV * group, HEAD, generator=draw)
    rows = [torch.randn(3, pages * PAGE, KV, HEAD, generator=draw) for _ in range(2)]
    order = torch.randperm(3 * pages, generator=torch.Generator().manual_seed(seed))
    tables = (order + 1).view(3, pages).to(torch.int32)
    cached = [torch.full((3 * pages + 1, PAGE, KV, HEAD), 9.0) for _ in range(2)]
    for part, whole in zip(cached, rows, strict=True):
        part[tables.flatten().long()] = whole.view(-1, PAGE, KV, HEAD)
    return queries, (cached[0], cached[1]), tables


def tiles(*numbers: tuple[int, int, int, int]) -> Tiles:
    """Tiles of (owner, row, count, position)."""
    return Tiles(*torch.tensor(numbers).t().contiguous())


def step(positions: list[int]) -> Tiles:
    """One token per sample at these positions."""
    return tiles(*[(owner, owner, 1, position) for owner, position in enumerate(positions)])


def chunk(owner: int, first: int, last: int, most: int) -> Tiles:
    """Tiles of at most `most` tokens of a sample, whose rows begin at 0."""
    return tiles(*[(owner, i - first, min(most, last - i), i) for i in range(first, last, most)])


def expected(whole: Case, owner: int, position: int) -> torch.Tensor:
    """Ordinary attention of one token over its sample up to itself."""
    queries, cached, tables = whole
    keys, values = (
        part[tables[owner].long()].view(-1, KV, HEAD)[: position + 1].transpose(0, 1)
        for part in cached
    )
    q = queries[owner * LENGTH + position][:, None]
    return F.scaled_dot_product_attention(q, keys, values, scale=0.3, enable_gqa=True)[:, 0]


POSITIONS = [[0, 63, 64], [127, 128, 599], [255, 256, 511], [512, 1, 320]]


@pytest.mark.parametrize("group", [1, 2, 7])
def test_a_token_attends_to_its_sample_up_to_itself(group: int) -> None:
    queries, cached, tables = whole = case(group)
    for positions in POSITIONS:
        rows = torch.tensor([i * LENGTH + p for i, p in enumerate(positions)])
        output = attend_tiles_reference(queries[rows], cached, tables, step(positions), 0.3, 600)
        for i, position in enumerate(positions):
            assert torch.allclose(output[i], expected(whole, i, position), atol=1e-5)


@pytest.mark.parametrize("group", [1, 2, 7])
def test_pages_company_and_pieces_change_no_bit(group: int) -> None:
    """A token of a step, of a prompt in pieces, and over pages elsewhere."""
    queries, cached, tables = case(group)
    whole = attend_tiles_reference(
        queries[:LENGTH], cached, tables, chunk(0, 0, LENGTH, LENGTH), 0.3, None
    )
    for first, last in ((0, 100), (100, 300), (300, 301), (301, 600)):
        part = attend_tiles_reference(
            queries[first:last], cached, tables, chunk(0, first, last, LENGTH), 0.3, None
        )
        assert torch.equal(part, whole[first:last])
    moved = case(group, seed=1)
    for position in (0, 63, 64, 255, 256, 599):
        rows = torch.tensor([position, LENGTH + 5, 2 * LENGTH + 300])
        for _, place, table in ((queries, cached, tables), moved):
            output = attend_tiles_reference(
                queries[rows], place, table, step([position, 5, 300]), 0.3, 600
            )
            assert torch.equal(output[0], whole[position])


def test_a_long_prompt_is_read_in_parts_that_fit_memory() -> None:
    assert tokens_at_once(32_704, heads=16, head=128) == 16
    assert tokens_at_once(448, heads=2, head=32) == 4096


def test_turning_by_hand() -> None:
    """One head of two numbers turned by a right angle: (3, 4) becomes (-4, 3); the value stays as it is."""
    rotation = Rotation(None, 0.0, torch.tensor([[0.0, 0.0]]), torch.tensor([[-1.0, 1.0]]))
    cached = torch.zeros(4, PAGE, 1, 2), torch.zeros(4, PAGE, 1, 2)
    qkv = torch.tensor([[3.0, 4.0, 1.0, 0.0, 5.0, 6.0]])
    # position 66 of the sample in row 1, whose second page is page 3
    places = Places(torch.tensor([66]), torch.tensor([1]), torch.tensor([[0, 0], [1, 3]]).int())
    queries = rope_into_pages_reference(qkv, rotation, places, cached)
    assert queries.tolist() == [[[-4.0, 3.0]]]
    assert cached[0][3, 2, 0].tolist() == [0, 1] and cached[1][3, 2, 0].tolist() == [5, 6]
    assert cached[0].abs().sum() == 1 and cached[1].sum() == 11


def test_norms_come_before_turning() -> None:
    """(3, 4) has a mean square of 12.5; a weight of 2 makes it twice as long."""
    norms = torch.full((2, 2), 2.0)
    rotation = Rotation(norms, 0.0, torch.ones(1, 2), torch.zeros(1, 2))
    cached = torch.zeros(2, PAGE, 1, 2), torch.zeros(2, PAGE, 1, 2)
    qkv = torch.tensor([[3.0, 4.0, 3.0, 4.0, 3.0, 4.0]])
    places = Places(torch.tensor([0]), torch.tensor([0]), torch.tensor([[1]]).int())
    queries = rope_into_pages_reference(qkv, rotation, places, cached)
    desired = torch.tensor([3.0, 4.0]) * 2 / 12.5**0.5
    assert torch.allclose(queries[0, 0], desired) and torch.allclose(cached[0][1, 0, 0], desired)
    assert cached[1][1, 0, 0].tolist() == [3.0, 4.0]


def test_a_product_of_halves_is_float32() -> None:
    """1 + 2^-8 takes nine bits of fraction, one more than bfloat16 has behind a product of 1."""
    remaining = torch.tensor([[1.0, 2.0**-8]]).bfloat16()
    product = matmul_float32(remaining, torch.ones(2, 1).bfloat16())
    assert product.dtype == torch.float32 and product.item() == 1.0 + 2.0**-8


# The kernels, interpreted -------------------------------------------------------------------------


@interpreted
@pytest.mark.parametrize("group", [1, 2, 7])
def test_the_step_kernel_interpreted(group: int) -> None:
    """Over one span, and over three that `merge` combines."""
    queries, cached, tables = case(group)
    for positions in POSITIONS:
        rows = torch.tensor([i * LENGTH + p for i, p in enumerate(positions)])
        numbers = (queries[rows], cached, tables, step(positions), 0.3)
        desired = attend_tiles_reference(*numbers, None)
        for longest in (600, 4 * SPAN) if max(positions) >= SPAN else (200, 600):
            output = decode_attention.attend_tiles(*numbers, longest)
            assert torch.allclose(output, desired, atol=1e-4)


@interpreted
@pytest.mark.parametrize("group", [1, 2, 7])
def test_the_prompt_kernel_interpreted(group: int) -> None:
    queries, cached, tables = case(group)
    numbers = (queries[250:530], cached, tables, chunk(0, 250, 530, 16 // group), 0.3)
    output = decode_attention.attend_tiles(*numbers, None)
    assert torch.allclose(output, attend_tiles_reference(*numbers, None), atol=1e-4)


@interpreted
@pytest.mark.parametrize("group", [1, 2, 7])
def test_steps_and_prompts_are_the_same_bits_interpreted(group: int) -> None:
    """Whatever the number of spans of a step, the pages, and the tile that a token is in."""
    queries, cached, tables = case(group)
    _, elsewhere, moved = case(group, seed=1)
    first, last = 500, 530
    prompt = decode_attention.attend_tiles(
        queries[first:last], cached, tables, chunk(0, first, last, 16 // group), 0.3, None
    )
    for position in (500, 511, 512, 529):
        for pages, table, longest in ((cached, tables, 600), (elsewhere, moved, 4 * SPAN)):
            output = decode_attention.attend_tiles(
                queries[position : position + 1], pages, table, step([position]), 0.3, longest
            )
            assert torch.equal(output[0], prompt[position - first])
    # one span, which the kernel writes itself, and three
    short = [
        decode_attention.attend_tiles(queries[9:10], cached, tables, step([9]), 0.3, longest)
        for longest in (10, SPAN, 600)
    ]
    assert torch.equal(short[0], short[1]) and torch.equal(short[0], short[2])


@interpreted
@pytest.mark.parametrize("normed", [True, False])
def test_the_turning_kernel_interpreted(normed: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    qkv = torch.randn(3, (4 + 2 * 2) * 16, generator=draw)
    norms = torch.rand(6, 16, generator=draw) if normed else None
    rotation = Rotation(norms, 1e-6, *(torch.randn(3, 16, generator=draw) for _ in range(2)))
    tables = torch.tensor([[4, 2], [1, 3], [0, 0]], dtype=torch.int32)
    places = Places(torch.tensor([0, 5, 100]), torch.tensor([0, 0, 1]), tables)
    ours, theirs = ((torch.zeros(5, PAGE, 2, 16), torch.zeros(5, PAGE, 2, 16)) for _ in range(2))
    turned = decode_attention.rope_into_pages(qkv, rotation, places, ours)
    plain = rope_into_pages_reference(qkv, rotation, places, theirs)
    for first, other in zip((turned, *ours), (plain, *theirs), strict=True):
        assert torch.allclose(first, other, atol=1e-5)
