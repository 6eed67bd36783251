"""The verifier "choice": multiple choice by letter, by text, or by both.

In: a problem and an answer. Out: 1.0 right, 0.0 wrong, None when the problem's own gold answer names no option.
Options stand in the column `options` or `choices`: a list of texts, an object from letter to text, or ARC's
`{"label": [...], "text": [...]}`, also as JSON text. Without them only letters can be read.

DeepSeek-R1 (arXiv 2501.12948v2, section 2.2 and B.3.1: STEM problems with options) is silent on all of this.
Decisions:
1. Only a choice is read: "B", "(b)", "B.", "B) Paris", "Paris", "Option B", "B is correct", in whatever says nothing
   (a box, dollars, bold, "The answer is": `tasks.wrappings`). Other prose around it makes it unreadable: a response
   that names several letters has chosen none.
2. Letter and text have to agree: "A) Paris" is wrong when Paris is B. Where the row holds no options, the text has
   to stand behind its letter in the question.
3. A text counts when it is that of exactly one option, by `normalize`. A text wins over a letter that it happens to
   be: with the options "B" and "A", in this order, "A" is taken as unreadable, since both readings name another one.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from dianoia.base.records import Problem
from dianoia.tasks.short_answers import normalize
from dianoia.tasks.wrappings import unwrapped

LETTERS = "ABCDEFGHIJ"
FEWEST = 2
_COLUMNS = ("options", "choices")
MAX_QUESTION_CHARS = 20_000
MAX_NAMED_CHARS = 400
"""Of an answer that is looked through for "is correct" behind a choice."""
_LETTER = re.compile(r"[(\[]?([A-Ja-j])(?:[)\]]\.?|[.:、])?")
_BOTH = re.compile(r"[(\[]?([A-Ja-j])[)\].:、]\s*(\S.*)", re.DOTALL)
_FONT_LETTER = re.compile(
    r"\\(?:text|textbf|textrm|mathrm|mathbf)\s*\{\s*[(\[]?([A-Ja-j])[)\].:]*\s*\}(?:\\[ ,;:]|\\q?quad\b|[~\s])*(.*)",
    re.DOTALL,
)
"""AMC's `\\textbf{(B)}\\ 29`."""
_NAMED = re.compile(
    r"(?:(?:option|choice|answer)\s+)?(?P<choice>.*?)"
    r"(?:\s+is\s+(?:the\s+)?(?:correct|right)(?:\s+(?:answer|option|choice))?\.?)?",
    re.IGNORECASE | re.DOTALL,
)
_FONTS = re.compile(r"\\(?:textbf|textrm|text|mathrm|mathbf)\b|[{}$]")
_LABEL = re.compile(r"(?<![A-Za-z0-9])[(\[]?([A-J])[)\].:]")
_BLANKS = re.compile(r"\\q?quad\b|\\[ ,;:!]|[~\s]")
_MARK = "\x00"
_ASCII = {0xFF08: "(", 0xFF09: ")", 0xFF0E: ".", 0xFF1A: ":"}


def choice(problem: Problem, answer: str) -> float | None:
    """Score 1.0 where the answer names the option that the gold answer names."""
    return of_options(read_options(problem), problem.answer, answer, problem.question)


def of_options(
    options: Sequence[str] | None, gold: str, answer: str, question: str = ""
) -> float | None:
    """Score an answer as `choice` does, for options that have been read; None where they cannot be used."""
    if options is None:
        return None
    wanted = chosen(gold, options, question)
    if wanted is None:
        return None
    return float(chosen(answer, options, question) == wanted)


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


def chosen(text: str, options: Sequence[str], question: str = "") -> int | None:
    """Return the number of the option, from 0, that a text names; None if it names none, or more than one.

    Without options, a text behind a letter is looked up in the question.
    """
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
    if number is None:
        return None
    if not options:
        return number if _stands_behind(both[1], both[2], question) else None
    return number if number == _by_text(unwrapped(both[2]), options) else None


def _bare(text: str) -> str:
    """Without what says nothing around a choice; "" where a text is too long."""
    text = unwrapped(text, announced=True).translate(_ASCII)
    named = _NAMED.fullmatch(text) if len(text) <= MAX_NAMED_CHARS else None
    inner = unwrapped(named["choice"], announced=True) if named is not None else text
    if inner != text and (_LETTER.fullmatch(inner) or _BOTH.fullmatch(inner)):
        text = inner
    font = _FONT_LETTER.fullmatch(text)
    if font is not None:
        text = f"({font[1]}) {unwrapped(font[2])}".strip()
    return text


def _stands_behind(letter: str, text: str, question: str) -> bool:
    """Say whether an option stands in a question as its letter, a bracket or full stop, and exactly this text."""
    wanted, where = _marked(unwrapped(text)), _marked(question[:MAX_QUESTION_CHARS])
    if not wanted or _MARK in wanted:
        return False  # nothing, or another option behind it
    label = f"{_MARK}{letter.lower()}{_MARK}"
    return re.search(rf"{label}{re.escape(wanted)}[.;,]?(?:{_MARK}|\Z)", where) is not None


def _marked(text: str) -> str:
    """Return small letters without fonts and blanks, each label of an option as its letter between marks."""
    labels = _LABEL.sub(
        lambda match: f"{_MARK}{match[1]}{_MARK}", _FONTS.sub("", text.replace(_MARK, ""))
    )
    return _BLANKS.sub("", labels).casefold()


def _by_letter(text: str, count: int) -> int | None:
    """`count` 0: nobody knows how many options there are."""
    match = _LETTER.fullmatch(normalize(text) or "")
    number = LETTERS.index(match[1].upper()) if match else len(LETTERS)
    return number if number < (count or len(LETTERS)) else None


def _by_text(text: str, options: Sequence[str]) -> int | None:
    """Return the number of the only option with this text, spelled alike or else but for what says nothing around it."""
    for spelled in (normalize, _unwrapped_key):
        wanted = spelled(text)
        numbers = [number for number, option in enumerate(options) if spelled(option) == wanted]
        if wanted and numbers:
            return numbers[0] if len(numbers) == 1 else None
    return None


def _unwrapped_key(text: str) -> str | None:
    return (normalize(unwrapped(text)) or "").removesuffix(".").rstrip() or None
