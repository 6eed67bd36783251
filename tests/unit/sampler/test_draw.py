"""Drawing from logits: random streams, inverse CDF, top-k and top-p."""

import math

import pytest
import torch

from dianoia.base.records import SamplingParams
from dianoia.sampler.draw import (
    _draw_by_blocks,
    _mix,
    _signed,
    draw,
    draw_owned,
    key_of,
    seed_of,
    uniforms,
)

ROWS = 20000


@pytest.fixture(params=["in_c", "without_c"])
def either(request: pytest.FixtureRequest) -> str:
    """With the C functions of a CPU and without."""
    request.getfixturevalue(request.param)
    return str(request.param)


def drawn(logits: list[float], params: SamplingParams) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and log-probabilities of many draws from the same logits."""
    seeds_B = torch.tensor([seed_of((5,), i) for i in range(ROWS)])
    logits_BV = torch.tensor(logits).expand(ROWS, -1)
    return draw(logits_BV, seeds_B, torch.zeros_like(seeds_B), params)


def test_tensor_hash_is_splitmix64() -> None:
    # the first output of splitmix64 seeded with 0, as in the reference implementation
    assert _mix(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF
    seeds = [0, -1, 12345, _signed(1 << 63)]
    for index in (0, 1, 999):
        expected = [
            (_mix((s + (index + 1) * 0x9E3779B97F4A7C15) & ((1 << 64) - 1)) >> 40) / 2**24
            for s in seeds
        ]
        got = uniforms(torch.tensor(seeds), torch.full((4,), index))
        assert got.tolist() == expected


def test_uniforms_are_uniform_over_samples_and_positions() -> None:
    seeds = torch.tensor([seed_of((1, 2), i) for i in range(200)])
    numbers = torch.stack([uniforms(seeds, torch.full_like(seeds, i)) for i in range(200)])
    counts = torch.histc(numbers, bins=20, min=0, max=1)
    assert (counts - 2000).abs().max() < 5 * math.sqrt(2000)
    assert numbers.min() >= 0 and numbers.max() < 1
    assert torch.corrcoef(numbers[:, :2].t())[0, 1].abs() < 0.3


def test_seeds_tell_keys_apart() -> None:
    keys = [(), (0,), (0, 0), (1, 0), (0, 1), (-1,), (1 << 62,)]
    seeds = {seed_of(key, sample) for key in keys for sample in range(3)}
    assert len(seeds) == 3 * len(keys)


@pytest.mark.usefixtures("either")
def test_impossible_tokens_are_never_drawn() -> None:
    logits = [-math.inf, 0.0, -math.inf, 0.0, -math.inf]
    ids_B, logprobs_B = drawn(logits, SamplingParams(1, frozenset()))
    assert set(ids_B.tolist()) == {1, 3}
    assert logprobs_B.tolist() == pytest.approx([math.log(0.5)] * ROWS)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("vocabulary", [5, 64, 1000])
def test_a_gpu_draws_the_same_without_writing_probabilities(
    vocabulary: int, temperature: float
) -> None:
    logits_BV = 3 * torch.randn(200, vocabulary, generator=torch.Generator().manual_seed(0))
    logits_BV[:, 1] = -math.inf
    seeds_B = torch.tensor([seed_of((5,), i) for i in range(200)])
    params = SamplingParams(1, frozenset(), temperature=temperature)
    ids_B, logprobs_B = draw(logits_BV, seeds_B, seeds_B, params)
    ours_B, found_B = _draw_by_blocks(logits_BV, uniforms(seeds_B, seeds_B), temperature)
    assert ours_B.tolist() == ids_B.tolist()
    assert torch.allclose(found_B, logprobs_B, atol=1e-5)


@pytest.mark.usefixtures("either")
def test_top_k_of_one_is_greedy() -> None:
    logits = torch.randn(64, 40, generator=torch.Generator().manual_seed(0))
    seeds_B = torch.arange(64)
    for params in (
        SamplingParams(1, frozenset(), top_k=1),
        SamplingParams(1, frozenset(), top_p=1e-6),
        SamplingParams(1, frozenset(), temperature=0.0),
    ):
        ids_B, logprobs_B = draw(logits, seeds_B, seeds_B, params)
        assert ids_B.tolist() == logits.argmax(-1).tolist()
        expected_B = logits.log_softmax(-1).amax(-1)
        assert torch.allclose(logprobs_B, expected_B, atol=1e-6)


@pytest.mark.usefixtures("either")
def test_top_p_keeps_the_smallest_set() -> None:
    logits = [math.log(p) for p in (0.1, 0.4, 0.2, 0.3)]
    for top_p, remaining in ((0.35, {1}), (0.45, {1, 3}), (0.75, {1, 2, 3}), (0.95, {0, 1, 2, 3})):
        ids_B, logprobs_B = drawn(logits, SamplingParams(1, frozenset(), top_p=top_p))
        assert set(ids_B.tolist()) == remaining
        # recorded before top-p: not renormalised
        assert logprobs_B.exp().max().item() == pytest.approx(0.4)
    ids_B, _ = drawn(logits, SamplingParams(1, frozenset(), top_p=0.45))
    assert (ids_B == 1).float().mean().item() == pytest.approx(4 / 7, abs=0.02)


@pytest.mark.usefixtures("either")
def test_top_p_applies_to_what_top_k_left() -> None:
    logits = [math.log(p) for p in (0.1, 0.4, 0.2, 0.3)]
    # of 0.4 and 0.3 the first holds 0.57
    ids_B, _ = drawn(logits, SamplingParams(1, frozenset(), top_k=2, top_p=0.5))
    assert set(ids_B.tolist()) == {1}
    ids_B, _ = drawn(logits, SamplingParams(1, frozenset(), top_k=2))
    assert set(ids_B.tolist()) == {1, 3}


@pytest.mark.usefixtures("either")
def test_top_p_beyond_the_prefix_of_flat_rows() -> None:
    flat, peaked = torch.zeros(2000, 200), torch.zeros(2000, 200)
    peaked[:, 7] = 20.0
    logits = torch.cat((flat, peaked))
    seeds_B = torch.tensor([seed_of((0,), i) for i in range(4000)])
    params = SamplingParams(1, frozenset(), top_p=0.5)
    ids_B, _ = draw(logits, seeds_B, torch.zeros_like(seeds_B), params)
    assert len(set(ids_B[:2000].tolist())) == 100
    assert set(ids_B[2000:].tolist()) == {7}


@pytest.mark.usefixtures("in_c")
@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0, 8.0])
def test_a_nucleus_is_drawn_from_in_order_of_likelihood(scale: float) -> None:
    """In float64 by hand, but where a number falls on a border within float32's rounding."""
    torch.manual_seed(int(10 * scale))
    logits_BV, seeds_B = scale * torch.randn(500, 300), torch.randint(1 << 60, (500,))
    ids_B, _ = draw(logits_BV, seeds_B, seeds_B, SamplingParams(1, frozenset(), top_p=0.9))
    uniforms_B = uniforms(seeds_B, seeds_B)
    sums_BV, order_BV = logits_BV.double().softmax(-1).sort(descending=True, stable=True)
    sums_BV = sums_BV.cumsum(-1)
    kept_B1 = (sums_BV < 0.9).sum(-1, keepdim=True)
    points_B1 = uniforms_B[:, None].double() * sums_BV.gather(1, kept_B1)
    index_B1 = torch.searchsorted(sums_BV, points_B1, right=True)
    certain = (sums_BV - points_B1).abs().amin(-1) > 1e-6
    certain &= (sums_BV - 0.9).abs().amin(-1) > 1e-6
    assert certain.float().mean() > 0.95
    assert torch.equal(ids_B[certain], order_BV.gather(1, index_B1)[certain, 0])


