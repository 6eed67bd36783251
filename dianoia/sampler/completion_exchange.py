"""Completions that the ranks of a stage have drawn, brought together on all of them.

In: the completions that this rank has drawn, by request and sample. Out: those of all ranks, in the order of the requests. They
travel as arrays: ids in 4 bytes, log-probabilities in the 4 bytes that they have. A process by itself exchanges nothing.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from dianoia.base.errors import RankError
from dianoia.base.records import Completion, Request
from dianoia.distributed.digests import value_digest
from dianoia.distributed.group import ranks

Drawn = Mapping[tuple[int, int], Completion]
"""Completions by request and sample."""
_VERB = "gather completions"


def all_completions(requests: Sequence[Request], mine: Drawn) -> list[list[Completion]]:
    """Return the completions of every request, those of other ranks included.

    Raises:
        RankError: the ranks were asked for different samples, or drew them with different weights.
    """
    group = ranks()
    completions = dict(mine)
    if group.size > 1:
        parts = group.gather((_digest(requests), _arrays(mine)), _VERB)
        for rank, (digest, _) in enumerate(parts):
            if digest != parts[0][0]:
                raise RankError(
                    f"the ranks have come apart at {_VERB!r}: rank {rank} of {group.size} was asked for other samples than rank "
                    f"0 ({digest} and {parts[0][0]}); run the same command again, which resumes from the last state"
                )
        for rank, (_, arrays) in enumerate(parts):
            if rank != group.rank:
                completions |= _completions(arrays)
    return [
        [completions[number, sample] for sample in range(request.samples)]
        for number, request in enumerate(requests)
    ]


def _digest(requests: Sequence[Request]) -> str:
    """Return a digest of the streams that the samples are drawn from, and of their prompts' lengths."""
    streams = [(request.key, request.samples, len(request.prompt_ids)) for request in requests]
    return value_digest(streams)


def _arrays(mine: Drawn) -> dict[str, Any]:
    completions = list(mine.values())
    lengths = np.array([len(completion.ids) for completion in completions], dtype=np.int32)
    total = int(lengths.sum())
    ids = np.fromiter(chain.from_iterable(c.ids for c in completions), np.int32, total)
    logprobs = np.fromiter(chain.from_iterable(c.logprobs for c in completions), np.float64, total)
    short = logprobs.astype(np.float32)
    # Exact or not at all: a server's JSON may have more digits than float32.
    is_exact = bool((short == logprobs).all())
    return {
        "places": np.array(list(mine), dtype=np.int32).reshape(-1, 2),
        "lengths": lengths,
        "ids": ids,
        "logprobs": short if is_exact else logprobs,
        "stopped": np.array([completion.stopped for completion in completions], dtype=bool),
        "versions": np.array([c.weights_version for c in completions], dtype=np.int64),
    }


def _completions(arrays: Mapping[str, Any]) -> dict[tuple[int, int], Completion]:
    ids, logprobs = arrays["ids"].tolist(), arrays["logprobs"].tolist()
    completions: dict[tuple[int, int], Completion] = {}
    columns = (arrays[name].tolist() for name in ("places", "lengths", "stopped", "versions"))
    start = 0
    for (number, sample), length, stopped, version in zip(*columns, strict=True):
        end = start + length
        completions[number, sample] = Completion(
            tuple(ids[start:end]), tuple(logprobs[start:end]), stopped, version
        )
        start = end
    return completions
