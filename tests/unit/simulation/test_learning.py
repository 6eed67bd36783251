"""Updates: arithmetic by hand, dealing, and what ranks send one another."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dianoia.recipe.plan.layout import ALONE, Layout
from dianoia.recipe.plan.model_sizes import Size
from dianoia.simulation.learning import (
    Learning,
    all_reduce,
    gather,
    largest_load,
    ring_bandwidth,
    step_communication,
    update_times,
)
from dianoia.simulation.rates import Rates

FEW = settings(max_examples=20)

# 2 layers of 30 parameters, 8 wide queries, 3 x 4 of the embedding
SIZE = Size(72, 6, "model", 2, 4, 8, 4, 16, 3)
LEARNING = Learning(SIZE, 72, 4.0, 1, 100, prompt=10.0, shared_prompts=False)
RATES = Rates(1000.0, 1000.0, 1e30, link=100.0, network=10.0, latency=0.0)


def test_operations_of_a_response_by_hand() -> None:
    """A response of 6 tokens after 10: each costs 2 x 60 + 2 x 12 and attends to 13 in the mean, 4 x 8 x 2 each."""
    response = 6 * (120 + 24) + 64 * 6 * 13
    prompt = 10 * (120 + 64 * 5)
    tokens = np.array([[6, 6]])
    assert LEARNING.flops(tokens).tolist() == [[4 * (response + prompt)] * 2]
    shared = replace(LEARNING, shared_prompts=True).flops(tokens)
    assert shared.tolist() == [[4 * (response + prompt / 2)] * 2]


@FEW
@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=30), st.integers(1, 12))
def test_the_largest_load(loads: list[float], parts: int) -> None:
    largest, even = largest_load(loads, parts), sum(loads) / parts
    assert max(*loads, even) * (1 - 1e-9) <= largest <= (even + max(loads)) * (1 + 1e-9)
    assert largest_load(loads, parts + 1) <= largest * (1 + 1e-9)
    assert largest_load(loads, len(loads)) == max(loads)


def test_a_load_is_dealt_largest_first() -> None:
    assert largest_load([3, 3, 2, 2, 2], 2) == 7, "3 + 2 + 2 against 3 + 2: the rule, not the best"


def test_the_rank_with_most_sets_the_time() -> None:
    """Responses of 6 and 2 tokens in two steps: each step has one response, so the second rank is idle."""
    learning = replace(LEARNING, minibatches=2)
    tokens = np.array([[6], [2]])
    first, second = learning.flops(tokens).reshape(-1)
    rates = replace(RATES, link=1e30, network=1e30)
    times = update_times(learning, tokens, rates, Layout(2, 2))
    assert times.arithmetic == pytest.approx((first + second) / 1000)
    assert times.balance == pytest.approx(0.5)
    together = update_times(LEARNING, tokens, rates, Layout(2, 2))
    assert together.arithmetic == pytest.approx(first / 1000)


def test_a_ring_by_hand() -> None:
    """Four ranks, 300 bytes: 3/4 of them pass each link, twice for a sum, at 100 bytes per second."""
    layout = Layout(8, 4)
    assert gather(300, 4, layout, RATES) == pytest.approx(2.25)
    assert all_reduce(300, 4, layout, RATES) == pytest.approx(4.5)
    assert gather(300, 1, layout, RATES) == all_reduce(300, 1, layout, RATES) == 0
    # between nodes four adapters of 10 bytes per second
    assert ring_bandwidth(8, layout, RATES) == 40
    assert ring_bandwidth(8, Layout(8, 4), replace(RATES, network=90.0)) == 100


def test_replicas_sum_gradients_once_per_step() -> None:
    assert step_communication(LEARNING, ALONE, RATES, 5.0, 3.0) == 0
    replicas = step_communication(LEARNING, Layout(4, 4), RATES, 5.0, 3.0)
    assert replicas == pytest.approx(2 * 4 * 72 * 3 / 4 / 100)


def test_a_shard_gathers_weights_beside_the_arithmetic() -> None:
    """288 bytes pass in 2.16 s: twice as weights and once as gradients, for each of 3 micro-batches; 5 s are hidden."""
    sharded = Layout(4, 4, "node")
    passed = 288 * 3 / 4 / 100
    waits = step_communication(LEARNING, sharded, RATES, 5.0, 3.0)
    assert waits == pytest.approx(3 * 3 * passed - 5.0)
    # enough arithmetic hides all but the gradients of the last of two layers
    assert step_communication(LEARNING, sharded, RATES, 50.0, 3.0) == pytest.approx(passed / 2)
    # on a CPU gradients are summed once, after the last micro-batch
    cpu = replace(RATES, bandwidth=None)
    assert step_communication(LEARNING, sharded, cpu, 50.0, 3.0) == pytest.approx(passed)
    assert step_communication(LEARNING, sharded, cpu, 5.0, 3.0) == pytest.approx(7 * passed - 5.0)


def test_two_nodes_sum_their_shards() -> None:
    layout = Layout(8, 4, "node")
    # each rank's quarter of the gradients is summed over two copies
    passed = 288 * 3 / 4 / 100
    waits = step_communication(LEARNING, layout, RATES, 0.0, 1.0)
    assert waits == pytest.approx(3 * passed + all_reduce(72, 2, layout, RATES))


@FEW
@given(st.integers(1, 64), st.sampled_from([1, 2, 4]))
def test_more_ranks_never_compute_longer(ranks: int, minibatches: int) -> None:
    learning = replace(LEARNING, minibatches=minibatches)
    tokens = np.random.default_rng(ranks).integers(1, 50, (4, 4))
    few, many = (update_times(learning, tokens, RATES, Layout(n, 8)) for n in (ranks, ranks + 1))
    assert many.arithmetic <= few.arithmetic * (1 + 1e-9)
    assert 0 < many.balance <= 1 + 1e-9
