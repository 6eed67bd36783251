"""Continuous batching on one core of a CPU, by the C functions of `hardware/c_functions/step.c`.

In: a queue of prompt shares that the cores of all ranks empty together. Out: completions. A core reads the next prompt when it has a
free slot, so no core waits for another. No sum in the C functions depends on other rows, so a completion is the same bits
whichever core decodes it, whatever is decoded at the same time, and whatever their sampling parameters are. Not here:
machines without a C compiler (`native.torch`), sessions (`native.session`).
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import torch

from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.base.stopping import give_up_sampling_if_overdue
from dianoia.hardware.c_functions import c_struct, round_to_vectors
from dianoia.hardware.c_functions import typed_calls as functions
from dianoia.sampler.draw import draw_owned, seed_of
from dianoia.sampler.interface import params_of
from dianoia.sampler.native.cpu.packed_model import (
    CpuMemory,
    MemorySizes,
    PackedModel,
    slots_in_core_cache,
)
from dianoia.sampler.native.decode_results import DecodeResults, Finished, stop_table

PREFILL_TOKENS = 256
"""Prompt tokens per prefill: enough that weights are read seldom, few enough for a core's cache."""
STEPS = 64
"""Most decoding steps per call of C, after which Python can handle an interrupt."""
MOST_PARAMS = 256
"""Sets of sampling parameters that a decoder remembers while it is idle."""
PROMPT_SLOT = -1
"""Slot number of a token that belongs to a prompt."""


class SlotField(IntEnum):
    """Columns of the slots' state, in the order of the C structure `Slot`."""

    TOKEN = 0
    DRAWN = 1
    SEED = 2
    PROMPT_ROW = 3
    PROMPT_TOKENS = 4
    PARAMS = 5


@dataclass(frozen=True, slots=True)
class PromptShare:
    """Consecutive samples of one request that one core decodes over one copy of the prompt."""

    number: int
    """Index of the request among those of the call."""
    request: Request
    params: SamplingParams
    first: int
    """Index of the first sample."""
    samples: int


@dataclass(slots=True)
class LiveSample:
    """A sample between its first token and its last."""

    number: int
    """Index of its request."""
    index: int
    """Index among the samples of its request."""
    params: SamplingParams
    seed: int
    """Seed of its random stream."""
    prompt_row: int
    """Row of the prompt cache that holds its prompt."""
    prompt_tokens: int
    token: int = 0
    """First token of the response."""
    logprob: float = 0.0
    """Log-probability of the first token."""
    streamed: int = 0
    """Tokens that `DecodeLoop.stream` has delivered."""


