"""The reward of a measured step, called by both sides in the same way: cheap, and different within a group."""

from typing import Any


def even_words(completions: list[str], **_: Any) -> list[float]:
    """The share of a completion's words with an even number."""
    return [_share(text.split()) for text in completions]


def _share(found: list[str]) -> float:
    even = sum(int(word[1:]) % 2 == 0 for word in found if word[1:].isdigit())
    return even / max(1, len(found))
