"""Samples of one problem that cannot differ are refused: they cost k times as much and say what one says."""

from typing import Protocol

COLDEST = 0.01
"""Temperatures below draw the likeliest token all but always: a logit that is 0.1 lower is e^10 times rarer."""
NARROWEST = 0.05
"""A top_p up to here holds the likeliest token alone wherever that one has a probability of 5 %."""


class Draws(Protocol):
    """Settings that say how tokens are drawn."""

    @property
    def temperature(self) -> float:
        """0 is greedy."""
        ...

    @property
    def top_p(self) -> float:
        """Up to 1."""
        ...


def refuse_alike(samples: str, count: int, draws: Draws, where: str, use: str) -> None:
    """Raise ValueError where `count` samples of a problem would be the same one.

    Args:
        samples: the key that asks for them, such as `group_size`.
        where: what stands before the keys of `draws`, such as `sampling.`.
        use: what is lost, a clause that ends the sentence on why it matters.
    """
    why = _always_the_same(draws, where)
    if count > 1 and why is not None:
        raise ValueError(
            f"{samples} = {count} with {why}: the {count} samples of a problem would be the same text, so that {use}; "
            f"raise {where}temperature (the paper: 0.6 to evaluate, 1 to train) and leave top_p and top_k wide"
            + ("" if samples == "group_size" else f", or set {samples} = 1")
        )


def _always_the_same(draws: Draws, where: str) -> str | None:
    """The setting that leaves one token to draw; None where several can be drawn."""
    if draws.temperature < COLDEST:
        return f"{where}temperature = {draws.temperature:g}"
    if getattr(draws, "top_k", 0) == 1:
        return f"{where}top_k = 1"
    return f"{where}top_p = {draws.top_p:g}" if draws.top_p <= NARROWEST else None
