"""A set of problems in numbers, for a person who is about to train on it.

In: problems, one after another, and what was left out. Out: `Summary`, and the lines that tell it. Of a set that is
read as the run goes, the numbers are those of the rows that were looked at, and the lines say so.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import quantiles

from dianoia.base.records import Problem
from dianoia.tasks.data.contamination import Found
from dianoia.tasks.problem_files import plain_words

_MOST_NAMED = 8
_SHOWN_CHARS = 90


@dataclass(slots=True)
class Summary:
    """Counts of problems, held out or not."""

    name: str
    rows: int = 0
    """In the files, blank lines included where they are read as the run goes."""
    train: int = 0
    heldout: int = 0
    domains: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    verifiers: Counter[str] = field(default_factory=Counter)
    lengths: list[int] = field(default_factory=list)
    """Characters of each question."""
    repeated: int = 0
    """Problems whose question an earlier one has."""
    left_out: int = 0
    """Rows that are no problem by their mapping, or whose gold answer cannot be read."""
    why: str | None = None
    """The reason for the first of them."""
    whole: bool = True
    """Whether every row was looked at."""
    against: tuple[str, ...] = ()
    """Sets that the training side is kept clear of."""
    found: Found = field(default_factory=Found)

    @property
    def problems(self) -> int:
        """Problems that were looked at."""
        return len(self.lengths)

    def count(self, problems: Iterable[Problem]) -> None:
        """Take in problems."""
        seen: set[int] = set()
        for problem in problems:
            self.domains[problem.domain] += 1
            self.languages[problem.language] += 1
            self.verifiers[problem.verifier] += 1
            self.lengths.append(len(problem.question))
            key = hash(plain_words(problem.question))
            self.repeated += key in seen
            seen.add(key)


def told(summary: Summary) -> list[str]:
    """The summary in sentences."""
    if summary.whole and not summary.train + summary.heldout:
        what = f"{summary.problems:,} problems in {summary.rows:,} rows"
    elif summary.whole:
        what = f"{summary.train:,} for training and {summary.heldout:,} held out, of {summary.rows:,} rows"
    else:
        what = (
            f"{summary.rows:,} rows, read as the run goes; {summary.problems:,} of them were looked at, some "
            "from every part"
        )
    lines = [
        f"{summary.name}: {what}. Domains: {_shares(summary.domains)}. Languages: {_shares(summary.languages)}. "
        f"Verifiers: {_shares(summary.verifiers)}. {_lengths(summary.lengths)}{_repeated(summary)}"
    ]
    if summary.left_out:
        lines.append(
            f"{summary.name}: {summary.left_out:,} rows are left out, the first: {summary.why}"
        )
    return lines + (_contamination(summary) if summary.against else [])


def _shares(counts: Counter[str]) -> str:
    whole = max(1, counts.total())
    named = [f"{name} {count / whole:.1%}" for name, count in counts.most_common(_MOST_NAMED)]
    more = len(counts) - len(named)
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def _lengths(lengths: list[int]) -> str:
    if not lengths:
        return "No question."
    if len(lengths) == 1:
        return f"One question, of {lengths[0]:,} characters."
    cuts = quantiles(lengths, n=20, method="inclusive")
    return (
        f"Questions of {min(lengths):,} to {max(lengths):,} characters, half of them up to {cuts[9]:,.0f}, "
        f"95 % up to {cuts[18]:,.0f}."
    )


def _repeated(summary: Summary) -> str:
    return f" Repeated questions: {summary.repeated:,}." if summary.repeated else ""


def _contamination(summary: Summary) -> list[str]:
    found, tests = summary.found, ", ".join(summary.against)
    by_set = ", ".join(f"{count:,} with {name}" for name, count in found.by_set.most_common())
    lines = [
        f"{summary.name}: of {found.looked_at:,} training problems {'looked at ' if not summary.whole else ''}"
        f"{found.dropped:,} share words with a test of {tests} and are left out"
        + (f" ({by_set})" if by_set else "")
    ]
    return lines + [
        f"  {row}: {_short(question)!r} has {_short(overlap.shared)!r} in common with {overlap.test.place}"
        for row, question, overlap in found.examples
    ]


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."
