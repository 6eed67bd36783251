"""The measures. Each returns rows of a table, and prints while it runs."""

import random
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from transformers import GenerationConfig, Qwen3ForCausalLM

from benchmarks.gpu.shapes import DEVICE, arithmetic_of, model_of, requests
from dianoia.base.records import Request, Sample, SamplingParams
from dianoia.config import AlgorithmSettings, OptimizerSettings
from dianoia.hardware.devices import allow_any_order
from dianoia.learner.policy import PolicyLearner
from dianoia.sampler.interface import WeightUpdate
from dianoia.sampler.native.engine import CACHE_SHARE, NativeSampler

Row = dict[str, Any]
NOMINAL = 989e12
"""Dense bfloat16 FLOP per second of an H100 SXM, by its data sheet."""


def synchronize() -> None:
    """Wait until the device has finished."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def seconds(work: Callable[[], object], runs: int) -> float:
    """Return the median seconds of `work`, which must be warmed up."""
    elapsed = []
    for _ in range(runs):
        # Kernels run asynchronously: the clock starts when nothing is left over from before.
        synchronize()
        start = time.perf_counter()
        work()
        synchronize()
        elapsed.append(time.perf_counter() - start)
    return statistics.median(elapsed)


def limits() -> Iterator[Row]:
    """Yield the bandwidth of a copy (bytes read and written) and the rates of a large matrix product."""
    # On a CPU the script is only tried out; a GPU needs gigabytes to leave its caches.
    small = DEVICE.type == "cpu"
    source = torch.empty(2**22 if small else 2**32, dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    # The first copy makes the pages; it is not measured.
    target.copy_(source)
    elapsed = seconds(lambda: target.copy_(source), 9)
    yield {"measure": "copy", "bytes_per_second": 2 * source.numel() / elapsed}
    size = 256 if small else 8192
    for dtype, use_tf32 in ((torch.bfloat16, False), (torch.float32, True), (torch.float32, False)):
        torch.backends.cuda.matmul.allow_tf32 = use_tf32
        left, right = (torch.randn(size, size, device=DEVICE, dtype=dtype) for _ in range(2))
        # cuBLAS chooses a kernel at the first product of a shape.
        left @ right
        elapsed = seconds(lambda a=left, b=right: [a @ b for _ in range(5)], 3)  # type: ignore[misc]
        name = "tf32" if use_tf32 else str(dtype).removeprefix("torch.")
        # Five products of 2 n^3 FLOP each.
        yield {"measure": f"product {name}", "flop_per_second": 10 * size**3 / elapsed}
    torch.backends.cuda.matmul.allow_tf32 = False


def sampler_of(model: Qwen3ForCausalLM, slots: int) -> NativeSampler:
    """Return a sampler in bfloat16, as in a recipe for one GPU."""
    sampler = NativeSampler(model.config, slots=slots, dtype=torch.bfloat16, device=DEVICE)
    sampler.load(WeightUpdate(0, model.state_dict()))
    return sampler


def decode(size: str, batch: int, bandwidth: float, prompt: int, response: int) -> Row:
    """Return the tokens per second of `batch` samples of equal length, and the limit by memory bandwidth."""
    model, sums = model_of(size), arithmetic_of(size)
    sampler = sampler_of(model, batch)
    # The sampler has copied the weights; the original would only take memory.
    del model
    group = min(16, batch)
    batch_requests = requests(size, batch // group, group, prompt)
    params = SamplingParams(response, frozenset())
    for _ in range(2):  # the first run warms up, the second captures CUDA graphs
        sampler.generate(batch_requests, params)
    elapsed = seconds(lambda: sampler.generate(batch_requests, params), 3)
    stats = sampler.stats
    step = stats.seconds_decode / stats.steps
    # Each step reads layers and head in bfloat16, and keys and values up to the current token.
    weights = 2 * (sums.backbone + sums.table)
    cache = 2 * sums.cached * batch * (prompt + response / 2)
    limit = (weights + cache) / bandwidth
    return {
        "measure": f"decode {size} x{batch}",
        # The first token of a response comes from the prefill.
        "tokens_per_second": batch * (response - 1) / stats.seconds_decode,
        "with_prompts": batch * response / elapsed,
        "ms_per_step": 1e3 * step,
        "limit_ms": 1e3 * limit,
        "share_of_limit": limit / step,
        "prefill_ms": 1e3 * stats.seconds_prefill,
    }


def long(size: str, length: int, slots: int, prompt: int) -> Iterator[Row]:
    """Yield tokens per second of long responses: over as many slots as fit at full length, then over pages.

    Responses end at random, after a quarter of `length` in the mean, as in training; `length` is the limit.
    """
    model, sums = model_of(size), arithmetic_of(size)
    vocabulary = model.config.vocab_size
    stops = random.Random(2).sample(range(vocabulary), max(1, 4 * vocabulary // length))
    params = SamplingParams(length, frozenset(stops))
    sampler = sampler_of(model, slots)
    del model
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()
        free = torch.cuda.mem_get_info(DEVICE)[0]
    else:
        free = 2**24  # on a CPU the script is only tried out
    # a cache that reserves the longest response for each slot, in the same share of the memory
    reserved = int(CACHE_SHARE * free / (2 * sums.cached * (prompt + length)))
    group = min(16, slots)
    work = requests(size, max(1, 2 * slots // group), group, prompt)
    for name, count in (("reserved", max(1, min(slots, reserved))), ("paged", slots)):
        chosen = sampler if count == slots else sampler_of(model_of(size), count)
        elapsed = seconds(lambda chosen=chosen: chosen.generate(work, params), 1)  # type: ignore[misc]
        stats = chosen.stats
        yield {
            "measure": f"long {size} {length} {name}",
            "slots": count,
            "live_slots": stats.occupancy * count,
            "tokens_per_second": stats.tokens / elapsed,
            "mean_tokens": stats.tokens / sum(request.samples for request in work),
            "ms_per_step": 1e3 * stats.seconds_decode / stats.steps,
            "seconds": elapsed,
        }


def learner_of(model: Qwen3ForCausalLM, budget: int, recompute: bool = False) -> PolicyLearner:
    """Return a learner with products in bfloat16, and weights, gradients and AdamW moments in float32."""
    return PolicyLearner(
        model,
        AlgorithmSettings(clip_low=0.2, clip_high=0.2, kl_coefficient=0.0),
        OptimizerSettings(learning_rate=1e-6),
        max_tokens=512,
        total_steps=1000,
        tokens_per_micro_batch=budget,
        autocast="bfloat16",
        recompute=recompute,
    )


def training(size: str, budget: int, batch_samples: list[Sample], product: float) -> Row:
    """Return the tokens per second of a whole update, and its FLOP rate as a share of the machine's.

    Tokens are those of prompts and responses, without padding. FLOP are those of `Arithmetic.training`, so what is
    computed twice counts once. The time includes collating, clipping and AdamW.
    """
    learner = learner_of(model_of(size), budget)
    start = time.perf_counter()
    # Twice: torch.compile works at the first call, and once more when it learns which sizes vary.
    for _ in range(2):
        learner.update(learner.prepare(batch_samples))
    synchronize()
    first = time.perf_counter() - start
    elapsed = seconds(lambda: learner.update(learner.prepare(batch_samples)), 3)
    tokens = sum(len(sample.prompt_ids) + len(sample.response_ids) for sample in batch_samples)
    rate = arithmetic_of(size).training(batch_samples) / elapsed
    memory = torch.cuda.max_memory_allocated() / 2**30 if DEVICE.type == "cuda" else 0.0
    return {
        "measure": f"training {size}",
        "tokens_per_second": tokens / elapsed,
        "seconds": elapsed,
        "budget": budget,
        "mfu": rate / NOMINAL,
        "share_of_product": rate / product,
        "packs": learner.layout == "packed",
        "warm_up_seconds": first,
        "peak_gib": memory,
    }


def step(size: str, batch_requests: list[Request], response: int, budget: int) -> Iterator[Row]:
    """Time a rollout, an update and new weights for the sampler; then the same with transformers' `generate`."""
    model = model_of(size)
    learner = learner_of(model, budget)
    count = sum(request.samples for request in batch_requests)
    sampler = sampler_of(model, count)
    params = SamplingParams(response, frozenset())
    elapsed = []
    for _ in range(4):
        elapsed.append(_native_step(learner, sampler, batch_requests, params))
        print("  native step", elapsed[-1], flush=True)
    # Without the first two steps, which compile and capture graphs.
    rollout, update = (statistics.median(part) for part in zip(*elapsed[2:], strict=True))
    native = rollout + update
    yield _step_row(f"step {size} native", rollout, update, count * response)
    del sampler
    theirs = _generate(model, batch_requests, response, runs=2)
    yield {
        **_step_row(f"step {size} transformers", theirs, update, count * response),
        "ratio": (theirs + update) / native,
        "rollout_ratio": theirs / rollout,
    }


