"""What every lane of the native sampler knows of its samples: where they are between two tokens, who is drawn together,
and which tokens end them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dianoia.base.records import Request, SamplingParams


@dataclass(slots=True)
class Live:
    """A sample between its first token and its last."""

    request: int
    index: int
    """Number among the samples of its request."""
    seed: int
    row: int
    """Prompt row."""
    prompt: int
    """Tokens of the prompt."""
    token: int = 0
    """First token drawn."""
    logprob: float = 0.0
    place: int = 0
    """Place within the prompt row."""
    start: int = 0
    """Decoding step at which it took its slot."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Samples of one request that share a prompt row."""

    request: int
    first: int
    samples: int


def cut(requests: Sequence[Request], members: int) -> list[Unit]:
    """Units of all requests, long prompts first: like lengths together waste least padding, and
    what is likely to take longest is begun first. Results do not depend on the order."""
    order = sorted(range(len(requests)), key=lambda i: -len(requests[i].prompt_ids))
    return [
        Unit(i, first, min(members, requests[i].samples - first))
        for i in order
        for first in range(0, requests[i].samples, members)
    ]


def stops_of(params: SamplingParams, vocabulary: int, device: torch.device) -> torch.Tensor:
    """Bool `[V]`: the tokens that end a sample; ids beyond the vocabulary are none of them."""
    stops = torch.zeros(vocabulary, dtype=torch.bool, device=device)
    known = [i for i in params.stop_ids if 0 <= i < vocabulary]
    stops[torch.tensor(known, dtype=torch.int64, device=device)] = True
    return stops
