"""Continuous batching in PyTorch: the loop that keeps the slots of `DecodeSteps` full.

In: prompt shares from a queue, each with sampling parameters of its own. Out: completions, and tokens as they are drawn. Texts are
read in pieces between decoding steps, so that a long prompt does not hold up the samples that run. The host checks every few steps
which samples have ended. Which samples have slots and pages is `schedule`'s business. A completion does not depend on it: on a CPU
to the bit, on CUDA up to the rounding of products of different sizes.
"""

import sys
import time
from collections.abc import Callable

import torch

from dianoia.base.records import Completion
from dianoia.sampler.draw import seed_of
from dianoia.sampler.native.cpu.cpu_decoder import PromptShare
from dianoia.sampler.native.decode_results import Finished
from dianoia.sampler.native.torch.decode_steps import DecodeSteps, StepShape
from dianoia.sampler.native.torch.page_pool import PagePool
from dianoia.sampler.native.torch.passes import Chunk
from dianoia.sampler.native.torch.schedule import Piece, Sample, Schedule

PIECE = {"cpu": 512, "cuda": 8192}
"""Tokens read at a time: enough to keep the arithmetic busy, few enough to bound the memory of a pass."""
CHECK_EVERY = 8
"""Most steps between two checks for ended samples."""
FEWEST_SLOTS, SHORTEST = 8, 256
"""Smallest size of a step on CUDA; larger ones double, so that few shapes are captured."""


