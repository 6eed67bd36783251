"""Which samples hold pages and slots: reading of prompts, seating, growth and preemption. No torch.

In: samples, in the order in which they came. Out: what the decoder has to read, copy and write into its tables. A prompt is read
once into pages of its own. Its samples share the full pages; the page that it fills in part is copied, and the last sample
takes it over. A sample takes further pages as it grows. When there are none, whatever came last gives its pages back and waits:
a sample keeps the tokens that it has drawn, and its prompt and these are read again later. So the oldest sample always goes
on, and whoever fits into all pages alone will end. Nothing here decides on a token.
"""

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from dianoia.base.records import SamplingParams
from dianoia.sampler.native.torch.page_pool import PAGE, PagePool, pages_for

RESERVE = 4
"""Pages are left for one in RESERVE of the samples that may grow before another text is read: it would be preempted soon."""


@dataclass(eq=False, slots=True)
class Sample:
    """A sample between its request and its end."""

    order: tuple[int, int]
    """When its request came, and the sample's index: whoever is last gives up pages first."""
    number: int
    """Index of its request."""
    index: int
    """Index among the samples of its request."""
    prompt_ids: tuple[int, ...]
    params: SamplingParams
    seed: int
    """Seed of its random stream."""
    ids: list[int] = field(default_factory=list)
    """Tokens drawn, as far as the host has them: all while the sample has no slot."""
    logprobs: list[float] = field(default_factory=list)
    streamed: int = 0
    """Tokens that have been delivered."""
    drawn: int = 0
    """Tokens drawn, also those that only the device has."""
    pages: list[int] = field(default_factory=list)
    slot: int = -1
    """-1 without a slot."""

    @property
    def tokens(self) -> int:
        """Tokens in the cache: all but the one that was drawn last, which the next step reads."""
        return len(self.prompt_ids) + self.drawn - 1

    @property
    def most_tokens(self) -> int:
        """Tokens of the prompt and the longest response."""
        return len(self.prompt_ids) + self.params.max_tokens

    @property
    def read_ids(self) -> tuple[int, ...]:
        """Tokens to read before the sample can take a slot."""
        return (*self.prompt_ids, *self.ids[:-1])


