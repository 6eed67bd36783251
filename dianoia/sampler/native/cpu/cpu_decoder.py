"""One core of the native sampler: prompts and responses by the C functions of `hardware/c_functions/step.c`.

In: a queue of units of requests that the cores share. Out: completions. A core takes the next prompt when it has a slot free, so
none waits for another; a completion is the same numbers whichever core draws it and whatever is drawn beside it, because
no sum in these functions depends on the other rows. Left out: machines without a C compiler (`lane`), GPUs (`row_lane`).
"""

import time
from collections import deque
from collections.abc import Sequence

import torch

from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.hardware.c_functions import call, round_to_vectors
from dianoia.sampler.draw import draw_owned, seed_of
from dianoia.sampler.native.cpu.cpu_cache import CoreMemory, CoreSizes, fitting
from dianoia.sampler.native.cpu.packed_weights import PackedModel
from dianoia.sampler.native.decode_results import Finished, Run
from dianoia.sampler.native.live_samples import Live, Unit, cut, stops_of

LOT_TOKENS = 256
"""Prompt tokens read at a time: enough that weights are read seldom, few enough for a core's cache."""
STEPS = 64
"""Steps between two looks at whether somebody wants to stop."""
OF_PROMPT = -1
"""Instead of a slot: a token that belongs to a prompt."""


def sizes_for(
    model: PackedModel,
    requests: Sequence[Request],
    queued: int,
    slots: int,
    params: SamplingParams,
) -> CoreSizes:
    """What a core needs for at most `slots` samples at a time out of so many units."""
    longest = max(len(request.prompt_ids) for request in requests)
    prompt_room, room = round_to_vectors(longest), round_to_vectors(params.max_tokens)
    slots = min(slots, fitting(model, prompt_room + room))
    prompts = min(queued, slots + 1)
    rows = max(slots, min(LOT_TOKENS, prompts * longest))
    return CoreSizes(slots, prompts, prompt_room, room, rows)


