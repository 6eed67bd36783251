"""Read the tests of a program from a problem.

In: a `Problem`; its tests are in the first of the columns `tests`, `verification_info` and `test_list` that it has, else in
its gold answer, as JSON text or as columns of their own. Out: `CodeTests`, or ProblemTestsError, which names the problem,
the key and the value. An object may have these keys:

    {"cases":   [{"input": "2 3", "output": "5"}],                       standard input and output
     "calls":   [{"function": "add", "arguments": [2, 3], "expected": 5}],
     "asserts": ["assert add(2, 3) == 5"],    or any Python code that calls the program
     "setup": "import math",             code of the tests that runs before the asserts, in their names
     "program_names": ["sum"],           names that are the program's, though Python has them too
     "prelude": "import math",           runs before the program, in its names
     "continues": "def add(a, b):",      what an answer that begins indented is the rest of
     "checker": "livecodebench",         run and compare as that set's own checker does
     "tolerance": 1e-6,                  for floats in cases and calls; none without it
     "score": "all",                     or "fraction" of the tests passed
     "language": "python",
     "limits": {"wall_seconds": 2}}      any of `Limits`

A list of texts is read as asserts (MBPP's `test_list`), `test_cases` as `cases` (open-r1's
`verification_info`).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NoReturn

from dianoia.base.errors import ProblemTestsError
from dianoia.base.records import Problem
from dianoia.sandbox.sandbox import LANGUAGES, Limits
from dianoia.tasks.code import official
from dianoia.tasks.code.asserts import Assertion, NotPlain, Step, split_asserts
from dianoia.tasks.code.names import parsed
from dianoia.tasks.code.scripts import Script, read_script

COLUMNS = ("tests", "verification_info", "test_list")
_KEYS = (
    "cases", "test_cases", "calls", "asserts", "tolerance", "score", "language", "limits",
    "setup", "program_names", "prelude", "continues", "checker",
)  # fmt: skip
CHECKERS = ("lines", official.NAME)
_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\(\))?(?:\.[A-Za-z_]\w*)*")
_SHOWN_CHARS = 80
_MAX_LIMIT = {"wall_seconds": 600.0, "cpu_seconds": 600.0}


@dataclass(frozen=True, slots=True)
class Case:
    """A run with its own standard input, and the expected output."""

    stdin: str
    expected: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call whose value is compared; all calls of a problem share one run."""

    step: int
    """Number of the step that makes the call."""
    expected: Any


@dataclass(frozen=True, slots=True)
class CodeTests:
    """All tests of a program."""

    cases: tuple[Case, ...] = ()
    calls: tuple[Call, ...] = ()
    assertions: tuple[Assertion, ...] = ()
    steps: tuple[Step, ...] = ()
    """Expressions that run inside the sandbox for calls and assertions. They hold no expected value."""
    script: Script | None = None
    """Tests whose code runs in a process of its own."""
    assert_script: Script | None = None
    """The assertions as such tests, for a program that returns a value of no plain type, such as an iterator."""
    prelude: str = ""
    """Code that runs before the program, in its names."""
    continues: str = ""
    """Code that is put in front of an answer that begins indented."""
    checker: str = CHECKERS[0]
    tolerance: float | None = None
    fraction: bool = False
    """Score the share of tests passed; otherwise all have to pass, as in the paper."""
    language: str = "python"
    limits: Limits = field(default_factory=Limits)

    @property
    def count(self) -> int:
        """Number of tests."""
        scripted = self.script.count if self.script else 0
        return len(self.cases) + len(self.calls) + len(self.assertions) + scripted


def code_tests(problem: Problem) -> CodeTests:
    """Return the tests of a problem.

    Raises:
        ProblemTestsError: they cannot be read, or there are none.
    """
    # An empty column is None in Parquet and absent in JSONL.
    column = next((name for name in COLUMNS if problem.columns.get(name) is not None), "answer")
    value = problem.answer if column == "answer" else problem.columns[column]
    if column == "test_list" and isinstance(value, list):  # MBPP has its set-up in other columns
        value = {"asserts": value, "setup": _set_up(problem.columns)}
    return _Reader(problem.id, column).read(value)


