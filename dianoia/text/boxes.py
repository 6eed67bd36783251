r"""Reads the answer out of boxes: all boxes of a text are one answer, and what adjoins a box belongs to it.

In: the text of an answer or summary. Out: the content of its one box, or its boxes as a list, `\boxed{2}, \boxed{3}`,
or a whole formula where a box is only a part of it: `99-\boxed{5}` says 94 and not 5. Left out: what it is worth.

Decisions where DeepSeek-R1 (arXiv 2501.12948v2, section 2.2) says that the answer stands "in a specified format
(e.g., within a box)":
1. Several boxes are one list, wherever they stand: who boxes 99 and then 5 has given two answers. Boxes of one
   text count once.
2. A sign, a digit, a unit, a scale or an alternative beside a box is a part of the answer. Prose around it is not.
3. A box behind "not", or before "is wrong", is none: "It is not \boxed{4} but \boxed{5}". What is taken back behind the
   last box ("Wait, ...") leaves no answer.
"""

import re
from dataclasses import dataclass
from itertools import pairwise

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
_BARE_CONTENT = re.compile(r"-?\d+(?:\.\d+)?|\\[A-Za-z]+|\S")
_OPENERS = re.compile(
    r"(?:\s|\$|\\\(|\\\[|\*\*|\{|\\(?:left|displaystyle|quad|qquad|[,;:!>])(?![A-Za-z])|`|~)*\Z"
)
_CLOSERS = re.compile(
    r"(?:[ \t]|\$|\\\)|\\\]|\*\*|\}|\\(?:right|quad|qquad|[,;:!> ])(?![A-Za-z])|`|~)*"
)
_FORMULA_EDGE = re.compile(r"\$|\\\(|\\\[|\\\)|\\\]")
_NEGATED = re.compile(
    r"(?:\bnot|n't|\bnever|\bmaybe|\bperhaps|\bpossibly|\\neg|\\text\s*\{\s*not\s*\})(?: (?:be|equal to|equal))?[\s$({]*\Z",
    re.IGNORECASE,
)
_NEGATED_BEHIND = re.compile(
    r"[\s$)}*]*(?:\\text\s*\{\s*)?(?:(?:is|are|was|be|would be|seems|cannot|can't|isn't|wasn't)\b[^.\n]{0,20}?\b(?:not|wrong|incorrect|false|right)\b|isn't|is no\b|cannot|can't)",
    re.IGNORECASE,
)
_TAKEN_BACK = re.compile(
    r"\b(?:wait|actually|sorry|correction|oops|hmm|scratch that|on second thought|alternatively|also (?:found|got)|or maybe)\b|\bno,",
    re.IGNORECASE,
)
_MATHEMATICS = re.compile(r"[\d$\\+\-−√(\[{.]")
_SIGNS_BEFORE = "+-−*/^_<>|!%×·÷±√~"
_ENDS_IN_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}\Z")
_COMMANDS_BEFORE = re.compile(
    r"\\(?:cdot|times|div|pm|mp|sqrt|neg|le|leq|leqslant|ge|geq|geqslant|lt|gt|ne|neq|approx|sin|cos|tan|ln|log|frac|dfrac|tfrac)\s*\Z"
)
_ALTERNATIVE_BEFORE = re.compile(r"[\d})\]$]\s*(?:,|;|\bor\b|\\text\s*\{\s*or\s*\}|或)\s*\Z")
_SEPARATED_BOX = re.compile(
    r"(?:[\s,;.、，；$]|\\text\s*\{\s*(?:and|or|,)?\s*\}|\b(?:and|or)\b|[和或]|\\(?:quad|qquad|[,;:> ()\[\]])(?![A-Za-z])|(?<![A-Za-z\\])[A-Za-z](?:_\{?\w\}?)?\s*=)*\\(?:boxed|fbox)(?![A-Za-z])"
)
_HARMLESS_COMMANDS = re.compile(
    r"\\(?:square|blacksquare|Box|qed|tag\b|end\b|\\|newline|hfill|checkmark|label\b|text\s*\{\s*[.,;:!]?\s*\})"
)
_SCALES_AND_UNITS = re.compile(
    r"(?:hundred|thousand|million|billion|trillion|dozen|percent|pct|degrees?|"
    r"(?:mm|cm|dm|km|m|mg|kg|g|lbs?|oz|ml|l|ms|min|s|hr?|ft|yd|mph|kph|hz)[²³]?|"
    r"(?:square |cubic )?(?:milli|centi|deci|kilo)?(?:met(?:er|re)s?|lit(?:er|re)s?|grams?)|"
    r"inch(?:es)?|feet|foot|yards?|miles?|pounds?|ounces?|tons?|seconds?|minutes?|hours?|days?|weeks?|months?|years?|"
    r"dollars?|cents?|euros?|(?:square |cubic )?units?|百|千|万|亿|元|米|厘米|千米|公里|千克|克|度|分钟|小时|秒|天|年)"
    r"(?![A-Za-z])(?:\^\{?\d\}?)?(?:/[a-z]{1,4}(?:\^?\{?\d\}?)?)?",
    re.IGNORECASE,
)
_SHORT_WORDS = frozenset(
    ("is", "as", "by", "to", "so", "we", "it", "if", "the", "and", "for", "was", "are", "has", "he", "she", "but", "at", "of",
     "on", "in", "be", "a", "i", "you", "may", "can", "who", "all", "per", "via", "due", "how", "why", "its", "not")
)  # fmt: skip
MAX_BOXES = 64
_NEAR = 300
"""Characters on either side of a box that are looked at, so that no text takes long: this runs where a model trains."""


