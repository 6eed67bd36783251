"""Take off what stands around a bare answer and says nothing: boxes, dollars, bold, fonts, "The answer is".

In: a short answer. Out: what it wraps. Only what encloses the whole of an answer, or where that is wanted announces it, is
taken off, so that nothing of it is overlooked: "not 5", "5 or 6" and `$5$, 6` stay as they are, and no verifier reads
them.
"""

import re

MAX_CHARS = 4000
_LAYERS = 8
_FONTS = r"text|textbf|textit|textrm|mathrm|mathbf|mathit|boldsymbol|mathsf|mathtt|texttt|emph|mbox"
_COMMAND = re.compile(rf"\\(?:boxed|fbox|{_FONTS})\s*(?=\{{)")
_PAIRS = (
    ("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("*", "*"), ("`", "`"),
)  # fmt: skip
_BOLD_HEAD = re.compile(r"\A(\*\*|__)([^*_\n]{1,40})\1(?=\s*\S)")
_ANNOUNCED = re.compile(
    r"(?:(?:(?:so|thus|therefore|hence)\b[, ]*)?(?:(?:the|my)\s+)?(?:(?:final|correct|right|best)\s+)*"
    r"(?:answer|option|choice)\s*(?:is\b\s*:?|[:：])|答案(?:是|为|[:：])+|#{1,6}\s)\s*(?P<rest>\S.*)",
    re.IGNORECASE | re.DOTALL,
)
_HOPE = re.compile(r"\.?\s*I hope it is correct\.?\s*\Z")


def unwrapped(text: str, announced: bool = False) -> str:
    """Return a short answer without what encloses the whole of it; "" for more than MAX_CHARS characters.

    `announced` leaves out "The answer is" and its like too.
    """
    if len(text) > MAX_CHARS:
        return ""
    text = text.strip()
    for _ in range(_LAYERS):
        inner = _one_layer(text, announced)
        if inner == text:
            break
        text = inner
    return text


def _one_layer(text: str, announced: bool) -> str:
    """Take off one wrapping; a full stop behind it goes with it."""
    body = text.removesuffix(".").rstrip()
    for opening, closing in _PAIRS:
        inner = body[len(opening) : len(body) - len(closing)]
        whole = len(body) > len(opening + closing) and body == opening + inner + closing
        if whole and inner.strip() and opening not in inner and closing not in inner:
            return inner.strip()
    command = _COMMAND.match(body)
    if command is not None:
        return _braced(body[command.end() :]) or text
    said = _ANNOUNCED.fullmatch(_BOLD_HEAD.sub(r"\2", text)) if announced else None
    return text if said is None else _HOPE.sub("", said["rest"]).removesuffix(".").strip()


def _braced(text: str) -> str | None:
    """Return what stands in braces, if the first one closes at the very end and something is in it."""
    depth = 0
    for index, char in enumerate(text):
        depth += (char == "{") - (char == "}")
        if depth == 0:
            return text[1:index].strip() or None if index == len(text) - 1 else None
    return None
