r"""Finds the answer in what a model wrote: its boxes, else what is announced as the answer, else all of it.

In: an answer, perhaps with words around it. Out: the bare answer. Decisions:
1. Boxes win, all of them (`dianoia.text.boxes`).
2. Without a box, what follows "answer is" or "answer:" in its sentence is the answer; an answer that is announced as
   not being one ("The answer is not 5") is left out, and two announcements are a list, as two boxes are.
3. Without either, the whole text is, if it is one line. No number is fished out of a sentence: who says "not 5
   but 6" has said nothing yet.
"""

import re

from dianoia.tasks.math.verdict import Reason, TooLarge, Unreadable
from dianoia.text.boxes import UnclosedBox, boxed_answer

MAX_CHARS = 20_000
_ANNOUNCED = re.compile(
    r"(?:\b(?:ans(?:wers?)?|result)\b\**(?:[ \t]+(?:is|are)\b|[ \t]*[:：=])[:：*]*|\bsolutions?[ \t]+(?:is|are)\b:?|(?:答案|结果)(?:\**(?:是|为|应为|[:：]))+\**)",
    re.IGNORECASE,
)
_LEADING_IN = re.compile(
    r"\W*(?:(?:so|the|my|our|final|correct|thus|hence|therefore|and)\b\W*)*", re.IGNORECASE
)
"""What stands between two announcements of one answer: "Final Answer: The final answer is"."""
_HEADING = re.compile(
    r"(?:^|\n)[#* \t]*(?:final )?(?:answer|答案)[:：*# \t]*\n+[ \t]*([^\n]+)\s*\Z", re.IGNORECASE
)
_RESULT_LINE = re.compile(r"(?:^|\n)####[ \t]*([^\n]+)\s*\Z")
_TAKEN_BACK = re.compile(
    r"\b(?:no|not|wait|actually|sorry|correction|rather|instead|mistake|mistaken|wrong|incorrect|but|however|hmm|oops|or|alternatively|unless)\b|n't\b|不|错",
    re.IGNORECASE,
)
_BEFORE_BOX = re.compile(r"(?:\A|[$=(\n]|\\\[|\\\()([^$=\n]{1,120})=\s*\\boxed\{")
_BARE_LINE = re.compile(r"\s*\n\s*[$\\(]*[-+]?\d[^A-Za-z\n]*(?:\n|\Z)")
"""A line of nothing but mathematics behind an announced answer: another answer."""
_NEGATED = re.compile(r"\s*(?:not|no longer|neither)\b", re.IGNORECASE)
_SENTENCE_END = re.compile(
    r"(?<![\d.])[.。](?=\s+[A-Z\u4e00-\u9fff])|(?<=\d)[.。](?=\s+[A-Z\u4e00-\u9fff][a-z\u4e00-\u9fff' ])|[!?](?=\s|\Z)(?=[^\d])(?=\s+[A-Z])|(?<=\$)\.(?=\s)"
)


def bare_answer(text: str) -> str:
    """The answer without the words around it.

    Raises:
        Unreadable: there is none, a box is not closed, or there are several lines.
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
    return _announced(text) or _line(text)


def said_equal(text: str) -> str | None:
    """Find what a formula says to be equal to its box, where it is nothing but numbers: `17 \\cdot 23` of `17 \\cdot 23 = \\boxed{391}`."""
    match = _BEFORE_BOX.search(text)
    if match is None or re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", match[1])):
        return None
    return match[1].strip() or None


def _announced(text: str) -> str | None:
    """Find what is announced as the answer; None where nothing is."""
    answers = []
    if heading := _HEADING.search(text):
        answers.append(heading[1])
    if result := _RESULT_LINE.search(text):
        answers.append(result[1])
    marks = list(_ANNOUNCED.finditer(text))
    behind = ""
    for mark, following in zip(marks, [*marks[1:], None][: len(marks)], strict=True):
        line_end = text.find("\n", mark.end())
        end = min(
            len(text) if line_end < 0 else line_end,
            len(text) if following is None else following.start(),
        )
        sentence = text[mark.end() : end]
        if following is not None and _LEADING_IN.fullmatch(sentence):
            continue
        stop = _SENTENCE_END.search(sentence)
        behind = text[mark.end() + stop.end() :] if stop else text[end:]
        answer = _stripped(sentence[: stop.start()] if stop else sentence)
        if answer and not _NEGATED.match(answer):
            answers.append(answer)
    distinct = list(dict.fromkeys(_stripped(answer) for answer in answers))
    if not distinct:
        return None
    if _TAKEN_BACK.search(behind) or _BARE_LINE.match(behind):
        raise Unreadable(Reason.TEXT_BEHIND)
    return distinct[0] if len(distinct) == 1 else "; ".join(distinct)


def _stripped(text: str) -> str:
    text = text.strip()
    if text.startswith("}") and text.count("{") < text.count("}"):
        text = text[1:].strip()  # of \text{Answer: }
    if text.count("**") % 2:
        text = text.removeprefix("**").removesuffix("**").strip()
    return text


def _line(text: str) -> str:
    line = text.strip()
    if not line:
        raise Unreadable(Reason.NOTHING)
    if "\n" in line:
        # Matrices, cases and words in braces may take several lines.
        if r"\begin{" not in line and not all(
            _in_braces(line, match.start()) for match in re.finditer(r"\n", line)
        ):
            raise Unreadable(Reason.SEVERAL_LINES)
        line = " ".join(line.split("\n"))
    return line


def _in_braces(text: str, position: int) -> bool:
    before = text[:position]
    return before.count("{") > before.count("}")
