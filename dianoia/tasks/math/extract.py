"""Finds the answer in what a model wrote: the last box, else what is announced as the answer, else all of it.

In: an answer, perhaps with words around it. Out: the bare answer, or None. Decisions:
1. A box wins. Several boxes with nothing but "and", "or" and commas between them are one answer, a list; else
   the last one counts. A box that is never closed, or is empty, is no answer.
2. Without a box, what follows the last "answer is" or "answer:" in its line is the answer.
3. Without either, the whole text is, if it is one line. No number is fished out of a sentence: who says "not 5
   but 6" has said nothing yet.
"""

import re

MAX_CHARS = 20_000
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BETWEEN = re.compile(r"[\s,$、，和或]*(?:(?:and|or)[\s,$]*)?")
_ANNOUNCED = re.compile(r"(?:answer(?: is|:)+:?|答案(?:是|为|[:：])+)[ \t]*([^\n]*)", re.IGNORECASE)


def bare_answer(text: str) -> str | None:
    """The answer without the words around it; None if there is none, or the text is longer than MAX_CHARS."""
    if len(text) > MAX_CHARS:
        return None
    if _BOX.search(text):
        return _boxed(text)
    announced = _ANNOUNCED.findall(text)
    line = (announced[-1] if announced else text).strip().rstrip(" .。*`").lstrip(" *`")
    return line if line and "\n" not in line else None


def _boxed(text: str) -> str | None:
    """The content of the last box, or of the last row of boxes."""
    boxes = [(one.start(), one.end()) for one in _BOX.finditer(text)][-8:]
    found: list[str] = []
    begins = len(text)
    for start, inside in reversed(boxes):
        end = _closing(text, inside)
        if end is None or end > begins:
            return None if not found else ",".join(reversed(found))
        if found and not _BETWEEN.fullmatch(text[end + 1 : begins]):
            break
        if not text[inside:end].strip():
            return None
        found.append(text[inside:end].strip())
        begins = start
    return ",".join(reversed(found)) or None


def _closing(text: str, start: int) -> int | None:
    """Where the brace closes that was opened before `start`."""
    depth, place = 1, start
    while place < len(text):
        char = text[place]
        depth += (char == "{") - (char == "}")
        if not depth:
            return place
        place += 2 if char == "\\" else 1
    return None
