"""Mutators that change one token anywhere inside a gold answer, where the others add before, behind and around.

The place is a hash of the gold answer and of what is put there, so that every gold answer is changed at another place
and two runs agree.
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


def _place(text: str, salt: str, count: int) -> int:
    """Choose one of so many places."""
    return zlib.crc32(f"{salt}{text}".encode()) % count


def _inserted(token: str) -> Make:
    def make(gold: Gold) -> str | None:
        # 97 b = 0 is b = 0, and a list may hold 0.
        if is_word(gold) or re.search(r"(?<![0-9.])0(?![0-9.])", gold.text):
            return None
        tokens = _TOKEN.findall(gold.text)
        place = _place(gold.text, token, len(tokens) + 1)
        return "".join(tokens[:place]) + token + "".join(tokens[place:])

    return make


def _digit(step: int) -> Make:
    """Change one digit somewhere to another one."""

    def make(gold: Gold) -> str | None:
        places = [match.start() for match in re.finditer("[0-9]", gold.text)]
        # A digit of a period may stand for its neighbour's, 11 of 25 is 14 of 25, and a name may hold a digit.
        if not places or "overline" in gold.text or "binom" in gold.text or is_word(gold):
            return None
        at = places[_place(gold.text, str(step), len(places))]
        return f"{gold.text[:at]}{(int(gold.text[at]) + step) % 10}{gold.text[at + 1 :]}"

    return make


def _exchanged(gold: Gold) -> str | None:
    """Exchange one operator, relation or function for another."""
    tokens = _TOKEN.findall(gold.text)
    places = [place for place, token in enumerate(tokens) if token in _EXCHANGED]
    if not places or not is_mathematics(gold):
        return None
    at = places[_place(gold.text, "exchange", len(places))]
    return "".join([*tokens[:at], f"{_EXCHANGED[tokens[at]]} ", *tokens[at + 1 :]])


ANYWHERE: tuple[Mutator, ...] = (
    *(Mutator(f"{token!r} inserted", False, _inserted(token)) for token in INSERTED),
    *(Mutator(f"a digit plus {step}", False, _digit(step)) for step in (1, 3, 7)),
    Mutator("an operator exchanged", False, _exchanged),
)
"""All of them say something else."""
