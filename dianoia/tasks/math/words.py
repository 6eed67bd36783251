"""Answers that are words or choices: "even", "\\text{Tuesday}", "(C)". Compared as texts, never as products of letters."""

import re

_SHORT = "yes no true false odd even none all never always both neither"
_BARE = frozenset(_SHORT.split())
_WORD = re.compile(r"[A-Za-z]{4,}(?:[ -][A-Za-z]+){0,3}")
_WRAPPED = re.compile(r"\\text\s*\{([^{}\\$^_=+*/<>]{1,60})\}")
_DATED = re.compile(r"\\text\s*\{\s*[A-Za-z]{3,12} \d{1,4}\s*\}")
"""\\text{June 20} is no product of letters and a number."""
_CHOICE = re.compile(r"\(?([A-J])\)?")


def words(text: str) -> str | None:
    """The words that a text in plain LaTeX is, in lower case; None for anything else."""
    wrapped = _WRAPPED.fullmatch(text)
    inner = (wrapped[1] if wrapped else text).strip().rstrip(".")
    if not inner or (any(char.isdigit() for char in inner) and not _DATED.fullmatch(text)):
        return None
    if (letter := choice(inner)) is not None:
        return letter if wrapped or len(inner) > 1 else None
    if wrapped or inner.lower() in _BARE or _WORD.fullmatch(inner):
        return " ".join(inner.lower().split())
    return None


def same_words(gold: str, answer: str) -> bool:
    """Whether an answer says the gold answer's words; a choice may stand without its brackets."""
    return (words(answer) or choice(answer)) == gold


def choice(text: str) -> str | None:
    """The letter of a choice, in lower case: C, (C) or \\text{(C)}."""
    match = _CHOICE.fullmatch(text.strip())
    return match[1].lower() if match else None
