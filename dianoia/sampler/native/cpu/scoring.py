"""Log-probabilities of given tokens, in C on one core: of a prompt, and of a response beside the tokens that it did not draw.

In: the tokens of a sequence, in parts. Out: per token the log-probability given those before it, and the likeliest tokens at
its place. They are of the model's own distribution: temperature 1, before top-p and top-k. No sum depends on how a
sequence is divided into parts. Not here: log-probabilities of drawn tokens at their temperature, which a `Completion` has.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from dianoia.hardware.c_functions import round_to_vectors
from dianoia.hardware.c_functions import typed_calls as functions
from dianoia.sampler.native.cpu.cpu_decoder import PREFILL_TOKENS, prompt_rows
from dianoia.sampler.native.cpu.packed_model import CpuMemory, MemorySizes, PackedModel


class TokenScore(NamedTuple):
    """A token of a sequence and what the model expected at its place."""

    id: int
    logprob: float | None
    """Log-probability given the tokens before it; None for the first token of a sequence, which nothing predicts."""
    likeliest: tuple[tuple[int, float], ...]
    """The likeliest tokens at its place with their log-probabilities, in descending order."""


class ScoredSequence:
    """A sequence that is read part by part. Its keys and values stay until it is dropped."""

    def __init__(self, model: PackedModel, length: int) -> None:
        """length: most tokens of the sequence. The RoPE tables of `model` must cover it."""
        self._model, self._length = model, length
        # the sequence is one prompt; no response is decoded, but C asks for memory of at least one
        vector = round_to_vectors(1)
        rows = min(PREFILL_TOKENS, length)
        sizes = MemorySizes(1, 1, round_to_vectors(length), vector, rows)
        self._memory = CpuMemory(model, sizes)
        self._structure, self._owner = model.structure()
        self._read = 0
        self._next_V: torch.Tensor | None = None
        """Log-probabilities of the token that follows what was read; None at the beginning."""

    def extend(self, ids: Sequence[int], likeliest: int = 0) -> list[TokenScore]:
        """Read the next tokens and return their scores, with the `likeliest` tokens at each place."""
        assert self._read + len(ids) <= self._length, "the sequence was begun for fewer tokens"
        scores: list[TokenScore] = []
        most = self._memory.sizes.rows
        # As many at a time as the scratch memory has rows for; each part finds the earlier ones in the cache.
        for first in range(0, len(ids), most):
            scores += self._extend_by_chunk(tuple(ids[first : first + most]), likeliest)
        return scores

    def _extend_by_chunk(self, ids: tuple[int, ...], likeliest: int) -> list[TokenScore]:
        after_TV = self._logprobs_after(ids)
        # what predicts a token stands at the token before it
        before_TV = after_TV[:-1]
        unpredicted = self._next_V is None
        if self._next_V is not None:
            before_TV = torch.cat((self._next_V[None], before_TV))
        predicted = torch.tensor(ids[1:] if unpredicted else ids, dtype=torch.int64)
        logprobs = before_TV.gather(1, predicted[:, None])[:, 0].tolist()
        # A caller may ask for more than there are tokens.
        count = min(likeliest, before_TV.shape[1])
        top = before_TV.topk(count)
        rows = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        tops = [tuple(zip(row_ids, values, strict=True)) for row_ids, values in rows]
        # A copy, so that this row alone stays in memory and not the logits of the whole part.
        self._next_V = after_TV[-1].clone()
        scores = [
            TokenScore(token, logprob, top)
            for token, logprob, top in zip(predicted.tolist(), logprobs, tops, strict=True)
        ]
        return [TokenScore(ids[0], None, ()), *scores] if unpredicted else scores

    def _logprobs_after(self, ids: tuple[int, ...]) -> torch.Tensor:
        """Read tokens and return the distribution of the token after each of them, float32 `[T, V]`."""
        shape = self._model.shape
        rows = prompt_rows(ids, 0, self._read)
        states = torch.empty(len(ids), shape.hidden)
        functions.read_prompts(self._structure, shape.eps, self._memory.structure, rows, states)
        self._read += len(ids)
        logits = torch.empty(len(ids), round_to_vectors(shape.vocabulary))
        functions.head_logits(self._structure, states.to(self._model.dtype), logits)
        return logits[:, : shape.vocabulary].log_softmax(-1)
