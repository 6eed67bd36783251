"""Selection of samples for a data set: each sample is kept, or rejected for exactly one reason.

In: the graded samples of one problem. Out: a `Reason` or None (kept) per sample, and counts that add up: sampled =
kept + rejected by reason. Reasons are tried in the order of `Reason`; the first that applies counts.

From DeepSeek-R1 sections B.3.2 (cold start: right answer, readable form, repetition, mixed languages) and
B.3.3 (rejection sampling: mixed languages, long paragraphs, code blocks). Thresholds are ours, in
`config.sample`. Nothing depends on the order of the samples: among duplicates, and among more samples than the limit,
a hash of their text decides which are kept; with `keep.prefer = "reflection"`, reflection words before the hash
(for its cold start the paper asked for answers with reflection and verification; v1, section 2.3.1).
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dianoia.base.records import Rollout, RolloutStatus
from dianoia.config import KeepSettings
from dianoia.text.language import LANGUAGES, language_share
from dianoia.text.reflection import reflection_words

NGRAM = 4
"""Number of words in the n-grams whose repetition is counted."""
_ALLOWED = 2
"""Occurrences of an n-gram that are no repetition: a check may say everything a second time."""
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+|[^\w\s]")
_FENCE = re.compile(r"^\s*(```|~~~)", re.MULTILINE)


class Reason(StrEnum):
    """Reasons for rejecting a sample, in the order in which they are tried."""

    TRUNCATED = "truncated"
    """Cut at the length limit."""
    MALFORMED = "malformed"
    """Breaks a rule of the template."""
    UNGRADED = "ungraded"
    """Neither a rule nor the LLM grader could grade the answer."""
    WRONG = "wrong"
    """The answer's score is below `keep.least`."""
    TOO_SHORT = "too_short"
    """The thought has fewer tokens than `keep.shortest`."""
    TOO_LONG = "too_long"
    """The thought has more tokens than `keep.longest`."""
    MIXED_LANGUAGE = "mixed_language"
    """Less than `keep.language` of the thought's words are in the question's language."""
    REPETITIVE = "repetitive"
    """More than `keep.repetition` of the thought's 4-grams stood in it at least twice before."""
    CODE_BLOCK = "code_block"
    """Fenced code in the thought."""
    LONG_PARAGRAPH = "long_paragraph"
    """A line of the thought has more characters than `keep.paragraph`."""
    DUPLICATE = "duplicate"
    """Thought and answer equal those of another sample of the problem, up to case and spacing."""
    SURPLUS = "surplus"
    """It passes, but `most_per_problem` others of the problem are kept."""
    NOT_REWRITTEN = "not_rewritten"
    """The rewriter refused it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A graded sample with the measurements that the filters read."""

    rollout: Rollout
    grade: float | None
    """1 right, 0 wrong, or a share between them; None: it could not be graded."""
    tokens: int
    """Tokens of the thought; 0 without one."""

    @property
    def thought(self) -> str:
        """The thought; empty without one."""
        return self.rollout.thought or ""

    @property
    def language(self) -> float | None:
        """Share of the thought's words in the question's language; None where it cannot be measured."""
        target = self.rollout.problem.language
        return language_share(self.thought, target) if target in LANGUAGES else None


def repetition(text: str) -> float:
    """Return the share of a text's 4-grams that stood in it at least twice before, 0 to 1.

    Words, Chinese characters and signs count as words. A text of fewer than 4 words has no 4-gram: 0.
    """
    words = _WORD.findall(text.lower())
    # Shifted copies of the words, zipped: the n-grams of the text.
    grams = Counter(zip(*(words[start:] for start in range(NGRAM)), strict=False))
    # Occurrences beyond the allowed ones, so that a loop counts with its length.
    repeated = sum(count - _ALLOWED for count in grams.values() if count > _ALLOWED)
    return repeated / grams.total() if grams else 0.0


def longest_paragraph(text: str) -> int:
    """Return the number of characters of the longest line, without white space around it."""
    return max((len(line.strip()) for line in text.splitlines()), default=0)


def has_code_block(text: str) -> bool:
    """Return True if a line begins a fence; one that is never closed counts too."""
    return _FENCE.search(text) is not None


