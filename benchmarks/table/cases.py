"""The sizes of a GRPO step, the same for both sides: number and length of completions, and the model.

Both sides do the same work. With a fixed length no completion ends early: the tokenizer's end-of-text id is just beyond
the model's vocabulary, so that neither side can sample it and neither needs a rule against it. With skewed lengths, the
model gives the end-of-text token a probability of about 1 / `mean` everywhere (`folders`), so lengths are geometric:
many short, few long, cut at the limit. The two sides sample different lengths from one distribution, so figures per
token are comparable, and seconds in the median.
"""

import math
import random
import re
from dataclasses import dataclass

GROUP = 16
"""Completions per prompt."""


@dataclass(frozen=True, slots=True)
class Case:
    """One size. By default the model is a Qwen3 of 1.09 million parameters."""

    completions: int = 64
    limit: int = 64
    """Tokens per completion: the exact number without `mean`, else the maximum."""
    mean: int | None = None
    """Mean of the geometric distribution of lengths."""
    kl: float = 0.0
    group: int = GROUP
    prompt: int = 10
    """Tokens per prompt."""
    vocabulary: int = 832
    hidden: int = 128
    layers: int = 4

    def __post_init__(self) -> None:
        assert self.completions % self.group == 0, "whole groups"

    @property
    def name(self) -> str:
        """The text that `case` reads, with `_kl` for a KL term: `256x128`, `256x128~32_kl`."""
        suffix = "" if self.mean is None else f"~{self.mean}"
        return f"{self.completions}x{self.limit}{suffix}{'_kl' if self.kl else ''}"

    @property
    def prompts(self) -> int:
        """Number of prompts per step."""
        return self.completions // self.group

    @property
    def end(self) -> int:
        """The end-of-text id: the last of the vocabulary for skewed lengths, else the first beyond it."""
        return self.vocabulary if self.mean is None else self.vocabulary - 1


def case(text: str, kl: float = 0.0) -> Case:
    """Parse a size: `256x128` is completions x tokens; `256x128~32` has at most 128 tokens, with mean 32.

    Raises ValueError for another text.
    """
    match = re.fullmatch(r"(\d+)x(\d+)(?:~(\d+))?", text)
    if match is None:
        raise ValueError(f"{text!r} is no size; write COMPLETIONSxTOKENS or COMPLETIONSxLIMIT~MEAN")
    completions, limit, mean = match.groups()
    return Case(int(completions), int(limit), int(mean) if mean else None, kl)


def skewed(count: int, limit: int, mean: float, seed: int = 0) -> list[int]:
    """Return lengths from the geometric distribution with that mean, cut at `limit`."""
    rng, log_continue = random.Random(seed), math.log1p(-1 / mean)
    return [min(limit, 1 + int(math.log(1 - rng.random()) / log_continue)) for _ in range(count)]


def words(count: int, vocabulary: int, rng: random.Random) -> str:
    """Return a text of `count` random tokens, without the first (padding) and the last (which may end a text)."""
    return " ".join(f"w{rng.randrange(1, vocabulary - 1)}" for _ in range(count))


def prompts(size: Case, count: int, seed: int = 0) -> list[str]:
    """Return random prompts of `size.prompt` tokens each."""
    rng = random.Random(seed)
    return [words(size.prompt, size.vocabulary, rng) for _ in range(count)]