def _set_up(columns: Mapping[str, Any]) -> object:
    """Return the code of `test_imports` and `test_setup_code`. A value of another type is returned for the error message."""
    imports, code = columns.get("test_imports"), columns.get("test_setup_code")
    if not isinstance(imports, list) or not all(isinstance(line, str) for line in imports):
        return code
    return "\n".join([*imports, code] if isinstance(code, str) else imports)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reader of the tests of one problem, with its error messages."""

    problem: str
    column: str

    def fail(self, key: str, value: object, why: str, advice: str) -> NoReturn:
        shown = repr(value)
        shown = shown if len(shown) <= _SHOWN_CHARS else shown[:_SHOWN_CHARS] + "..."
        raise ProblemTestsError(
            f"problem {self.problem!r}, {self.column}, {key} = {shown}: {why}, so that no program "
            f"could be graded; {advice}"
        )

    def read(self, value: object) -> CodeTests:
        table = self._table(value)
        # A misspelt key would silently drop tests, so that wrong programs would pass.
        unknown = [key for key in table if key not in _KEYS]
        if unknown:
            self.fail(unknown[0], table[unknown[0]], "an unknown key", f"use {', '.join(_KEYS)}")
        checker = self._one_of(table, "checker", CHECKERS)
        # Steps of calls and asserts share one run and one numbering: calls come first.
        steps, calls = self._calls(table, checker)
        inside, assertions, scripts = self._asserts(table, len(steps))
        tests = CodeTests(
            cases=self._cases(table),
            calls=calls,
            assertions=assertions,
            steps=(*steps, *inside),
            script=scripts[0],
            assert_script=scripts[1],
            prelude="\n".join(
                part
                for part in (
                    official.PRELUDE if checker == official.NAME else "",
                    self._code(table, "prelude"),
                )
                if part
            ),
            continues=self._text(table, "continues"),
            checker=checker,
            tolerance=self._tolerance(table),
            fraction=self._one_of(table, "score", ("all", "fraction")) == "fraction",
            language=self._one_of(table, "language", LANGUAGES),
            limits=self._limits(table),
        )
        if not tests.count:
            self.fail("tests", value, "there is no test", "add cases, calls or asserts")
        return tests

    def _table(self, value: object) -> Mapping[str, Any]:
        if isinstance(value, str):
            try:
                value = json.loads(value, parse_constant=self._no_constant)
            except (json.JSONDecodeError, RecursionError) as error:
                self.fail("tests", value, f"not JSON ({error})", 'write {"cases": [...]}')
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            return {"asserts": value}
        if not isinstance(value, dict):
            self.fail("tests", value, "no object", 'write {"cases": [...]}, or a list of asserts')
        # A Parquet file fills absent fields with None.
        return {key: item for key, item in value.items() if item is not None}

    def _no_constant(self, name: str) -> NoReturn:
        self.fail("tests", name, "a number that JSON does not have", "write it as text")

    def _list(self, table: Mapping[str, Any], key: str) -> list[Any]:
        value = table.get(key, [])
        if not isinstance(value, list):
            self.fail(key, value, "not a list", "write a list")
        return value

    def _cases(self, table: Mapping[str, Any]) -> tuple[Case, ...]:
        cases = []
        for item in [*self._list(table, "cases"), *self._list(table, "test_cases")]:
            stdin, expected = (
                item.get(key) if isinstance(item, dict) else None for key in ("input", "output")
            )
            if not (isinstance(stdin, str) and isinstance(expected, str)):
                self.fail("cases", item, "input or output is no text", "write both as text")
            if item.get("type", "stdin_stdout") != "stdin_stdout":
                self.fail("cases", item, "not a test on standard input", "write it under calls")
            cases.append(Case(stdin, expected))
        return tuple(cases)

    def _calls(self, table: Mapping[str, Any], checker: str) -> tuple[list[Step], tuple[Call, ...]]:
        steps: list[Step] = []
        calls = []
        for item in self._list(table, "calls"):
            if not (isinstance(item, dict) and "expected" in item):
                self.fail("calls", item, "there is no expected value", "add the key expected")
            function, arguments = item.get("function"), item.get("arguments", [])
            if not (isinstance(function, str) and _FUNCTION.fullmatch(function)):
                self.fail("calls", item, "no name of a function", "such as add or Solution().add")
            if not isinstance(arguments, list):
                self.fail("calls", item, "arguments are no list", "write [2, 3]")
            # One object for all calls, as in the set's own checker.
            if checker == official.NAME:
                steps = steps or [("do", official.TARGET)]
                function = "_target." + function.removeprefix("Solution().")
            # The expected value stays outside: the program could read it.
            steps.append(("value", f"{function}(*{arguments!r})"))
            calls.append(Call(len(steps) - 1, item["expected"]))
        return steps, tuple(calls)

    def _asserts(
        self, table: Mapping[str, Any], first: int
    ) -> tuple[list[Step], tuple[Assertion, ...], tuple[Script | None, Script | None]]:
        """Split plain asserts into steps and assertions.

        The pair of scripts is (None, script for values of no plain type) then. If one assert is not plain all of them run
        as a script, since they share names: (script, None).
        """
        snippets = self._list(table, "asserts")
        for snippet in snippets:
            if not isinstance(snippet, str):
                self.fail("asserts", snippet, "not text", 'write "assert f(2) == 4"')
        if not snippets:
            return [], (), (None, None)
        declared = tuple(self._program_names(table))
        setup = self._code(table, "setup")
        # Read in any case: it checks the asserts, and it is needed for values of no plain type.
        script = self._script(snippets, setup, declared)
        steps: list[Step] = []
        assertions: list[Assertion] = []
        # One assert that is not plain makes all of them a script: they share the names of the set-up.
        try:
            for snippet in (setup, *snippets):
                snippet_steps, snippet_asserts = split_asserts(
                    snippet, first + len(steps), declared
                )
                steps += snippet_steps
                assertions += snippet_asserts
        except NotPlain:
            return [], (), (script, None)
        return steps, tuple(assertions), (None, script)

    def _script(self, snippets: list[str], setup: str, declared: tuple[str, ...]) -> Script:
        for snippet in snippets:  # one by one, to name the one at fault
            try:
                parsed(snippet)
            except (SyntaxError, ValueError) as error:
                self.fail("asserts", snippet, f"not supported: {error}", "write Python code")
        try:
            return read_script(tuple(snippets), setup, declared)
        except (SyntaxError, ValueError, RecursionError) as error:
            shown = snippets[0] if len(snippets) == 1 else snippets
            self.fail("asserts", shown, f"not supported: {error}", "or write it as a call")

    def _text(self, table: Mapping[str, Any], key: str) -> str:
        value = table.get(key, "")
        if not isinstance(value, str):
            self.fail(key, value, "not text", "write Python code as text")
        return value

    def _code(self, table: Mapping[str, Any], key: str) -> str:
        source = self._text(table, key)
        try:
            parsed(source)
        except (SyntaxError, ValueError) as error:
            self.fail(key, source, f"not Python ({error})", "correct it")
        return source

    def _program_names(self, table: Mapping[str, Any]) -> list[str]:
        names = self._list(table, "program_names")
        for name in names:
            if not (isinstance(name, str) and name.isidentifier()):
                self.fail("program_names", name, "no name", "write names such as add")
        return names

    # A tolerance of 1 or more would accept wrong integers.
    def _tolerance(self, table: Mapping[str, Any]) -> float | None:
        value = table.get("tolerance")
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
            self.fail("tolerance", value, "not a number from 0 to 1", "such as 1e-6")
        return float(value)

    def _one_of(self, table: Mapping[str, Any], key: str, names: tuple[str, ...]) -> str:
        value = table.get(key, names[0])
        if value not in names:
            self.fail(key, value, "not known", f"use one of {', '.join(names)}")
        return str(value)

    def _limits(self, table: Mapping[str, Any]) -> Limits:
        settings = table.get("limits", {})
        types = {field.name: type(getattr(Limits(), field.name)) for field in fields(Limits)}
        if not isinstance(settings, dict):
            self.fail("limits", settings, "no object", f"use the keys {', '.join(types)}")
        limits: dict[str, Any] = {}
        for key, value in settings.items():
            if key not in types:
                self.fail(f"limits.{key}", value, "an unknown limit", f"use {', '.join(types)}")
            # bool is an int in Python; a limit of true would be one second.
            good = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (good and 0 < value <= _MAX_LIMIT.get(key, 2.0**40)):
                self.fail(f"limits.{key}", value, "out of range", "write a number above 0")
            limits[key] = types[key](value)
        return replace(Limits(), **limits)
