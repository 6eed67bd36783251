"""Mutators that change one token within a gold answer; other mutators add text before, after or around it.

The position is a hash of the gold answer and the change, so that gold answers are changed at different positions and
two runs agree.
"""

import re
import zlib

from benchmarks.graders.golds import Gold
from benchmarks.graders.mutators import Make, Mutator, is_mathematics, is_word

_TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|\s+|[0-9]|.", re.DOTALL)
INSERTED = (
    "97", " 97 ", r"\,97", r"\mathrm{97}", r"\text{q}", "'", "_7", "?", "+97", r"\pi ", "/", "(", "]", "|", "#", "<", r"\neg ", r"\not ", r"\infty ", "∞",
    "\u0338", "\u202e", "\t97", r"\quad 97", r"\phantom{97}", r"\hat ", r"\boxed{97}", r"\ldots ", r"\cup ", r"\in ", "not ", "@", '"97"', r"\unknown ", r"\mod ", "[", ">", "~~97",
)  # fmt: skip
_EXCHANGED = {"+": "-", "<": ">", ">": "<", r"\sin": r"\cos", r"\cos": r"\sin", r"\tan": r"\sec", r"\le": r"\ge", r"\ge": r"\le", r"\cup": r"\cap", r"\pi": r"\theta", r"\ln": r"\sin", r"\infty": "1000", r"\pm": "+", r"\binom": r"\frac"}  # fmt: skip


def _position(text: str, salt: str, count: int) -> int:
    """Choose one of `count` positions."""
    return zlib.crc32(f"{salt}{text}".encode()) % count


def _inserted(token: str) -> Make:
    def make(gold: Gold) -> str | None:
        # 97 b = 0 is b = 0, and a list may hold 0.
        if is_word(gold) or re.search(r"(?<![0-9.])0(?![0-9.])", gold.text):
            return None
        tokens = _TOKEN.findall(gold.text)
        position = _position(gold.text, token, len(tokens) + 1)
        return "".join(tokens[:position]) + token + "".join(tokens[position:])

    return make


def _digit(step: int) -> Make:
    """Change one digit somewhere to another one."""

    def make(gold: Gold) -> str | None:
        positions = [match.start() for match in re.finditer("[0-9]", gold.text)]
        # A digit of a period may stand for its neighbour's, 11 of 25 is 14 of 25, and a name may hold a digit.
        if not positions or "overline" in gold.text or "binom" in gold.text or is_word(gold):
            return None
        index = positions[_position(gold.text, str(step), len(positions))]
        return f"{gold.text[:index]}{(int(gold.text[index]) + step) % 10}{gold.text[index + 1 :]}"

    return make


def _exchanged(gold: Gold) -> str | None:
    """Exchange one operator, relation or function for another."""
    tokens = _TOKEN.findall(gold.text)
    positions = [index for index, token in enumerate(tokens) if token in _EXCHANGED]
    if not positions or not is_mathematics(gold):
        return None
    index = positions[_position(gold.text, "exchange", len(positions))]
    return "".join([*tokens[:index], f"{_EXCHANGED[tokens[index]]} ", *tokens[index + 1 :]])


ANYWHERE: tuple[Mutator, ...] = (
    *(Mutator(f"{token!r} inserted", False, _inserted(token)) for token in INSERTED),
    *(Mutator(f"a digit plus {step}", False, _digit(step)) for step in (1, 3, 7)),
    Mutator("an operator exchanged", False, _exchanged),
)
"""Mutators whose answers all have another meaning."""
