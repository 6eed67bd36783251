"""Detects the language of each word of a text, also within a sentence.

In: a thought. Out: its words with their languages, and the share of a target language, which is the language
reward `Num(words in the target language) / Num(words)` of DeepSeek-R1 (arXiv 2501.12948v2, eq. 7).
Not here: distinguishing languages in Latin letters (`dianoia.text.latin_words`); languages beyond LANGUAGES.

Decisions where the paper is silent (what is a word, what is not, how languages are distinguished):
1. In a language with spaces, a word is a run of letters of one script, with its apostrophes ("don't"). A Chinese
   word is one Han character: that needs no segmenter, and a character means about as much as two thirds of a
   word, while a whole run would give a Chinese sentence the weight of one English word. A Japanese word is one
   Han character or one run of kana.
2. Numbers, formulas (LaTeX between dollars or brackets, commands, single letters, letters next to digits), tags
   and code between backticks are in no language. "a", "A" and "I" are English words next to a word in Latin letters.
   Elsewhere they are names: of a variable, a step, an option.
3. The script decides if it can: Han characters are Chinese, or Japanese in a sentence with kana; Hangul is Korean;
   Cyrillic is Russian, unless the word has a letter that Russian lacks. Words in any other script count as
   "other", and so lower every share.
4. Languages in Latin letters are distinguished only if the target is one of them: no other share depends on it.
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
"""ISO 639-1 codes of the languages that are distinguished."""
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
# Possessive runs (++): "mod7" must not be read as "mo" by backtracking. A run starts only where no letter is before
# it, so that no text takes quadratic time. The lookahead in the first line skips quickly over what is no letter.
# Group names are languages; "en" stands for any language in Latin letters until they are distinguished.
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
_NO_WORD_MARK = " · "
"""Replaces formulas, tags and code. It is not a blank, because a phrase may end there."""


def label_words(text: str, target: str | None = None) -> list[tuple[str, str]]:
    """Return each word with its language (one of LANGUAGES, or OTHER), in order; full-width letters become narrow.

    Languages in Latin letters are distinguished if `target` is one of them; else all their words are "en".
    Raises ConfigError as `language_share` does.
    """
    matches, languages = _labelled_matches(text, target)
    return [(match.group(), language) for match, language in zip(matches, languages, strict=True)]


def _labelled_matches(text: str, target: str | None) -> tuple[list[re.Match[str]], list[str]]:
    # NFKC turns full-width letters into ordinary ones and joins accents to their letters.
    plain = _NO_WORDS.sub(_NO_WORD_MARK, unicodedata.normalize("NFKC", text))
    matches = _without_symbols(plain, list(_WORD.finditer(plain)))
    languages = [match.lastgroup or OTHER for match in matches]
    if "ja" in languages:
        _relabel_japanese_han(plain, matches, languages)
    # Decision 4: other targets need no second look at Latin words.
    if target in latin.LATIN:
        _relabel_latin(plain, matches, languages, target)
    return matches, languages


def _without_symbols(plain: str, matches: _Matches) -> list[re.Match[str]]:
    """Remove single letters, which are symbols, except English ones next to a longer word (decision 2)."""
    words = []
    # Neighbours are taken before anything is removed: in "a b c" no letter has a longer word beside it.
    for index, match in enumerate(matches):
        word = match.group()
        if word in _ENGLISH_LETTERS:
            neighbours = [matches[i] for i in (index - 1, index + 1) if 0 <= i < len(matches)]
            if any(_touches_latin_word(plain, match, neighbour) for neighbour in neighbours):
                words.append(match)
        elif word not in _SYMBOLS:
            words.append(match)
    return words


def _touches_latin_word(plain: str, letter: re.Match[str], neighbour: re.Match[str]) -> bool:
    """Return True if the neighbour is a Latin word of two letters or more with only blanks between."""
    first, second = sorted((letter, neighbour), key=lambda match: match.start())
    return (
        neighbour.lastgroup == "en"
        and len(neighbour.group()) > 1
        and plain[first.end() : second.start()].strip(" ") == ""
    )


def _relabel_japanese_han(plain: str, matches: _Matches, languages: list[str]) -> None:
    """Relabel Han characters as Japanese, in place, in every sentence that has kana (decision 3)."""
    ends = [match.start() for match in _SENTENCE_END.finditer(plain)]
    sentences = [bisect(ends, match.start()) for match in matches]
    # One word in kana makes its whole sentence Japanese.
    japanese = {s for s, language in zip(sentences, languages, strict=True) if language == "ja"}
    for index, sentence in enumerate(sentences):
        if languages[index] == "zh" and sentence in japanese:
            languages[index] = "ja"


def _relabel_latin(plain: str, matches: _Matches, languages: list[str], assumed: str) -> None:
    """Replace "en" by the language of each word in Latin letters, in place."""
    indices = [index for index, language in enumerate(languages) if language == "en"]
    words = [matches[index].group() for index in indices]
    # Without the library, English is the only target that works: then every word counts as English.
    if not latin.may_be_mixed(words, assumed) or (assumed == "en" and not latin.is_available()):
        return
    gaps = [plain[matches[a].end() : matches[b].start()] for a, b in pairwise(indices)]
    # Anything but blanks between two words ends the phrase, and so does a line break.
    ends = [not gap.isspace() or "\n" in gap for gap in gaps]
    for index, language in zip(indices, latin.label_latin(words, ends, assumed), strict=True):
        languages[index] = language


def words_by_language(text: str, target: str | None = None) -> Counter[str]:
    """Count the words of each language; `target` as for `label_words`."""
    return Counter(_labelled_matches(text, target)[1])


def check_measurable(target: str) -> None:
    """Raise ConfigError for a target language that cannot be detected, at all or on this machine."""
    if target not in LANGUAGES:
        raise ConfigError(
            f"Language {target!r} cannot be detected, so its share of the words cannot be measured; "
            f"use one of {', '.join(LANGUAGES)} or leave the language reward out"
        )
    if target in latin.LATIN and target != "en":
        latin.check_available()


def is_measurable(target: str) -> bool:
    """Return True if the share of a language can be measured on this machine."""
    try:
        check_measurable(target)
    except ConfigError:
        return False
    return True


def language_share(text: str, target: str) -> float | None:
    """Return the share of words in the target language, 0 to 1; None for a text without words (eq. 7).

    Raises ConfigError for a target that cannot be detected, or only with the `languages` extra.
    """
    check_measurable(target)
    words = words_by_language(text, target)
    return words[target] / words.total() if words else None


def main_language(text: str) -> str | None:
    """Return the language of most words; None without words, or if most are in none of LANGUAGES."""
    # As English, so that a text in another Latin language is told apart if it can be.
    words = words_by_language(text, "en")
    language = max(words, key=lambda name: words[name], default=OTHER)
    return language if language in LANGUAGES else None
