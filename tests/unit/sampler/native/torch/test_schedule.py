"""Slots and pages without a device: everybody ends, whatever the number of pages, and no page is used by two who may not share."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from dianoia.base.records import SamplingParams
from dianoia.sampler.native.torch.page_pool import PAGE, PagePool, pages_for
from dianoia.sampler.native.torch.schedule import Sample, Schedule


def samples(order: int, prompt: int, count: int, limit: int) -> list[Sample]:
    """Samples of one prompt with a limit on their tokens."""
    params = SamplingParams(limit, frozenset())
    ids = tuple(range(prompt))
    return [Sample((order, i), order, i, ids, params, seed=0) for i in range(count)]


class Device:
    """What a decoder does with a schedule, without tokens: it checks who writes where."""

    def __init__(self, pages: int, slots: int) -> None:
        self.schedule = Schedule(PagePool(pages), slots)
        self.ended: list[tuple[int, int]] = []
        self.read = self.copies = 0

    def round(self, steps: int, piece: int) -> None:
        """Read a piece, fill slots, and run steps."""
        schedule = self.schedule
        schedule.begin_readings()
        for part in schedule.pieces(piece):
            assert part.first == part.reading.read and part.count > 0
            part.reading.read += part.count
            self.read += part.count
            for sample in part.reading.samples if part.reading.done else ():
                if not sample.ids:
                    sample.ids, sample.drawn = [0], 1
        for seat in schedule.seats():
            self.copies += seat.copied is not None
        self.check()
        _, lost = schedule.grow(steps)
        self.check()
        for sample in lost:
            sample.ids = [0] * sample.drawn
        for slot, sample in sorted(schedule.live.items()):
            sample.drawn = min(sample.drawn + steps, sample.params.max_tokens)
            assert len(sample.pages) >= pages_for(min(sample.tokens, sample.most_tokens))
            if sample.drawn == sample.params.max_tokens:
                self.ended.append(sample.order)
                schedule.finish(slot)

    def check(self) -> None:
        """Nobody's last, written page is another's; shared pages are full pages of one prompt."""
        schedule, users = self.schedule, Counter[int]()
        for sample in schedule.live.values():
            users.update(sample.pages)
            full = len(sample.prompt_ids) // PAGE
            written = set(sample.pages[full:])
            for other in schedule.live.values():
                assert other is sample or not written & set(other.pages)
            for reading in schedule.readings:
                assert not written & set(reading.pages)
        for reading in schedule.readings:
            users.update(reading.pages)
        assert schedule.pool.free == schedule.pool.pages - len(users)
        assert len(schedule.live) + schedule.free_slots == schedule.slots


requests = st.lists(
    st.tuples(st.integers(1, 3 * PAGE), st.integers(1, 4), st.integers(1, 3 * PAGE)),
    min_size=1,
    max_size=5,
)


@settings(deadline=None, max_examples=60)
@given(requests, st.integers(0, 8), st.integers(1, 6), st.integers(1, 40), st.integers(0, 30))
def test_everybody_ends_and_all_pages_come_back(
    sizes: list[tuple[int, int, int]], spare: int, slots: int, steps: int, cancelled_at: int
) -> None:
    """With as many pages as the longest needs alone, and a few more; one request is cancelled on the way."""
    pages = max(pages_for(prompt + limit) for prompt, _, limit in sizes) + spare
    device = Device(pages, slots)
    for order, (prompt, count, limit) in enumerate(sizes):
        device.schedule.add(samples(order, prompt, count, limit))
    # each round ends a sample, or takes a piece or steps off what is left to the oldest
    for number in range(2_000):
        if number == cancelled_at:
            for slot, sample in list(device.schedule.live.items()):
                if sample.number == 0:
                    device.ended.append(device.schedule.finish(slot).order)
            device.ended += [s.order for s in device.schedule.drop(lambda s: s.number == 0)]
        if not device.schedule.busy:
            break
        device.round(steps, piece=100)
    assert not device.schedule.busy, "a deadlock"
    assert sorted(device.ended) == [(i, j) for i, size in enumerate(sizes) for j in range(size[1])]
    assert device.schedule.pool.free == pages and device.schedule.free_slots == slots


def test_a_prompt_is_read_once_and_its_full_pages_are_shared() -> None:
    """100 tokens are one full page and a part of one: four samples hold the full page, three copies and the original."""
    device = Device(pages=20, slots=4)
    device.schedule.add(samples(0, 100, 4, 5))
    device.round(steps=1, piece=64)
    assert device.read == 64 and not device.schedule.live, "the prompt comes in two pieces"
    device.round(steps=1, piece=64)
    assert device.read == 100 and device.copies == 3
    assert device.schedule.pool.free == 20 - 1 - 4
    assert len({tuple(s.pages[:1]) for s in device.schedule.live.values()}) == 1


def test_the_newest_gives_its_pages_to_the_oldest() -> None:
    """Two samples of 60 prompt tokens and four pages: at 129 tokens the first takes the second's, which reads again later."""
    device = Device(pages=4, slots=2)
    device.schedule.add(samples(0, 60, 1, 140))
    device.schedule.add(samples(1, 60, 1, 80))
    device.round(steps=64, piece=120)
    assert [(s.tokens, len(s.pages)) for s in device.schedule.live.values()] == [(124, 2)] * 2
    device.round(steps=8, piece=120)
    (left,) = device.schedule.live.values()
    assert left.order == (0, 0) and len(left.pages) == 3 and device.schedule.preemptions == 1
    ((waiting,),) = device.schedule.waiting
    # 65 tokens were drawn; the last one is not in the cache, and will be the next step's
    assert waiting.order == (1, 0) and len(waiting.ids) == 65 and len(waiting.read_ids) == 124
    assert device.read == 120
    while device.schedule.busy:
        device.round(steps=8, piece=120)
    assert device.ended == [(0, 0), (1, 0)] and device.read == 120 + 124