@pytest.mark.usefixtures("in_c")
@pytest.mark.parametrize("size", [40, 60])  # sorted by insertion, and by the library
@pytest.mark.parametrize("top_k", [0, 25])
def test_equals_are_drawn_lower_ids_first(size: int, top_k: int) -> None:
    """Half of all, or of the 25 lowest, are kept: the lowest ones, each as often as any other."""
    seeds_B = torch.arange(3000)
    params = SamplingParams(1, frozenset(), top_p=0.499, top_k=top_k)
    ids_B, _ = draw(torch.zeros(3000, size), seeds_B, seeds_B, params)
    remaining = -(-((top_k or size) * 499) // 1000)
    expected_B = (uniforms(seeds_B, seeds_B).double() * remaining).long()
    assert (ids_B != expected_B).sum() <= 1  # a number on a border


@pytest.mark.usefixtures("either")
def test_top_k_of_many_is_that_of_a_sort() -> None:
    logits_BV, seeds_B = torch.randn(400, 500), torch.arange(400)
    ids_B, _ = draw(logits_BV, seeds_B, seeds_B, SamplingParams(1, frozenset(), top_k=30))
    rank_B = (logits_BV > logits_BV.gather(1, ids_B[:, None])).sum(-1)
    assert rank_B.max() < 30 and len(set(rank_B.tolist())) > 20


@pytest.mark.usefixtures("in_c")
def test_samples_may_share_logits_whose_rows_lie_apart() -> None:
    torch.manual_seed(0)
    wide, owners_B, seeds_B = torch.randn(3, 64), torch.tensor([2, 0, 0, 1]), torch.arange(4)
    logits, params = wide[:, :50], SamplingParams(1, frozenset())
    ours = draw_owned(logits, owners_B, seeds_B, params)
    theirs = draw(logits[owners_B], seeds_B, torch.zeros_like(seeds_B), params)
    assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])


@pytest.mark.usefixtures("in_c")
def test_a_logit_that_is_no_number_shows_in_the_log_probability() -> None:
    logits = torch.tensor([[0.0, math.nan, 1.0]])
    for params in (SamplingParams(1, frozenset()), SamplingParams(1, frozenset(), top_p=0.9)):
        ids_B, logprobs_B = draw(logits, torch.zeros(1).long(), torch.zeros(1).long(), params)
        assert 0 <= ids_B.item() < 3 and logprobs_B.isnan().all()


@pytest.mark.usefixtures("either")
def test_large_vocabulary_follows_the_softmax_in_both_levels() -> None:
    probs = torch.full((1000,), 0.5 / 998)
    probs[[3, 997]] = 0.25
    ids_B, _ = drawn(probs.log().tolist(), SamplingParams(1, frozenset()))
    shares = torch.bincount(ids_B, minlength=1000) / ROWS
    assert shares[3].item() == pytest.approx(0.25, abs=0.015)
    assert shares[997].item() == pytest.approx(0.25, abs=0.015)
    assert shares[:500].sum().item() == pytest.approx(0.5, abs=0.02)


def test_a_key_of_a_seed_has_its_stream() -> None:
    for seed in (0, 1, -1, 2**63 - 1, -(2**63), *(seed_of((n, 7 * n), n) for n in range(200))):
        assert seed_of(key_of(seed), 0) == seed
