"""The work of a GRPO step, the same for both sides: how many completions, how long, of which model.

Equal work. With a fixed length nothing ends early: the tokenizer's end-of-text id lies just beyond the model's
vocabulary, so that neither side can draw it and neither needs a rule against it. On the skewed lengths both sides draw until an end-of-text
token that the model itself gives a probability of about 1 / `mean` everywhere (`folders`), which makes lengths
geometric: many short, few long, cut at the limit. The two draw different lengths of one law, so figures a token are what
compares there, and seconds in the median.
"""

import math
import random
import re
from dataclasses import dataclass

GROUP = 16
"""Completions a prompt."""


@dataclass(frozen=True, slots=True)
class Case:
    """One size. The model is a Qwen3 of 1.09 million parameters unless told otherwise."""

    completions: int = 64
    limit: int = 64
    """Tokens of a completion, at most; exactly, without `mean`."""
    mean: int | None = None
    """Of the geometric law of lengths."""
    kl: float = 0.0
    group: int = GROUP
    prompt: int = 10
    """Tokens of a prompt."""
    vocabulary: int = 832
    hidden: int = 128
    layers: int = 4

    def __post_init__(self) -> None:
        assert self.completions % self.group == 0, "whole groups"

    @property
    def name(self) -> str:
        """As `case` reads it, with `_kl` for a divergence term: `256x128`, `256x128~32_kl`."""
        law = "" if self.mean is None else f"~{self.mean}"
        return f"{self.completions}x{self.limit}{law}{'_kl' if self.kl else ''}"

    @property
    def prompts(self) -> int:
        """Different prompts of a step."""
        return self.completions // self.group

    @property
    def end(self) -> int:
        """The end-of-text id: the last of the vocabulary on skewed lengths, else the first beyond it."""
        return self.vocabulary if self.mean is None else self.vocabulary - 1


def case(text: str, kl: float = 0.0) -> Case:
    """`256x128`: completions x tokens; `256x128~32`: at most 128 tokens, 32 in the mean. Raises ValueError."""
    found = re.fullmatch(r"(\d+)x(\d+)(?:~(\d+))?", text)
    if found is None:
        raise ValueError(f"{text!r} is no size; write COMPLETIONSxTOKENS or COMPLETIONSxLIMIT~MEAN")
    completions, limit, mean = found.groups()
    return Case(int(completions), int(limit), int(mean) if mean else None, kl)


def skewed(count: int, limit: int, mean: float, seed: int = 0) -> list[int]:
    """Lengths of the geometric law with that mean, from 1 to `limit`, where the rest is cut."""
    draw, stays = random.Random(seed), math.log1p(-1 / mean)
    return [min(limit, 1 + int(math.log(1 - draw.random()) / stays)) for _ in range(count)]


def words(count: int, vocabulary: int, draw: random.Random) -> str:
    """A text of so many tokens; the first (padding) and the last (which may end a text) are not among them."""
    return " ".join(f"w{draw.randrange(1, vocabulary - 1)}" for _ in range(count))


def prompts(chosen: Case, count: int, seed: int = 0) -> list[str]:
    """Different prompts of `chosen.prompt` tokens each."""
    draw = random.Random(seed)
    return [words(chosen.prompt, chosen.vocabulary, draw) for _ in range(count)]
