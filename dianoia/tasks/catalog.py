"""Find problem sets and verifiers by name.

In: the name of a built-in set (`miniature/math`, `gym/...`), a file, a hub name or a `[data]` table. Out: a
`ProblemSource`, and the verifiers that its problems name, and one
answer graded by the name of a verifier (`dianoia.grade`). Names of plugins are in `plugins`.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import cache, lru_cache
from pathlib import Path

from dianoia.base.errors import ConfigError, nearest
from dianoia.base.records import Problem
from dianoia.config import DataSettings, FileSettings, Problems
from dianoia.tasks.code import CODE, INPUT
from dianoia.tasks.data.contamination import Tests
from dianoia.tasks.data.file_problems import LARGE, Data, FileProblems, every_problem
from dianoia.tasks.data.large_files import LargeProblems
from dianoia.tasks.data.locations import files_of
from dianoia.tasks.data.mappings import HUB, reading_of
from dianoia.tasks.file_formats import FORMATS
from dianoia.tasks.gym import GYM, PREFIX, GymProblems, gym_problems
from dianoia.tasks.math import MATH, Judgement, Verdict, judged
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
"""Verifiers by the name that a problem has."""

GENERAL_PROMPTS = Defaults(verifier="reference", domain="general", graded=False)
"""Defaults of a row in a file of general prompts; it needs no answer."""

PROBE = 512
"""Size of the sample of a set that has no end."""
_MAX_TESTS = 4096
"""Largest number of held-out problems of a built-in set that other sets are compared with."""

FilesSource = FileProblems | LargeProblems
"""A source that reads files; it has a summary of them."""


def is_built_in(name: str) -> bool:
    """Return True for the name of a plugin's set or of a task of reasoning-gym, False for files."""
    return name in PROBLEM_SETS or name.startswith(PREFIX)


def problem_source(
    problems: Problems, whole_file: bool = False, key: str = "problems"
) -> ProblemSource:
    """Return a built-in set, or a set of files, which are checked as `tasks.data` says.

    `whole_file` holds out all problems of files; it has no effect on a built-in set. `key` is the recipe's key in messages.

    Raises:
        ConfigError: there is neither a set nor a file of this name, or the `[data]` table cannot be read.
        ProblemFileError: a row cannot be used.
    """
    return _source(problems, whole_file, key, Defaults())


def general_source(problems: Problems, key: str = "problems") -> ProblemSource:
    """Return a set of general prompts, which a reward model scores, so that files need no answers.

    `key` is the recipe's key in messages. Raises like `problem_source`.
    """
    return _source(problems, False, key, GENERAL_PROMPTS)


def _source(problems: Problems, all_heldout: bool, key: str, defaults: Defaults) -> ProblemSource:
    if isinstance(problems, str):
        # Order: a plugin's set, a task of reasoning-gym, and then files. A file with the name of a set is not looked for.
        if problems in PROBLEM_SETS:
            return _built_in(PROBLEM_SETS[problems])
        if problems.startswith(PREFIX):
            return gym_problems(problems, key)
        if not _is_data(problems):
            raise ConfigError(
                f"{key} = {problems!r}: there is no such problem set and no such file; "
                f"sets are {', '.join(PROBLEM_SETS)} and {PREFIX}... of reasoning-gym, files are {FORMATS} with one row per problem, such as "
                '{"problem": "2+3?", "answer": "5"} (docs/data.md has the other columns, and hub names)'
            )
        problems = DataSettings(path=problems)
    try:
        # Part of the cache key: a changed file is read again.
        stamps = tuple(
            # Test files too: a change of theirs changes which problems are left out.
            (str(path), path.stat().st_mtime_ns)
            for table in (problems, *_tables_against(problems))
            for path in files_of(table)
        )
        return _files_source(problems.model_dump_json(), all_heldout, defaults, stamps)
    except ConfigError as error:
        # An error of a row names its file already; an error of a table has to name the key of the table.
        raise type(error)(f"{key} = {str(problems)!r}: {error}") from error


def files_behind(problems: str | FileSettings) -> tuple[Path, ...]:
    """Return the files of a set; none for a built-in set or an unknown name.

    Raises ConfigError as `files_of` does.
    """
    if isinstance(problems, str):
        problems = FileSettings(path=problems) if _is_data(problems) else ""
    return files_of(problems) if isinstance(problems, FileSettings) else ()


def _is_data(name: str) -> bool:
    """Return True for the name of a file, of a saved data set, or of a hub data set with a ready mapping."""
    path = Path(name).expanduser()
    # A folder of loose files is not among these: it needs a `[data]` table.
    saved = any((path / mark).is_file() for mark in ("state.json", "dataset_dict.json"))
    return name not in PROBLEM_SETS and (path.is_file() or saved or name in HUB)