def units(requests: Sequence[Request], cores: int) -> list[Unit]:
    """All samples, no more of them in a unit than an even part."""
    return cut(requests, max(1, -(-sum(request.samples for request in requests) // cores)))


class CoreLane:
    """Slots and memory of one core."""

    def __init__(self, model: PackedModel) -> None:
        """Nothing allocated yet."""
        self._model = model
        self._memory: CoreMemory | None = None

    def generate(
        self,
        requests: Sequence[Request],
        queue: deque[Unit],
        sizes: CoreSizes,
        params: SamplingParams,
        finished: Finished | None,
    ) -> Run:
        """Take units of `requests` from the queue until it is empty; `sizes` say how many at a time."""
        run = Run(requests, sizes.slots, finished)
        if self._memory is None or not self._memory.sizes.covers(sizes):
            self._memory = None  # frees the old one before the new one is allocated
            self._memory = CoreMemory(self._model, sizes)
        _Turn(self._model, self._memory, run, queue, params).decode_all()
        return run


class _Turn:
    """One call of `generate` on one core."""

    def __init__(
        self,
        model: PackedModel,
        memory: CoreMemory,
        run: Run,
        queue: deque[Unit],
        params: SamplingParams,
    ) -> None:
        self._model, self._memory, self._run, self._queue = model, memory, run, queue
        self._params, self._law = params, (params.temperature, params.top_p, params.top_k)
        self._words, self._layers = model.words()
        self._eps = model.shape.eps
        self._state = torch.zeros(run.slots, 5, dtype=torch.int64)
        self._ids = torch.empty(run.slots, params.max_tokens, dtype=torch.int64)
        self._logprobs = torch.empty(run.slots, params.max_tokens)
        self._told = torch.zeros(2 + run.slots, dtype=torch.int64)
        self._stops = stops_of(params, model.shape.vocabulary, torch.device("cpu"))
        self._free_slots = list(range(run.slots))
        self._free_rows = list(range(memory.sizes.prompts))
        self._users: dict[int, int] = {}
        self._waiting: deque[Live] = deque()
        self._live: dict[int, Live] = {}

    def decode_all(self) -> None:
        """Fill the slots, draw until some sample ends, hand it out; until nothing is left."""
        while True:
            self._read_ahead()
            self._seat()
            if not self._live:
                return
            self._hand_out(self._decode())

    def _decode(self) -> list[int]:
        """Draw until some sample has ended; the slots of those that have."""
        live, count = list(self._live), len(self._live)
        call(
            "decode", self._words, self._eps, self._memory.words, self._state,
            torch.tensor(live), count, *self._law, self._stops, self._params.max_tokens,
            self._ids, self._logprobs, STEPS, self._told,
        )  # fmt: skip
        steps, ended, *places = self._told.tolist()
        self._run.steps += steps
        self._run.seated += steps * count
        return [live[place] for place in places[:ended]]

    def _hand_out(self, ended: list[int]) -> None:
        """Completions of these slots, which fall free."""
        counts = self._state[:, 1].tolist()
        for slot in ended:
            sample, count = self._live.pop(slot), counts[slot]
            ids = tuple(self._ids[slot, :count].tolist())
            logprobs = tuple(self._logprobs[slot, :count].tolist())
            self._free_slots.append(slot)
            self._end(sample, Completion(ids, logprobs, ids[-1] in self._params.stop_ids))

    def _end(self, sample: Live, completion: Completion) -> None:
        """The last user of a prompt's row frees it."""
        self._users[sample.row] -= 1
        if not self._users[sample.row]:
            self._free_rows.append(sample.row)
        self._run.finish(sample.request, sample.index, completion)

    # Prompts --------------------------------------------------------------------------------------

    def _read_ahead(self) -> None:
        """Read prompts until there is a waiting sample for every free slot, or none left to read.

        A sample that ends with its first token is handed out here and never takes a slot.
        """
        start = time.perf_counter()
        while len(self._waiting) < len(self._free_slots) and (lot := self._lot()):
            for sample in self._first_tokens(lot, self._read(lot)):
                stopped = sample.token in self._params.stop_ids
                if stopped or self._params.max_tokens == 1:
                    self._end(sample, Completion((sample.token,), (sample.logprob,), stopped))
                else:
                    self._waiting.append(sample)
        self._run.prefill += time.perf_counter() - start

    def _lot(self) -> list[tuple[Unit, int]]:
        """Units whose prompts are read now, each with a row: no more than the free slots ask for."""
        lot: list[tuple[Unit, int]] = []
        wanted, tokens = len(self._free_slots) - len(self._waiting), 0
        while wanted > 0 and tokens < LOT_TOKENS and self._free_rows:
            try:
                unit = self._queue.popleft()
            except IndexError:  # another core took the last one
                break
            lot.append((unit, self._free_rows.pop()))
            wanted -= unit.samples
            tokens += len(self._run.requests[unit.request].prompt_ids)
        return lot

    def _read(self, lot: list[tuple[Unit, int]]) -> torch.Tensor:
        """Fill the rows; final states after each prompt `[N, H]`."""
        prompts = [self._run.requests[unit.request].prompt_ids for unit, _ in lot]
        places = torch.cat([_places(ids, row) for ids, (_, row) in zip(prompts, lot, strict=True)])
        rows, states = self._memory.sizes.rows, torch.empty(len(places), self._model.shape.hidden)
        for first in range(0, len(places), rows):
            some, into = places[first : first + rows], states[first : first + rows]
            call("read_prompts", self._words, self._eps, self._memory.words, some, into, len(some))
        lengths = torch.tensor([len(ids) for ids in prompts])
        return states[lengths.cumsum(0) - 1]

    def _first_tokens(self, lot: list[tuple[Unit, int]], states_NH: torch.Tensor) -> list[Live]:
        """Every sample of the units, with its first token."""
        logits = torch.empty(len(lot), round_to_vectors(self._model.shape.vocabulary))
        call("logits_of", self._words, states_NH.to(self._model.dtype), logits, len(lot))
        samples, owners = [], []
        for owner, (unit, row) in enumerate(lot):
            request = self._run.requests[unit.request]
            self._users[row] = unit.samples
            for index in range(unit.first, unit.first + unit.samples):
                seed = seed_of(request.key, index)
                samples.append(Live(unit.request, index, seed, row, len(request.prompt_ids)))
                owners.append(owner)
        seeds = torch.tensor([sample.seed for sample in samples])
        logits = logits[:, : self._model.shape.vocabulary]
        ids, logprobs = draw_owned(logits, torch.tensor(owners), seeds, self._params)
        for sample, token, logprob in zip(samples, ids.tolist(), logprobs.tolist(), strict=True):
            sample.token, sample.logprob = token, logprob
        return samples

    def _seat(self) -> None:
        """Waiting samples take free slots."""
        count = min(len(self._waiting), len(self._free_slots))
        if not count:
            return
        slots = [self._free_slots.pop() for _ in range(count)]
        samples = [self._waiting.popleft() for _ in range(count)]
        self._live.update(zip(slots, samples, strict=True))
        rows = [(s.token, 1, s.seed, s.row, s.prompt) for s in samples]
        self._state[slots] = torch.tensor(rows)
        self._ids[slots, 0] = torch.tensor([sample.token for sample in samples])
        self._logprobs[slots, 0] = torch.tensor([sample.logprob for sample in samples])


def _places(prompt: tuple[int, ...], row: int) -> torch.Tensor:
    """Structures `Place` of a prompt's tokens, `[tokens, 6]`."""
    place = torch.arange(len(prompt))
    same = torch.ones_like(place)
    fields = (torch.tensor(prompt), place, same * row, place + 1, same * OF_PROMPT, same * 0)
    return torch.stack(fields, 1)
