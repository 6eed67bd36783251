"""The verifier "choice": multiple choice by letter, by text, or by both.

In: a problem and an answer. Out: 1.0 right, 0.0 wrong, None when the problem's own gold answer names no option.
Options stand in the column `options` or `choices`: a list of texts, an object from letter to text, or ARC's
`{"label": [...], "text": [...]}`, also as JSON text. Without them only letters can be read.

DeepSeek-R1 (arXiv 2501.12948v2, section 2.2 and B.3.1: STEM problems with options) is silent on all of this.
Decisions:
1. Only a bare choice is read: "B", "(b)", "B.", "B) Paris", "Paris", also in **bold** or \\text{...}. Prose around it
   makes it unreadable: a response that names several letters has chosen none.
2. Letter and text have to agree: "A) Paris" is wrong when Paris is B.
3. A text counts when it is that of exactly one option, by `normalize`. A text wins over a letter that it happens to
   be: with the options "B" and "A", in this order, "A" is taken as unreadable, since both readings name another one.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from dianoia.base.records import Problem
from dianoia.tasks.answers import normalize

LETTERS = "ABCDEFGHIJ"
FEWEST = 2
_COLUMNS = ("options", "choices")
_MAX_CHARS = 4000
_LETTER = re.compile(r"[(\[]?([A-Ja-j])[)\].:、]?")
_BOTH = re.compile(r"[(\[]?([A-Ja-j])[)\].:、]\s*(\S.*)", re.DOTALL)
_WRAPS = (
    re.compile(r"\*\*(.+)\*\*", re.DOTALL),
    re.compile(r"\\(?:text|textbf|mathrm|mathbf)\{([^{}]*)\}"),
    re.compile(r"\$([^$]*)\$"),
)


def choice(problem: Problem, answer: str) -> float | None:
    """Whether the answer names the option that the gold answer names."""
    return of_options(read_options(problem), problem.answer, answer)


def of_options(options: Sequence[str] | None, gold: str, answer: str) -> float | None:
    """As `choice`, for options that have been read; None where they cannot be used."""
    if options is None:
        return None
    wanted = chosen(gold, options)
    if wanted is None:
        return None
    return float(chosen(answer, options) == wanted)


def read_options(problem: Problem) -> list[str] | None:
    """The texts of the options in the order of their letters; empty when no column holds them, None when one
    does that cannot be used (fewer than 2 or more than 10, no texts, labels that are not A, B, C and so on)."""
    found = next((problem.columns[name] for name in _COLUMNS if problem.columns.get(name)), None)
    if found is None:
        return []
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (json.JSONDecodeError, RecursionError):
            return None
    texts = _texts(found)
    if texts is None or not FEWEST <= len(texts) <= len(LETTERS):
        return None
    return _without_letters(texts)


def _texts(found: Any) -> list[str] | None:
    """Texts in the order of the letters."""
    if isinstance(found, dict) and found.keys() >= {"label", "text"}:
        labels, texts = found["label"], found["text"]
        if not isinstance(labels, list) or not isinstance(texts, list):
            return None
        found = dict(zip(map(str, labels), texts, strict=False))
    if isinstance(found, dict):
        found = {str(label).upper(): text for label, text in found.items() if text is not None}
        expected = (LETTERS[: len(found)], "123456789"[: len(found)])
        if "".join(found) not in expected:
            return None
        found = list(found.values())
    if not isinstance(found, list):
        return None
    texts = [str(text).strip() for text in found if isinstance(text, (str, int, float))]
    return texts if len(texts) == len(found) and all(texts) else None


def _without_letters(texts: Sequence[str]) -> list[str]:
    """Options that carry their letters, as in "A) Paris", without them."""
    split = [_BOTH.fullmatch(text) for text in texts]
    labelled = all(
        match and match[1].upper() == LETTERS[number] for number, match in enumerate(split)
    )
    return [match[2] for match in split if match] if labelled else list(texts)


def chosen(text: str, options: Sequence[str]) -> int | None:
    """The number of the option, from 0, that a text names; None if it names none, or more than one."""
    bare = _bare(text)
    if not bare:
        return None
    by_letter, by_text = _by_letter(bare, len(options)), _by_text(bare, options)
    if by_letter is not None and by_text is not None:
        return by_letter if by_letter == by_text else None
    if by_letter is not None or by_text is not None:
        return by_text if by_letter is None else by_letter
    both = _BOTH.fullmatch(bare)
    if both is None:
        return None
    number = _by_letter(both[1], len(options))
    return number if number is not None and number == _by_text(both[2], options) else None


def _bare(text: str) -> str:
    if len(text) > _MAX_CHARS:
        return ""
    text = text.strip()
    for wrap in _WRAPS:
        if match := wrap.fullmatch(text):
            text = match[1].strip()
    return text.translate({0xFF08: "(", 0xFF09: ")", 0xFF0E: ".", 0xFF1A: ":"})


def _by_letter(text: str, count: int) -> int | None:
    """`count` 0: nobody knows how many options there are."""
    match = _LETTER.fullmatch(normalize(text) or "")
    number = LETTERS.index(match[1].upper()) if match else len(LETTERS)
    return number if number < (count or len(LETTERS)) else None


def _by_text(text: str, options: Sequence[str]) -> int | None:
    wanted = normalize(text)
    found = [number for number, option in enumerate(options) if normalize(option) == wanted]
    return found[0] if wanted and len(found) == 1 else None
