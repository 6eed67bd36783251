"""Print the catalogue, and the results of grading gold answers, for `dianoia tasks`."""

from collections import Counter
from collections.abc import Iterable, Iterator

from rich.console import Console

from dianoia.base.records import Problem
from dianoia.tasks.catalog import GENERAL_PROMPTS, PROBE, VERIFIERS
from dianoia.tasks.data.contamination import Tests, is_contaminated
from dianoia.tasks.data.mappings import MAPPINGS
from dianoia.tasks.data.set_summary import Summary, summary_lines
from dianoia.tasks.gold_check import Graded, Outcome
from dianoia.tasks.gym import OFFERED, PREFIX
from dianoia.tasks.plugins import PROBLEM_SETS

_BAD = (Outcome.WRONG, Outcome.UNREADABLE)


def show_catalogue(console: Console) -> None:
    """Print all sets with a problem per verifier, all verifiers, and all ready mappings."""
    for name, make in PROBLEM_SETS.items():
        # Enough that every domain and verifier of a mixed set is among them; the same problems every time.
        problems = make().draw(0, 0, PROBE)
        domains = ", ".join(sorted({problem.domain for problem in problems}))
        _print(console, f"{name}: {domains}")
        for verifier_name, problem in _samples(problems).items():
            _print(
                console,
                f"    {verifier_name}: {_line(problem.question)}\n        gold: {_line(problem.answer)}",
            )
    _print(
        console,
        f"{PREFIX}TASK?option=value: {len(OFFERED)} tasks of reasoning-gym (docs/choice-and-logic.md): "
        f"{', '.join(sorted(OFFERED))}",
    )
    _print(console, "\nVerifiers, for the column `verifier` of a file:")
    for name, verifier in VERIFIERS.items():
        _print(console, f"    {name}: {verifier.summary}")
    _print(console, "\nReady mappings of public sets, for the key `mapping` of a [data] table:")
    for mapping in MAPPINGS.values():
        hub = f" ({', '.join(mapping.hub)})" if mapping.hub else ""
        _print(console, f"    {mapping.name}: {mapping.about}{hub}")
    _print(
        console,
        "\nTo grade the gold answers of a set, a file or a recipe: dianoia tasks check NAME",
    )


def _samples(problems: Iterable[Problem]) -> dict[str, Problem]:
    """Return the first problem of each verifier. General prompts are left out: they have no gold answer to show."""
    samples: dict[str, Problem] = {}
    for problem in problems:
        if problem.verifier != GENERAL_PROMPTS.verifier:
            samples.setdefault(problem.verifier, problem)
    return samples


def _line(text: str, max_chars: int = 200) -> str:
    """Return a text on one line, cut."""
    flat = text.replace("\n", "\\n")
    return flat if len(flat) <= max_chars else flat[:max_chars] + "..."


def show_graded(
    name: str, rows: Iterable[Graded], console: Console, limit: int, tests: Tests | None = None
) -> bool:
    """Print up to `limit` rows that are wrong or unreadable, then the set in numbers.

    Returns True if there are rows and all of them are in order.
    """
    counts: Counter[Outcome] = Counter()
    summary = Summary(name, tests=tuple(tests.sets) if tests else ())
    # A generator that prints as it is consumed: bad rows appear while others are still being graded.
    summary.count(_print_bad_rows(rows, counts, summary, console, limit, tests))
    summary.rows = counts.total()
    summary.left_out = counts[Outcome.LEFT_OUT]
    bad = sum(counts[outcome] for outcome in _BAD)
    if bad > limit:
        _print(console, f"{name}: and {bad - limit:,} more")
    for line in summary_lines(summary) if summary.problems else ():
        _print(console, line)
    listed = ", ".join(f"{count:,} {outcome}" for outcome, count in counts.items())
    _print(console, f"{name}: {listed or 'no row'}")
    # Ungraded and left-out rows are in order, an empty set is not.
    return counts.total() > 0 and not bad


def _print_bad_rows(
    rows: Iterable[Graded],
    counts: Counter[Outcome],
    summary: Summary,
    console: Console,
    limit: int,
    tests: Tests | None,
) -> Iterator[Problem]:
    """Yield the problems of the rows; count all rows, print bad ones, compare problems with tests."""
    for row in rows:
        counts[row.outcome] += 1
        summary.mapping = row.mapping
        if row.outcome is Outcome.LEFT_OUT:
            summary.reason = summary.reason or row.message
        if row.outcome in _BAD and sum(counts[outcome] for outcome in _BAD) <= limit:
            _print(console, row.message)
        if row.problem is not None:
            # Called for its counts: here no row is left out.
            is_contaminated(tests, row.problem, summary.contamination)
            yield row.problem


def _print(console: Console, text: str) -> None:
    # markup=False: questions hold brackets, which rich would read as styles.
    console.print(text, highlight=False, markup=False, soft_wrap=True)
