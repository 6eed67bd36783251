"""Which of six languages in Latin letters each word of a text is in: English, Spanish, French, German,
Portuguese, Italian.

In: the words of a text in order. Out: a language a word. Left out: further languages of the script,
which are taken for the nearest of the six; what a word is (`dianoia.text.language`).

What a single word looks like comes from lingua (https://github.com/pemistahl/lingua-py, Apache 2.0, works
offline; the `languages` extra). Asked for whole sentences it has no borders inside them, and word by word it
errs too often. So the words of a text decide together: theirs is the labelling of the highest total
probability when every change of language has a price, found by the Viterbi algorithm in time linear in
the number of words. A change is cheaper where a phrase ends than inside one.

Decisions where DeepSeek-R1 (arXiv 2501.12948v2, eq. 7) is silent:
1. The library is asked only where there is a choice. A text is English until a word speaks against it: one
   of the commonest words of another language, or a letter that English lacks. So thoughts in English
   and Chinese load no library and take no longer.
2. Without the library a word in Latin letters counts as English, and the other five cannot be a target.
"""

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from dianoia.base.errors import ConfigError
from dianoia.text.common_words import ALSO_ENGLISH, COMMON_WORDS

if TYPE_CHECKING:
    from lingua import LanguageDetector

LATIN = tuple(COMMON_WORDS)
"""ISO 639-1 codes."""

_CHANGE = 4.0
"""Price of a change of language inside a phrase, in nats: about the evidence of two plain words."""
_CHANGE_AT_BREAK = 2.0
"""The same where a phrase ends: at punctuation, a formula, words of another script."""
_NOT_ASSUMED = 1.0
"""Price of beginning in another language than the assumed one."""
_NOT_COMMON = 2.0
"""What one of the commonest words says against the languages that lack it, in nats."""
_FLOOR = 1e-4
"""Least probability of a language for a word: names and slips of the pen stand in every text."""
_LETTERS = 40
"""Of a word, that are looked at; hardly any word has more, and a model may write any number."""

_COMMON = {language: frozenset(words.split()) for language, words in COMMON_WORDS.items()}
_FOREIGN = frozenset.union(*_COMMON.values()) - _COMMON["en"] - frozenset(ALSO_ENGLISH.split())

_Six = tuple[float, ...]
"""A number for each of LATIN, in its order."""


@cache
def is_available() -> bool:
    """Whether the library that tells the six apart is installed; does not load it."""
    return find_spec("lingua") is not None


def check_available() -> None:
    """Raise ConfigError, with the cure, where the library is missing."""
    if not is_available():
        raise ConfigError(
            "Languages in Latin letters are told apart by lingua, which is not installed, so only English "
            "can be a target among them; pip install 'dianoia[languages]' (Python below 3.14), or leave the "
            "language reward out"
        )


def needs_telling(words: Sequence[str], assumed: str) -> bool:
    """Whether some of the words may be in another language than the assumed one.

    They may where that is not English, which is what a word is without further signs.
    """
    if assumed != "en":
        return bool(words)
    return not all(map(str.isascii, words)) or not _FOREIGN.isdisjoint(map(str.lower, words))


def tell_apart(words: Sequence[str], ends: Sequence[bool], assumed: str) -> list[str]:
    """The language of each word, one of LATIN. `ends` says of each word whether a phrase ends with it.

    `assumed` is the language that the text is expected to be in; it decides close calls. Raises ConfigError
    where the library is asked and missing.
    """
    if not words:
        return []
    total = tuple(0.0 if language == assumed else -_NOT_ASSUMED for language in LATIN)
    total = _sum(total, _log_probabilities(_key(words[0])))
    came_from: list[tuple[int, ...]] = []
    for word, behind_break in zip(words[1:], ends, strict=False):
        price = _CHANGE_AT_BREAK if behind_break else _CHANGE
        total, origin = _step(total, price)
        total = _sum(total, _log_probabilities(_key(word)))
        came_from.append(origin)
    return _traced(total.index(max(total)), came_from)


def _step(total: _Six, price: float) -> tuple[_Six, tuple[int, ...]]:
    """The best total with which the next word may begin in each language, and whence it comes."""
    best = total.index(max(total))
    least = total[best] - price
    origin = tuple(own if stay >= least else best for own, stay in enumerate(total))
    return tuple(max(stay, least) for stay in total), origin


def _traced(last: int, came_from: Sequence[tuple[int, ...]]) -> list[str]:
    path = [last]
    for origin in reversed(came_from):
        path.append(origin[path[-1]])
    return [LATIN[index] for index in reversed(path)]


def _sum(one: _Six, other: _Six) -> _Six:
    return tuple(map(float.__add__, one, other))


def _key(word: str) -> str:
    return word[:_LETTERS].lower().replace("’", "'")


@lru_cache(maxsize=50_000)
def _log_probabilities(word: str) -> _Six:
    """Of each language, given the word by itself, up to a constant."""
    found = {
        value.language.iso_code_639_1.name.lower(): value.value
        for value in _detector().compute_language_confidence_values(word)
    }
    common = [word in _COMMON[language] for language in LATIN]
    against = _NOT_COMMON if any(common) else 0.0
    return tuple(
        math.log(max(found[language], _FLOOR)) - (0.0 if is_common else against)
        for language, is_common in zip(LATIN, common, strict=True)
    )


@cache
def _detector() -> "LanguageDetector":
    check_available()
    from lingua import IsoCode639_1, LanguageDetectorBuilder  # noqa: PLC0415  an optional extra, slow to load

    codes = [getattr(IsoCode639_1, language.upper()) for language in LATIN]
    return LanguageDetectorBuilder.from_iso_codes_639_1(*codes).build()
