"""Seconds of one GRPO update with every prompt run once and with prompts run for every sample, same
random model, same samples, same run.

The load is that of the miniature: a Qwen3 of under a million parameters, 16 prompts of about 62
tokens with 16 responses each, skewed from 5 to 140 tokens, a KL term and hence a reference pass.

    python -m benchmarks.learner --runs 5 --threads 1

The two take turns, and medians are printed, so that other work on the machine meets both alike.
Tokens are response tokens; padding is the share of positions that hold none.
"""

import argparse
import random
import statistics
import time
from dataclasses import dataclass, field

import torch

from benchmarks.models import miniature
from dianoia.base.records import Sample
from dianoia.config import AlgorithmSettings, OptimizerSettings
from dianoia.learner.policy import PolicyLearner

VOCABULARY = 800


def load(prompts: int, group: int) -> list[Sample]:
    """Random samples: prompts of 50 to 74 tokens, responses of log-normal length."""
    draw = random.Random(0)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(VOCABULARY) for _ in range(count))

    samples = []
    for prompt in [ids(draw.randint(50, 74)) for _ in range(prompts)]:
        for _ in range(group):
            length = min(140, max(5, int(draw.lognormvariate(3.4, 0.6))))
            logprobs = (-6.7,) * length  # about the logarithm of 1 / VOCABULARY
            samples.append(Sample(prompt, ids(length), logprobs, draw.choice([-1.0, 1.0])))
    return samples


@dataclass
class Timed:
    """A learner and what its updates took."""

    name: str
    learner: PolicyLearner
    seconds: list[float] = field(default_factory=list)
    padding: float = 0.0

    def run(self, samples: list[Sample]) -> None:
        """One rollout's work: `prepare` and one `update`."""
        start = time.perf_counter()
        self.padding = self.learner.update(self.learner.prepare(samples)).padding_share
        self.seconds.append(time.perf_counter() - start)

    @property
    def median(self) -> float:
        """Seconds, without the first run, which warms up."""
        return statistics.median(self.seconds[1:])

    def line(self, tokens: int) -> str:
        """The result in a line."""
        return (
            f"{self.name}: {self.median:6.2f} s an update, {tokens / self.median:8.0f} tokens/s, "
            f"padding {self.padding:5.1%}"
        )


def timed(name: str, options: argparse.Namespace, share: bool) -> Timed:
    """A fresh learner."""
    learner = PolicyLearner(
        miniature(VOCABULARY, options.device),
        AlgorithmSettings(clip_low=0.2, clip_high=0.2, kl_coefficient=0.001),
        OptimizerSettings(learning_rate=1e-4),
        max_tokens=140,
        total_steps=1000,
        tokens_per_micro_batch=options.tokens_per_micro_batch,
        share_prompts=share,
    )
    if not share and not options.small:
        learner.tokens_per_micro_batch = options.tokens_per_micro_batch
    return Timed(name, learner)


def main() -> None:
    """Read the options, run both in turns, print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--samples", type=int, default=16, help="a prompt")
    parser.add_argument("--runs", type=int, default=5, help="after one to warm up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tokens-per-micro-batch", type=int, default=16_384)
    parser.add_argument(
        "--small",
        action="store_true",
        help="micro-batches of the size for a CPU's cache without shared prompts, too",
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    samples = load(options.prompts, options.samples)
    apart, shared = timed("prompts apart ", options, False), timed("prompts shared", options, True)
    for _ in range(1 + options.runs):
        apart.run(samples)
        shared.run(samples)
    tokens = sum(len(sample.response_ids) for sample in samples)
    print(f"{len(samples)} samples of {options.prompts} prompts, {tokens} response tokens")
    print(apart.line(tokens))
    print(shared.line(tokens))
    print(f"ratio: {apart.median / shared.median:.2f}")


if __name__ == "__main__":
    main()
