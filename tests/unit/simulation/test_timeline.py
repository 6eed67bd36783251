"""Rollouts in simulated time: by hand, and laws."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dianoia.simulation.decoding import Decoder
from dianoia.simulation.timeline import Rollout, Times, simulate

FEW = settings(max_examples=20)

SECOND = Decoder(0, 0, 0, 0, 1e9, 1.0, 1.0, slots=2)
"""A step takes a second, however many responses are live."""
SHARED = Decoder(1, 0, 0, 0, 1.0, None, 0.0, slots=4)
"""A token takes a second: responses share the sampler."""
lengths = st.lists(st.integers(1, 40), min_size=1, max_size=24)


def rollout(tokens: Sequence[int], judging: float = 1, updating: float = 2, weights: float = 0.5) -> Rollout:  # fmt: skip
    return Rollout(np.array([tokens]), judging, updating, weights)


def run(
    tokens: Sequence[int],
    decoder: Decoder = SECOND,
    samplers: int = 1,
    rollouts: int = 1,
    **options: int,
) -> list[Times]:
    return simulate([rollout(tokens)] * rollouts, [decoder] * samplers, 0.0, **options)  # type: ignore[arg-type]


def test_a_synchronous_run_by_hand() -> None:
    """Two slots: 3 and 5 tokens, then 2 in the slot that is free after 3 s; all end after 5 s."""
    first, second = run([3, 5, 2], rollouts=2)
    assert (first.drained, first.sampled, first.updated, first.released) == (3, 5, 8, 8.5)
    assert (second.began, second.sampled, second.released) == (8.5, 13.5, 17.0)
    # the learner waits for all of it
    assert second.learner_waited == pytest.approx(13.5 + 1 - 8)


def test_a_stale_rollout_is_drawn_while_the_learner_works() -> None:
    """Sampled after 5 and 10 s; updates end after 5 + 3 and 10 + 3 s, and the third begins with the weights of the first."""
    times = run([3, 5, 2], rollouts=3, staleness=1)
    assert [t.began for t in times] == [0, 0, 8.5]
    assert [t.sampled for t in times] == [5, 10, 15]
    assert [t.updated for t in times] == [8, 13, 18]


def test_with_overlap_a_free_slot_takes_the_next_rollout() -> None:
    """Slots are free after 3 and 5 s: the second rollout's 3 and 5 tokens begin there."""
    alone, overlapping = (
        run([3, 5], rollouts=2, staleness=1, overlap=overlap)[1] for overlap in (0, 1)
    )
    assert (alone.sampled, overlapping.sampled) == (10, 10)
    alone, overlapping = (
        run([1, 9], rollouts=2, staleness=1, overlap=overlap)[1] for overlap in (0, 1)
    )
    # 1 ends at 1, the next 1 at 2, and 9 follows at once; without overlap both begin at 9
    assert (alone.sampled, overlapping.sampled) == (18, 11)


def test_problems_that_are_dealt_stay_where_they_are() -> None:
    """Problems of 9 + 9, 1 + 1 and 9 + 9 tokens, a slot each: the first sampler has two of them, the other is idle at 2."""
    one_slot = replace(SECOND, slots=1)
    tokens = np.array([[9, 9], [1, 1], [9, 9]])
    shared, dealt = (
        simulate([Rollout(tokens, 0, 0, 0)], [one_slot] * 2, 0.0, dealt=dealt)[0].sampled
        for dealt in (False, True)
    )
    # shared: 9 | 9, then 1 + 1 + 9 beside 9: 1 and 1 at 9 and 10, 9 from 9 to 18 or 10 to 19
    assert (shared, dealt) == (19, 36)


def test_a_prompt_is_read_once_per_sampler() -> None:
    """Two problems of two samples on one sampler: two prompts of 3 tokens, 3 s each, then 2 steps."""
    decoder = replace(SECOND, token_flops=1, rate=1.0, bandwidth=1.0, slots=4)
    tokens = np.array([[2, 2], [2, 2]])
    (times,) = simulate([Rollout(tokens, 0, 0, 0)], [decoder], 3.0)
    # a step of 4 responses is 4 operations, more than its second
    assert times.sampled == pytest.approx(2 * 3 + 2 * 4)


def test_context_slows_a_step() -> None:
    """One response of 3 tokens after a prompt of 4: steps at 4, 5 and 6 tokens of cache, a second per token."""
    decoder = Decoder(0, 0, 0, 1, 1e9, 1.0, 0.0, slots=1)
    (times,) = simulate([Rollout(np.array([[3]]), 0, 0, 0)], [decoder], 4.0)
    assert times.sampled == pytest.approx(4 + 5 + 6)


# Laws ---------------------------------------------------------------------------------------------


@FEW
@given(lengths, st.integers(1, 5))
def test_tokens_are_conserved(tokens: list[int], samplers: int) -> None:
    """A token takes a second of a sampler, so busy seconds are tokens."""
    (times,) = run(tokens, SHARED, samplers)
    assert times.busy * times.sampled * samplers == pytest.approx(sum(tokens))


@FEW
@given(lengths, st.integers(1, 5), st.integers(1, 4), st.sampled_from([SECOND, SHARED]))
def test_more_samplers_are_never_slower(
    tokens: list[int], samplers: int, more: int, decoder: Decoder
) -> None:
    few, many = (run(tokens, decoder, count)[0].sampled for count in (samplers, samplers + more))
    if decoder is SECOND:
        assert many <= few * (1 + 1e-9)
    else:  # a sampler that shares its speed may get the longest responses, but no more than all
        assert many <= sum(tokens) * (1 + 1e-9)


@FEW
@given(lengths, st.data(), st.integers(1, 4))
def test_a_longer_response_never_ends_a_rollout_earlier(
    tokens: list[int], data: st.DataObject, samplers: int
) -> None:
    index = data.draw(st.integers(0, len(tokens) - 1))
    longer = [*tokens]
    longer[index] += data.draw(st.integers(1, 30))
    short, long = (run(t, SECOND, samplers)[0].sampled for t in (tokens, longer))
    assert long >= short * (1 - 1e-9)


@FEW
@given(lengths, st.integers(1, 5), st.sampled_from([SECOND, SHARED]))
def test_no_rollout_beats_its_bounds(tokens: list[int], samplers: int, decoder: Decoder) -> None:
    """Neither the longest response nor all work shared out evenly; and one sampler is never idle before the end."""
    (times,) = run(tokens, decoder, samplers)
    assert times.sampled >= max(tokens) * (1 - 1e-9)
    rate = decoder.slots if decoder is SECOND else 1
    assert times.sampled >= sum(tokens) / rate / samplers * (1 - 1e-9)
    assert times.began <= times.drained <= times.sampled
    assert samplers > 1 or times.busy == pytest.approx(1.0)


@FEW
@given(lengths, st.integers(0, 3), st.booleans(), st.integers(1, 3))
def test_updates_are_in_order_and_old_weights_are_as_old_as_asked(
    tokens: list[int], staleness: int, overlap: bool, samplers: int
) -> None:
    times = run(tokens, SECOND, samplers, 6, staleness=staleness, overlap=overlap)
    updated = [t.updated for t in times]
    assert all(later - earlier >= 2 - 1e-9 for earlier, later in pairwise(updated))  # fmt: skip
    for index, time in enumerate(times):
        expected = times[index - staleness - 1].released if index > staleness else 0.0
        assert time.began == pytest.approx(expected)
    synchronous = run(tokens, SECOND, samplers, 6)
    assert times[-1].updated <= synchronous[-1].updated * (1 + 1e-9)