class DecodeLoop:
    """The samples of one decoder: those that wait, and those in slots."""

    def __init__(
        self,
        steps: DecodeSteps,
        slots: int,
        take: Callable[[], PromptShare | None],
        finish: Finished,
        weights_version: int,
        *,
        refill: int = sys.maxsize,
        piece: int | None = None,
        pieces: int = sys.maxsize,
    ) -> None:
        """take: returns the next prompt share of a queue, None if there is none. finish: gets each completion.

        refill: while samples run, others are read once one slot in `refill` is free, since reading one prompt costs nearly as
        much as reading many. piece: tokens read at a time; None: PIECE. pieces: most of them between two rounds of steps while
        samples run.
        """
        self._steps, self._take, self._finish = steps, take, finish
        self._weights_version, self._refill = weights_version, refill
        self._piece, self._pieces = piece or PIECE[steps.device.type], pieces
        self.schedule = Schedule(PagePool(steps.size.pages), slots)
        self._arrivals = 0
        self.steps = self.slot_steps = 0
        """slot_steps: decoding steps times live samples."""
        self.seconds_prefill = 0.0
        steps.begin()

    @property
    def busy(self) -> bool:
        """True if the loop holds samples, with or without a slot."""
        return self.schedule.busy

    @property
    def occupancy(self) -> float:
        """Share of the slots that hold a sample."""
        return len(self.schedule.live) / self.schedule.slots

    @torch.inference_mode()
    def advance(self, steps: int, shares: int = sys.maxsize) -> bool:
        """Read what waits, fill free slots, decode for at most `steps` steps, and hand out what has ended.

        shares: most prompt shares to take from the queue. Returns False once there is nothing left.
        """
        start = time.perf_counter()
        self._fill(shares)
        self.seconds_prefill += time.perf_counter() - start
        if not self.schedule.live:
            return False
        # Behind filling: as long as samples wait, the high slots are about to be filled again.
        self._compact()
        self._decode(min(steps, CHECK_EVERY))
        self._hand_out()
        return True

    # Prompts --------------------------------------------------------------------------------------

    def _fill(self, shares: int) -> None:
        """Read prompts and give slots to their samples, until there are no slots, no pages, no prompts, or enough pieces."""
        read = 0
        self._seat()
        # With no sample in a slot nobody is held up, so that pieces are read without a limit until one can be seated.
        while not (self.schedule.live and read >= self._pieces):
            shares -= self._take_shares(shares)
            if not self._read():
                return
            self._seat()
            read += 1

    def _take_shares(self, most: int) -> int:
        """Take as many samples from the queue as there are free slots; return the number of shares."""
        schedule, taken = self.schedule, 0
        while taken < most and schedule.pending < schedule.free_slots and (share := self._take()):
            request = share.request
            samples = [
                Sample(
                    # Not the request's number: a session may queue parts of one request, and each part comes in its turn.
                    (self._arrivals, index),
                    share.number,
                    index,
                    request.prompt_ids,
                    share.params,
                    seed_of(request.key, index),
                )
                for index in range(share.first, share.first + share.samples)
            ]
            self._arrivals += 1
            if samples:
                schedule.add(samples)
            taken += 1
        return taken

    def _read(self) -> bool:
        """Read the next piece, and draw the first tokens of samples whose prompt is read. Returns False if there is none."""
        schedule = self.schedule
        begun = any(not reading.done for reading in schedule.readings)
        # A pass over prompts is begun for enough free slots only; once one is under way, others join it for little more.
        if begun or not schedule.live or schedule.free_slots * self._refill >= schedule.slots:
            schedule.begin_readings()
        pieces = schedule.pieces(self._piece)
        if not pieces:
            return False
        chunks = [
            Chunk(p.reading.ids[p.first : p.first + p.count], p.first, p.reading.pages)
            for p in pieces
        ]
        states_NH = self._steps.read(chunks)
        for piece in pieces:
            piece.reading.read += piece.count
        self._draw_first(pieces, states_NH)
        return True

    def _draw_first(self, pieces: list[Piece], states_NH: torch.Tensor) -> None:
        """Draw the first tokens behind texts that are read; samples that end with theirs never take a slot."""
        # samples that were preempted have drawn tokens already
        fresh = [
            (row, sample)
            for row, piece in enumerate(pieces)
            for sample in piece.reading.samples
            if piece.reading.done and not sample.ids
        ]
        # In order of appearance. A set would draw in the order of hashes, which differ from process to process.
        for params in dict.fromkeys(sample.params for _, sample in fresh):
            members = [(row, sample) for row, sample in fresh if sample.params == params]
            rows, seeds = [row for row, _ in members], [sample.seed for _, sample in members]
            drawn = self._steps.draw_first(states_NH, rows, seeds, params)
            for (_, sample), token, logprob in zip(members, *drawn, strict=True):
                sample.ids, sample.logprobs, sample.drawn = [token], [logprob], 1
        ended = {
            sample.order
            for _, sample in fresh
            if sample.ids[0] in sample.params.stop_ids or sample.params.max_tokens == 1
        }
        for sample in self.schedule.drop(lambda sample: sample.order in ended):
            self._end(sample)

    # Slots ----------------------------------------------------------------------------------------

    def _seat(self) -> None:
        """Give slots to samples whose text is read."""
        seats = self.schedule.seats()
        self._steps.cache.copy([seat.copied for seat in seats if seat.copied is not None])
        self._steps.seat([seat.sample for seat in seats])

    def _decode(self, most: int) -> None:
        """Give the samples their pages, and run at most `most` steps."""
        schedule = self.schedule
        count = min(most, max(s.params.max_tokens - s.drawn for s in schedule.live.values()))
        entries, lost = schedule.grow(count)
        self._fetch(lost)
        # `grow` has marked their slots as free already. They are emptied here, before the next `_seat` can give them away.
        if lost:
            self._steps.free([sample.slot for sample in lost])
            for sample in lost:
                sample.slot = -1
        self._steps.extend(entries)
        # All samples may have lost their pages to an older text that is being read.
        if not schedule.live:
            return
        slots = max(schedule.live) + 1
        after = {i: min(s.tokens + count, s.most_tokens) for i, s in schedule.live.items()}
        # A slot without a sample has length 0 and no pages; its row reads the scratch page.
        lengths = [after.get(slot, 0) for slot in range(slots)]
        pages = [schedule.live[i].pages if i in after else [] for i in range(slots)]
        self._steps.use({slot: sample.params for slot, sample in schedule.live.items()})
        self._steps.run(count, self._step_shape(lengths), lengths, pages)
        for sample in schedule.live.values():
            # An upper bound until `_fetch` has the true number: the device may have met a stop id within these steps.
            sample.drawn = min(sample.drawn + count, sample.params.max_tokens)
        self.steps += count

    def _step_shape(self, lengths: list[int]) -> StepShape:
        """Return slots and length that cover all samples."""
        steps, slots, length = self._steps, len(lengths), max(lengths)
        # on a CPU nothing is captured, so a step is exactly as large as it has to be
        if steps.captures:
            slots, length = _doubled(FEWEST_SLOTS, slots), _doubled(SHORTEST, length)
        return StepShape(steps.rows(slots), min(steps.size.tokens, length))

    def _fetch(self, samples: list[Sample]) -> None:
        """Copy the tokens that samples in slots have drawn from the device."""
        slots, first = [sample.slot for sample in samples], [len(sample.ids) for sample in samples]
        fetched = self._steps.drawn(slots, first)
        for sample, (ids, logprobs) in zip(samples, fetched, strict=True):
            sample.ids += ids
            sample.logprobs += logprobs
            sample.drawn = len(sample.ids)

    def _hand_out(self) -> None:
        """Finish the samples that have ended, and free their slots and pages."""
        live = self.schedule.live
        if not live:
            return
        flags = self._steps.ended(max(live) + 1)
        self._release([sample for slot, sample in sorted(live.items()) if flags[slot]])

    def _release(self, samples: list[Sample]) -> None:
        """End samples in slots."""
        if not samples:
            return
        # Before the slots are emptied, which forgets how many tokens they have drawn.
        self._fetch(samples)
        slots = [sample.slot for sample in samples]
        self._steps.free(slots)
        for slot in slots:
            # The first token comes from reading the prompt, not from a step.
            self.slot_steps += len(self.schedule.live[slot].ids) - 1
            self._end(self.schedule.finish(slot))

    def _end(self, sample: Sample) -> None:
        """Hand out a completion, of a cancelled sample perhaps without tokens."""
        ids = tuple(sample.ids)
        stopped = bool(ids) and ids[-1] in sample.params.stop_ids
        completion = Completion(ids, tuple(sample.logprobs), stopped, self._weights_version)
        self._finish(sample.number, sample.index, completion)

    def _compact(self) -> None:
        """Once no sample waits, move samples into the first slots if that halves the slots of a step."""
        schedule = self.schedule
        if schedule.pending:
            return
        enough = _doubled(FEWEST_SLOTS, len(schedule.live))
        if enough * 2 <= _doubled(FEWEST_SLOTS, max(schedule.live) + 1):
            self._steps.move(*schedule.compact(enough))

    # Sessions -------------------------------------------------------------------------------------

    def stream(
        self,
        is_streamed: Callable[[int], bool],
        deliver: Callable[[Sample, list[int], list[float]], None],
    ) -> None:
        """Call `deliver` with the ids and log-probabilities that samples in slots have drawn since the last call.

        is_streamed: whether a request's samples are delivered before they end.
        """
        live = [s for s in self.schedule.live.values() if is_streamed(s.number)]
        self._fetch(live)
        for sample in live:
            fresh = slice(sample.streamed, None)
            if len(sample.ids) > sample.streamed:
                sample.streamed = len(sample.ids)
                deliver(sample, sample.ids[fresh], sample.logprobs[fresh])

    def cancel(self, cancelled: Callable[[int], bool]) -> None:
        """End the samples of requests for which `cancelled(number)` is True, with the tokens drawn so far."""
        with torch.inference_mode():
            # Those in slots go first, with their tokens fetched; `drop` then has only samples whose tokens the host has.
            live = self.schedule.live.values()
            self._release([sample for sample in live if cancelled(sample.number)])
        for sample in self.schedule.drop(lambda sample: cancelled(sample.number)):
            self._end(sample)


def _doubled(first: int, least: int) -> int:
    """Return the first of `first`, 2 `first`, 4 `first`, ... that is at least `least`."""
    while first < least:
        first *= 2
    return first
