"""Random streams: one list of the purposes of random draws, so that no two purposes share their random numbers.

Every random draw is a hash of (seed, stream, ...), see `sampler.draw`. A key of `TRAINING` is `(seed, number)`, one
part shorter than the others: hashes include the length of a key, so it cannot meet them either.
"""

from enum import IntEnum, unique

Key = tuple[int, ...]
"""What a problem's samples are drawn under: equal keys draw equal random numbers."""


@unique
class Stream(IntEnum):
    """Purposes of random draws. A value must never change: it decides the results of every recipe and seed."""

    TRAINING = 0
    """Rollouts that an `rl` stage learns from."""
    HELPFUL_PROMPTS = 86_028_121
    """Rollouts of an `rl` stage that the helpful model scores."""
    SAFETY_PROMPTS = 122_949_823
    """Rollouts of an `rl` stage that the safety model scores."""
    HELDOUT_CURVE = 104_729
    """Held-out problems while an `rl` stage runs."""
    EVALUATION = 7919
    """The `evaluate` stage."""
    SAMPLE = 15_485_863
    """The `sample` stage: data for supervised fine-tuning."""
    PREFERENCES = 32_452_843
    """The `preferences` stage: data for reward models."""
    ASKED = 179_424_673
    """Questions of people: `Model.ask` and the server, one stream per seed."""


def stream_key(seed: int, stream: Stream, *parts: int) -> Key:
    """Return the key of a stream of a run; `parts` tell draws of the stream apart, such as a problem's number."""
    return (seed, *parts) if stream is Stream.TRAINING else (seed, stream.value, *parts)
