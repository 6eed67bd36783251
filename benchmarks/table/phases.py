"""The two phases on their own, with fixed lengths, for their share of what the machine can do."""

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
    """Operations a second while 256 slots decode; reading prompts is not counted, neither its work nor its time."""
    chosen = Case(**case)
    sampler = _sampler(chosen, dtype)
    draw = random.Random(0)
    requests = [
        Request(_ids(draw, chosen.prompt, chosen), chosen.group, (0, place))
        for place in range(chosen.prompts)
    ]
    sampler.generate(requests, SamplingParams(chosen.limit, frozenset({chosen.end})))
    # The first token comes of reading the prompt.
    tokens = chosen.completions * (chosen.limit - 1)
    attended = chosen.completions * pairs(chosen.prompt + 1, chosen.limit - 1)
    done = work_of(chosen).forward(tokens, tokens, attended)
    return {"rate": done / sampler.stats.seconds_decode, "seconds": sampler.stats.seconds_decode}


@cache
def _sampler(chosen: Case, dtype: str) -> NativeSampler:
    """Built by the first run, not timed."""
    model = model_of(chosen)
    sampler = NativeSampler(model.config, slots=SLOTS, dtype=getattr(torch, dtype))
    sampler.load(WeightUpdate(0, model.state_dict()))
    return sampler


def updating(case: dict[str, Any], dtype: str) -> dict[str, float]:
    """Operations a second of one update; a prompt counts once a group, however often it is run."""
    chosen = Case(**case)
    learner = _learner(chosen, dtype)
    samples = samples_of(chosen)
    start = time.perf_counter()
    learner.update(learner.prepare(samples))
    seconds = time.perf_counter() - start
    done = work_of(chosen).training(*_counts(chosen))
    return {"rate": done / seconds, "seconds": seconds}


@cache
def _learner(chosen: Case, dtype: str) -> PolicyLearner:
    """Built by the first run, not timed."""
    return PolicyLearner(
        model_of(chosen),
        AlgorithmSettings(clip_low=0.2, clip_high=0.2, kl_coefficient=chosen.kl),
        OptimizerSettings(learning_rate=1e-6),
        max_tokens=chosen.limit,
        total_steps=1000,
        autocast="bfloat16" if dtype == "bfloat16" else "none",
    )


def work(case: dict[str, Any]) -> float:
    """Operations of a step without a divergence term: prompts read once, responses drawn one by one, then learnt."""
    chosen = Case(**case)
    known, counts = work_of(chosen), _counts(chosen)
    return known.forward(*counts) + known.training(*counts)


def _counts(chosen: Case) -> tuple[int, int, float]:
    """Tokens read, tokens scored, pairs attended, where a prompt is read once a group."""
    scored = chosen.completions * chosen.limit
    tokens = scored + chosen.prompts * chosen.prompt
    attended = chosen.completions * pairs(chosen.prompt, chosen.limit)
    return tokens, scored, attended + chosen.prompts * pairs(0, chosen.prompt)


def samples_of(chosen: Case) -> list[Sample]:
    """Random responses of the full length, every advantage other than 0."""
    draw, samples = random.Random(0), []
    for _ in range(chosen.prompts):
        prompt = _ids(draw, chosen.prompt, chosen)
        for place in range(chosen.group):
            response = _ids(draw, chosen.limit, chosen)
            known = (-6.7,) * chosen.limit  # about the logarithm of 1 / vocabulary
            samples.append(Sample(prompt, response, known, 1.0 if place % 2 else -1.0))
    return samples


def _ids(draw: random.Random, count: int, chosen: Case) -> tuple[int, ...]:
    return tuple(draw.randrange(1, chosen.vocabulary - 1) for _ in range(count))
