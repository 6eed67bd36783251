"""Results and clock of one lane of the native sampler in one `generate`."""

from collections.abc import Callable, Sequence

from dianoia.base.records import Completion, Request

Finished = Callable[[int, int, Completion], None]
"""Called with (request, sample, completion), the request by its number among those the lane was given."""


class Run:
    """What a lane has done so far."""

    def __init__(self, requests: Sequence[Request], slots: int, finished: Finished | None) -> None:
        """Nothing finished yet."""
        self.requests, self.slots, self._finished = requests, slots, finished
        self.done: list[list[Completion | None]] = [[None] * r.samples for r in requests]
        self.prefill = 0.0
        self.tokens = self.steps = self.seated = 0

    def finish(self, request: int, index: int, completion: Completion) -> None:
        """Keep a completion and tell the caller."""
        self.done[request][index] = completion
        self.tokens += len(completion.ids)
        if self._finished is not None:
            self._finished(request, index, completion)

    def results(self) -> list[list[Completion]]:
        """All completions, in the order asked for."""
        return together([self])


def together(runs: Sequence[Run]) -> list[list[Completion]]:
    """All completions of runs that shared the same requests."""
    wanted = [request.samples for request in runs[0].requests]
    results = [
        [one for parts in zip(*groups, strict=True) for one in parts if one is not None]
        for groups in zip(*(run.done for run in runs), strict=True)
    ]
    assert [len(group) for group in results] == wanted, "a sample got lost"
    return results
