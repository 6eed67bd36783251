"""Measures a GRPO update with each prompt run once per group, and with each prompt run once per sample.

Both use the same random model and the same samples. The load is that of the miniature: a Qwen3 of under a million
parameters, 16 prompts of about 62 tokens with 16 responses each, with skewed lengths of 5 to 140 tokens, and a KL
term, hence a forward pass of the reference.

    python -m benchmarks.learner --runs 5 --threads 1

The two alternate, so that other work on the machine affects both alike, and medians are printed. Tokens are response
tokens; padding is the share of positions without a token.
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
    """Return random samples: prompts of 50 to 74 tokens, responses of log-normal length."""
    rng = random.Random(0)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(VOCABULARY) for _ in range(count))

    samples = []
    for prompt in [ids(rng.randint(50, 74)) for _ in range(prompts)]:
        for _ in range(group):
            # Log-normal, as lengths of responses are: many short ones and a long tail.
            length = min(140, max(5, int(rng.lognormvariate(3.4, 0.6))))
            logprobs = (-6.7,) * length  # about the logarithm of 1 / VOCABULARY
            # An advantage that is never 0: every sample has to run.
            samples.append(Sample(prompt, ids(length), logprobs, rng.choice([-1.0, 1.0])))
    return samples


@dataclass
class TimedLearner:
    """A learner and the seconds of its updates."""

    name: str
    learner: PolicyLearner
    seconds: list[float] = field(default_factory=list)
    padding: float = 0.0

    def run(self, samples: list[Sample]) -> None:
        """Time the work of one rollout: `prepare` and one `update`."""
        start = time.perf_counter()
        # Both calls, since a rollout needs both: `prepare` runs the reference.
        self.padding = self.learner.update(self.learner.prepare(samples)).padding_share
        self.seconds.append(time.perf_counter() - start)

    @property
    def median(self) -> float:
        """Median seconds, without the first run, which warms up."""
        return statistics.median(self.seconds[1:])

    def line(self, tokens: int) -> str:
        """Return the result in a line."""
        return (
            f"{self.name}: {self.median:6.2f} s per update, {tokens / self.median:8.0f} tokens/s, "
            f"padding {self.padding:5.1%}"
        )


def timed(name: str, options: argparse.Namespace, share: bool) -> TimedLearner:
    """Return a new learner with its timer."""
    learner = PolicyLearner(
        miniature(VOCABULARY, options.device),
        AlgorithmSettings(clip_low=0.2, clip_high=0.2, kl_coefficient=0.001),
        OptimizerSettings(learning_rate=1e-4),
        max_tokens=140,
        total_steps=1000,
        tokens_per_micro_batch=options.tokens_per_micro_batch,
        share_prompts=share,
    )
    # Past the learner's own limit for a CPU: the larger micro-batches of a padded learner.
    if not share and not options.small:
        learner.tokens_per_micro_batch = options.tokens_per_micro_batch
    return TimedLearner(name, learner)


def main() -> None:
    """Read the options, run both alternately, print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--samples", type=int, default=16, help="samples per prompt")
    parser.add_argument(
        "--runs", type=int, default=5, help="measured updates, after one to warm up"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tokens-per-micro-batch", type=int, default=16_384)
    parser.add_argument(
        "--small",
        action="store_true",
        help="use micro-batches that fit a CPU cache without shared prompts, too",
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    samples = load(options.prompts, options.samples)
    per_sample = timed("prompts per sample", options, False)
    shared = timed("prompts shared    ", options, True)
    for _ in range(1 + options.runs):
        per_sample.run(samples)
        shared.run(samples)
    tokens = sum(len(sample.response_ids) for sample in samples)
    print(f"{len(samples)} samples of {options.prompts} prompts, {tokens} response tokens")
    print(per_sample.line(tokens))
    print(shared.line(tokens))
    print(f"ratio: {per_sample.median / shared.median:.2f}")


if __name__ == "__main__":
    main()
