"""Results and counters of a native decoder in one call of `generate`, and its table of stop tokens."""

from collections.abc import Callable, Sequence

import torch

from dianoia.base.records import Completion, Request, SamplingParams

Finished = Callable[[int, int, Completion], None]
"""Called with (request, sample, completion); the request is an index into the requests of the decoder."""


def stop_table(params: SamplingParams, vocabulary: int, device: torch.device) -> torch.Tensor:
    """Return bool `[V]`, True for the tokens that end a sample; ids outside the vocabulary are ignored."""
    # a table, since a lookup by token is cheaper than a search in a set, on every device
    stops = torch.zeros(vocabulary, dtype=torch.bool, device=device)
    ids = [i for i in params.stop_ids if 0 <= i < vocabulary]
    stops[torch.tensor(ids, dtype=torch.int64, device=device)] = True
    return stops


class DecodeResults:
    """Completions and counters of one decoder in one `generate`."""

    def __init__(
        self,
        requests: Sequence[Request],
        slots: int,
        finished: Finished | None,
        weights_version: int = 0,
    ) -> None:
        """slots: samples that the decoder runs at a time, for the occupancy."""
        self.requests, self.slots, self._finished = requests, slots, finished
        self.weights_version = weights_version
        self.completions: dict[tuple[int, int], Completion] = {}
        """By request and sample."""
        self.seconds_prefill = 0.0
        self.tokens = self.steps = self.slot_steps = 0
        """slot_steps: decoding steps times live samples."""

    def finish(self, request: int, index: int, completion: Completion) -> None:
        """Store a completion and report it to the caller."""
        self.completions[request, index] = completion
        self.tokens += len(completion.ids)
        if self._finished is not None:
            self._finished(request, index, completion)
