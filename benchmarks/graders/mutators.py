"""Name the changes that make an answer of a gold answer, each with what it does: say something else, or the same.

In: a gold answer. Out: an answer, or None where the change does not apply. `ADDED` puts something before, behind or
around the gold answer, `CHANGED` changes its text, `SAME` spells it otherwise; `constructed` are those that a
generator hands over with its gold answers, by name.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from benchmarks.graders.golds import INTRUDER, Gold

Make = Callable[[Gold], str | None]


@dataclass(frozen=True, slots=True)
class Mutator:
    """A named change of a gold answer."""

    name: str
    same: bool
    """True if the answer has the same meaning as the gold answer."""
    make: Make


_WHOLE = re.compile(r"-?[0-9]+")
_WORD = re.compile(r"\\(?:text|mbox|textbf|mathrm)\s*\{[^{}]*\}|[A-Za-z()]+")
_PLAIN_VALUE = re.compile(r"[-0-9a-z.+^{}()\\ /*]+")
_ALWAYS_SAME_UNDER_POWER = ("0", "1", "-1")


def is_whole(gold: Gold) -> bool:
    """Return True if the gold answer is a whole number in digits."""
    return _WHOLE.fullmatch(gold.text.strip()) is not None


def is_word(gold: Gold) -> bool:
    """Return True if the gold answer is a word, a name or the letter of an option."""
    return _WORD.fullmatch(gold.text.strip()) is not None


def is_bare(gold: Gold) -> bool:
    """Return True if the gold answer is a bare rational number, of which units, percent and degrees change the value."""
    if gold.kind == "asked":
        return False  # the question asks for a unit
    text = gold.text.strip()
    return (
        gold.number not in (None, 0)
        or (is_whole(gold) and int(text) != 0)
        or _BARE.fullmatch(text) is not None
    )


_BARE = re.compile(r"-?(?:[0-9]*\.[0-9]+|\\[dt]?frac\{?-?[0-9]+\}?\{?[0-9]+\}?)")
_MEASURED = re.compile(r"\\text|\\mbox|\\mathrm|\$|%|circ|°|degree")


def is_mathematics(gold: Gold) -> bool:
    """Return True if the gold answer is mathematics without a unit, a sign of percent or degrees, or a word."""
    return _MEASURED.search(gold.text) is None and not is_word(gold)


def is_single(gold: Gold) -> bool:
    """Return True if the gold answer is one expression: neither list nor pair, relation, set, interval or union."""
    return is_mathematics(gold) and not re.search(r"[,<>=\[\]:;]|\\le|\\ge|\\in|\\cup|\\pm|\\\{|infty|begin", gold.text)  # fmt: skip


def around(before: str, after: str) -> Make:
    """Make an answer of the gold answer with something before and behind it."""
    return lambda gold: f"{before}{gold.text}{after}"


def template(text: str, when: Callable[[Gold], bool] | None = None) -> Make:
    """Make an answer by putting the gold answer for each `@` of a text, where `when` holds."""

    def make(gold: Gold) -> str | None:
        return text.replace("@", gold.text) if when is None or when(gold) else None

    return make


def replaced(old: str, new: str, count: int = 1) -> Make:
    """Make an answer by replacing text of the gold answer; none where it holds no such text."""

    def make(gold: Gold) -> str | None:
        return gold.text.replace(old, new, count) if old in gold.text else None

    return make


def rewritten(
    pattern: str,
    new: str | Callable[[re.Match[str]], str],
    when: Callable[[Gold], bool] | None = None,
) -> Make:
    """Make an answer by rewriting the first match of a pattern; none where nothing changes."""

    def make(gold: Gold) -> str | None:
        if when is not None and not when(gold):
            return None
        text = re.sub(pattern, new, gold.text, count=1)
        return text if text != gold.text else None

    return make


def templates(
    same: bool, when: Callable[[Gold], bool] | None, texts: Iterable[str]
) -> list[Mutator]:
    """Make a mutator of each template, named by its text."""
    return [Mutator(text.replace("\n", "↵"), same, template(text, when)) for text in texts]


def constructed(golds: Iterable[Gold]) -> list[Mutator]:
    """Make a mutator of each name under which the generators hand over forms."""
    names: dict[tuple[str, bool], None] = {}
    for gold in golds:
        names |= dict.fromkeys((name, True) for name in gold.same)
        names |= dict.fromkeys((name, False) for name in gold.different)
    return [Mutator(name, same, _constructed(name, same)) for name, same in names]


def _constructed(name: str, same: bool) -> Make:
    return lambda gold: (gold.same if same else gold.different).get(name)


def holds_intruder(gold: Gold) -> bool:
    """Return True if the intruder stands in a gold answer already, so that adding it might say the same."""
    return INTRUDER in gold.text
