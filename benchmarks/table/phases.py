"""Decoding and the update by themselves, with fixed lengths, for their shares of the machine's rate."""

import random
import time
from functools import cache
from typing import Any

import torch

from benchmarks.table.arithmetic import pairs, work_of
from benchmarks.table.cases import Case
from benchmarks.table.folders import model_of
from dianoia.base.records import Request, Sample, SamplingParams
from dianoia.config import AlgorithmSettings, OptimizerSettings
from dianoia.learner.policy import PolicyLearner
from dianoia.sampler.interface import WeightUpdate
from dianoia.sampler.native.engine import NativeSampler

SLOTS = 256


def decoding(case: dict[str, Any], dtype: str) -> dict[str, float]:
    """Return the FLOP per second of decoding with 256 slots, without the work and time of prefill."""
    size = Case(**case)
    sampler = _sampler(size, dtype)
    rng = random.Random(0)
    requests = [
        Request(_ids(rng, size.prompt, size), size.group, (0, index))
        for index in range(size.prompts)
    ]
    sampler.generate(requests, SamplingParams(size.limit, frozenset({size.end})))
    # The first token comes from prefill.
    tokens = size.completions * (size.limit - 1)
    attended = size.completions * pairs(size.prompt + 1, size.limit - 1)
    flop = work_of(size).forward(tokens, tokens, attended)
    return {"rate": flop / sampler.stats.seconds_decode, "seconds": sampler.stats.seconds_decode}


@cache
def _sampler(size: Case, dtype: str) -> NativeSampler:
    """Return the sampler or learner, built by the first run and not timed."""
    model = model_of(size)
    sampler = NativeSampler(model.config, slots=SLOTS, dtype=getattr(torch, dtype))
    sampler.load(WeightUpdate(0, model.state_dict()))
    return sampler


def updating(case: dict[str, Any], dtype: str) -> dict[str, float]:
    """Return the FLOP per second of one update. A prompt counts once per group, even if it is computed more often."""
    size = Case(**case)
    learner = _learner(size, dtype)
    samples = samples_of(size)
    start = time.perf_counter()
    learner.update(learner.prepare(samples))
    seconds = time.perf_counter() - start
    flop = work_of(size).training(*_counts(size))
    return {"rate": flop / seconds, "seconds": seconds}


@cache
def _learner(size: Case, dtype: str) -> PolicyLearner:
    """Return the sampler or learner, built by the first run and not timed."""
    return PolicyLearner(
        model_of(size),
        AlgorithmSettings(clip_low=0.2, clip_high=0.2, kl_coefficient=size.kl),
        OptimizerSettings(learning_rate=1e-6),
        max_tokens=size.limit,
        total_steps=1000,
        autocast="bfloat16" if dtype == "bfloat16" else "none",
    )


def work(case: dict[str, Any]) -> float:
    """Return the FLOP of a step without a KL term: prefill once per prompt, decoding, and the update."""
    size = Case(**case)
    matrices, counts = work_of(size), _counts(size)
    return matrices.forward(*counts) + matrices.training(*counts)


def _counts(size: Case) -> tuple[int, int, float]:
    """Return tokens, tokens with logits, and attended pairs, with each prompt once per group."""
    scored = size.completions * size.limit
    tokens = scored + size.prompts * size.prompt
    attended = size.completions * pairs(size.prompt, size.limit)
    return tokens, scored, attended + size.prompts * pairs(0, size.prompt)


def samples_of(size: Case) -> list[Sample]:
    """Return random responses of full length, with no advantage of 0."""
    rng, samples = random.Random(0), []
    for _ in range(size.prompts):
        prompt = _ids(rng, size.prompt, size)
        for index in range(size.group):
            response = _ids(rng, size.limit, size)
            logprobs = (-6.7,) * size.limit  # about the logarithm of 1 / vocabulary
            samples.append(Sample(prompt, response, logprobs, 1.0 if index % 2 else -1.0))
    return samples


def _ids(rng: random.Random, count: int, size: Case) -> tuple[int, ...]:
    return tuple(rng.randrange(1, size.vocabulary - 1) for _ in range(count))