def _tables_against(data: DataSettings) -> list[FileSettings]:
    """Return the tables of test files that a table is compared with."""
    tables = (
        FileSettings(path=tests) if isinstance(tests, str) else tests
        for tests in data.decontaminate
    )
    # Built-in sets have no files that could change.
    return [table for table in tables if not is_built_in(table.path)]


@lru_cache(maxsize=8)
def _files_source(
    table: str, all_heldout: bool, defaults: Defaults, _stamps: tuple[tuple[str, int], ...]
) -> FilesSource:
    """Read a set of files. Check, plan and stage use the same set: it is read once while its files do not change."""
    # Tables come as JSON text, since their lists cannot be keys of the cache.
    settings = DataSettings.model_validate_json(table)
    files = files_of(settings)
    data = Data(
        name=str(settings),
        files=files,
        reading=reading_of(settings, files, VERIFIERS, defaults),
        verifiers=VERIFIERS,
        heldout_share=settings.heldout_share,
        all_heldout=all_heldout,
        tests=read_tests(settings.decontaminate),
    )
    # By size in bytes, not in rows: counting the rows would mean to read the files.
    return LargeProblems(data) if data.size > LARGE else FileProblems(data)


def read_tests(sets: Sequence[str | FileSettings]) -> Tests | None:
    """Return the tests of sets: all problems of files, the held-out side of built-in sets; None for no sets.

    Raises ConfigError, ProblemFileError for tests that cannot be read.
    """
    if not sets:
        return None
    tests = Tests()
    for test_set in sets:
        if isinstance(test_set, str) and is_built_in(test_set):
            # The training side of a built-in set is no test, and may be without end.
            tests.add(test_set, problem_source(test_set).heldout(_MAX_TESTS))
        else:
            table = FileSettings(path=test_set) if isinstance(test_set, str) else test_set
            files = files_of(table)
            reading = reading_of(table, files, VERIFIERS, Defaults())
            tests.add(str(table), every_problem(files, reading, VERIFIERS))
    return tests


@cache
def _built_in(make: Callable[[], ProblemSource]) -> ProblemSource:
    """Return the one source of a built-in set: it has no state, and its first problems are looked at many times."""
    return make()


def training_sample(source: ProblemSource) -> list[Problem]:
    """Return all training problems of files, or the sample of large files; the first PROBE of a built-in set."""
    if isinstance(source, FilesSource):
        return source.training
    if isinstance(source, Hashable):  # a plugin's class may be without a hash
        return list(_first_problems(source))
    return source.draw(0, 0, PROBE)


@lru_cache(maxsize=16)
def _first_problems(source: ProblemSource) -> tuple[Problem, ...]:
    """Return the first PROBE training problems of a built-in set, which a recipe's check and its stages ask for."""
    return tuple(source.draw(0, 0, PROBE))


def verifiers_of(source: ProblemSource) -> frozenset[str]:
    """Return the names of the verifiers that a source's problems name."""
    if isinstance(source, FilesSource | GymProblems):
        return source.verifiers
    return frozenset(problem.verifier for problem in training_sample(source))


def runs_programs(source: ProblemSource) -> bool:
    """Return True if an answer to a problem of the source is run as a program, so that a sandbox is needed."""
    verifiers = (VERIFIERS.get(name) for name in verifiers_of(source))
    return any(
        verifier is not None and verifier.runs_in is RunsIn.SANDBOX for verifier in verifiers
    )


# One answer ----------------------------------------------------------------------------------------

# A share between 0 and 1 counts as wrong: a judgement has no degrees.
_SCORED = {1.0: Verdict.RIGHT, None: Verdict.GOLD_UNREADABLE}


def grade(verifier: str, *, gold: str, answer: str, question: str = "") -> Judgement:
    r"""Grade an answer to a question against its gold answer.

        grade("math", gold=r"\frac12", answer="0.5").right                     # True
        str(grade("math", gold="5", answer=r"5\text{ or so}"))                 # "unreadable: text after the number"

    Args:
        verifier: `math`, `number`, `choice`, ... as in a problem file.
        question: units, words and percent signs of an answer are held against it.

    Raises:
        ConfigError: there is no such verifier.
        VerifierError: no worker process could be started.
        SandboxError: no sandbox works on this machine, where the verifier runs programs.
    """
    if verifier not in VERIFIERS:
        raise ConfigError(
            f"verifier = {verifier!r}: there is no such verifier{nearest(verifier, VERIFIERS)}; use one of {', '.join(sorted(VERIFIERS))}"
        )
    problem = Problem("graded", question, gold, verifier)
    # Its judgements come with a verdict and a reason of their own; others have a score.
    if verifier == "math":
        return judged([(problem, answer)])[0]
    return Judgement(_SCORED.get(VERIFIERS[verifier](problem, answer), Verdict.WRONG))
