"""The reward of a measured step, called by both sides in the same way: cheap, and different within a group."""

from typing import Any


def low_words(completions: list[str], **_: Any) -> list[float]:
    """The share of a completion's words with a number below 400."""
    return [_share(text.split()) for text in completions]


def _share(found: list[str]) -> float:
    low = sum(int(word.removeprefix("w")) < 400 for word in found if word[1:].isdigit())
    return low / max(1, len(found))
