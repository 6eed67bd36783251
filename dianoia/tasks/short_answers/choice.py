"""Rule of the verifier "choice": multiple choice by letter, by text, or by both.

In: a problem and an answer. Out: 1.0 right, 0.0 wrong, None when the problem's own gold answer names no option. Options
are in the column `options` or `choices`: a list of texts, an object from letter to text, or ARC's
`{"label": [...], "text": [...]}`, also as JSON text. Without options only letters can be read.

DeepSeek-R1 (arXiv 2501.12948v2, section 2.2 and B.3.1: STEM problems with options) is silent on all of this.
Decisions:
1. Only a choice is read: "B", "(b)", "B.", "B) Paris", "Paris", "Option B", "B is correct", in wrappings that say nothing
   (a box, dollars, bold, "The answer is": `wrappings`). Other prose around it makes it unreadable: a response that names
   several letters has chosen none.
2. Letter and text have to agree: "A) Paris" is wrong when Paris is B. Where the row has no options, the text has to stand
   behind its letter in the question.
3. A text counts when it is that of exactly one option, by `normalize`. A letter that is also a text has to name the same
   option: with the options "B" and "A", in this order, "A" is unreadable, since its two readings name different options.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from dianoia.base.records import Problem
from dianoia.tasks.short_answers.number_and_text import normalize
from dianoia.tasks.short_answers.wrappings import unwrapped

LETTERS = "ABCDEFGHIJ"
FEWEST = 2
_COLUMNS = ("options", "choices")
MAX_QUESTION_CHARS = 20_000
MAX_SENTENCE_CHARS = 400
"""Longest answer that is searched for "is correct" behind a choice."""
# `B`, `(b)`, `B.`, `[B].`, and `B、` of Chinese texts.
_LETTER = re.compile(r"[(\[]?([A-Ja-j])(?:[)\]]\.?|[.:、])?")
# `A) Paris`: a mark between letter and text is needed, since `A dog` is a text.
_BOTH = re.compile(r"[(\[]?([A-Ja-j])[)\].:、]\s*(\S.*)", re.DOTALL)
_FONT_LETTER = re.compile(
    r"\\(?:text|textbf|textrm|mathrm|mathbf)\s*\{\s*[(\[]?([A-Ja-j])[)\].:]*\s*\}(?:\\[ ,;:]|\\q?quad\b|[~\s])*(.*)",
    re.DOTALL,
)
"""AMC's `\\textbf{(B)}\\ 29`."""
_SENTENCE = re.compile(
    r"(?:(?:option|choice|answer)\s+)?(?P<choice>.*?)"
    r"(?:\s+is\s+(?:the\s+)?(?:correct|right)(?:\s+(?:answer|option|choice))?\.?)?",
    re.IGNORECASE | re.DOTALL,
)
_FONTS = re.compile(r"\\(?:textbf|textrm|text|mathrm|mathbf)\b|[{}$]")
# Upper case alone, and no letter or digit before it: `x)` and `3A.` are no labels.
_LABEL = re.compile(r"(?<![A-Za-z0-9])[(\[]?([A-J])[)\].:]")
_BLANKS = re.compile(r"\\q?quad\b|\\[ ,;:!]|[~\s]")
# NUL, which `_marked` takes out of a text before it puts in its own.
_MARK = "\x00"
# Full-width brackets, full stop and colon of Chinese texts.
_ASCII = {0xFF08: "(", 0xFF09: ")", 0xFF0E: ".", 0xFF1A: ":"}


def choice(problem: Problem, answer: str) -> float | None:
    """Score 1.0 where the answer names the option that the gold answer names."""
    return score_choice(read_options(problem), problem.answer, answer, problem.question)


def score_choice(
    options: Sequence[str] | None, gold: str, answer: str, question: str = ""
) -> float | None:
    """Score an answer as `choice` does, for options that have been read; None where they cannot be used."""
    if options is None:
        return None
    gold_index = option_index(gold, options, question)
    if gold_index is None:
        return None
    return float(option_index(answer, options, question) == gold_index)


def read_options(problem: Problem) -> list[str] | None:
    """Return the texts of the options in the order of their letters; empty when no column has options.

    None when a column has options that cannot be used: fewer than 2 or more than 10, no texts, labels that are not A, B,
    C and so on.
    """
    options = next((problem.columns[name] for name in _COLUMNS if problem.columns.get(name)), None)
    if options is None:
        return []
    if isinstance(options, str):
        try:
            options = json.loads(options)
        except (json.JSONDecodeError, RecursionError):
            return None
    texts = _texts(options)
    if texts is None or not FEWEST <= len(texts) <= len(LETTERS):
        return None
    return _without_letters(texts)


