"""Lengths of responses: those of a run, or a log-normal distribution with a long tail. No torch, no files.

In: tokens of the responses of some groups, or a mean. Out: lengths `[P, G]` of the responses of a rollout. Responses to one
problem are alike, so lengths have two spreads: between problems and within a problem. Both of a log-normal distribution are
those of the logarithms of the tokens. A length is at most the stage's limit, where responses are cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import erf, exp, log, sqrt
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

BETWEEN, WITHIN = 0.35, 0.7
"""Spreads of the logarithms of lengths where no run is given: those of R1-Zero's first rollout in miniature, 0.34 and 0.70.
Over six rl stages of the miniature they were 0.20 to 0.57 and 0.09 to 0.77."""


class Lengths(Protocol):
    """Where the lengths of a rollout come from."""

    def draw(self, problems: int, samples: int, random: np.random.Generator) -> NDArray[np.int64]:
        """Return tokens of responses `[P, G]`, each at least 1."""
        ...

    @property
    def mean(self) -> float:
        """Mean tokens of a response."""
        ...


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Log-normal lengths, cut at `limit`."""

    location: float
    """Mean of the logarithms."""
    between: float
    """Standard deviation of the logarithms between problems."""
    within: float
    """The same within a problem."""
    limit: int

    def draw(self, problems: int, samples: int, random: np.random.Generator) -> NDArray[np.int64]:
        """Return tokens of responses `[P, G]`."""
        of_problems = self.between * random.standard_normal((problems, 1))
        of_samples = self.within * random.standard_normal((problems, samples))
        tokens = np.exp(self.location + of_problems + of_samples)
        return np.clip(np.rint(tokens), 1, self.limit).astype(np.int64)

    @property
    def spread(self) -> float:
        """Standard deviation of the logarithms over all responses."""
        return sqrt(self.between**2 + self.within**2)

    @property
    def mean(self) -> float:
        """Mean tokens, cut at the limit: E min(X, c) = e^(m + s²/2) Φ((ln c - m)/s - s) + c (1 - Φ((ln c - m)/s))."""
        m, s, c = self.location, self.spread, float(self.limit)
        if s == 0:
            return min(exp(m), c)
        z = (log(c) - m) / s
        return exp(m + s * s / 2) * _normal(z - s) + c * (1 - _normal(z))

    @property
    def cut_share(self) -> float:
        """Share of the responses that reach the limit."""
        if self.spread == 0:
            return float(exp(self.location) >= self.limit)
        return 1 - _normal((log(self.limit) - self.location) / self.spread)

    def with_mean(self, mean: float) -> "LogNormal":
        """Return the distribution of the same spreads and limit whose mean is `mean`, 1 <= mean < limit."""
        assert 1 <= mean < self.limit, "the caller has checked the mean"
        # The cut at the limit leaves no closed form; near the limit the location lies far beyond its logarithm.
        low, high = -10.0, log(self.limit) + 20 * (1 + self.spread)
        for _ in range(100):  # the mean grows with the location: bisect
            middle = (low + high) / 2
            low, high = (middle, high) if self.at(middle).mean < mean else (low, middle)
        return self.at(low)

    def at(self, location: float) -> "LogNormal":
        """Return the distribution with another mean of the logarithms."""
        return replace(self, location=location)


@dataclass(frozen=True, slots=True)
class Observed:
    """Lengths of the groups of a run, drawn again."""

    groups: Sequence[NDArray[np.int64]]
    """Tokens of the responses of each group."""

    def draw(self, problems: int, samples: int, random: np.random.Generator) -> NDArray[np.int64]:
        """Return tokens of responses `[P, G]`: groups with replacement, and members of each with replacement."""
        chosen = random.integers(len(self.groups), size=problems)
        return np.stack(
            [
                group[random.integers(len(group), size=samples)]
                for group in (self.groups[index] for index in chosen)
            ]
        )

    @property
    def mean(self) -> float:
        """Mean tokens of a response."""
        return float(np.concatenate(self.groups).mean())


def fit(groups: Sequence[NDArray[np.int64]], limit: int) -> LogNormal:
    """Return the log-normal distribution with the location and both spreads of the groups.

    The spread within is the pooled standard deviation of the logarithms; the variance between is that of the groups' means less
    the part that the spread within explains. Responses that were cut count with the limit.
    """
    logs = [np.log(np.maximum(group, 1)) for group in groups]
    means = np.array([group.mean() for group in logs])
    freedom = sum(len(group) - 1 for group in logs)
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in logs)
    within = squares / freedom if freedom else 0.0
    # The harmonic mean of the sizes, since the mean of a group of n has the variance `within` / n.
    size = len(logs) / sum(1 / len(group) for group in logs)
    between = float(means.var(ddof=1)) - within / size if len(logs) > 1 else 0.0
    # The difference may come out below 0 by chance, where problems hardly differ.
    return LogNormal(float(means.mean()), sqrt(max(0.0, between)), sqrt(within), limit)


def _normal(z: float) -> float:
    """Return the standard normal distribution function at z."""
    return (1 + erf(z / sqrt(2))) / 2
