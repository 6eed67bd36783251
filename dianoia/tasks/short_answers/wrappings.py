"""Unwrap a bare answer: take off boxes, dollars, bold, fonts, "The answer is", which say nothing about it.

In: a short answer. Out: the answer inside. Only a wrapping around the whole answer is taken off, and on request an
announcement before it, so that no part of an answer is overlooked: "not 5", "5 or 6" and `$5$, 6` stay as they are, and no
verifier reads them.
"""

import re

MAX_CHARS = 4000
_LAYERS = 8
"""Largest number of wrappings that are taken off."""
_FONTS = r"text|textbf|textit|textrm|mathrm|mathbf|mathit|boldsymbol|mathsf|mathtt|texttt|emph|mbox"
_COMMAND = re.compile(rf"\\(?:boxed|fbox|{_FONTS})\s*(?=\{{)")
# Both lengths: a pair is refused if its mark is inside as well, as `$` is in `$$5$$`.
_PAIRS = (
    ("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("*", "*"), ("`", "`"),
)  # fmt: skip
# `**Answer:** 5` -> `Answer: 5`, so that the announcement below is found.
_BOLD_HEAD = re.compile(r"\A(\*\*|__)([^*_\n]{1,40})\1(?=\s*\S)")
_ANNOUNCEMENT = re.compile(
    r"(?:(?:(?:so|thus|therefore|hence)\b[, ]*)?(?:(?:the|my)\s+)?(?:(?:final|correct|right|best)\s+)*"
    r"(?:answer|option|choice)\s*(?:is\b\s*:?|[:：])|答案(?:是|为|[:：])+|#{1,6}\s)\s*(?P<answer>\S.*)",
    re.IGNORECASE | re.DOTALL,
)
_HOPE = re.compile(r"\.?\s*I hope it is correct\.?\s*\Z")


def unwrapped(text: str, announced: bool = False) -> str:
    """Return a short answer without the wrappings around the whole of it; "" for more than MAX_CHARS characters.

    `announced`: take off "The answer is" and its like too.
    """
    if len(text) > MAX_CHARS:
        return ""
    text = text.strip()
    # Wrappings nest: `**$\boxed{5}$**`.
    for _ in range(_LAYERS):
        inner = _one_layer(text, announced)
        if inner == text:
            break
        text = inner
    return text


def _one_layer(text: str, announced: bool) -> str:
    """Take off one wrapping, with a full stop behind it."""
    body = text.removesuffix(".").rstrip()
    for opening, closing in _PAIRS:
        inner = body[len(opening) : len(body) - len(closing)]
        wrapped = len(body) > len(opening + closing) and body == opening + inner + closing
        # An inner mark means two wrapped parts, as in `$5$, $6$`, not one wrapped answer.
        if wrapped and inner.strip() and opening not in inner and closing not in inner:
            return inner.strip()
    # The braces have to close at the very end: `\boxed{5} or \boxed{6}` is not one box.
    command = _COMMAND.match(body)
    if command is not None:
        return _braced(body[command.end() :]) or text
    if not announced:
        return text
    announcement = _ANNOUNCEMENT.fullmatch(_BOLD_HEAD.sub(r"\2", text))
    if announcement is None:
        return text
    return _HOPE.sub("", announcement["answer"]).removesuffix(".").strip()


def _braced(text: str) -> str | None:
    """Return the text in braces, if the first brace closes at the very end and the text is not empty."""
    depth = 0
    for index, char in enumerate(text):
        depth += (char == "{") - (char == "}")
        if depth == 0:
            return text[1:index].strip() or None if index == len(text) - 1 else None
    return None