@dataclass(frozen=True, slots=True)
class _Box:
    start: int
    end: int
    """Behind its closing brace."""
    content: str


class UnclosedBox(ValueError):
    """A box that is never closed."""


def boxed_answer(text: str, searched: str | None = None) -> str | None:
    r"""The answer that the boxes of a text give; None if there is no box, "" for an empty one.

    Args:
        searched: the same text with blanks where no box counts, such as fenced code.

    Raises:
        UnclosedBox: a box is not closed, or there are more than MAX_BOXES.
    """
    boxes = _boxes(text, text if searched is None else searched)
    if not boxes:
        return None
    boxes = [box for box in boxes if not _is_negated(text, box)]
    if not boxes:
        return ""
    if any(not box.content for box in boxes) or _TAKEN_BACK.search(text, boxes[-1].end):
        return ""
    distinct = list(dict.fromkeys(box.content for box in boxes))
    first, last = boxes[0], boxes[-1]
    if any(_joined(text[a.end : b.start]) for a, b in pairwise(boxes)):
        return text[_before(text, first) : _behind(text, last)].strip()
    pieces = [_piece(text, box) for box in boxes]
    whole = [text[box.start : box.end] for box in boxes]
    if pieces == whole:
        return (
            distinct[0]
            if len(distinct) == 1
            else ", ".join(rf"\boxed{{{content}}}" for content in distinct)
        )
    return ", ".join(dict.fromkeys(piece.strip() for piece in pieces))


def _piece(text: str, box: _Box) -> str:
    """A box with what adjoins it; a unit behind it as words, so that nobody takes it for a factor."""
    start, end = _before(text, box), _behind(text, box)
    if start == box.start and (
        unit := _SCALES_AND_UNITS.fullmatch(_CLOSERS.sub("", text[box.end : end], count=1))
    ):
        words, power, exponent = unit[0].partition("^")
        return rf"{text[box.start : box.end]}\text{{ {words}}}{power}{exponent}"
    return text[start:end]


def _is_negated(text: str, box: _Box) -> bool:
    """Tell whether a box stands behind "not", or before "is wrong"."""
    before, behind = text[max(0, box.start - 40) : box.start], text[box.end : box.end + 60]
    return _NEGATED.search(before) is not None or _NEGATED_BEHIND.match(behind) is not None


def _boxes(text: str, searched: str) -> list[_Box]:
    """The outermost boxes, in order."""
    boxes: list[_Box] = []
    position = 0
    while match := _BOX.search(searched, position):
        if len(boxes) == MAX_BOXES:
            raise UnclosedBox("too many boxes")
        inside = match.end()
        if text[inside : inside + 1] == "{":
            end = closing_brace(text, inside + 1)
            if end is None:
                raise UnclosedBox("a box is not closed")
            content, position = text[inside + 1 : end], end + 1
        else:
            bare = _BARE_CONTENT.match(text, inside)
            if bare is None:
                raise UnclosedBox("a box without content")
            content, position = bare[0], bare.end()
        boxes.append(_Box(match.start(), position, _innermost(content)))
    return boxes


def _innermost(content: str) -> str:
    """The content of a box in a box."""
    for _ in range(8):
        content = content.strip()
        match = _BOX.match(content)
        if match is None or content[match.end() : match.end() + 1] != "{":
            break
        if closing_brace(content, match.end() + 1) != len(content) - 1:
            break
        content = content[match.end() + 1 : -1]
    return content


def closing_brace(text: str, start: int) -> int | None:
    """Find where the brace closes that was opened before `start`; an escaped brace is a sign, not a brace."""
    depth, position = 1, start
    while position < len(text):
        char = text[position]
        depth += (char == "{") - (char == "}")
        if not depth:
            return position
        position += 2 if char == "\\" else 1
    return None