def split_requests(
    requests: Sequence[Request], default: SamplingParams, cores: int
) -> list[PromptShare]:
    """Split all samples into shares of at most an even part per core, long prompts first.

    Prompts of like length are then read together, and what is likely to take longest begins first. Results do not
    depend on the order.
    """
    most = max(1, -(-sum(request.samples for request in requests) // cores))
    order = sorted(range(len(requests)), key=lambda i: -len(requests[i].prompt_ids))
    return [
        PromptShare(
            i,
            requests[i],
            params_of(requests[i], default),
            first,
            min(most, requests[i].samples - first),
        )
        for i in order
        for first in range(0, requests[i].samples, most)
    ]


def memory_sizes(
    model: PackedModel, prompt_tokens: int, response_tokens: int, shares: int, slots: int
) -> MemorySizes:
    """Return the memory that a core needs for at most `slots` samples at a time.

    prompt_tokens, response_tokens: of the longest prompt and response. shares: prompts that may wait for a core.
    """
    prompt_capacity = round_to_vectors(prompt_tokens)
    response_capacity = round_to_vectors(response_tokens)
    slots = min(slots, slots_in_core_cache(model, prompt_capacity + response_capacity))
    # One more than slots: a prompt may be read while each slot attends to another one.
    prompt_rows = min(shares, slots + 1)
    # A decoding step has one row per slot, a prefill one per prompt token.
    rows = max(slots, min(PREFILL_TOKENS, prompt_rows * prompt_tokens))
    return MemorySizes(slots, prompt_rows, prompt_capacity, response_capacity, rows)


class CpuDecoder:
    """One core; its memory is kept between calls."""

    def __init__(self, model: PackedModel) -> None:
        self._model = model
        self._memory: CpuMemory | None = None

    def generate(
        self,
        requests: Sequence[Request],
        take: Callable[[], PromptShare | None],
        sizes: MemorySizes,
        response_tokens: int,
        finished: Finished | None,
        weights_version: int,
    ) -> DecodeResults:
        """Decode shares of `requests`, which `take` gives, until it gives none."""
        results = DecodeResults(requests, sizes.slots, finished)
        # memory of an earlier, larger call serves too: rows are only longer than they need to be
        if self._memory is None or not self._memory.sizes.covers(sizes):
            self._memory = None  # frees the old memory before the new one is allocated
            self._memory = CpuMemory(self._model, sizes)

        size = (sizes.slots, response_tokens)
        loop = DecodeLoop(self._model, self._memory, size, take, results.finish, weights_version)
        while loop.advance(STEPS):
            give_up_sampling_if_overdue()
        results.steps, results.slot_steps = loop.steps, loop.slot_steps
        results.seconds_prefill = loop.seconds_prefill
        return results


class _ParamsTable:
    """Array of the C structure `Params`, one per distinct sampling parameters."""

    def __init__(self, vocabulary: int) -> None:
        self._vocabulary = vocabulary
        self._indices: dict[SamplingParams, int] = {}
        self._stops: dict[frozenset[int], torch.Tensor] = {}
        self.structures = torch.empty(0, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self._indices)

    def index(self, params: SamplingParams) -> int:
        """Return the index of `params` in the array, which grows if they are new."""
        if params not in self._indices:
            stops = self._stops.setdefault(
                params.stop_ids, stop_table(params, self._vocabulary, torch.device("cpu"))
            )
            fields: dict[str, torch.Tensor | int | float | None] = {
                "temperature": float(params.temperature), "top_p": float(params.top_p),
                "top_k": params.top_k, "max_tokens": params.max_tokens, "stops": stops,
            }  # fmt: skip
            self._indices[params] = len(self._indices)
            self.structures = torch.cat((self.structures, c_struct("Params", fields)))
        return self._indices[params]


class DecodeLoop:
    """Slots of one core: waiting samples, live samples and the rows of the prompt cache that they use."""

    def __init__(
        self,
        model: PackedModel,
        memory: CpuMemory,
        size: tuple[int, int],
        take: Callable[[], PromptShare | None],
        finish: Finished,
        weights_version: int,
    ) -> None:
        """size: slots, and the most response tokens of a sample.

        take: returns the next prompt share of a queue, None if there is none. finish: gets each completion.
        """
        slots, response_tokens = size
        self._model, self._memory, self._take = model, memory, take
        self._finish, self._weights_version = finish, weights_version
        # the structure holds addresses; the owner keeps what they point to alive
        self._structure, self._owner = model.structure()
        self._params = _ParamsTable(model.shape.vocabulary)
        self._state = torch.zeros(slots, len(SlotField), dtype=torch.int64)
        self._ids = torch.empty(slots, response_tokens, dtype=torch.int64)
        self._logprobs = torch.empty(slots, response_tokens)
        # filled by C: steps done, samples that ended, and their positions in the list of live slots
        self._progress = torch.zeros(2 + slots, dtype=torch.int64)
        self._free_slots = list(range(slots))
        self._free_prompt_rows = list(range(memory.sizes.prompt_rows))
        self._prompt_users: dict[int, int] = {}
        """Samples that still need a row of the prompt cache."""
        self._waiting: deque[LiveSample] = deque()
        """Samples with their first token and without a slot."""
        self._live: dict[int, LiveSample] = {}
        """By slot."""
        self.steps = self.slot_steps = 0
        self.seconds_prefill = 0.0

    @property
    def busy(self) -> bool:
        """True if the loop holds samples, live or waiting."""
        return bool(self._live or self._waiting)

    @property
    def occupancy(self) -> float:
        """Share of the slots that hold a sample."""
        return len(self._live) / (len(self._live) + len(self._free_slots))

    def advance(self, steps: int, shares: int = sys.maxsize) -> bool:
        """Fill free slots, decode until a sample ends or for `steps` steps, and hand out what has ended.

        shares: most prompt shares to take from the queue. Returns False once there is nothing to decode.
        """
        if not self.busy and len(self._params) > MOST_PARAMS:
            self._params = _ParamsTable(
                self._model.shape.vocabulary
            )  # no slot refers to the old one
        # prompts first: samples that end with their first token leave slots free for others
        self._read_prompts(shares)
        self._seat()
        if not self._live:
            return False
        self._hand_out(self._decode(steps))
        return True

    def stream(
        self,
        is_streamed: Callable[[int], bool],
        deliver: Callable[[LiveSample, list[int], list[float]], None],
    ) -> None:
        """Call `deliver` with the ids and log-probabilities that live samples have drawn since the last call.

        is_streamed: whether a request's samples are delivered before they end.
        """
        streamed = [
            (slot, sample) for slot, sample in self._live.items() if is_streamed(sample.number)
        ]
        if not streamed:
            return
        token_counts = self._state[:, SlotField.DRAWN].tolist()
        for slot, sample in streamed:
            fresh = slice(sample.streamed, token_counts[slot])
            sample.streamed = token_counts[slot]
            deliver(sample, self._ids[slot, fresh].tolist(), self._logprobs[slot, fresh].tolist())

    def cancel(self, cancelled: Callable[[int], bool]) -> None:
        """End the samples of requests for which `cancelled(number)` is True, with the tokens drawn so far."""
        # a cancelled sample is handed out like one that has ended, only shorter
        self._hand_out([slot for slot, sample in self._live.items() if cancelled(sample.number)])
        for sample in [sample for sample in self._waiting if cancelled(sample.number)]:
            self._waiting.remove(sample)
            self._end(sample, (sample.token,), (sample.logprob,))

    def _decode(self, steps: int) -> list[int]:
        """Run decoding steps until a sample ends; return the slots of those that have ended."""
        # C steps over the live slots only, and writes tokens into the rows of those slots
        live = list(self._live)
        functions.decode(
            self._structure, self._model.shape.eps, self._memory.structure, self._state,
            self._params.structures, torch.tensor(live), self._ids, self._logprobs, steps, self._progress,
        )  # fmt: skip
        # Positions behind the first `ended` are left from an earlier call.
        steps_done, ended, *positions = self._progress.tolist()
        self.steps += steps_done
        self.slot_steps += steps_done * len(live)
        return [live[position] for position in positions[:ended]]

    def _hand_out(self, slots: list[int]) -> None:
        """Finish the samples of these slots and free the slots."""
        if not slots:
            return
        # one copy of the column: reading single elements of a tensor is slow
        token_counts = self._state[:, SlotField.DRAWN].tolist()
        for slot in slots:
            sample, count = self._live.pop(slot), token_counts[slot]
            self._free_slots.append(slot)
            ids = tuple(self._ids[slot, :count].tolist())
            self._end(sample, ids, tuple(self._logprobs[slot, :count].tolist()))

    def _end(self, sample: LiveSample, ids: tuple[int, ...], logprobs: tuple[float, ...]) -> None:
        """Hand out a completion; the last sample over a row of the prompt cache frees the row."""
        # the keys of a prompt stay until no sample attends to them any more
        self._prompt_users[sample.prompt_row] -= 1
        if not self._prompt_users[sample.prompt_row]:
            self._free_prompt_rows.append(sample.prompt_row)
        stopped = ids[-1] in sample.params.stop_ids
        completion = Completion(ids, logprobs, stopped, self._weights_version)
        self._finish(sample.number, sample.index, completion)

    # Prompts --------------------------------------------------------------------------------------

    def _read_prompts(self, shares_left: int) -> None:
        """Prefill until a sample waits for every free slot, or the queue is empty.

        A sample that ends with its first token is handed out here and never takes a slot.
        """
        start = time.perf_counter()
        while len(self._waiting) < len(self._free_slots) and (
            shares := self._take_shares(shares_left)
        ):
            shares_left -= len(shares)
            for sample in self._draw_first_tokens(shares, self._prefill(shares)):
                if sample.token in sample.params.stop_ids or sample.params.max_tokens == 1:
                    self._end(sample, (sample.token,), (sample.logprob,))
                else:
                    self._waiting.append(sample)
        self.seconds_prefill += time.perf_counter() - start

    def _take_shares(self, most: int) -> list[tuple[PromptShare, int]]:
        """Take shares from the queue for one prefill, each with a free row of the prompt cache.

        No more are taken than the free slots need: other cores share the queue.
        """
        shares: list[tuple[PromptShare, int]] = []
        samples_needed, tokens = len(self._free_slots) - len(self._waiting), 0
        while (
            samples_needed > 0
            and tokens < PREFILL_TOKENS
            and len(shares) < most
            and self._free_prompt_rows
        ):
            share = self._take()
            if share is None:
                break
            shares.append((share, self._free_prompt_rows.pop()))
            # may become negative: samples of a share beyond the free slots wait with their first token
            samples_needed -= share.samples
            tokens += len(share.request.prompt_ids)
        return shares

    def _prefill(self, shares: list[tuple[PromptShare, int]]) -> torch.Tensor:
        """Fill rows of the prompt cache; return the final hidden state after each prompt `[N, H]`."""
        prompts = [share.request.prompt_ids for share, _ in shares]
        rows = torch.cat(
            [prompt_rows(ids, row) for ids, (_, row) in zip(prompts, shares, strict=True)]
        )
        most, states = self._memory.sizes.rows, torch.empty(len(rows), self._model.shape.hidden)
        # a chunk may end within a prompt: its later tokens find the earlier ones in the cache
        for first in range(0, len(rows), most):
            chunk, chunk_states = rows[first : first + most], states[first : first + most]
            eps, memory = self._model.shape.eps, self._memory.structure
            functions.read_prompts(self._structure, eps, memory, chunk, chunk_states)
        # the last token of each prompt predicts the first one of its responses
        lengths = torch.tensor([len(ids) for ids in prompts])
        return states[lengths.cumsum(0) - 1]

    def _draw_first_tokens(
        self, shares: list[tuple[PromptShare, int]], states_NH: torch.Tensor
    ) -> list[LiveSample]:
        """Return every sample of the shares, with its first token."""
        # the output head runs once per prompt, not once per sample
        vocabulary = self._model.shape.vocabulary
        logits = torch.empty(len(shares), round_to_vectors(vocabulary))
        states = states_NH.to(self._model.dtype)
        functions.head_logits(self._structure, states, logits)
        samples: list[LiveSample] = []
        owners: dict[SamplingParams, list[int]] = {}
        members: dict[SamplingParams, list[LiveSample]] = {}
        for owner, (share, row) in enumerate(shares):
            self._prompt_users[row] = share.samples
            length = len(share.request.prompt_ids)
            for index in range(share.first, share.first + share.samples):
                seed = seed_of(share.request.key, index)
                sample = LiveSample(share.number, index, share.params, seed, row, length)
                samples.append(sample)
                owners.setdefault(share.params, []).append(owner)
                members.setdefault(share.params, []).append(sample)
        # one draw per set of parameters
        for params, group in members.items():
            seeds = torch.tensor([sample.seed for sample in group])
            ids, logprobs = draw_owned(
                logits[:, :vocabulary], torch.tensor(owners[params]), seeds, params
            )
            for sample, token, logprob in zip(group, ids.tolist(), logprobs.tolist(), strict=True):
                sample.token, sample.logprob = token, logprob
        return samples

    def _seat(self) -> None:
        """Give free slots to waiting samples."""
        count = min(len(self._waiting), len(self._free_slots))
        if not count:
            return
        slots = [self._free_slots.pop() for _ in range(count)]
        samples = [self._waiting.popleft() for _ in range(count)]
        self._live.update(zip(slots, samples, strict=True))
        # in the order of SlotField; one token is drawn already
        self._state[slots] = torch.tensor(
            [
                (s.token, 1, s.seed, s.prompt_row, s.prompt_tokens, self._params.index(s.params))
                for s in samples
            ]
        )
        # the first tokens; C writes the others behind them
        self._ids[slots, 0] = torch.tensor([sample.token for sample in samples])
        self._logprobs[slots, 0] = torch.tensor([sample.logprob for sample in samples])


def prompt_rows(prompt: tuple[int, ...], prompt_row: int, first: int = 0) -> torch.Tensor:
    """Return the C structures `Row` of a prompt's tokens from position `first` on, `[tokens, 6]`."""
    position = torch.arange(first, first + len(prompt))
    unit = torch.ones_like(position)
    # token, position, row of the prompt cache, prompt tokens attended to (itself included), slot, response tokens
    fields = (torch.tensor(prompt), position, unit * prompt_row, position + 1, unit * PROMPT_SLOT)
    return torch.stack((*fields, unit * 0), 1)
