"""The process of transformers for the sampler's rows: `generate` in padded batches, and continuous batching.

    python -m benchmarks.table.generation    (started by the benchmark)

Neither computes log-probabilities, which the native sampler always does.
"""

import time
from typing import Any

import torch
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig

from benchmarks.table.link import Link, peak_bytes

PAGE, CACHED_SAMPLES, BATCH_TOKENS = 32, 64, 256
"""Continuous batching: positions per block of the KV cache, samples that fit into the cache, tokens per step. On a CPU
each step attends to the whole cache under a mask, so that a larger cache is slower."""


class Peer:
    """The commands that the parent can send."""

    def __init__(self) -> None:
        self.model: Any = None
        self.slots = 0

    def open(self, model: str, slots: int, limit: int, end: int, longest: int) -> bool:
        """Load the model for both methods; padded batches have `slots` samples."""
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        self.model.train(False)
        self.slots = slots
        self.settings = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=True, max_new_tokens=limit, eos_token_id=end, pad_token_id=0, top_k=0
        )
        blocks = CACHED_SAMPLES * (-(-(longest + limit) // PAGE) + 1)
        self.batching = ContinuousBatchingConfig(
            page_size=PAGE, num_blocks=blocks, max_batch_tokens=BATCH_TOKENS
        )
        return True

    @torch.inference_mode()
    def generate(self, prompts: list[list[int]], samples: int) -> dict[str, float]:
        """Generate in batches of `slots` samples with left padding, each until its longest sample ends."""
        rows = [ids for ids in prompts for _ in range(samples)]
        tokens, start = 0, time.perf_counter()
        for first in range(0, len(rows), self.slots):
            tokens += self._batch(rows[first : first + self.slots])
        return _speed(tokens, start)

    def _batch(self, rows: list[list[int]]) -> int:
        """Generate one batch and return its response tokens, without padding."""
        longest = max(map(len, rows))
        ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
        responses = self.model.generate(
            input_ids=ids, attention_mask=mask, generation_config=self.settings
        )[:, longest:]
        stopped = (responses == self.settings.eos_token_id).long()
        return int(
            (stopped.cumsum(1) - stopped == 0).sum()
        )  # up to and including the first end token

    @torch.no_grad()  # inference mode would not hold in the thread that generates
    def continuous(self, prompts: list[list[int]], samples: int) -> dict[str, float]:
        """Generate all samples at once; the library decides which run together."""
        rows = [ids for ids in prompts for _ in range(samples)]
        start = time.perf_counter()
        outputs = self.model.generate_batch(
            rows, generation_config=self.settings, continuous_batching_config=self.batching
        )
        tokens = sum(len(output.generated_tokens) for output in outputs.values())
        failed = [output.error for output in outputs.values() if output.error]
        assert len(outputs) == len(rows) and not failed, failed[:1]
        return _speed(tokens, start)


def _speed(tokens: int, start: float) -> dict[str, float]:
    return {"tokens_per_second": tokens / (time.perf_counter() - start), "tokens": tokens}


def main() -> None:
    """Answer commands until the parent is done."""
    peer = Peer()
    Link().serve(
        {"open": peer.open, "generate": peer.generate, "continuous": peer.continuous,
         "peak": peak_bytes}
    )  # fmt: skip


if __name__ == "__main__":
    main()
