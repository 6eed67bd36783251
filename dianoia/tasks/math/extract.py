r"""Extract the answer from a model's text: its boxes, else what is announced as the answer, else the whole text.

In: an answer, perhaps with words around it. Out: the bare answer, not yet parsed. Decisions:
1. Boxes win, and all of them count (`dianoia.text.boxes`).
2. Without a box, what follows "answer is" or "answer:" in its sentence is the answer. A negated one ("The answer is
   not 5") is left out. Two different announcements are a list, as two boxes are.
3. Without either, the whole text is the answer, if it is one line. No number is picked out of a sentence: a text such
   as "not 5 but 6" has not answered.
"""

import re

from dianoia.tasks.math.verdict import Reason, TooLarge, Unreadable
from dianoia.text.boxes import UnclosedBox, boxed_answer

MAX_CHARS = 20_000
_ANNOUNCEMENT = re.compile(
    r"(?:\b(?:ans(?:wers?)?|result)\b\**(?:[ \t]+(?:is|are)\b|[ \t]*[:：=])[:：*]*|\bsolutions?[ \t]+(?:is|are)\b:?|(?:答案|结果)(?:\**(?:是|为|应为|[:：]))+\**)",
    re.IGNORECASE,
)
"""`The answer is`, `**Answer:**`, `the solutions are`, `答案是`."""
_LEAD_IN = re.compile(
    r"\W*(?:(?:so|the|my|our|final|correct|thus|hence|therefore|and)\b\W*)*", re.IGNORECASE
)
"""Text between two announcements of one answer: "The final" in "Final Answer: The final answer is"."""
_HEADING = re.compile(
    r"(?:^|\n)[#* \t]*(?:final )?(?:answer|答案)[:：*# \t]*\n+[ \t]*([^\n]+)\s*\Z", re.IGNORECASE
)
"""A heading on a line of its own, with the answer on the last line: `## Answer`, then `72`."""
_RESULT_LINE = re.compile(r"(?:^|\n)####[ \t]*([^\n]+)\s*\Z")
"""The last line of a GSM8K solution: `#### 72`."""
_RETRACTION = re.compile(
    r"\b(?:no|not|wait|actually|sorry|correction|rather|instead|mistake|mistaken|wrong|incorrect|but|however|hmm|oops|or|alternatively|unless)\b|n't\b|不|错",
    re.IGNORECASE,
)
"""Words after an announced answer that may take it back: "The answer is 5. Wait, no"."""
_LEFT_OF_BOX = re.compile(r"(?:\A|[$=(\n]|\\\[|\\\()([^$=\n]{1,120})=\s*\\boxed\{")
_BARE_LINE = re.compile(r"\s*\n\s*[$\\(]*[-+]?\d[^A-Za-z\n]*(?:\n|\Z)")
"""A line of nothing but mathematics after an announced answer: a second answer."""
_NEGATED = re.compile(r"\s*(?:not|no longer|neither)\b", re.IGNORECASE)
_SENTENCE_END = re.compile(
    r"(?<![\d.])[.。](?=\s+[A-Z\u4e00-\u9fff])|(?<=\d)[.。](?=\s+[A-Z\u4e00-\u9fff][a-z\u4e00-\u9fff' ])|[!?](?=\s|\Z)(?=[^\d])(?=\s+[A-Z])|(?<=\$)\.(?=\s)"
)


def bare_answer(text: str) -> str:
    """Return the answer without the words around it.

    Raises:
        Unreadable: there is no answer, a box is not closed, or there are several lines.
        TooLarge: the text is longer than MAX_CHARS.
    """
    if len(text) > MAX_CHARS:
        raise TooLarge("characters")
    try:
        boxed = boxed_answer(text)
    except UnclosedBox:
        raise Unreadable(Reason.BOX) from None
    if boxed is not None:
        if not boxed:
            raise Unreadable(Reason.BOX)
        return " ".join(boxed.split("\n"))
    return _announced_answer(text) or _single_line(text)


def left_of_box(text: str) -> str | None:
    r"""Return the expression that a formula equates with its box: `17 \cdot 23` of `17 \cdot 23 = \boxed{391}`.

    None if there is none, or if it has letters: names may stand for anything.
    """
    match = _LEFT_OF_BOX.search(text)
    if match is None or re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", match[1])):
        return None
    return match[1].strip() or None


def _announced_answer(text: str) -> str | None:
    """Return the announced answer, several joined by semicolons; None if nothing is announced.

    Raises:
        Unreadable: text after the answer takes it back or gives another one.
    """
    answers = []
    # A heading and a result line are announcements too.
    if heading := _HEADING.search(text):
        answers.append(heading[1])
    if result := _RESULT_LINE.search(text):
        answers.append(result[1])
    announcements = list(_ANNOUNCEMENT.finditer(text))
    remainder = ""  # of the text, after the last announced answer
    nexts = [*announcements[1:], None][: len(announcements)]
    for announcement, following in zip(announcements, nexts, strict=True):
        # An answer ends with its line, or where the next announcement begins, or with its sentence.
        line_end = text.find("\n", announcement.end())
        end = min(
            len(text) if line_end < 0 else line_end,
            len(text) if following is None else following.start(),
        )
        sentence = text[announcement.end() : end]
        # "Final Answer: The final answer is 5" announces once.
        if following is not None and _LEAD_IN.fullmatch(sentence):
            continue
        stop = _SENTENCE_END.search(sentence)
        remainder = text[announcement.end() + stop.end() :] if stop else text[end:]
        answer = _stripped(sentence[: stop.start()] if stop else sentence)
        if answer and not _NEGATED.match(answer):
            answers.append(answer)
    # The same answer announced twice is one answer.
    distinct = list(dict.fromkeys(_stripped(answer) for answer in answers))
    if not distinct:
        return None
    if _RETRACTION.search(remainder) or _BARE_LINE.match(remainder):
        raise Unreadable(Reason.TEXT_BEHIND)
    return distinct[0] if len(distinct) == 1 else "; ".join(distinct)


def _stripped(text: str) -> str:
    text = text.strip()
    if text.startswith("}") and text.count("{") < text.count("}"):
        text = text[1:].strip()  # the brace that closes \text{Answer: }
    # Half of a pair of bold marks: `**Answer: 5**` leaves `5**`.
    if text.count("**") % 2:
        text = text.removeprefix("**").removesuffix("**").strip()
    return text


def _single_line(text: str) -> str:
    line = text.strip()
    if not line:
        raise Unreadable(Reason.NOTHING)
    if "\n" in line:
        # Only matrices, cases and text in braces may take several lines.
        if r"\begin{" not in line and not all(
            _in_braces(line, match.start()) for match in re.finditer(r"\n", line)
        ):
            raise Unreadable(Reason.SEVERAL_LINES)
        line = " ".join(line.split("\n"))
    return line


def _in_braces(text: str, position: int) -> bool:
    before = text[:position]
    return before.count("{") > before.count("}")
