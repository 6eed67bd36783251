"""The waiting samples of one model: clients take turns, one part of a request each.

In: requests. Out: parts of them, in the order in which they are served. All calls come from the engine's thread.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any

from dianoia.inference.generation import Generation
from dianoia.inference.incremental_text import IncrementalText, StopStrings
from dianoia.sampler.native.cpu.scoring import ScoredSequence

PART = 8
"""Most samples of a request that are served at a time; they share one reading of the prompt."""


@dataclass(eq=False, slots=True)
class LiveSample:
    """A sample of a request, until it has ended."""

    generation: Generation
    number: int
    text: IncrementalText
    stops: StopStrings
    ids: list[int] = field(default_factory=list)
    """Tokens that have become text."""
    ended: bool = False
    """The caller has its end; its slot may decode on for a moment."""
    scored: ScoredSequence | None = None
    """Prompt and tokens so far, where scores were asked for."""


@dataclass(eq=False, slots=True)
class Part:
    """Samples of a request that are handed to a session together."""

    samples: list[LiveSample]
    session: Any = None
    """The session that has them."""
    handle: Any = None
    begun: float = 0.0
    """Time of the monotonic clock."""

    @property
    def generation(self) -> Generation:
        """The request."""
        return self.samples[0].generation

    @property
    def first(self) -> int:
        """Number of the first sample."""
        return self.samples[0].number


class WaitingLine:
    """Samples that wait."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, deque[deque[LiveSample]]] = OrderedDict()
        """Requests by client; the first client is served next."""

    def append(self, samples: list[LiveSample]) -> None:
        """Add the samples of a request to those of its client."""
        client = samples[0].generation.request.client
        self._clients.setdefault(client, deque()).append(deque(samples))

    def next_part(self, most: int) -> Part | None:
        """Return up to `most` samples of the request whose turn it is; None if nobody waits."""
        if not self._clients:
            return None
        # The client goes out and comes back at the end of the line, which is what makes clients take turns.
        client, requests = self._clients.popitem(last=False)
        samples = requests.popleft()
        part = Part([samples.popleft() for _ in range(min(most, len(samples)))])
        # Behind the client's other requests, and behind the other clients.
        if samples:
            requests.append(samples)
        if requests:
            self._clients[client] = requests
        return part

    def remove(self, generation: Generation) -> int:
        """Remove what waits of a request, and return the number of samples."""
        client = generation.request.client
        requests = self._clients.get(client, deque())
        removed = [samples for samples in requests if samples[0].generation is generation]
        for samples in removed:
            requests.remove(samples)
        if not requests:
            self._clients.pop(client, None)
        return sum(map(len, removed))
