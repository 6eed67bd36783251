r"""Reads a boxed answer: all boxes of a text are one answer, and what touches a box belongs to it.

In: the text of an answer or a summary. Out: the content of its one box; or its boxes as a list,
`\boxed{2}, \boxed{3}`; or the whole formula if a box is only a part of it: `99-\boxed{5}` means 94, not 5.
Not here: whether the answer is right.

Decisions where DeepSeek-R1 (arXiv 2501.12948v2, section 2.2) says that the answer stands "in a specified format
(e.g., within a box)":
1. Several boxes are one list, wherever they are: a response that boxes 99 and later 5 gives two answers. Boxes
   with the same text count once.
2. A sign, digit, unit, scale or alternative next to a box is a part of the answer. Prose around it is not.
3. A box after "not", or before "is wrong", does not count: "It is not \boxed{4} but \boxed{5}". If the text takes
   the last box back ("Wait, ..."), there is no answer.
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
_NEGATED_AFTER = re.compile(
    r"[\s$)}*]*(?:\\text\s*\{\s*)?(?:(?:is|are|was|be|would be|seems|cannot|can't|isn't|wasn't)\b[^.\n]{0,20}?\b(?:not|wrong|incorrect|false|right)\b|isn't|is no\b|cannot|can't)",
    re.IGNORECASE,
)
_RETRACTED = re.compile(
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
_CONTEXT = 300
"""Characters searched on each side of a box. The limit keeps hostile texts cheap: this runs during training."""


@dataclass(frozen=True, slots=True)
class _Box:
    start: int
    end: int
    """Index after its closing brace."""
    content: str


class UnclosedBox(ValueError):
    """A box that is never closed."""


def boxed_answer(text: str, searched: str | None = None) -> str | None:
    r"""Return the answer in the boxes of a text; None if there is no box, "" if the boxes hold no answer.

    Args:
        searched: the same text with blanks where boxes do not count, such as fenced code.

    Raises:
        UnclosedBox: a box is not closed, or there are more than MAX_BOXES.
    """
    # All boxes are found before any is dropped: a box that is not closed is an error wherever it is.
    boxes = _boxes(text, text if searched is None else searched)
    if not boxes:
        return None
    boxes = [box for box in boxes if not _is_negated(text, box)]
    if not boxes:
        return ""
    # Decision 3: a retracted last box leaves no answer, even if other boxes stand.
    if any(not box.content for box in boxes) or _RETRACTED.search(text, boxes[-1].end):
        return ""
    # The same box twice, as in a sentence and after it, is one answer.
    distinct = list(dict.fromkeys(box.content for box in boxes))
    first, last = boxes[0], boxes[-1]
    # Boxes joined by an operator are one formula.
    if any(_joined(text[a.end : b.start]) for a, b in pairwise(boxes)):
        return text[_answer_start(text, first) : _answer_end(text, last)].strip()
    pieces = [_with_neighbours(text, box) for box in boxes]
    bare = [text[box.start : box.end] for box in boxes]
    if pieces == bare:
        return (
            distinct[0]
            if len(distinct) == 1
            else ", ".join(rf"\boxed{{{content}}}" for content in distinct)
        )
    return ", ".join(dict.fromkeys(piece.strip() for piece in pieces))


def last_box(text: str) -> int | None:
    """Return the index at which the last box of a text begins, closed or not; None without a box."""
    starts = [match.start() for match in _BOX.finditer(text)]
    return starts[-1] if starts else None


def _with_neighbours(text: str, box: _Box) -> str:
    """Return a box with what touches it. A unit after it becomes text, so that it is not read as a factor."""
    start, end = _answer_start(text, box), _answer_end(text, box)
    if start == box.start and (
        unit := _SCALES_AND_UNITS.fullmatch(_CLOSERS.sub("", text[box.end : end], count=1))
    ):
        words, power, exponent = unit[0].partition("^")
        return rf"{text[box.start : box.end]}\text{{ {words}}}{power}{exponent}"
    return text[start:end]


def _is_negated(text: str, box: _Box) -> bool:
    """Tell whether a box comes after "not" or before "is wrong"."""
    before, after = text[max(0, box.start - 40) : box.start], text[box.end : box.end + 60]
    return _NEGATED.search(before) is not None or _NEGATED_AFTER.match(after) is not None


def _boxes(text: str, searched: str) -> list[_Box]:
    """Return the outermost boxes, in order.

    Raises UnclosedBox for a box without an end or without content, and for more than MAX_BOXES.
    """
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
            # Without braces, TeX boxes the next token: `\boxed 5`.
            token = _BARE_CONTENT.match(text, inside)
            if token is None:
                raise UnclosedBox("a box without content")
            content, position = token[0], token.end()
        boxes.append(_Box(match.start(), position, _innermost(content)))
    return boxes


def _innermost(content: str) -> str:
    """Return the content of the innermost box if a box holds nothing but a box."""
    # A bound on nesting, since the text comes from a model.
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
    """Return the index of the brace that closes the one opened before `start`; escaped braces do not count."""
    # A loop and not a regular expression: braces nest.
    depth, position = 1, start
    while position < len(text):
        char = text[position]
        depth += (char == "{") - (char == "}")
        if not depth:
            return position
        position += 2 if char == "\\" else 1
    return None


def _joined(between: str) -> bool:
    """Tell whether two boxes are parts of one formula: the text between them begins with an operator."""
    inner = _CLOSERS.sub("", between[:_CONTEXT], count=1)
    inner = _OPENERS.sub("", inner)
    if not inner:
        return False
    return (
        inner[0] in "+-−*/^_=<>×·÷!:|"
        or re.match(r"\\(?:cdot|times|div|pm|le|ge|ne|approx|cup|cap)(?![A-Za-z])", inner)
        is not None
    )


def _answer_start(text: str, box: _Box) -> int:
    """Return where the answer of a box begins: at the box, or at its line if something before it belongs to it."""
    line = text.rfind("\n", 0, box.start) + 1
    head = text[max(line, box.start - _CONTEXT) : box.start]
    # `bare` is the line before the box without opening marks such as `$` or `**`.
    if (opener := _OPENERS.search(head)) is None or not (bare := head[: opener.start()]):
        return box.start
    if _ENDS_IN_BOX.search(bare):
        return box.start
    # A bracket belongs to the box only within the same formula.
    crossed = _FORMULA_EDGE.search(head, opener.start()) is not None
    last = bare[-1]
    # A dash at the start of a line is a bullet, not a minus sign.
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
    """Tell whether a text ends in a single letter, which is a factor, not a word."""
    return re.search(r"(?<![A-Za-z\\])[A-Za-z]\Z", text) is not None


def _answer_end(text: str, box: _Box) -> int:
    """Return where the answer of a box ends: after the box, or after what touches it."""
    line_end = text.find("\n", box.end)
    line_end = min(len(text) if line_end < 0 else line_end, box.end + _CONTEXT)
    closers = _CLOSERS.match(text, box.end, line_end)
    position = closers.end() if closers else box.end
    following = text[position:line_end]
    # Another box is an answer of its own.
    if not following or _BOX.match(following) or _SEPARATED_BOX.match(following):
        return box.end
    between = text[box.end : position]
    spaced = between != between.strip() or bool(_FORMULA_EDGE.search(between))
    if not _belongs_to_answer(following, spaced):
        return box.end
    if unit := _SCALES_AND_UNITS.match(following):
        return position + unit.end()
    # Anything else belongs to the answer up to the end of the sentence, of the line, or to the next box.
    sentence = re.compile(r"[.。?]+(?:[\s$*]|\Z)|!+(?=\s|\Z)|\\boxed").search(following, 1)
    return position + (sentence.start() if sentence else len(following))


def _belongs_to_answer(following: str, spaced: bool) -> bool:
    """Tell whether the text after a box and its closing marks is a part of the answer.

    `spaced`: a blank or the end of a formula separates the two.
    """
    first = following[0]
    if first in ",;，；、":
        return _list_continues(following[1:])
    # A decimal point or a ratio, not the end of a sentence.
    if first in ".。:":
        return following[1:2].isdigit()
    # A factorial, not an exclamation.
    if first == "!":
        return re.match(r"!+\s*(?:\$|\\\)|\\\]|[\d+\-*/^!])", following) is not None
    # A minus sign, not a dash before words.
    if first in "-–—−":
        return not spaced or not re.match(r"[-–—−]+\s+[A-Za-z]{2}", following)
    # A factor or a second thought, not a remark.
    if first == "(":
        return (
            not spaced
            or re.match(r"\(\s*(?:[-\d\\]|(?:or|and|not|maybe)\b)", following) is not None
        )
    if first == "\\":
        return _HARMLESS_COMMANDS.match(following) is None
    if first.isdigit() or first in "?+*/^_=<>%|'×·÷±°²³√":
        return True
    if alternative := re.match(r"(?:or|and)\b|[或和]", following, re.IGNORECASE):
        return alternative[0].lower() in ("or", "或") or _list_continues(
            following[alternative.end() :]
        )
    # A unit or a variable, not the next word of a sentence.
    if first.isalpha():
        word = re.match(r"[^\W\d_]+", following)
        if not spaced and first.isascii():
            return True
        if word and word[0].lower() in _SHORT_WORDS:
            return False
        return _SCALES_AND_UNITS.match(following) is not None
    return False


def _list_continues(following: str) -> bool:
    """Tell whether a list continues after a comma or "and": with mathematics, not with a sentence or another box."""
    following = following.lstrip(" \t$~")
    following = re.sub(r"\A(?:and|or|或|和)\s*[$\s]*", "", following)
    following = re.sub(
        r"\A(?:\\(?:quad|qquad|[,;:!> ])|\\text\s*\{\s*(?:and|or)?\s*\}|[\s$])*", "", following
    )
    return _BOX.match(following) is None and _MATHEMATICS.match(following) is not None