def _texts(options: Any) -> list[str] | None:
    """Return texts in the order of the letters, from any of the three forms; None for another form."""
    if isinstance(options, dict) and options.keys() >= {"label", "text"}:
        labels, texts = options["label"], options["text"]
        if not isinstance(labels, list) or not isinstance(texts, list):
            return None
        # ARC labels some questions with 1, 2, 3; both kinds are checked below.
        options = dict(zip(map(str, labels), texts, strict=False))
    if isinstance(options, dict):
        # Parquet writes the union of all rows' letters: those that a row has not are null.
        options = {str(label).upper(): text for label, text in options.items() if text is not None}
        expected = (LETTERS[: len(options)], "123456789"[: len(options)])
        if "".join(options) not in expected:
            return None
        options = list(options.values())
    if not isinstance(options, list):
        return None
    texts = [str(text).strip() for text in options if isinstance(text, (str, int, float))]
    return texts if len(texts) == len(options) and all(texts) else None


def _without_letters(texts: Sequence[str]) -> list[str]:
    """Return options without their letters, if all of them carry these, as in "A) Paris"."""
    split = [_BOTH.fullmatch(text) for text in texts]
    # All or none: "A) Paris" alone among texts is a text.
    labelled = all(
        match and match[1].upper() == LETTERS[number] for number, match in enumerate(split)
    )
    return [match[2] for match in split if match] if labelled else list(texts)


def option_index(text: str, options: Sequence[str], question: str = "") -> int | None:
    """Return the index of the option that a text names; None if it names none, or more than one.

    Without options, a text behind a letter is looked up in the question.
    """
    bare = _bare(text)
    if not bare:
        return None
    # Both readings are tried; a contradiction makes the answer unreadable (decision 3).
    by_letter, by_text = _by_letter(bare, len(options)), _by_text(bare, options)
    if by_letter is not None and by_text is not None:
        return by_letter if by_letter == by_text else None
    if by_letter is not None or by_text is not None:
        return by_text if by_letter is None else by_letter
    letter_and_text = _BOTH.fullmatch(bare)
    if letter_and_text is None:
        return None
    index = _by_letter(letter_and_text[1], len(options))
    if index is None:
        return None
    # Decision 2: without options the question has to have this text behind this letter.
    if not options:
        return index if _stands_behind(letter_and_text[1], letter_and_text[2], question) else None
    return index if index == _by_text(unwrapped(letter_and_text[2]), options) else None


def _bare(text: str) -> str:
    """Return a choice without the text around it that says nothing; "" where a text is too long."""
    text = unwrapped(text, announced=True).translate(_ASCII)
    sentence = _SENTENCE.fullmatch(text) if len(text) <= MAX_SENTENCE_CHARS else None
    inner = unwrapped(sentence["choice"], announced=True) if sentence is not None else text
    # Only where a choice is left: "It is correct" is not shortened to "It".
    if inner != text and (_LETTER.fullmatch(inner) or _BOTH.fullmatch(inner)):
        text = inner
    font = _FONT_LETTER.fullmatch(text)
    if font is not None:
        text = f"({font[1]}) {unwrapped(font[2])}".strip()
    return text


def _stands_behind(letter: str, text: str, question: str) -> bool:
    """Return True if a question has this option: its letter, a bracket or full stop, and exactly this text."""
    option, marked = _marked(unwrapped(text)), _marked(question[:MAX_QUESTION_CHARS])
    if not option or _MARK in option:
        return False  # no text, or another option behind it
    label = f"{_MARK}{letter.lower()}{_MARK}"
    return re.search(rf"{label}{re.escape(option)}[.;,]?(?:{_MARK}|\Z)", marked) is not None


def _marked(text: str) -> str:
    """Return a text in lower case, without fonts and blanks, and with each label of an option between marks."""
    labels = _LABEL.sub(
        lambda match: f"{_MARK}{match[1]}{_MARK}", _FONTS.sub("", text.replace(_MARK, ""))
    )
    return _BLANKS.sub("", labels).casefold()


def _by_letter(text: str, count: int) -> int | None:
    """Return the index of a letter among `count` options; `count` 0: their number is unknown."""
    match = _LETTER.fullmatch(normalize(text) or "")
    index = LETTERS.index(match[1].upper()) if match else len(LETTERS)
    return index if index < (count or len(LETTERS)) else None


def _by_text(text: str, options: Sequence[str]) -> int | None:
    """Return the index of the only option with this text; None if none or several have it.

    Texts are compared by `normalize`; only if none is equal, without the wrappings around them.
    """
    for key in (normalize, _unwrapped_key):
        text_key = key(text)
        indices = [index for index, option in enumerate(options) if key(option) == text_key]
        if text_key and indices:
            return indices[0] if len(indices) == 1 else None
    return None


def _unwrapped_key(text: str) -> str | None:
    return (normalize(unwrapped(text)) or "").removesuffix(".").rstrip() or None
