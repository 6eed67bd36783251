"""transformers' process of the sampler rows: `generate` in padded batches, and its continuous batching.

    python -m benchmarks.table.generation    (started by the benchmark)

Neither is asked for log-probabilities, which the native sampler always computes.
"""

import time
from typing import Any

import torch
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig

from benchmarks.table.link import Link, peak_bytes

PAGE, AT_ONCE, BATCH_TOKENS = 32, 64, 256
"""Continuous batching: positions of a block of its cache, samples that the cache has room for, tokens of a step. On a CPU a
step attends to all of the cache under a mask, so that more room makes it slower."""


class Peer:
    """The commands."""

    def __init__(self) -> None:
        self.model: Any = None
        self.slots = 0

    def open(self, model: str, slots: int, limit: int, end: int, longest: int) -> bool:
        """A model for both ways; room for `slots` samples at a time in padded batches."""
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        self.model.train(False)
        self.slots = slots
        self.settings = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=True, max_new_tokens=limit, eos_token_id=end, pad_token_id=0, top_k=0
        )
        blocks = AT_ONCE * (-(-(longest + limit) // PAGE) + 1)
        self.batching = ContinuousBatchingConfig(
            page_size=PAGE, num_blocks=blocks, max_batch_tokens=BATCH_TOKENS
        )
        return True

    @torch.inference_mode()
    def generate(self, prompts: list[list[int]], samples: int) -> dict[str, float]:
        """Batches of `slots` samples, each until its longest has ended; left padding."""
        rows = [ids for ids in prompts for _ in range(samples)]
        tokens, start = 0, time.perf_counter()
        for first in range(0, len(rows), self.slots):
            tokens += self._batch(rows[first : first + self.slots])
        return _speed(tokens, start)

    def _batch(self, rows: list[list[int]]) -> int:
        """Response tokens of one batch; padding is not counted."""
        longest = max(map(len, rows))
        ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
        drawn = self.model.generate(
            input_ids=ids, attention_mask=mask, generation_config=self.settings
        )[:, longest:]
        stopped = (drawn == self.settings.eos_token_id).long()
        return int((stopped.cumsum(1) - stopped == 0).sum())  # those before and at the first end

    @torch.no_grad()  # its own thread would not be in inference mode
    def continuous(self, prompts: list[list[int]], samples: int) -> dict[str, float]:
        """All samples at once; the library decides which run together."""
        rows = [ids for ids in prompts for _ in range(samples)]
        start = time.perf_counter()
        done = self.model.generate_batch(
            rows, generation_config=self.settings, continuous_batching_config=self.batching
        )
        tokens = sum(len(one.generated_tokens) for one in done.values())
        failed = [one.error for one in done.values() if one.error]
        assert len(done) == len(rows) and not failed, failed[:1]
        return _speed(tokens, start)


def _speed(tokens: int, start: float) -> dict[str, float]:
    return {"tokens_per_second": tokens / (time.perf_counter() - start), "tokens": tokens}


def main() -> None:
    """Serve."""
    peer = Peer()
    Link().serve(
        {"open": peer.open, "generate": peer.generate, "continuous": peer.continuous,
         "peak": peak_bytes}
    )  # fmt: skip


if __name__ == "__main__":
    main()
