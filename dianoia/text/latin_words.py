"""Distinguishes six languages in Latin letters: English, Spanish, French, German, Portuguese, Italian.

In: the words of a text in order. Out: one language per word. Not here: other languages in Latin letters, which
are taken for the nearest of the six; what a word is (`dianoia.text.language`).

The probabilities of a single word come from lingua (https://github.com/pemistahl/lingua-py, Apache 2.0, works
offline; the `languages` extra). For whole sentences it does not say where the language changes, and for single
words it errs too often. So the words of a text are labelled together: the labels are those of the highest total
log-probability, with a penalty per change of language, found by the Viterbi algorithm in time linear in the
number of words. A change is cheaper at the end of a phrase than within one.

Decisions where DeepSeek-R1 (arXiv 2501.12948v2, eq. 7) is silent:
1. The library is used only if it can matter. A text is English unless a word suggests otherwise: a common word of
   another language, or a letter that English lacks. So thoughts in English and Chinese load no library and take
   no extra time.
2. Without the library, a word in Latin letters counts as English, and the other five cannot be a target.
"""

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from dianoia.base.errors import ConfigError
from dianoia.base.extras import pip_install

# Function words, numbers, words of problem solving; written for this project. Short phrases consist of them, and a
# model that recognizes a language by its letters is least sure of them. Single plain letters are left out, since in a
# formula they are names.
COMMON_WORDS = {
    "en": "the of and to is are was were be been it its that this these those with for from by at we you "
    "he she they his her their our my your not but if then so or as on in no do does did done has have had "
    "can could will would should must let check wait now since because therefore however hence thus there "
    "here what which who when where how why many much more less than each every all some any one two three "
    "four five six seven eight nine ten sum number answer first next also again an am me yes",
    "es": "el los las la en de del al un una unos unas que qué es son está están ser sea era fue hay por "
    "para con sin según porque pero pues como cómo cuando donde si sí no más menos muy ya también así "
    "entonces luego después desde hasta entre sobre ahora antes cada todo todos toda todas otro otra este "
    "esta esto estos ese esa eso su sus se lo le nos mi tiene tienen tenemos hemos hacer puede debe vamos "
    "queda quedan uno dos tres cuatro cinco seis siete ocho nueve diez cien suma sumamos calculamos número "
    "números respuesta resultado cuánto cuántos cuántas valor ecuación primero segundo mitad doble "
    "estoy creo espera veamos vale bien cierto falso comprobemos verificamos",
    "fr": "le la les des du de en un une et est sont être était il elle ils elles on nous vous je ce cette "
    "ces cet qui que quoi où dans sur avec sans pour par pas ne plus moins très mais ou donc car parce "
    "alors puis ensuite aussi ainsi comme si tout tous toute toutes chaque autre aux au leur leurs son sa "
    "ses mon ma ai avons avez ont fait faut peut deux trois quatre cinq six sept huit neuf dix cent somme "
    "nombre nombres réponse résultat combien valeur équation premier moitié reste d'abord c'est "
    "attends attendez voyons vérifions calculons vrai faux juste bien",
    "de": "der die das den dem des ein eine einen einem einer eines und ist sind sein war wird werden hat "
    "haben wir ihr sie er es ich nicht kein keine mit ohne für von vom zum zur zu bei aus auf im in an am "
    "über unter nach vor durch aber oder denn weil dass wenn dann also auch noch nur schon sehr mehr als "
    "wie was wer wo so jetzt alle jede jeder jedes zwei drei vier fünf sechs sieben acht neun zehn hundert "
    "summe zahl zahlen antwort ergebnis viele viel wert gleichung zuerst hälfte bleiben bleibt gilt damit "
    "müssen können "
    "warte moment stimmt richtig falsch prüfen rechnen berechnen vielleicht",
    "pt": "os as do da dos das de em no na nos nas um uma uns umas que é são está estão ser foi há por para "
    "com sem mas porque pois como quando onde se sim não mais menos muito já também assim então depois "
    "agora antes cada todo todos toda todas outro outra este esta isto isso esse essa seu sua ele ela eles "
    "nós ao aos à tem têm temos fazer pode deve dois duas três quatro cinco seis sete oito nove dez "
    "cem soma número números resposta resultado quanto quantos quantas valor equação primeiro metade restam "
    "estou acho espere vejamos vamos certo errado verificar calcular bem",
    "it": "il lo la gli le un una uno di del della dei delle degli da dal dalla in nel nella con per tra "
    "fra su sul sulla che è sono essere era ha hanno abbiamo non più meno molto ma perché quindi allora "
    "poi dopo prima adesso ora anche così come quando dove se sì ogni tutto tutti tutte altro altra questo "
    "questa quello si ci ne al alla ai alle due tre quattro cinque sei sette otto nove dieci cento somma "
    "numero numeri risposta risultato quanto quanti quante valore equazione primo metà restano deve può "
    "possiamo "
    "aspetta vediamo verifichiamo calcoliamo giusto sbagliato bene forse",
}  # fmt: skip
"""Words by ISO 639-1 code, in lower case, separated by blanks."""

ALSO_ENGLISH = (
    "also alle am an as at car cent come des die do dos falso fare faux hat in la le lo ma me mi moment no on or ora pas per "
    "plus pour prima sa se sea see sei sept si six sole son sur te ton tout un vale valor war was"
)
"""Words such as those above that an English text may also contain: they do not point to another language."""


