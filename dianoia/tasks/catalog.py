"""Every problem set by name, every verifier, every corpus.

A problem set is a `ProblemSource`: training problems by number, so that a resumed run continues where it
was without any state, and held-out problems that no training problem can equal.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from dianoia.base.errors import ConfigError
from dianoia.base.records import Problem
from dianoia.config import DataSettings, FileSettings, Problems
from dianoia.tasks.code import CODE, INPUT
from dianoia.tasks.data.contamination import Tests
from dianoia.tasks.data.file_problems import LARGE, Data, FileProblems, every_problem
from dianoia.tasks.data.large_files import LargeProblems
from dianoia.tasks.data.locations import files_of
from dianoia.tasks.data.mappings import HUB, reading_of
from dianoia.tasks.gym import GYM, PREFIX, GymProblems, gym_problems
from dianoia.tasks.math import MATH
from dianoia.tasks.plugins import PROBLEM_SETS, ProblemSource, Registry
from dianoia.tasks.problem_files import Defaults
from dianoia.tasks.short_answers import BUILT_IN_RULES, SHORT_ANSWER_VERIFIERS
from dianoia.tasks.verifier import RunsIn, Verifier

VERIFIERS: Registry[Verifier] = Registry(
    SHORT_ANSWER_VERIFIERS.read,
    {
        **{name: SHORT_ANSWER_VERIFIERS[name] for name in BUILT_IN_RULES},
        **{verifier.name: verifier for verifier in (MATH, CODE, INPUT, GYM)},
    },
)
"""Verifier by the name that a problem carries."""

GENERAL_PROMPTS = Defaults(verifier="reference", domain="general", graded=False)
"""What a row of a file of general prompts is taken to be; it needs no answer."""

PROBE = 512
"""Problems that are looked at where a set has no end."""
_MOST_TESTS = 4096
"""Held-out problems of a built-in set that others are kept clear of."""

FilesSource = FileProblems | LargeProblems
"""A source that reads files; it can tell what it read."""


def is_built_in(name: str) -> bool:
    """Whether it names a set of the catalogue or of reasoning-gym, rather than files."""
    return name in PROBLEM_SETS or name.startswith(PREFIX)


def problem_source(
    problems: Problems, whole_file: bool = False, key: str = "problems"
) -> ProblemSource:
    """A built-in set, or a set of files, checked as `tasks.data` says.

    `whole_file` takes every problem of files as held out; a built-in set has no such choice. `key` is the
    option that names the set, for messages.

    Raises:
        ConfigError: there is neither a set nor a file of that name, or a `[data]` table that cannot be read.
        ProblemFileError: a row cannot be used.
    """
    return _source(problems, whole_file, key, Defaults())


def general_source(problems: Problems, key: str = "problems") -> ProblemSource:
    """As `problem_source`, for general prompts, which a reward model scores: their files need no answers.

    `key` is the option that names the set, for messages.
    """
    return _source(problems, False, key, GENERAL_PROMPTS)


def _source(problems: Problems, whole: bool, key: str, defaults: Defaults) -> ProblemSource:
    if isinstance(problems, str):
        if problems in PROBLEM_SETS:
            return PROBLEM_SETS[problems]()
        if problems.startswith(PREFIX):
            return gym_problems(problems, key)
        if not _is_data(problems):
            raise ConfigError(
                f"{key} = {problems!r}: there is no such problem set and no such file; "
                f"sets are {', '.join(PROBLEM_SETS)} and {PREFIX}... of reasoning-gym, files are JSONL, CSV or Parquet with a row a problem, such as "
                '{"problem": "2+3?", "answer": "5"} (docs/data.md says what else there is, and how a hub name is given)'
            )
        problems = DataSettings(path=problems)
    try:
        stamps = tuple(
            (str(path), path.stat().st_mtime_ns)
            for table in (problems, *_tables_against(problems))
            for path in files_of(table)
        )
        return _files_source(problems.model_dump_json(), whole, defaults, stamps)
    except ConfigError as error:
        # A row's error names its file; what is wrong with a table needs the key that names the table.
        raise type(error)(f"{key} = {str(problems)!r}: {error}") from error


def files_behind(problems: str | FileSettings) -> tuple[Path, ...]:
    """The files that a set is read from: none for a built-in one and for a name that means nothing.

    Raises ConfigError as `files_of`.
    """
    if isinstance(problems, str):
        problems = FileSettings(path=problems) if _is_data(problems) else ""
    return files_of(problems) if isinstance(problems, FileSettings) else ()


def _is_data(name: str) -> bool:
    """Whether a name alone says where problems are: a file, a saved data set, or a hub name with a mapping."""
    path = Path(name).expanduser()
    saved = any((path / mark).is_file() for mark in ("state.json", "dataset_dict.json"))
    return name not in PROBLEM_SETS and (path.is_file() or saved or name in HUB)


def _tables_against(data: DataSettings) -> list[FileSettings]:
    """The sets of tests in files that a table is kept clear of."""
    named = (FileSettings(path=one) if isinstance(one, str) else one for one in data.decontaminate)
    return [table for table in named if not is_built_in(table.path)]


@lru_cache(maxsize=8)
def _files_source(
    table: str, whole: bool, defaults: Defaults, _stamps: tuple[tuple[str, int], ...]
) -> FilesSource:
    """Plan, check and stage ask for the same set; it is read once while its files do not change."""
    settings = DataSettings.model_validate_json(table)
    data = Data(
        name=str(settings),
        files=files_of(settings),
        reading=reading_of(settings, VERIFIERS, defaults),
        verifiers=VERIFIERS,
        heldout_share=settings.heldout_share,
        all_heldout=whole,
        tests=clear_of(settings.decontaminate),
    )
    return LargeProblems(data) if data.size > LARGE else FileProblems(data)


def clear_of(named: Sequence[str | FileSettings]) -> Tests | None:
    """What others are kept clear of: all problems of files, the held-out side of built-in sets; None for nothing.

    Raises ConfigError, ProblemFileError for tests that cannot be read.
    """
    if not named:
        return None
    tests = Tests()
    for one in named:
        if isinstance(one, str) and is_built_in(one):
            tests.add(one, problem_source(one).heldout(_MOST_TESTS))
        else:
            table = FileSettings(path=one) if isinstance(one, str) else one
            reading = reading_of(table, VERIFIERS, Defaults())
            tests.add(str(table), every_problem(files_of(table), reading, VERIFIERS))
    return tests


def looked_at(source: ProblemSource) -> list[Problem]:
    """All training problems of files, or those that were looked at; of a built-in set, which may be endless, the
    first PROBE."""
    return source.training if isinstance(source, FilesSource) else source.draw(0, 0, PROBE)


def verifiers_of(source: ProblemSource) -> frozenset[str]:
    """Names of the verifiers that a source's problems ask for."""
    if isinstance(source, FilesSource | GymProblems):
        return source.verifiers
    return frozenset(problem.verifier for problem in looked_at(source))


def runs_programs(source: ProblemSource) -> bool:
    """Return True if an answer to a problem of the source is run as a program, so that a sandbox is needed."""
    verifiers = (VERIFIERS.get(name) for name in verifiers_of(source))
    return any(
        verifier is not None and verifier.runs_in is RunsIn.SANDBOX for verifier in verifiers
    )
