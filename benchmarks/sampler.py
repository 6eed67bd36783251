"""Tokens a second of the native sampler beside transformers' `generate`, same random model, same
run.

The load is that of the miniature: a Qwen3 of about a million parameters, prompts of about 100
tokens, responses of 1 to 100 tokens with a skewed (geometric) length, 16 samples a prompt.

    python -m benchmarks.sampler --prompts 128 --slots 256 --threads 1

`generate` decodes batches of `slots` samples, each until its longest has ended; it is not asked for
log-probabilities, which the native sampler always computes.
"""

import argparse
import random
import time

import torch
from transformers import GenerationConfig, Qwen3ForCausalLM

from benchmarks.models import miniature
from dianoia.base.records import Request, SamplingParams
from dianoia.engine.native.sampler import NativeSampler

VOCABULARY = 1024
STOPS = frozenset(range(30))
"""30 of 1024 nearly equally likely ids: about one token in 34 ends its sample."""


def load(prompts: int, samples: int) -> list[Request]:
    """Random prompts of 80 to 120 tokens."""
    rng = random.Random(0)
    lengths = [rng.randint(80, 120) for _ in range(prompts)]
    texts = [tuple(rng.randrange(30, VOCABULARY) for _ in range(n)) for n in lengths]
    return [Request(text, samples, (0, i)) for i, text in enumerate(texts)]


def native(
    peer: Qwen3ForCausalLM, requests: list[Request], params: SamplingParams, slots: int
) -> float:
    """Tokens a second of the native sampler, with where the time went on standard output."""
    sampler = NativeSampler(peer.config, slots=slots)
    sampler.load(peer.state_dict())
    sampler.generate(requests[:8], params)
    sampler.generate(requests, params)
    stats = sampler.stats
    print(
        f"native:       {stats.tokens_per_second:8.0f} tokens/s "
        f"({stats.tokens} tokens, prefill {stats.seconds_prefill:.2f} s, "
        f"decode {stats.seconds_decode:.2f} s, {stats.steps} steps, "
        f"occupancy {stats.occupancy:.2f})"
    )
    return stats.tokens_per_second


@torch.inference_mode()
def generate(
    peer: Qwen3ForCausalLM, requests: list[Request], params: SamplingParams, slots: int
) -> float:
    """Tokens a second of transformers, batches of `slots` samples, left padding."""
    peer.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=True,
        max_new_tokens=params.max_tokens,
        eos_token_id=sorted(params.stop_ids),
        pad_token_id=VOCABULARY - 1,
        top_k=0,
    )
    rows = [request.prompt_ids for request in requests for _ in range(request.samples)]
    tokens, start = 0, time.perf_counter()
    for first in range(0, len(rows), slots):
        tokens += _generate_batch(peer, rows[first : first + slots])
    speed = tokens / (time.perf_counter() - start)
    print(f"transformers: {speed:8.0f} tokens/s ({tokens} tokens)")
    return speed


def _generate_batch(peer: Qwen3ForCausalLM, rows: list[tuple[int, ...]]) -> int:
    """Response tokens of one batch, padding not counted."""
    longest = max(map(len, rows))
    ids = torch.tensor([(0,) * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([(0,) * (longest - len(row)) + (1,) * len(row) for row in rows])
    drawn = peer.generate(  # type: ignore[misc]
        input_ids=ids, attention_mask=mask
    )[:, longest:]
    stopped = (drawn < len(STOPS)).long()
    # a token counts if no stop id came before it
    return int((stopped.cumsum(1) - stopped == 0).sum())


def main() -> None:
    """Read the options, run both, print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--samples", type=int, default=16, help="a prompt")
    parser.add_argument("--slots", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-tokens", type=int, default=100)
    parser.add_argument("--only-native", action="store_true", help="skip the slow half")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    peer, requests = miniature(VOCABULARY), load(options.prompts, options.samples)
    params = SamplingParams(options.max_tokens, STOPS)
    ours = native(peer, requests, params, options.slots)
    if not options.only_native:
        print(f"ratio: {ours / generate(peer, requests, params, options.slots):.2f}")


if __name__ == "__main__":
    main()