if TYPE_CHECKING:
    from lingua import LanguageDetector

LATIN = tuple(COMMON_WORDS)
"""ISO 639-1 codes of the six languages."""

_CHANGE_PENALTY = 4.0
"""Penalty for a change of language within a phrase, in nats: about the evidence of two ordinary words."""
_CHANGE_PENALTY_AT_BREAK = 2.0
"""The same at the end of a phrase: at punctuation, a formula, words of another script."""
_START_PENALTY = 1.0
"""Penalty for beginning in another language than the assumed one, in nats."""
_NOT_COMMON_PENALTY = 2.0
"""Penalty of a common word for the languages in which it is not common, in nats."""
_FLOOR = 1e-4
"""Lowest probability of a language for a word: every text has names and typing errors."""
_MAX_LETTERS = 40
"""Letters of a word that are used: few words are longer, but a model may write one of any length."""

_COMMON = {language: frozenset(words.split()) for language, words in COMMON_WORDS.items()}
_FOREIGN = frozenset.union(*_COMMON.values()) - _COMMON["en"] - frozenset(ALSO_ENGLISH.split())

_Scores = tuple[float, ...]
"""A number per language of LATIN, in its order."""


@cache
def is_available() -> bool:
    """Return True if lingua is installed; does not load it."""
    return find_spec("lingua") is not None


def check_available() -> None:
    """Raise ConfigError, with advice, if the library is missing."""
    if not is_available():
        raise ConfigError(
            "Languages in Latin letters other than English can only be detected with lingua, which is not "
            f"installed; {pip_install('languages')} (Python below 3.14), or leave the language reward out"
        )


def may_be_mixed(words: Sequence[str], assumed: str) -> bool:
    """Return True if some of the words may be in another language than the assumed one.

    For English that takes a sign (decision 1); for another assumed language any word may be English.
    """
    if assumed != "en":
        return bool(words)
    return not all(map(str.isascii, words)) or not _FOREIGN.isdisjoint(map(str.lower, words))


def label_latin(words: Sequence[str], ends: Sequence[bool], assumed: str) -> list[str]:
    """Return the language of each word, one of LATIN. `ends[i]` is True if a phrase ends with word i.

    `assumed` is the expected language of the text; it decides close calls. Raises ConfigError if lingua is
    missing.
    """
    if not words:
        return []
    # Viterbi: `scores` are the best totals of all labellings so far that end in each language.
    scores = tuple(0.0 if language == assumed else -_START_PENALTY for language in LATIN)
    scores = _sum(scores, _log_probabilities(_key(words[0])))
    back_pointers: list[tuple[int, ...]] = []
    for word, after_break in zip(words[1:], ends, strict=False):
        penalty = _CHANGE_PENALTY_AT_BREAK if after_break else _CHANGE_PENALTY
        scores, previous = _transition(scores, penalty)
        scores = _sum(scores, _log_probabilities(_key(word)))
        back_pointers.append(previous)
    return _backtrack(scores.index(max(scores)), back_pointers)


def _transition(scores: _Scores, penalty: float) -> tuple[_Scores, tuple[int, ...]]:
    """Return the best total before the next word in each language, and the language that it comes from.

    A change is only worth it from the best language, so that each step compares two totals, not six.
    """
    best = scores.index(max(scores))
    changed = scores[best] - penalty
    previous = tuple(index if stay >= changed else best for index, stay in enumerate(scores))
    return tuple(max(stay, changed) for stay in scores), previous


def _backtrack(last: int, back_pointers: Sequence[tuple[int, ...]]) -> list[str]:
    """Follow the back pointers from the last word's language to the first word's."""
    path = [last]
    for previous in reversed(back_pointers):
        path.append(previous[path[-1]])
    return [LATIN[index] for index in reversed(path)]


def _sum(a: _Scores, b: _Scores) -> _Scores:
    return tuple(map(float.__add__, a, b))


def _key(word: str) -> str:
    """Return the form in which a word is looked up."""
    return word[:_MAX_LETTERS].lower().replace("’", "'")


@lru_cache(maxsize=50_000)
def _log_probabilities(word: str) -> _Scores:
    """Return the log-probability of each language, given the word by itself, up to a constant."""
    # lingua is slow per call; the cache holds the words of a whole run.
    confidences = {
        value.language.iso_code_639_1.name.lower(): value.value
        for value in _detector().compute_language_confidence_values(word)
    }
    # lingua goes by letters and is least sure of short words, which the word lists know.
    common = [word in _COMMON[language] for language in LATIN]
    penalty = _NOT_COMMON_PENALTY if any(common) else 0.0
    return tuple(
        math.log(max(confidences[language], _FLOOR)) - (0.0 if is_common else penalty)
        for language, is_common in zip(LATIN, common, strict=True)
    )


@cache
def _detector() -> "LanguageDetector":
    check_available()
    from lingua import IsoCode639_1, LanguageDetectorBuilder  # noqa: PLC0415  an optional extra, slow to load

    # Built once per process: it loads 100 MB of language models.
    codes = [getattr(IsoCode639_1, language.upper()) for language in LATIN]
    return LanguageDetectorBuilder.from_iso_codes_639_1(*codes).build()
