"""Which language the words of a text are in, also inside a sentence.

In: a thought. Out: its words with their languages, and the share of a target language, which is the language
reward `Num(words in the target language) / Num(words)` of DeepSeek-R1 (arXiv 2501.12948v2, eq. 7).
Left out: what one word in Latin letters looks like (`dianoia.text.latin_words`), languages beyond LANGUAGES.

Decisions where the paper is silent (the unit of a word, what is no word, how languages are told apart):
1. A word of a language with spaces is a run of letters of one script, with its apostrophes ("don't"). A
   Chinese word is one Han character: it needs no segmenter, and a character stands for about as much
   as two thirds of a word, while whole runs would make a Chinese sentence weigh as little as one
   English word. A Japanese word is one Han character or one run of kana.
2. Numbers, formulas (LaTeX between dollars or brackets, commands, single letters, letters next to digits), tags
   and code between backticks are in no language. "a", "A" and "I" are English words beside a word in Latin letters,
   and names elsewhere: of a variable, a step, an option.
3. The script decides where it can: Han characters are Chinese, in a sentence with kana Japanese; Hangul
   is Korean; Cyrillic is Russian, unless the word has a letter that Russian lacks. Words in any other
   script count as "other", and so lower every share.
4. Words in Latin letters are told apart only where the target is in Latin letters too: no other share
   depends on it.
5. A text without words has no share: None, which is not zero.
"""

import re
import string
import unicodedata
from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from dianoia.base.errors import ConfigError
from dianoia.text import latin_words as latin

LANGUAGES = (*latin.LATIN, "zh", "ja", "ko", "ru")
"""ISO 639-1 codes of what can be told apart."""
OTHER = "other"

_Matches = Sequence[re.Match[str]]

_NO_WORDS = re.compile(
    r"```.*?```|`[^`\n]+`"
    r"|\$\$[^$]*\$\$|\$(?=\S)[^$\n]*(?<=\S)\$(?!\d)"  # as in Pandoc, or prices would hide words
    r"|\\\((?:(?!\\[()]).)*\\\)|\\\[(?:(?!\\[\[\]]).)*\\\]"
    r"|\\[A-Za-z]+"
    r"|</?[A-Za-z]+>",
    re.DOTALL,
)
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_LATIN = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f"
_KANA = "\u3041-\u3096\u30a1-\u30fa\u30fc"
_HANGUL = "\uac00-\ud7a3"
_CYRILLIC = "\u0400-\u0481\u048a-\u052f"
_RUSSIAN = "А-Яа-яЁё"
# Possessive runs (++): "mod7" must not be read as "mo" by giving letters back. A run starts only
# where no letter stands before it, so that no text takes quadratic time. The first line makes short work
# of whatever is no letter.
_WORD = re.compile(
    r"(?=[^\W\d_])(?:"
    rf"(?P<zh>[{_HAN}])"
    rf"|(?<![\d_{_LATIN}])(?P<en>[{_LATIN}]++(?:['’][{_LATIN}]++)*+)(?![\d_])"
    rf"|(?P<ru>[{_RUSSIAN}]++)(?![{_CYRILLIC}])"
    rf"|(?P<ja>[{_KANA}]+)"
    rf"|(?P<ko>[{_HANGUL}]+)"
    rf"|(?P<other>(?:(?![{_HAN}{_LATIN}{_KANA}{_HANGUL}])[^\W\d_])+)"
    r")"
)
_SYMBOLS = frozenset(string.ascii_letters)
"""A single Latin letter is a name in a formula, except the two that may be English words."""
_ENGLISH_LETTERS = frozenset("aAI")
_SENTENCE_END = re.compile("[。!?\n]")
_FORMULA = " · "  # in place of what is no word; no blank, since a phrase may end there


def label_words(text: str, target: str | None = None) -> list[tuple[str, str]]:
    """Each word with its language (one of LANGUAGES, or OTHER), in order, full-width letters made narrow.

    Words in Latin letters are told apart if `target` is one of their languages; else they all go by
    the name of "en". Raises ConfigError as `language_share` does.
    """
    found, languages = _found(text, target)
    return [(match.group(), language) for match, language in zip(found, languages, strict=True)]


