"""Rollouts and updates in simulated time: samplers with slots, a queue, a learner, versions of the weights. No torch.

In: for each rollout the lengths of its responses, a `Decoder` per sampler, seconds of judging, update and weights. Out: `Times`
per rollout. Events are exact: the length of every response, slots that are filled as they become free, the tail in which few
responses are left. With `staleness = k` rollout r is drawn with the weights that rollout r - 1 - k has led to, while the
learner works on those between; k = 0 is the synchronous run. A sampler has one set of weights, so it begins a rollout when its
responses of the one before have ended; with `overlap` it may have responses of several rollouts, each keeping its weights.

Between two events on a sampler its live responses do not change, so that n steps take n times the step at the mean context.
"""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from numpy.typing import NDArray

from dianoia.simulation.decoding import Decoder


@dataclass(frozen=True, slots=True)
class Rollout:
    """One rollout to simulate."""

    tokens: NDArray  # type: ignore[type-arg]
    """Tokens of responses `[P, G]`."""
    judging: float
    """Seconds from the last response to the first update."""
    updating: float
    """Seconds of its updates."""
    weights: float
    """Seconds from its last update until the samplers have the new weights."""


@dataclass(slots=True)
class Times:
    """When what happened to a rollout, in seconds since the beginning."""

    began: float = 0.0
    """Its first response could begin."""
    drained: float = 0.0
    """Its last response had got a slot."""
    sampled: float = 0.0
    """Its last response ended."""
    updated: float = 0.0
    """Its last update ended."""
    released: float = 0.0
    """The samplers had its weights."""
    learner_waited: float = 0.0
    """Seconds for which the learner had nothing to do before it."""
    busy: float = 0.0
    """Share of the samplers' time until the end of this rollout in which they had at least one response."""


@dataclass(slots=True)
class _Sampler:
    """What one sampler is doing."""

    decoder: Decoder
    time: float = 0.0
    """Up to when its steps are done."""
    steps: float = 0.0
    live: list[tuple[float, int, int, int]] = field(default_factory=list)
    """Heap of (step at which a response ends, rollout, response, tokens at its end with the prompt)."""
    context: float = 0.0
    stamp: int = 0
    """Number of its newest event: older ones in the queue are void."""
    prompts: set[tuple[int, int]] = field(default_factory=set)
    """Prompts that it has read."""
    busy: float = 0.0

    def duration(self, steps: float) -> float:
        """Return the seconds of so many steps."""
        live = len(self.live)
        # The context grows by the same number each step: the mean over n steps is that of the first and the last.
        growth = live * self.decoder.tokens_per_step * max(0.0, steps - 1) / 2
        return steps * self.decoder.step(live, self.context + growth)

    def advance(self, steps: float, seconds: float) -> None:
        """Count steps of the live responses that have been done in so many seconds."""
        self.steps += steps
        self.time += seconds
        self.context += steps * len(self.live) * self.decoder.tokens_per_step
        self.busy += seconds

    def advance_to(self, time: float) -> None:
        """Do the steps until `time`, a part of one included; an idle sampler waits."""
        seconds = time - self.time
        if seconds <= 0:
            return
        if not self.live:
            self.time = time
            return
        # Up to the next end at most, since only until then the live responses are the same.
        remaining = self.live[0][0] - self.steps
        whole = self.duration(remaining)
        share = min(1.0, seconds / whole) if whole else 1.0
        self.advance(remaining * share, seconds)

    def admit(self, rollout: int, problem: int, response: int, tokens: int, prompt: float) -> None:
        """Give a slot to a response; its prompt is read unless it has been."""
        if (rollout, problem) not in self.prompts:
            self.prompts.add((rollout, problem))
            reading = self.decoder.prefill(prompt)
            self.time += reading
            self.busy += reading
        # In steps of this sampler and not in seconds: steps become slower or faster with what else is live.
        end = self.steps + tokens / self.decoder.tokens_per_step
        heapq.heappush(self.live, (end, rollout, response, tokens))
        self.context += prompt


def simulate(
    rollouts: Sequence[Rollout],
    decoders: Sequence[Decoder],
    prompt: float,
    staleness: int = 0,
    overlap: bool = False,
    dealt: bool = False,
) -> list[Times]:
    """Return the times of each rollout.

    Args:
        decoders: one per sampler.
        prompt: tokens of a prompt.
        staleness: rollouts by which the weights are older than the newest ones when a rollout is drawn.
        overlap: whether a sampler may have responses of several rollouts at the same time.
        dealt: whether problems are dealt to the samplers beforehand, one after the other; else a sampler with a free slot
            takes the next response.
    """
    return _Simulation(rollouts, decoders, prompt, staleness, overlap, dealt).run()


