"""The reward of a measured step, called by both sides in the same way: cheap, and varying within a group."""

from typing import Any


def even_words(completions: list[str], **_: Any) -> list[float]:
    """Return the share of words with an even number, per completion."""
    return [_share(text.split()) for text in completions]


def _share(words: list[str]) -> float:
    even = sum(int(word[1:]) % 2 == 0 for word in words if word[1:].isdigit())
    return even / max(1, len(words))
