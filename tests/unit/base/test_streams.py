"""No two purposes share random numbers."""

from itertools import combinations

import pytest

from dianoia.base.streams import Stream, stream_key
from dianoia.sampler.draw import seed_of


def test_streams_have_different_values() -> None:
    assert len({stream.value for stream in Stream}) == len(Stream)


@pytest.mark.parametrize(("first", "other"), list(combinations(Stream, 2)))
def test_no_draw_of_one_stream_is_a_draw_of_another(first: Stream, other: Stream) -> None:
    """Numbers 0 to 199 of both, at the front, behind another part, and around each other's value."""
    seeds = []
    for stream, against in ((first, other), (other, first)):
        numbers = [*range(200), *range(against.value, against.value + 50)]
        keys = [stream_key(1, stream, number) for number in numbers]
        keys += [stream_key(1, stream, part, number) for part in range(3) for number in range(50)]
        seeds.append({seed_of(key, 0) for key in keys})
    assert not seeds[0] & seeds[1]


def test_training_counts_from_the_seed_alone() -> None:
    assert stream_key(7, Stream.TRAINING, 12) == (7, 12)
    assert stream_key(7, Stream.SAMPLE, 12) == (7, 15_485_863, 12)
