"""Print the catalogue, and the results of grading gold answers, for `dianoia tasks`; or return them for JSON.

Graded are built-in sets, files, hub names, and the problems of recipes. No torch.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from dianoia.base.errors import ConfigError, nearest
from dianoia.base.records import Problem
from dianoia.config import (
    EvaluateStage,
    FileSettings,
    PreferencesStage,
    RLStage,
    SampleStage,
)
from dianoia.recipe.load import load_recipe
from dianoia.recipe.shipped import shipped_recipes
from dianoia.tasks.catalog import GENERAL_PROMPTS, PROBE, VERIFIERS, is_built_in
from dianoia.tasks.data.contamination import Tests, is_contaminated
from dianoia.tasks.data.locations import DataMissing
from dianoia.tasks.data.mappings import MAPPINGS
from dianoia.tasks.data.set_summary import Summary, summary_lines
from dianoia.tasks.gold_check import Graded, Outcome, check_files, check_set
from dianoia.tasks.gym import OFFERED, PREFIX
from dianoia.tasks.plugins import PROBLEM_SETS
from dianoia.tasks.wrong_check import WrongProgram

_BAD = (Outcome.WRONG, Outcome.UNREADABLE)


def catalogue_table() -> dict[str, Any]:
    """Return what `show_catalogue` prints: sets with samples, tasks of reasoning-gym, verifiers, mappings."""
    return {
        "sets": [
            {
                "name": name,
                "domains": sorted({problem.domain for problem in problems}),
                "samples": [
                    {"verifier": verifier, "question": problem.question, "answer": problem.answer}
                    for verifier, problem in _samples(problems).items()
                ],
            }
            for name, problems in _probes()
        ],
        "gym": [f"{PREFIX}{task}" for task in sorted(OFFERED)],
        "verifiers": {name: verifier.summary for name, verifier in VERIFIERS.items()},
        "mappings": [
            {"name": mapping.name, "about": mapping.about, "hub": list(mapping.hub)}
            for mapping in MAPPINGS.values()
        ],
    }


def _probes() -> Iterator[tuple[str, Sequence[Problem]]]:
    """Yield each built-in set with so many problems that every domain and verifier of a mixed set is among them."""
    for name, make in PROBLEM_SETS.items():
        yield name, make().draw(0, 0, PROBE)  # the same problems every time


def show_catalogue(console: Console) -> None:
    """Print all sets with a problem per verifier, all verifiers, and all ready mappings."""
    for name, problems in _probes():
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
    # Bad rows are printed while others are still being graded.
    summary, counts = _summarize(name, rows, lambda row: _print(console, row.message), limit, tests)
    bad = sum(counts[outcome] for outcome in _BAD)
    if bad > limit:
        _print(console, f"{name}: and {bad - limit:,} more")
    for line in summary_lines(summary) if summary.problems else ():
        _print(console, line)
    listed = ", ".join(f"{count:,} {outcome}" for outcome, count in counts.items())
    _print(console, f"{name}: {listed or 'no row'}")
    return _is_in_order(counts)


def graded_table(
    name: str, rows: Iterable[Graded], limit: int, tests: Tests | None = None
) -> dict[str, Any]:
    """Return what `show_graded` prints, for JSON: `all_right`, counts, up to `limit` bad rows."""
    bad_rows: list[Graded] = []
    summary, counts = _summarize(name, rows, bad_rows.append, limit, tests)
    return {
        "name": name,
        "all_right": _is_in_order(counts),
        "rows": counts.total(),
        "outcomes": {str(outcome): count for outcome, count in counts.items()},
        "bad": [
            {"row": row.row, "outcome": str(row.outcome), "message": row.message}
            for row in bad_rows
        ],
        "domains": dict(summary.domains),
        "languages": dict(summary.languages),
        "verifiers": dict(summary.verifiers),
        "repeated": summary.repeated,
        "mapping": summary.mapping,
        "shared_with_tests": dict(summary.contamination.by_set),
    }


def show_wrong(name: str, programs: Iterable[WrongProgram], console: Console, limit: int) -> bool:
    """Print up to `limit` wrong programs that were not graded as wrong, then how many of each kind were.

    Returns True if there are programs and all of them were refused.
    """
    passed, refused = _count_wrong(programs)
    for program in passed[:limit]:
        grade = "cannot be graded" if program.score is None else f"is graded {program.score:g}"
        _print(console, f"{program.row}: a program that {program.kind} {grade}")
    if len(passed) > limit:
        _print(console, f"{name}: and {len(passed) - limit:,} more")
    kinds = Counter(program.kind for program in passed) + refused
    listed = ", ".join(f"{refused[fault]:,} of {kinds[fault]:,} {fault}" for fault in kinds)
    _print(console, f"{name}, wrong programs refused: {listed or 'no program to make them from'}")
    return bool(kinds) and not passed


def wrong_table(programs: Iterable[WrongProgram], limit: int) -> dict[str, Any]:
    """Return what `show_wrong` prints, for JSON."""
    passed, refused = _count_wrong(programs)
    return {
        "all_refused": bool(refused) and not passed,
        "wrong_refused": dict(refused),
        "wrong_passed": [
            {"row": program.row, "kind": program.kind, "score": program.score}
            for program in passed[:limit]
        ],
    }


def _count_wrong(programs: Iterable[WrongProgram]) -> tuple[list[WrongProgram], Counter[str]]:
    """Return the programs that passed, and the number of refused ones by kind."""
    passed: list[WrongProgram] = []
    refused: Counter[str] = Counter()
    for program in programs:
        if program.refused:
            refused[program.kind] += 1
        else:
            passed.append(program)
    return passed, refused


def _is_in_order(counts: Counter[Outcome]) -> bool:
    # Ungraded and left-out rows are in order, an empty set is not.
    return counts.total() > 0 and not any(counts[outcome] for outcome in _BAD)


def _summarize(
    name: str,
    rows: Iterable[Graded],
    on_bad: Callable[[Graded], object],
    limit: int,
    tests: Tests | None,
) -> tuple[Summary, Counter[Outcome]]:
    """Return the set in numbers and its outcomes; `on_bad` gets the first `limit` bad rows as they come."""
    counts: Counter[Outcome] = Counter()
    summary = Summary(name, tests=tuple(tests.sets) if tests else ())
    summary.count(_counted_problems(rows, counts, summary, on_bad, limit, tests))
    summary.rows = counts.total()
    summary.left_out = counts[Outcome.LEFT_OUT]
    return summary, counts


def _counted_problems(
    rows: Iterable[Graded],
    counts: Counter[Outcome],
    summary: Summary,
    on_bad: Callable[[Graded], object],
    limit: int,
    tests: Tests | None,
) -> Iterator[Problem]:
    """Yield the problems of the rows; count all rows, hand bad ones over, compare problems with tests."""
    for row in rows:
        counts[row.outcome] += 1
        summary.mapping = row.mapping
        if row.outcome is Outcome.LEFT_OUT:
            summary.reason = summary.reason or row.message
        if row.outcome in _BAD and sum(counts[outcome] for outcome in _BAD) <= limit:
            on_bad(row)
        if row.problem is not None:
            # Called for its counts: here no row is left out.
            is_contaminated(tests, row.problem, summary.contamination)
            yield row.problem


def _print(console: Console, text: str) -> None:
    # markup=False: questions hold brackets, which rich would read as styles.
    console.print(text, highlight=False, markup=False, soft_wrap=True)


# Which sets are graded -----------------------------------------------------------------------------

GradedSet = tuple[str, Iterator[Graded]]
"""Name of a problem set, and its rows, which are graded while they are read."""


def graded_sets(
    names: Sequence[str],
    mapping: str | None = None,
    split: str | None = None,
    tables: Mapping[str, FileSettings] | None = None,
) -> Iterator[GradedSet]:
    """Yield each set with the grades of its gold answers; without names, every built-in set.

    `mapping` and `split` apply to files, folders and hub names; `tables` says where further names are, such as benchmarks.

    Raises:
        ConfigError, ProblemFileError: a set does not exist or cannot be opened.
    """
    for name in names or PROBLEM_SETS:
        if tables is not None and name in tables:
            yield name, _graded_files(tables[name])
        elif is_built_in(name):
            yield name, check_set(name)
        # A recipe stands for the problems of its stages.
        elif Path(name).suffix.lower() == ".toml" or (
            name in shipped_recipes() and not Path(name).exists()
        ):
            yield from _recipe_sets(name)
        else:
            yield name, _graded_files(FileSettings(path=name, mapping=mapping, split=split))


def _graded_files(data: FileSettings) -> Iterator[Graded]:
    try:
        return check_files(data)
    except DataMissing as error:
        hint = nearest(data.path, PROBLEM_SETS)
        raise ConfigError(
            f"{data.path}: this is not a built-in set{hint}. It cannot be read as data either: {error}"
        ) from error


def _recipe_sets(path: str) -> Iterator[GradedSet]:
    """Yield each problem set with gold answers that the stages of a recipe read, once."""
    sets: dict[str, str | FileSettings] = {}
    for stage in load_recipe(path).stages.values():
        if isinstance(stage, RLStage | EvaluateStage | SampleStage | PreferencesStage):
            table = stage.problems
            # Stages often read the same set, with the same columns and split.
            key = table if isinstance(table, str) else table.model_dump_json()
            sets[key] = table
    for problems in sets.values():
        if isinstance(problems, FileSettings):
            yield str(problems), _graded_files(problems)
        else:
            yield from graded_sets([problems])