@dataclass(eq=False, slots=True)
class Reading:
    """A text that is read into pages, and the samples that go on behind it."""

    ids: tuple[int, ...]
    samples: list[Sample]
    """Those without a slot, in their order."""
    pages: list[int]
    read: int
    """Tokens in the pages."""

    @property
    def order(self) -> tuple[int, int]:
        """See `Sample.order`."""
        return self.samples[0].order

    @property
    def done(self) -> bool:
        """True if all is read."""
        return self.read == len(self.ids)


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens of a text that are read in one pass."""

    reading: Reading
    first: int
    """Position of the first token."""
    count: int


@dataclass(frozen=True, slots=True)
class Seat:
    """A sample that takes a slot."""

    sample: Sample
    copied: tuple[int, int] | None
    """Page to copy, and the page that takes the copy."""


class Schedule:
    """Samples that wait, texts that are read, and samples in slots."""

    def __init__(self, pool: PagePool, slots: int) -> None:
        self.pool, self.slots = pool, slots
        self.live: dict[int, Sample] = {}
        """By slot."""
        self.readings: list[Reading] = []
        """In the order of their samples."""
        self.waiting: list[list[Sample]] = []
        """Samples that go on behind the same text, in order; the groups in the order of their first samples."""
        self._free_slots = list(range(slots))
        self.preemptions = 0
        """Times that a sample in a slot gave its pages back."""

    @property
    def free_slots(self) -> int:
        """Number of free slots."""
        return len(self._free_slots)

    @property
    def busy(self) -> bool:
        """True if there are samples."""
        return bool(self.live or self.readings or self.waiting)

    @property
    def pending(self) -> int:
        """Samples without a slot."""
        texts = (*self.waiting, *(reading.samples for reading in self.readings))
        return sum(map(len, texts))

    def add(self, samples: list[Sample]) -> None:
        """Take new samples of one prompt."""
        # Sorted in and not appended: samples that were preempted come back with their old order, ahead of newer requests.
        insort(self.waiting, samples, key=lambda group: group[0].order)

    # Reading --------------------------------------------------------------------------------------

    def begin_readings(self) -> None:
        """Give pages to the texts that come next, as long as there are slots and pages for their samples."""
        ahead = sum(len(reading.samples) for reading in self.readings)
        # Texts are begun strictly in order: one that does not fit yet would starve if smaller ones behind it took the pages.
        while self.waiting and ahead < len(self._free_slots):
            group = self.waiting[0]
            ids, shared = group[0].read_ids, self._prompt_pages(group[0])
            needed = pages_for(len(ids)) - len(shared)
            growing = sum(pages_for(s.most_tokens) > len(s.pages) for s in self.live.values())
            # With no sample in a slot nothing grows: then a text waits for its own pages only.
            if self.pool.free < needed + growing // RESERVE:
                return
            self.pool.share(shared)
            new_pages = self.pool.take(needed)
            assert new_pages is not None
            # Shared pages are full and written already, so that reading begins behind them.
            reading = Reading(ids, group, [*shared, *new_pages], len(shared) * PAGE)
            insort(self.readings, reading, key=lambda reading: reading.order)
            del self.waiting[0]
            ahead += len(group)

    def _prompt_pages(self, sample: Sample) -> list[int]:
        """Return the full pages of a prompt that another sample of its request holds; none if nobody does."""
        # One token at least is left to read: its hidden state is what the first draw of a new sample needs.
        full = (len(sample.read_ids) - 1) // PAGE
        # Behind the prompt the other sample's pages hold its own response.
        full = min(full, len(sample.prompt_ids) // PAGE)
        for other in self.live.values():
            if other.number == sample.number:
                return other.pages[:full]
        return []

    def pieces(self, tokens: int) -> list[Piece]:
        """Return what to read next, at most so many tokens, in order; `read` counts them as read."""
        pieces = []
        for reading in self.readings:
            count = min(tokens, len(reading.ids) - reading.read)
            if count > 0:
                pieces.append(Piece(reading, reading.read, count))
                tokens -= count
        return pieces

    # Slots ----------------------------------------------------------------------------------------

    def seats(self) -> list[Seat]:
        """Give slots to samples whose text is read, in order."""
        seats: list[Seat] = []
        # A list of its own: `_forget_if_empty` takes readings out of the one that is looked through.
        for reading in [reading for reading in self.readings if reading.done]:
            while reading.samples and self._free_slots:
                seat = self._seat(reading)
                if seat is None:
                    return seats
                seats.append(seat)
            self._forget_if_empty(reading)
        return seats

    def _seat(self, reading: Reading) -> Seat | None:
        """Give a slot to the first sample of a text; None if there is no page for the copy."""
        sample, waiting = reading.samples[0], reading.samples[1:]
        full, in_part = divmod(len(reading.ids), PAGE)
        copied = None
        if not waiting:
            # The last sample takes the page that is filled in part as it is. An empty list is left, so that nothing
            # is released twice.
            sample.pages, reading.pages = reading.pages, []
        else:
            copies = self.pool.take(1 if in_part else 0)
            if copies is not None:
                self.pool.share(reading.pages[:full])
                sample.pages = [*reading.pages[:full], *copies]
                copied = (reading.pages[full], copies[0]) if in_part else None
            elif self.live:
                return None
            else:
                # nobody will give a page back: the first sample takes all, and the text is read again for the others
                sample.pages, reading.pages = reading.pages, []
                self.add(waiting)
                waiting = []
        reading.samples = waiting
        # The lowest free slot: a step computes slots 0 to the highest live one, so that holes cost time.
        sample.slot = heappop(self._free_slots)
        self.live[sample.slot] = sample
        return Seat(sample, copied)

    def _forget_if_empty(self, reading: Reading) -> None:
        if not reading.samples:
            self.pool.release(reading.pages)
            self.readings.remove(reading)

    def grow(self, steps: int) -> tuple[list[tuple[int, int, int]], list[Sample]]:
        """Give every sample in a slot the pages of so many steps.

        Returns (slot, index in the table, page) for each new page, and the samples that have lost their slots, which `slot`
        still names: the caller fetches their tokens.
        """
        entries: list[tuple[int, int, int]] = []
        lost: list[Sample] = []
        # The oldest first: pages are only ever taken from whoever is newer, or from the sample itself.
        for sample in sorted(self.live.values(), key=lambda sample: sample.order):
            if sample in lost:
                continue
            tokens, first = min(sample.tokens + steps, sample.most_tokens), len(sample.pages)
            while (new_pages := self.pool.take(max(0, pages_for(tokens) - first))) is None:
                victim = self._preempt_newest()
                if victim is not None:
                    lost.append(victim)
                # It was the newest itself. Its `pages` are empty now, so that nothing may be added to them.
                if victim is sample:
                    break
            # nothing for a sample that has lost its own pages
            sample.pages += new_pages or ()
            entries += [(sample.slot, first + i, page) for i, page in enumerate(new_pages or ())]
        return entries, lost

    def _preempt_newest(self) -> Sample | None:
        """Take the pages of what came last; return it if it is a sample in a slot, which waits from now on."""
        holders: list[Sample | Reading] = [*self.live.values(), *self.readings]
        # A reading counts too, in the order of its first sample: a long prompt must not keep pages from older samples.
        newest = max(holders, key=lambda holder: holder.order)
        self.pool.release(newest.pages)
        newest.pages = []
        if isinstance(newest, Reading):
            self.readings.remove(newest)
            self.add(newest.samples)
            return None
        self.preemptions += 1
        del self.live[newest.slot]
        heappush(self._free_slots, newest.slot)
        self.add([newest])
        return newest

    def finish(self, slot: int) -> Sample:
        """Free the slot and the pages of a sample, and return it."""
        sample = self.live.pop(slot)
        self.pool.release(sample.pages)
        sample.pages, sample.slot = [], -1
        heappush(self._free_slots, slot)
        return sample

    def drop(self, is_dropped: Callable[[Sample], bool]) -> list[Sample]:
        """Take samples without a slot out of the schedule, and return them."""
        dropped: list[Sample] = []
        for reading in list(self.readings):
            dropped += filter(is_dropped, reading.samples)
            reading.samples = [sample for sample in reading.samples if not is_dropped(sample)]
            self._forget_if_empty(reading)
        for group in self.waiting:
            dropped += filter(is_dropped, group)
        groups = ([s for s in group if not is_dropped(s)] for group in self.waiting)
        self.waiting = [group for group in groups if group]
        return dropped

    def compact(self, slots: int) -> tuple[list[int], list[int]]:
        """Move samples from slots at or beyond `slots` into free ones before; return (targets, sources)."""
        sources = sorted(slot for slot in self.live if slot >= slots)
        # The heap itself is in no order that can be cut. With both sorted, the same samples always land in the same slots.
        targets = sorted(slot for slot in self._free_slots if slot < slots)[: len(sources)]
        for target, source in zip(targets, sources, strict=True):
            sample = self.live.pop(source)
            sample.slot = target
            self.live[target] = sample
        self._free_slots = [slot for slot in range(self.slots) if slot not in self.live]
        heapify(self._free_slots)
        return targets, sources
