"""Summarize a set of problems in numbers, for a user who is about to train on it.

In: problems, one after another, and counts of what was left out. Out: a `Summary` and its lines of text. For a set that is
read during the run the numbers are those of a sample of rows, and the lines say so.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import quantiles

from dianoia.base.records import Problem
from dianoia.tasks.data.contamination import Contamination
from dianoia.tasks.problem_files import plain_words

_LISTED = 8
_SHOWN_CHARS = 90


@dataclass(slots=True)
class Summary:
    """Counts of the problems of a set, held out or not."""

    name: str
    rows: int = 0
    """Rows in the files; blank lines count too if they are read during the run."""
    train: int = 0
    heldout: int = 0
    domains: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    verifiers: Counter[str] = field(default_factory=Counter)
    lengths: list[int] = field(default_factory=list)
    """Number of characters of each question."""
    repeated: int = 0
    """Problems with the question of an earlier one."""
    left_out: int = 0
    """Rows that are no problem by their mapping, or whose gold answer cannot be read."""
    reason: str | None = None
    """Why the first of them was left out."""
    complete: bool = True
    """True if all rows were read, not a sample of them."""
    mapping: str | None = None
    """The ready mapping that its rows are read by."""
    tests: tuple[str, ...] = ()
    """Sets of tests that the training side was compared with."""
    contamination: Contamination = field(default_factory=Contamination)

    @property
    def problems(self) -> int:
        """Number of problems that were counted."""
        return len(self.lengths)

    def count(self, problems: Iterable[Problem]) -> None:
        """Add problems to the counts."""
        questions: set[int] = set()  # hashes, since a set may have millions of questions
        for problem in problems:
            self.domains[problem.domain] += 1
            self.languages[problem.language] += 1
            self.verifiers[problem.verifier] += 1
            self.lengths.append(len(problem.question))
            # The same question after other turns is another problem.
            # Two questions with the same hash are counted as repeated: with 64 bits that does not happen.
            key = hash((problem.context, plain_words(problem.question)))
            self.repeated += key in questions
            questions.add(key)


def summary_lines(summary: Summary) -> list[str]:
    """Return the summary in sentences."""
    # Without sides: `dianoia tasks check` grades all rows and divides none.
    if summary.complete and not summary.train + summary.heldout:
        size = f"{summary.problems:,} problems in {summary.rows:,} rows"
    elif summary.complete:
        size = f"{summary.train:,} for training and {summary.heldout:,} held out, of {summary.rows:,} rows"
    else:
        size = (
            f"{summary.rows:,} rows, read during the run; {summary.problems:,} of them were checked, spread over "
            "the whole set"
        )
    lines = [
        f"{summary.name}: {size}. Domains: {_shares(summary.domains)}. Languages: {_shares(summary.languages)}. "
        f"Verifiers: {_shares(summary.verifiers)}. {_lengths(summary.lengths)}{_repeated(summary)}"
        + (f" Mapping: {summary.mapping}." if summary.mapping else "")
    ]
    if summary.left_out:
        lines.append(
            f"{summary.name}: {summary.left_out:,} rows are left out, the first: {summary.reason}"
        )
    return lines + (_contamination(summary) if summary.tests else [])


def _shares(counts: Counter[str]) -> str:
    total = max(1, counts.total())
    # The most frequent first; a set may name hundreds of domains.
    shares = [f"{name} {count / total:.1%}" for name, count in counts.most_common(_LISTED)]
    unlisted = len(counts) - len(shares)
    return ", ".join(shares) + (f" and {unlisted} more" if unlisted > 0 else "")


def _lengths(lengths: list[int]) -> str:
    if not lengths:
        return "No question."
    if len(lengths) == 1:
        return f"One question, of {lengths[0]:,} characters."
    # 19 cuts: the tenth is the median, the last one the 95th percentile.
    cuts = quantiles(lengths, n=20, method="inclusive")
    return (
        f"Questions of {min(lengths):,} to {max(lengths):,} characters, half of them up to {cuts[9]:,.0f}, "
        f"95 % up to {cuts[18]:,.0f}."
    )


def _repeated(summary: Summary) -> str:
    return f" Repeated questions: {summary.repeated:,}." if summary.repeated else ""


def _contamination(summary: Summary) -> list[str]:
    counts, tests = summary.contamination, ", ".join(summary.tests)
    # A problem is counted for one set, the first that it shares words with.
    by_set = ", ".join(f"{count:,} with {name}" for name, count in counts.by_set.most_common())
    lines = [
        f"{summary.name}: of {counts.checked:,} training problems {'' if summary.complete else 'checked '}"
        f"{counts.dropped:,} share words with a test of {tests} and are left out"
        + (f" ({by_set})" if by_set else "")
    ]
    return lines + [
        f"  {problem_id}: {_short(question)!r} has {_short(overlap.shared)!r} in common with {overlap.test.name}"
        for problem_id, question, overlap in counts.examples
    ]


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."
