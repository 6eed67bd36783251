"""The measures: each returns rows of a table and prints as it goes."""

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
from dianoia.sampler.native.engine import NativeSampler

Row = dict[str, Any]
NOMINAL = 989e12
"""Products in bfloat16 that an H100 SXM is sold with, a second."""


def wait() -> None:
    """Until the device has done everything."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def seconds(work: Callable[[], object], runs: int) -> float:
    """Median time of `work`, which has been run before."""
    taken = []
    for _ in range(runs):
        wait()
        start = time.perf_counter()
        work()
        wait()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


# What the machine can -----------------------------------------------------------------------------


def limits() -> Iterator[Row]:
    """Bandwidth of a copy, bytes read and written, and the rate of a large product."""
    small = DEVICE.type == "cpu"
    source = torch.empty(2**22 if small else 2**32, dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    target.copy_(source)
    taken = seconds(lambda: target.copy_(source), 9)
    yield {"measure": "copy", "bytes_per_second": 2 * source.numel() / taken}
    size = 256 if small else 8192
    for kind, allowed in ((torch.bfloat16, False), (torch.float32, True), (torch.float32, False)):
        torch.backends.cuda.matmul.allow_tf32 = allowed
        left, right = (torch.randn(size, size, device=DEVICE, dtype=kind) for _ in range(2))
        left @ right
        taken = seconds(lambda a=left, b=right: [a @ b for _ in range(5)], 3)  # type: ignore[misc]
        name = "tf32" if allowed else str(kind).removeprefix("torch.")
        yield {"measure": f"product {name}", "flop_per_second": 10 * size**3 / taken}
    torch.backends.cuda.matmul.allow_tf32 = False


# Decoding -----------------------------------------------------------------------------------------


def sampler_of(model: Qwen3ForCausalLM, slots: int) -> NativeSampler:
    """In bfloat16, as a recipe for one GPU asks for it."""
    sampler = NativeSampler(model.config, slots=slots, dtype=torch.bfloat16, device=DEVICE)
    sampler.load(WeightUpdate(0, model.state_dict()))
    return sampler


def decode(size: str, batch: int, bandwidth: float, prompt: int, response: int) -> Row:
    """Tokens a second of `batch` samples of equal length, beside what reading the bytes would allow."""
    model, sums = model_of(size), arithmetic_of(size)
    sampler = sampler_of(model, batch)
    del model
    group = min(16, batch)
    asked = requests(size, batch // group, group, prompt)
    params = SamplingParams(response, frozenset())
    for _ in range(2):  # the second run captures what the first one warmed up
        sampler.generate(asked, params)
    taken = seconds(lambda: sampler.generate(asked, params), 3)
    stats = sampler.stats
    step = stats.seconds_decode / stats.steps
    # layers and head in bfloat16; keys and values up to the present token
    weights = 2 * (sums.backbone + sums.table)
    cache = 2 * sums.cached * batch * (prompt + response / 2)
    least = (weights + cache) / bandwidth
    return {
        "measure": f"decode {size} x{batch}",
        "tokens_per_second": batch * (response - 1) / stats.seconds_decode,
        "with_prompts": batch * response / taken,
        "ms_per_step": 1e3 * step,
        "limit_ms": 1e3 * least,
        "share_of_limit": least / step,
        "prefill_ms": 1e3 * stats.seconds_prefill,
    }


# Training -----------------------------------------------------------------------------------------


def learner_of(model: Qwen3ForCausalLM, budget: int, recompute: bool = False) -> PolicyLearner:
    """Products in bfloat16; weights, gradients and averages in float32."""
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


def training(size: str, budget: int, drawn: list[Sample], product: float) -> Row:
    """Tokens a second of a whole update, and its arithmetic as a share of what the machine can.

    Tokens are those of prompts and responses, of which none is padding; the arithmetic is that of
    `Arithmetic.training`, so what is computed twice counts once. Collating, clipping and AdamW are in the time.
    """
    learner = learner_of(model_of(size), budget)
    start = time.perf_counter()
    for _ in range(2):
        learner.update(learner.prepare(drawn))
    wait()
    first = time.perf_counter() - start
    taken = seconds(lambda: learner.update(learner.prepare(drawn)), 3)
    tokens = sum(len(one.prompt_ids) + len(one.response_ids) for one in drawn)
    rate = arithmetic_of(size).training(drawn) / taken
    memory = torch.cuda.max_memory_allocated() / 2**30 if DEVICE.type == "cuda" else 0.0
    return {
        "measure": f"training {size}",
        "tokens_per_second": tokens / taken,
        "seconds": taken,
        "budget": budget,
        "mfu": rate / NOMINAL,
        "share_of_product": rate / product,
        "packs": learner.layout == "packed",
        "warm_up_seconds": first,
        "peak_gib": memory,
    }


# A step of GRPO -----------------------------------------------------------------------------------


def step(size: str, asked: list[Request], response: int, budget: int) -> Iterator[Row]:
    """A rollout, an update and new weights for the sampler; then the same with transformers' `generate`."""
    model = model_of(size)
    learner = learner_of(model, budget)
    count = sum(request.samples for request in asked)
    sampler = sampler_of(model, count)
    params = SamplingParams(response, frozenset())
    taken = []
    for _ in range(4):
        taken.append(_native_step(learner, sampler, asked, params))
        print("  native step", taken[-1], flush=True)
    rollout, update = (statistics.median(part) for part in zip(*taken[2:], strict=True))
    native = rollout + update
    yield _step_row(f"step {size} native", rollout, update, count * response)
    del sampler
    theirs = _generate(model, asked, response, runs=2)
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
    learner: PolicyLearner, sampler: NativeSampler, asked: list[Request], params: SamplingParams
) -> tuple[float, float]:
    """Seconds of the rollout, and of update and new weights."""
    wait()
    start = time.perf_counter()
    groups = sampler.generate(asked, params)
    wait()
    between = time.perf_counter()
    drawn = [
        Sample(request.prompt_ids, done.ids, done.logprobs, 1.0 - 2.0 * (i % 2))
        for request, group in zip(asked, groups, strict=True)
        for i, done in enumerate(group)
    ]
    metrics = learner.update(learner.prepare(drawn))
    sampler.load(WeightUpdate(learner.step, learner.weights()))
    wait()
    print(f"  sampler against learner: mean {metrics.gap_mean:.2e}, most {metrics.gap_max:.2e}")
    return between - start, time.perf_counter() - between


