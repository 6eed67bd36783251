"""Dianoia's process of the benchmark, `python -m benchmarks.table.ours`: answers the commands of `link.Child`."""

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from benchmarks.table.arithmetic import machine_rates
from benchmarks.table.cases import Case
from benchmarks.table.folders import two_models
from benchmarks.table.link import Link, peak_bytes
from benchmarks.table.phases import decoding, updating, work
from benchmarks.table.stage import Opened, opened, step_recipe
from dianoia.base.records import Request, Sample, SamplingParams
from dianoia.config import AlgorithmSettings, OptimizerSettings
from dianoia.learner.policy import PolicyLearner
from dianoia.sampler.interface import WeightUpdate
from dianoia.sampler.native.engine import NativeSampler


class Ours:
    """The commands that the parent can send; each public method is one."""

    def __init__(self) -> None:
        self.stage: Opened | None = None
        self.sampler: NativeSampler | None = None
        self.tokens_so_far = 0.0
        self.sample_calls = 0

    def open(self, case: dict[str, Any], folder: str, threads: int, dtype: str) -> bool:
        """Open a stage for `step`."""
        path = Path(folder)
        recipe = step_recipe(Case(**case), path, threads, dtype)
        self.stage = opened(recipe, path)
        return True

    def step(self) -> dict[str, float]:
        """Run one rollout and its update."""
        assert self.stage is not None, "open it first"
        start = time.perf_counter()
        self.stage.training.train_on_rollout()
        seconds, row = time.perf_counter() - start, self.stage.last()
        # The stage counts tokens since its beginning.
        tokens, self.tokens_so_far = row["num_tokens"] - self.tokens_so_far, row["num_tokens"]
        rollout = row["generate_seconds"]
        return {
            "seconds": seconds,
            "rollout": rollout,
            "update": seconds - rollout,
            "tokens": tokens,
        }

    def peak(self) -> int:
        """Return the peak memory in bytes."""
        return peak_bytes()

    def loss(
        self,
        policy: str,
        reference: str,
        kl: float,
        prompts: list[list[int]],
        completions: list[list[int]],
        old: list[list[float]],
        advantages: list[float],
        dtype: str,
    ) -> float:
        """Return the loss of one step on these completions, with the clip range of a step."""
        learner = PolicyLearner(
            AutoModelForCausalLM.from_pretrained(policy, dtype=torch.float32),
            AlgorithmSettings(clip_low=0.2, clip_high=0.2, kl_coefficient=kl),
            OptimizerSettings(learning_rate=1e-6),
            max_tokens=max(map(len, completions)),
            total_steps=1,
            autocast="bfloat16" if dtype == "bfloat16" else "none",
        )
        # TRL is given the same reference, which differs from the policy.
        if learner.reference is not None:
            model = AutoModelForCausalLM.from_pretrained(reference, dtype=torch.float32)
            learner.reference.load_state_dict(model.state_dict())
        samples = [
            Sample(tuple(prompt), tuple(ids), tuple(logprobs), advantage)
            for prompt, ids, logprobs, advantage in zip(
                prompts, completions, old, advantages, strict=True
            )
        ]
        return learner.update(learner.prepare(samples)).loss

    def open_sampler(self, model: str, slots: int, dtype: str) -> bool:
        """Open a sampler for `sample`."""
        peer = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        self.sampler = NativeSampler(peer.config, slots=slots, dtype=getattr(torch, dtype))
        self.sampler.load(WeightUpdate(0, peer.state_dict()))
        return True

    def sample(
        self, prompts: list[list[int]], samples: int, limit: int, end: int
    ) -> dict[str, float]:
        """Return the tokens per second; every call has another random key."""
        assert self.sampler is not None, "open it first"
        # Another key per call: equal draws might meet warm caches.
        self.sample_calls += 1
        requests = [
            Request(tuple(ids), samples, (self.sample_calls, index))
            for index, ids in enumerate(prompts)
        ]
        self.sampler.generate(requests, SamplingParams(limit, frozenset({end})))
        stats = self.sampler.stats
        return {
            "tokens_per_second": stats.tokens_per_second, "tokens": stats.tokens,
            "prefill_seconds": stats.seconds_prefill, "decode_seconds": stats.seconds_decode,
            "occupancy": stats.occupancy,
        }  # fmt: skip

    def shares(self, threads: int, steps: int) -> list[dict[str, float]]:
        """Return the seconds of the parts of a step of the miniature's R1-Zero."""
        from benchmarks.table.shares import parts  # noqa: PLC0415 - only this command needs it

        with tempfile.TemporaryDirectory() as folder:
            return parts(Path(folder), threads, steps)


def main() -> None:
    """Answer commands until the parent is done."""
    link, ours = Link(), Ours()
    commands = {name: getattr(ours, name) for name in dir(ours) if not name.startswith("_")}
    commands = {name: call for name, call in commands.items() if callable(call)}
    functions = {
        "machine": machine_rates, "decoding": decoding, "updating": updating,
        "two_models": two_models, "work": work,
    }  # fmt: skip
    link.serve(commands | functions)


if __name__ == "__main__":
    main()