def _step_row(name: str, rollout: float, update: float, tokens: int) -> Row:
    return {
        "measure": name,
        "seconds": rollout + update,
        "rollout_seconds": rollout,
        "update_seconds": update,
        "tokens_per_second": tokens / (rollout + update),
    }


def _native_step(
    learner: PolicyLearner,
    sampler: NativeSampler,
    batch_requests: list[Request],
    params: SamplingParams,
) -> tuple[float, float]:
    """Return the seconds of the rollout, and those of the update with new weights for the sampler."""
    synchronize()
    start = time.perf_counter()
    groups = sampler.generate(batch_requests, params)
    synchronize()
    rollout_end = time.perf_counter()
    batch_samples = [
        Sample(request.prompt_ids, done.ids, done.logprobs, 1.0 - 2.0 * (i % 2))
        for request, group in zip(batch_requests, groups, strict=True)
        for i, done in enumerate(group)
    ]
    metrics = learner.update(learner.prepare(batch_samples))
    sampler.load(WeightUpdate(learner.step, learner.weights()))
    synchronize()
    print(f"  sampler against learner: mean {metrics.gap_mean:.2e}, most {metrics.gap_max:.2e}")
    return rollout_end - start, time.perf_counter() - rollout_end


@torch.inference_mode()
def _generate(
    model: Qwen3ForCausalLM, batch_requests: list[Request], response: int, runs: int
) -> float:
    """Return the seconds of `generate` in bfloat16, all samples in one batch; the first run warms up."""
    # A new model, since the learner has replaced the layers of its own.
    with DEVICE:
        peer = Qwen3ForCausalLM(model.config).to(torch.bfloat16)
    peer.load_state_dict(model.state_dict())
    peer.train(False)
    peer.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=True, max_new_tokens=response, eos_token_id=None, pad_token_id=0, top_k=0
    )
    ids = torch.tensor(
        [request.prompt_ids for request in batch_requests for _ in range(request.samples)]
    )
    ids, mask = ids.to(DEVICE), torch.ones_like(ids).to(DEVICE)
    with allow_any_order():
        elapsed = []
        for _ in range(runs):
            work = lambda: peer.generate(input_ids=ids, attention_mask=mask)  # type: ignore[misc]  # noqa: E731
            elapsed.append(seconds(work, 1))
            print("  generate", elapsed[-1], flush=True)
    return elapsed[-1]