class _Simulation:
    """State of a simulation."""

    def __init__(
        self,
        rollouts: Sequence[Rollout],
        decoders: Sequence[Decoder],
        prompt: float,
        staleness: int,
        overlap: bool,
        dealt: bool,
    ) -> None:
        self.rollouts, self.prompt = rollouts, prompt
        self.staleness, self.overlap = staleness, overlap
        self.samplers = [_Sampler(decoder) for decoder in decoders]
        self.times = [Times() for _ in rollouts]
        # one rollout after the other: (rollout, response) in the order in which they are drawn
        queues: list[deque[tuple[int, int]]] = [
            deque() for _ in range(len(decoders) if dealt else 1)
        ]
        self.queues = queues
        self.unfinished = [rollout.tokens.size for rollout in rollouts]
        self.learner_free = 0.0
        self.events: list[tuple[float, int, int, int]] = []
        """Heap of (time, sampler or -1, stamp of the sampler or rollout that is released, number)."""
        self.count = 0

    def run(self) -> list[Times]:
        """Work through the events."""
        for rollout in range(min(self.staleness + 1, len(self.rollouts))):
            self._release(rollout, 0.0)
        while self.events:
            time, index, stamp, _ = heapq.heappop(self.events)
            if index < 0:
                self._release(stamp, time)
            # Events cannot be taken out of a heap: one that was superseded is passed over when its time comes.
            elif self.samplers[index].stamp == stamp:
                self._end_responses(index)
        return self.times

    def _release(self, rollout: int, time: float) -> None:
        """Let the responses of a rollout begin, on the samplers with the fewest live ones first."""
        self.times[rollout].began = time
        group = self.rollouts[rollout].tokens.shape[1]
        for response in range(self.unfinished[rollout]):
            self._queue(response // group).append((rollout, response))
        free = [
            (len(sampler.live), index)
            for index, sampler in enumerate(self.samplers)
            if self._takes_next(index)
        ]
        for _, index in free:
            # Before anything is admitted: what the sampler has done so far was done with fewer responses.
            self.samplers[index].advance_to(time)
        heapq.heapify(free)
        # One response at a time to whoever has fewest, ties to the lowest number: as servers take them from one queue.
        while free:
            live, index = heapq.heappop(free)
            if self._takes_next(index):
                self._admit_next(index)
                heapq.heappush(free, (live + 1, index))
        for index in range(len(self.samplers)):
            self._schedule(index)

    def _queue(self, number: int) -> deque[tuple[int, int]]:
        """Return the queue of a sampler, or of a problem: there is one for all, or one per sampler."""
        return self.queues[number % len(self.queues)]

    def _takes_next(self, index: int) -> bool:
        """Tell whether a sampler has a free slot, and weights for its next waiting response."""
        sampler, waiting = self.samplers[index], self._queue(index)
        if not waiting or len(sampler.live) >= sampler.decoder.slots:
            return False
        # Without overlap all live responses are of one rollout, so that any of them tells which.
        return self.overlap or not sampler.live or sampler.live[0][1] == waiting[0][0]

    def _admit_next(self, index: int) -> None:
        """Give the next waiting response a slot of the sampler."""
        rollout, response = self._queue(index).popleft()
        tokens = self.rollouts[rollout].tokens
        problem, sample = divmod(response, tokens.shape[1])
        sampler = self.samplers[index]
        sampler.admit(rollout, problem, response, int(tokens[problem, sample]), self.prompt)
        times = self.times[rollout]
        times.drained = max(times.drained, sampler.time)

    def _schedule(self, index: int) -> None:
        """Put the end of the sampler's next response among the events."""
        sampler = self.samplers[index]
        self.count += 1
        sampler.stamp = self.count
        if sampler.live:
            end = sampler.time + sampler.duration(sampler.live[0][0] - sampler.steps)
            heapq.heappush(self.events, (end, index, sampler.stamp, self.count))

    def _end_responses(self, index: int) -> None:
        """Take out the responses that end now, fill their slots, and learn from a rollout that is complete."""
        sampler = self.samplers[index]
        end = sampler.live[0][0]
        remaining = end - sampler.steps
        sampler.advance(remaining, sampler.duration(remaining))
        # steps are sums of fractions: two that end at the same step may differ in the last digits
        while sampler.live and sampler.live[0][0] <= end + 1e-9 * max(1.0, end):
            _, rollout, _, tokens = heapq.heappop(sampler.live)
            sampler.context -= tokens + self.prompt
            self.unfinished[rollout] -= 1
            if not self.unfinished[rollout]:
                self._learn(rollout, sampler.time)
        if not sampler.live:
            sampler.context = 0.0
        while self._takes_next(index):
            self._admit_next(index)
        self._schedule(index)

    def _learn(self, rollout: int, time: float) -> None:
        """Update from a complete rollout, when its turn comes; the samplers then get the weights."""
        self.times[rollout].sampled = time
        self._note_busy(rollout, time)
        # updates are in the order of the rollouts: an earlier one that is incomplete comes first
        # Goes on behind this rollout: later ones that are complete already have waited for it.
        for index in range(rollout, len(self.rollouts)):
            if self.unfinished[index] or (index and not self.times[index - 1].updated):
                return
            if self.times[index].updated:
                continue
            work, times = self.rollouts[index], self.times[index]
            ready = times.sampled + work.judging
            times.learner_waited = max(0.0, ready - self.learner_free)
            times.updated = max(ready, self.learner_free) + work.updating
            times.released = times.updated + work.weights
            self.learner_free = times.updated
            following = index + self.staleness + 1
            if following < len(self.rollouts):
                self.count += 1
                heapq.heappush(self.events, (times.released, -1, following, self.count))

    def _note_busy(self, rollout: int, time: float) -> None:
        """Write down for which share of the time the samplers have had something to do."""
        # a sampler at work has been busy since its last event too
        busy = sum(s.busy + (max(0.0, time - s.time) if s.live else 0.0) for s in self.samplers)
        self.times[rollout].busy = busy / (time * len(self.samplers)) if time else 0.0