def _joined(between: str) -> bool:
    """Tell whether two boxes are parts of one formula: what stands between them begins or ends with an operator."""
    inner = _CLOSERS.sub("", between[:_NEAR], count=1)
    inner = _OPENERS.sub("", inner)
    if not inner:
        return False
    return (
        inner[0] in "+-−*/^_=<>×·÷!:|"
        or re.match(r"\\(?:cdot|times|div|pm|le|ge|ne|approx|cup|cap)(?![A-Za-z])", inner)
        is not None
    )


def _before(text: str, box: _Box) -> int:
    """Find where the answer of a box begins: the box itself, or its line where something before it belongs to it."""
    line = text.rfind("\n", 0, box.start) + 1
    head = text[max(line, box.start - _NEAR) : box.start]
    if (opener := _OPENERS.search(head)) is None or not (bare := head[: opener.start()]):
        return box.start
    if _ENDS_IN_BOX.search(bare):
        return box.start
    crossed = _FORMULA_EDGE.search(head, opener.start()) is not None
    last = bare[-1]
    bullet = bare.strip() in ("-", "*", "+", "–") and head != head.rstrip()
    attached = (
        (last in _SIGNS_BEFORE and not bullet and not bare.endswith(("->", "=>", "**")))
        or last.isdigit()
        or _COMMANDS_BEFORE.search(bare) is not None
        or _ALTERNATIVE_BEFORE.search(bare) is not None
        or (not crossed and last in ")}]" and opener.start() == len(head))
        or (last.isalpha() and opener.start() == len(head) and _lone_letter(bare))
    )
    return line if attached else box.start


def _lone_letter(text: str) -> bool:
    """Tell whether a text ends in a single letter: a factor, and no word."""
    return re.search(r"(?<![A-Za-z\\])[A-Za-z]\Z", text) is not None


def _behind(text: str, box: _Box) -> int:
    """Find where the answer of a box ends: behind it, or behind what adjoins it."""
    line_end = text.find("\n", box.end)
    line_end = min(len(text) if line_end < 0 else line_end, box.end + _NEAR)
    closers = _CLOSERS.match(text, box.end, line_end)
    position = closers.end() if closers else box.end
    rest = text[position:line_end]
    if not rest or _BOX.match(rest) or _SEPARATED_BOX.match(rest):
        return box.end
    between = text[box.end : position]
    if not _adjoins(
        rest,
        spaced=between != between.strip() or bool(_FORMULA_EDGE.search(between)),
    ):
        return box.end
    if unit := _SCALES_AND_UNITS.match(rest):
        return position + unit.end()
    sentence = re.compile(r"[.。?]+(?:[\s$*]|\Z)|!+(?=\s|\Z)|\\boxed").search(rest, 1)
    return position + (sentence.start() if sentence else len(rest))


def _adjoins(rest: str, spaced: bool) -> bool:
    """Tell whether what follows a box, closing signs aside, is a part of its answer."""
    first = rest[0]
    if first in ",;，；、":
        return _goes_on(rest[1:])
    if first in ".。:":
        return rest[1:2].isdigit()
    if first == "!":
        return re.match(r"!+\s*(?:\$|\\\)|\\\]|[\d+\-*/^!])", rest) is not None
    if first in "-–—−":
        return not spaced or not re.match(r"[-–—−]+\s+[A-Za-z]{2}", rest)
    if first == "(":
        return not spaced or re.match(r"\(\s*(?:[-\d\\]|(?:or|and|not|maybe)\b)", rest) is not None
    if first == "\\":
        return _HARMLESS_COMMANDS.match(rest) is None
    if first.isdigit() or first in "?+*/^_=<>%|'×·÷±°²³√":
        return True
    if alternative := re.match(r"(?:or|and)\b|[或和]", rest, re.IGNORECASE):
        return alternative[0].lower() in ("or", "或") or _goes_on(rest[alternative.end() :])
    if first.isalpha():
        word = re.match(r"[^\W\d_]+", rest)
        if not spaced and first.isascii():
            return True
        if word and word[0].lower() in _SHORT_WORDS:
            return False
        return _SCALES_AND_UNITS.match(rest) is not None
    return False


def _goes_on(rest: str) -> bool:
    """Tell whether a list goes on behind a comma or an "and": with mathematics, not with a sentence or another box."""
    rest = rest.lstrip(" \t$~")
    rest = re.sub(r"\A(?:and|or|或|和)\s*[$\s]*", "", rest)
    rest = re.sub(
        r"\A(?:\\(?:quad|qquad|[,;:!> ])|\\text\s*\{\s*(?:and|or)?\s*\}|[\s$])*", "", rest
    )
    return _BOX.match(rest) is None and _MATHEMATICS.match(rest) is not None
