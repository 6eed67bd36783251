"""Which samples become data: every sample has one verdict, kept or one reason for being rejected.

In: the graded samples of one problem. Out: a `Reason` or None (kept) each, and counts that add up: sampled =
kept + rejected by reason. Reasons are tried in the order of `Reason`; the first that applies is the one.

From DeepSeek-R1 sections B.3.2 (cold start: right answer, readable form, repetition, mixed languages) and
B.3.3 (rejection sampling: mixed languages, long paragraphs, code blocks). Thresholds are ours, in
`config.sample`. Nothing depends on the order of the samples: of equal ones, and of more than are wanted,
a hash of what they say decides which are kept; with `keep.prefer = "reflection"`, reflection words before the hash
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
"""Words whose repetition is counted."""
_BEFORE = 2
"""Earlier occurrences that make one a repetition: a check may say everything a second time."""
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+|[^\w\s]")
_FENCE = re.compile(r"^\s*(```|~~~)", re.MULTILINE)


class Reason(StrEnum):
    """Why a sample is rejected, in the order in which reasons are tried."""

    TRUNCATED = "truncated"
    """Cut at the length limit."""
    MALFORMED = "malformed"
    """Breaks a rule of the template."""
    UNGRADED = "ungraded"
    """Neither a rule nor the judge could tell whether it is right."""
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
    """Thought and answer equal those of another sample of the problem, case and spacing aside."""
    SURPLUS = "surplus"
    """It passes, and `most_per_problem` others of the problem are kept."""
    NOT_REWRITTEN = "not_rewritten"
    """The rewriter refused it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A graded sample and what the filters ask of it."""

    rollout: Rollout
    grade: float | None
    """1 right, 0 wrong, or a share between them; None: nobody could tell."""
    tokens: int
    """Of the thought; 0 without one."""

    @property
    def thought(self) -> str:
        """The thought; empty without one."""
        return self.rollout.thought or ""

    @property
    def language(self) -> float | None:
        """Share of the thought's words in the question's language; None where that cannot be said."""
        target = self.rollout.problem.language
        return language_share(self.thought, target) if target in LANGUAGES else None


def repetition(text: str) -> float:
    """Share of the 4-grams of a text that stood in it at least twice before, 0 to 1.

    Words, Chinese characters and signs count as words. A text of fewer than 4 words has no 4-gram: 0.
    """
    words = _WORD.findall(text.lower())
    grams = Counter(zip(*(words[start:] for start in range(NGRAM)), strict=False))
    repeated = sum(count - _BEFORE for count in grams.values() if count > _BEFORE)
    return repeated / grams.total() if grams else 0.0


def longest_paragraph(text: str) -> int:
    """Characters of the longest line, white space around it aside."""
    return max((len(line.strip()) for line in text.splitlines()), default=0)


def has_code_block(text: str) -> bool:
    """Whether a line begins a fence; one that is never closed counts too."""
    return _FENCE.search(text) is not None


def _language_mixed(one: Candidate, keep: KeepSettings) -> bool:
    share = one.language
    return share is not None and share < keep.language


Filter = Callable[[Candidate, KeepSettings], bool]
"""Whether a sample is to be rejected."""

FORM: Mapping[Reason, Filter] = {
    Reason.TOO_SHORT: lambda one, keep: one.tokens < keep.shortest,
    Reason.TOO_LONG: lambda one, keep: keep.longest is not None and one.tokens > keep.longest,
    Reason.MIXED_LANGUAGE: _language_mixed,
    Reason.REPETITIVE: lambda one, keep: repetition(one.thought) > keep.repetition,
    Reason.CODE_BLOCK: lambda one, keep: not keep.code_blocks and has_code_block(one.thought),
    Reason.LONG_PARAGRAPH: lambda one, keep: 0 < keep.paragraph < longest_paragraph(one.thought),
}
"""What is asked of a thought, in order."""

FILTERS: Mapping[Reason, Filter] = {
    Reason.TRUNCATED: lambda one, _: one.rollout.status is RolloutStatus.TRUNCATED,
    Reason.MALFORMED: lambda one, _: one.rollout.status is RolloutStatus.MALFORMED,
    Reason.UNGRADED: lambda one, keep: keep.correct and one.grade is None,
    Reason.WRONG: lambda one, keep: keep.correct and (one.grade or 0.0) < keep.least,
    **FORM,
}
"""What is asked of a sample by itself, in order."""


def rejected_by(
    one: Candidate, keep: KeepSettings, filters: Mapping[Reason, Filter] = FILTERS
) -> Reason | None:
    """The first filter that rejects a sample; None: it passes."""
    return next((reason for reason, rejects in filters.items() if rejects(one, keep)), None)


def select(candidates: Sequence[Candidate], keep: KeepSettings, most: int) -> list[Reason | None]:
    """A verdict for each sample of one problem: filters, then duplicates, then at most `most`."""
    verdicts = [rejected_by(one, keep) for one in candidates]
    passing = [place for place, verdict in enumerate(verdicts) if verdict is None]
    seen: set[str] = set()
    kept = 0
    for place in sorted(passing, key=lambda place: _rank(candidates[place], keep)):
        said = _said(candidates[place])
        if said in seen and not keep.duplicates:
            verdicts[place] = Reason.DUPLICATE
        elif kept == most:
            verdicts[place] = Reason.SURPLUS
        else:
            kept += 1
        seen.add(said)
    return verdicts


def _said(one: Candidate) -> str:
    """What a sample says: thought and answer, in NFKC, case folded, white space collapsed."""
    text = f"{one.thought}\n{one.rollout.answer}"
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _rank(one: Candidate, keep: KeepSettings) -> tuple[int, str, str]:
    """Least first is kept; equal only for samples that say the same in the same way."""
    reflects = reflection_words(one.thought).total() if keep.prefer == "reflection" else 0
    return -reflects, _hash(f"{one.rollout.problem.id}\n{_said(one)}"), _hash(one.rollout.text)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def tally(verdicts: Sequence[str | None]) -> dict[str, Any]:
    """Sampled, kept, and rejected by reason in the order of `Reason`; None is kept."""
    counts = Counter(verdicts)
    rejected = {reason.value: counts[reason] for reason in Reason if counts[reason]}
    return {"sampled": len(verdicts), "kept": counts[None], "rejected": rejected}
