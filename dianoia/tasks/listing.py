"""What `dianoia tasks` prints: the catalogue, and what came of grading gold answers."""

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
    """Every set with a sample of each of its verifiers, every verifier, every ready mapping."""
    for name, make in PROBLEM_SETS.items():
        problems = make().draw(0, 0, PROBE)
        domains = ", ".join(sorted({problem.domain for problem in problems}))
        _say(console, f"{name}: {domains}")
        for verifier_name, problem in _samples(problems).items():
            _say(
                console,
                f"    {verifier_name}: {_line(problem.question)}\n        gold: {_line(problem.answer)}",
            )
    _say(
        console,
        f"{PREFIX}TASK?option=value: {len(OFFERED)} tasks of reasoning-gym (docs/choice-and-logic.md): "
        f"{', '.join(sorted(OFFERED))}",
    )
    _say(console, "\nVerifiers, for the column `verifier` of a file:")
    for name, verifier in VERIFIERS.items():
        _say(console, f"    {name}: {verifier.summary}")
    _say(console, "\nReady mappings of public sets, for the key `mapping` of a [data] table:")
    for one in MAPPINGS.values():
        hub = f" ({', '.join(one.hub)})" if one.hub else ""
        _say(console, f"    {one.name}: {one.about}{hub}")
    _say(
        console,
        "\nTo grade the gold answers of a set, a file or a recipe: dianoia tasks check NAME",
    )


def _samples(problems: Iterable[Problem]) -> dict[str, Problem]:
    """The first problem of each verifier; harmful requests and the like show what is asked, not what is graded."""
    found: dict[str, Problem] = {}
    for problem in problems:
        if problem.verifier != GENERAL_PROMPTS.verifier:
            found.setdefault(problem.verifier, problem)
    return found


def _line(text: str, most: int = 200) -> str:
    """On one line."""
    flat = text.replace("\n", "\\n")
    return flat if len(flat) <= most else flat[:most] + "..."


def show_graded(
    name: str, rows: Iterable[Graded], console: Console, most: int, tests: Tests | None = None
) -> bool:
    """Print what does not come out as right, `most` of them, then the set in numbers; whether all is well."""
    counts: Counter[Outcome] = Counter()
    summary = Summary(name, tests=tuple(tests.sets) if tests else ())
    summary.count(_seen(rows, counts, summary, console, most, tests))
    summary.rows = counts.total()
    summary.left_out = counts[Outcome.LEFT_OUT]
    bad = sum(counts[outcome] for outcome in _BAD)
    if bad > most:
        _say(console, f"{name}: and {bad - most:,} more")
    for line in summary_lines(summary) if summary.problems else ():
        _say(console, line)
    told_counts = ", ".join(f"{count:,} {outcome}" for outcome, count in counts.items())
    _say(console, f"{name}: {told_counts or 'no row'}")
    return counts.total() > 0 and not bad


def _seen(
    rows: Iterable[Graded],
    counts: Counter[Outcome],
    summary: Summary,
    console: Console,
    most: int,
    tests: Tests | None,
) -> Iterator[Problem]:
    """The problems, while they go by: counted, printed where they are bad, held against tests."""
    for row in rows:
        counts[row.outcome] += 1
        if row.outcome is Outcome.LEFT_OUT:
            summary.reason = summary.reason or row.why
        if row.outcome in _BAD and sum(counts[outcome] for outcome in _BAD) <= most:
            _say(console, row.why)
        if row.problem is not None:
            is_contaminated(tests, row.problem, summary.contamination)
            yield row.problem


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