def profile(size: str, batch: int, batch_samples: list[Sample], budget: int) -> None:
    """Print the kernels that take the longest in decoding and in an update."""
    model = model_of(size)
    sampler = sampler_of(model, batch)
    batch_requests, params = requests(size, batch // 16, 16, 128), SamplingParams(65, frozenset())
    for _ in range(2):
        sampler.generate(batch_requests, params)
    _kernels("decode", lambda: sampler.generate(batch_requests, params))
    learner = learner_of(model, budget)
    batch_samples = batch_samples[
        : 2 * budget // (len(batch_samples[0].prompt_ids) + len(batch_samples[0].response_ids))
    ]
    for _ in range(2):
        learner.update(learner.prepare(batch_samples))
    _kernels("update", lambda: learner.update(learner.prepare(batch_samples)))


def _kernels(name: str, work: Callable[[], object]) -> None:
    activities = torch.profiler.ProfilerActivity
    activity = activities.CUDA if DEVICE.type == "cuda" else activities.CPU
    with torch.profiler.profile(activities=[activity]) as profiler:
        start = time.perf_counter()
        work()
        synchronize()
        whole = 1e3 * (time.perf_counter() - start)
    print(f"{name}: {whole:.1f} ms, of which", flush=True)
    events = sorted(profiler.key_averages(), key=lambda event: -event.self_device_time_total)
    total = sum(event.self_device_time_total for event in events) or 1.0
    print(f"{name}: {total / 1e3:.1f} ms in kernels", flush=True)
    for event in events[:26]:
        share, took = event.self_device_time_total / total, event.self_device_time_total / 1e3
        print(f"  {share:6.1%} {took:8.2f} ms {event.count:6} x {event.key[:100]}", flush=True)