def _found(text: str, target: str | None) -> tuple[list[re.Match[str]], list[str]]:
    plain = _NO_WORDS.sub(_FORMULA, unicodedata.normalize("NFKC", text))
    found = _without_symbols(plain, list(_WORD.finditer(plain)))
    languages = [match.lastgroup or OTHER for match in found]
    if "ja" in languages:
        _give_han_to_japanese(plain, found, languages)
    if target in latin.LATIN:
        _tell_latin_apart(plain, found, languages, target)
    return found, languages


def _without_symbols(plain: str, found: _Matches) -> list[re.Match[str]]:
    """The words alone: single letters are symbols, but for those that are English beside a longer word."""
    kept = []
    for index, match in enumerate(found):
        word = match.group()
        if word in _ENGLISH_LETTERS:
            around = [found[at] for at in (index - 1, index + 1) if 0 <= at < len(found)]
            if any(_beside(plain, match, other) for other in around):
                kept.append(match)
        elif word not in _SYMBOLS:
            kept.append(match)
    return kept


def _beside(plain: str, one: re.Match[str], other: re.Match[str]) -> bool:
    """Whether a Latin word of more than a letter stands next to `one`, with nothing but a blank between."""
    first, second = sorted((one, other), key=lambda match: match.start())
    return (
        other.lastgroup == "en"
        and len(other.group()) > 1
        and plain[first.end() : second.start()].strip(" ") == ""
    )


def _give_han_to_japanese(plain: str, found: _Matches, languages: list[str]) -> None:
    ends = [match.start() for match in _SENTENCE_END.finditer(plain)]
    sentences = [bisect(ends, match.start()) for match in found]
    japanese = {s for s, language in zip(sentences, languages, strict=True) if language == "ja"}
    for index, sentence in enumerate(sentences):
        if languages[index] == "zh" and sentence in japanese:
            languages[index] = "ja"


def _tell_latin_apart(plain: str, found: _Matches, languages: list[str], assumed: str) -> None:
    places = [index for index, language in enumerate(languages) if language == "en"]
    words = [found[index].group() for index in places]
    if not latin.needs_telling(words, assumed) or (assumed == "en" and not latin.is_available()):
        return
    gaps = [plain[found[a].end() : found[b].start()] for a, b in pairwise(places)]
    ends = [not gap.isspace() or "\n" in gap for gap in gaps]
    for index, language in zip(places, latin.tell_apart(words, ends, assumed), strict=True):
        languages[index] = language


def words_by_language(text: str, target: str | None = None) -> Counter[str]:
    """Number of words in each language; `target` as for `label_words`."""
    return Counter(_found(text, target)[1])


def check_measurable(target: str) -> None:
    """Raise ConfigError for a target language that cannot be told from others, or not on this machine."""
    if target not in LANGUAGES:
        raise ConfigError(
            f"Language {target!r} cannot be told from the others, so a language share would mean "
            f"nothing; use one of {', '.join(LANGUAGES)} or leave the language reward out"
        )
    if target in latin.LATIN and target != "en":
        latin.check_available()


def is_measurable(target: str) -> bool:
    """Whether the share of a language can be measured on this machine."""
    try:
        check_measurable(target)
    except ConfigError:
        return False
    return True


def language_share(text: str, target: str) -> float | None:
    """Share of the words that are in the target language, 0 to 1; None where there are no words (eq. 7).

    Raises ConfigError for a target that cannot be told apart, or not without the `languages` extra.
    """
    check_measurable(target)
    words = words_by_language(text, target)
    return words[target] / words.total() if words else None


def main_language(text: str) -> str | None:
    """The language most words are in, None without words or when most are in none of LANGUAGES."""
    words = words_by_language(text, "en")
    language = max(words, key=lambda name: words[name], default=OTHER)
    return language if language in LANGUAGES else None