def _language_mixed(sample: Candidate, keep: KeepSettings) -> bool:
    share = sample.language
    return share is not None and share < keep.language


Filter = Callable[[Candidate, KeepSettings], bool]
"""Returns True if a sample is to be rejected."""

FORM: Mapping[Reason, Filter] = {
    Reason.TOO_SHORT: lambda sample, keep: sample.tokens < keep.shortest,
    Reason.TOO_LONG: lambda sample, keep: keep.longest is not None and sample.tokens > keep.longest,
    Reason.MIXED_LANGUAGE: _language_mixed,
    Reason.REPETITIVE: lambda sample, keep: repetition(sample.thought) > keep.repetition,
    Reason.CODE_BLOCK: lambda sample, keep: not keep.code_blocks and has_code_block(sample.thought),
    Reason.LONG_PARAGRAPH: lambda sample, keep: (
        0 < keep.paragraph < longest_paragraph(sample.thought)
    ),
}
"""Filters on the form of a thought, in order."""

FILTERS: Mapping[Reason, Filter] = {
    Reason.TRUNCATED: lambda sample, _: sample.rollout.status is RolloutStatus.TRUNCATED,
    Reason.MALFORMED: lambda sample, _: sample.rollout.status is RolloutStatus.MALFORMED,
    Reason.UNGRADED: lambda sample, keep: keep.correct and sample.grade is None,
    Reason.WRONG: lambda sample, keep: keep.correct and (sample.grade or 0.0) < keep.least,
    **FORM,
}
"""Filters on a sample by itself, in order."""


def rejected_by(
    sample: Candidate, keep: KeepSettings, filters: Mapping[Reason, Filter] = FILTERS
) -> Reason | None:
    """Return the reason of the first filter that rejects a sample; None: it passes."""
    return next((reason for reason, rejects in filters.items() if rejects(sample, keep)), None)


def select(candidates: Sequence[Candidate], keep: KeepSettings, most: int) -> list[Reason | None]:
    """Return a reason or None for each sample of one problem: by filters, then duplicates, then the limit `most`."""
    reasons = [rejected_by(candidate, keep) for candidate in candidates]
    # Filters first: a rejected sample makes no other one a duplicate or surplus.
    passing = [index for index, reason in enumerate(reasons) if reason is None]
    earlier_texts: set[str] = set()
    count = 0
    # By rank and not by order, so that the choice depends on the samples alone.
    for index in sorted(passing, key=lambda index: _rank(candidates[index], keep)):
        text = _normalized(candidates[index])
        if text in earlier_texts and not keep.duplicates:
            reasons[index] = Reason.DUPLICATE
        # Behind the question of duplicates: a duplicate is one also where there is no room for it.
        elif count == most:
            reasons[index] = Reason.SURPLUS
        else:
            count += 1
        # Of surplus samples too, so that a copy of one is told as a duplicate.
        earlier_texts.add(text)
    return reasons


def _normalized(sample: Candidate) -> str:
    """Return thought and answer in NFKC, case folded, white space collapsed: equal for duplicates."""
    text = f"{sample.thought}\n{sample.rollout.answer}"
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _rank(sample: Candidate, keep: KeepSettings) -> tuple[int, str, str]:
    """Return the sort key by which samples are kept, lowest first; it is equal only for equal responses."""
    # The negative count comes first: thoughts with more reflection words rank lower and are kept first.
    reflection = reflection_words(sample.thought).total() if keep.prefer == "reflection" else 0
    # A hash is a random order that depends on the sample alone; the last key separates equal samples.
    text_hash = _hash(f"{sample.rollout.problem.id}\n{_normalized(sample)}")
    return -reflection, text_hash, _hash(sample.rollout.text)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def tally(reasons: Sequence[str | None]) -> dict[str, Any]:
    """Count samples: sampled, kept, and rejected by reason in the order of `Reason`; None is kept."""
    counts = Counter(reasons)
    rejected = {reason.value: counts[reason] for reason in Reason if counts[reason]}
    return {"sampled": len(reasons), "kept": counts[None], "rejected": rejected}
