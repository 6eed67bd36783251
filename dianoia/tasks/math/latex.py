"""Spellings made one: LaTeX, Unicode and plain text of the same mathematics, before anything reads it.

In: a bare answer. Out: the same without decoration, in plain LaTeX. Nothing is computed, and every step is
linear in the text, whose length the caller has bounded.
"""

import re

_CHARS = {
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},  # full-width forms
    **{ord(space): " " for space in "\u3000\u00a0\u2009\u202f\t\r\n"},
    **dict.fromkeys(map(ord, "\u2212\u2013\u2014"), "-"),
    **dict.fromkeys(map(ord, "×⋅·∙"), r"\cdot "),
    **dict(zip(map(ord, "，；：、。"), ",;:,.", strict=True)),
    ord("÷"): "/",
    ord("π"): r"\pi ",
    ord("∞"): r"\infty ",
    ord("±"): r"\pm ",
    ord("≤"): r"\le ",
    ord("≥"): r"\ge ",
    ord("≠"): r"\ne ",
    ord("∪"): r"\cup ",
    ord("∩"): r"\cap ",
    ord("∈"): r"\in ",
    ord("∅"): r"\emptyset ",
    ord("θ"): r"\theta ",
    ord("α"): r"\alpha ",
    ord("β"): r"\beta ",
    ord("°"): r"^\circ ",
    **{ord(sign): f"^{{{digit}}}" for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    **{
        ord(sign): rf"\frac{{{a}}}{{{b}}}"
        for sign, a, b in (("½", 1, 2), ("⅓", 1, 3), ("⅔", 2, 3), ("¼", 1, 4), ("¾", 3, 4))
    },
}
_SUBSTITUTIONS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:left|right|bigl|bigr|Bigl|Bigr|big|Big|displaystyle|limits)(?![A-Za-z])\.?", ""),
        (r"\\!", ""),
        (r"(?<!\\)\\[,;:> ]|\\(?:quad|qquad)(?![A-Za-z])|~", " "),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\(?:times|ast|cdotp)(?![A-Za-z])", r"\\cdot "),
        (r"\\div(?![A-Za-z])", "/"),
        (r"\\leqs?lant|\\leq(?![A-Za-z])", r"\\le "),
        (r"\\geqs?lant|\\geq(?![A-Za-z])", r"\\ge "),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"\\neq(?![A-Za-z])", r"\\ne "),
        (r"\\(?:varnothing)(?![A-Za-z])", r"\\emptyset "),
        (r"\\(?:lbrace)(?![A-Za-z])", r"\\{"),
        (r"\\(?:rbrace)(?![A-Za-z])", r"\\}"),
        (r"\\(?:textbf|textit|textrm|mathrm|mathbf|mathit|mbox|rm|bf)\s*(?=\{)", r"\\text"),
        (r"\^\s*\{?\s*\\circ\s*\}?|\\degree(?![A-Za-z])", "°"),
        (r"\{,\}", ","),
        (r"(?<=\\frac)\s*(\d)\s*(\d)", r"{\1}{\2}"),
        (r"(?<=\\frac)\s*(\d)\s*\{", r"{\1}{"),
        (r"(\\frac\{[^{}]{1,40}\})\s*(\d)", r"\1{\2}"),
        (r"(?<=\\sqrt)\s*(\d)", r"{\1}"),
        (r"(?<![A-Za-z\\])sqrt\s*\(([^()]{1,80})\)", r"\\sqrt{\1}"),
        (r"(?<![A-Za-z\\])(sqrt|pi|sin|cos|tan|ln|log|infinity|infty)(?![A-Za-z])", r"\\\1 "),
        (r"\\infinity", r"\\infty"),
        (r"√\s*\(([^()]{1,80})\)", r"\\sqrt{\1}"),
        (r"√\s*(\d+|[A-Za-z])", r"\\sqrt{\1}"),
        (r"\*\*", "^"),
        (r"\^\s*\(([^()]{1,80})\)", r"^{\1}"),
        (r"\^\s*(-?\d{2,}|-\d)", r"^{\1}"),
        (r"\*", r"\\cdot "),
        (r"\s+", " "),
    )
)
_WRAPPERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("`", "`"))


def plain(text: str) -> str:
    """One spelling for what looks the same."""
    text = unwrapped(text).translate(_CHARS)
    for pattern, replacement in _SUBSTITUTIONS:
        text = pattern.sub(replacement, text)
    return text.strip()


def unwrapped(text: str) -> str:
    """Without the signs that say "here is mathematics" around the whole, and without a final period."""
    text = text.strip()
    for _ in range(4):
        before = text
        for opening, closing in _WRAPPERS:
            inner = text[len(opening) : -len(closing)]
            if len(text) > len(opening + closing) and text == opening + inner + closing:
                text = text if closing in inner else inner.strip()
        if text[-1:] in (".", "。") and not text.endswith(".."):
            text = text[:-1].strip()
        if text == before:
            break
    return text


def squeezed(text: str) -> str:
    """For comparing texts: `plain`, without white space, grouping braces around one sign, and `\\cdot`."""
    text = plain(text).replace(r"\text", "").replace(r"\cdot", "*")
    text = re.sub(r"(?<!\d) | (?!\d)", "", text)  # between digits it is no decoration
    return re.sub(r"\{([A-Za-z0-9])\}", r"\1", text)