@torch.inference_mode()
def _generate(model: Qwen3ForCausalLM, asked: list[Request], response: int, runs: int) -> float:
    """Seconds of `generate` in bfloat16, all samples in one batch; the first run warms up."""
    # the learner's own model has layers of the learner's
    with DEVICE:
        peer = Qwen3ForCausalLM(model.config).to(torch.bfloat16)
    peer.load_state_dict(model.state_dict())
    peer.train(False)
    peer.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=True, max_new_tokens=response, eos_token_id=None, pad_token_id=0, top_k=0
    )
    ids = torch.tensor([request.prompt_ids for request in asked for _ in range(request.samples)])
    ids, mask = ids.to(DEVICE), torch.ones_like(ids).to(DEVICE)
    with allow_any_order():
        taken = []
        for _ in range(runs):
            work = lambda: peer.generate(input_ids=ids, attention_mask=mask)  # type: ignore[misc]  # noqa: E731
            taken.append(seconds(work, 1))
            print("  generate", taken[-1], flush=True)
    return taken[-1]


# Where the time goes ------------------------------------------------------------------------------


def profile(size: str, batch: int, drawn: list[Sample], budget: int) -> None:
    """Print the kernels that take longest in decoding and in an update."""
    model = model_of(size)
    sampler = sampler_of(model, batch)
    asked, params = requests(size, batch // 16, 16, 128), SamplingParams(65, frozenset())
    for _ in range(2):
        sampler.generate(asked, params)
    _kernels("decode", lambda: sampler.generate(asked, params))
    learner = learner_of(model, budget)
    drawn = drawn[: 2 * budget // (len(drawn[0].prompt_ids) + len(drawn[0].response_ids))]
    for _ in range(2):
        learner.update(learner.prepare(drawn))
    _kernels("update", lambda: learner.update(learner.prepare(drawn)))


def _kernels(name: str, work: Callable[[], object]) -> None:
    kinds = torch.profiler.ProfilerActivity
    activity = kinds.CUDA if DEVICE.type == "cuda" else kinds.CPU
    with torch.profiler.profile(activities=[activity]) as watched:
        start = time.perf_counter()
        work()
        wait()
        whole = 1e3 * (time.perf_counter() - start)
    print(f"{name}: {whole:.1f} ms, of which", flush=True)
    events = sorted(watched.key_averages(), key=lambda event: -event.self_device_time_total)
    total = sum(event.self_device_time_total for event in events) or 1.0
    print(f"{name}: {total / 1e3:.1f} ms in kernels", flush=True)
    for event in events[:26]:
        share, took = event.self_device_time_total / total, event.self_device_time_total / 1e3
        print(f"  {share:6.1%} {took:8.2f} ms {event.count:6} x {event.key[:100]}", flush=True)
