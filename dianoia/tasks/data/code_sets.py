"""Map rows of public sets of programming problems to Dianoia's columns: LiveCodeBench, HumanEval, MBPP.

In: a `Row` as it is published. Out: its columns with `question`, `tests` as the verifier `code` reads them, and, where the
set has one, `solution`, a program that passes them. Not here: sets with a gold answer (`answer_sets`).

Decisions:
1. LiveCodeBench's tests are run and compared as the set's own checker does (`dianoia.tasks.code.official`).
2. LiveCodeBench's private tests are published as base64 of zlib of a pickled text. A pickle can run any code, so that it is
   read by a reader that knows no names: it accepts a text and refuses everything else. The unpacked size is bounded.
3. The code of a HumanEval prompt around the function to complete (imports, helper functions) belongs to both sides: it runs
   before the program, so that an answer need not repeat it, and the tests have a copy of their own.
4. Of MBPP's tests the question shows the first, which names the function; a program that sees all of them can print their
   results.
"""

import ast
import base64
import binascii
import builtins
import io
import json
import pickle
import zlib
from typing import Any, NoReturn

from dianoia.tasks.code.names import parsed
from dianoia.tasks.data.answer_sets import required_text
from dianoia.tasks.file_formats import Columns
from dianoia.tasks.table_files import Row

MAX_BYTES = 256 * 2**20
"""Largest size of a row's private tests, unpacked."""
# Seconds of a run of all calls: 10, and 2 more per call, up to 60.
_SECONDS_PER_CALL, _MOST_SECONDS = 2.0, 60.0


class _NoNames(pickle.Unpickler):
    """An unpickler for plain values: it refuses every name, so that no code runs."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def read_livecodebench(row: Row) -> Columns:
    """Read `question_content`, `starter_code`, `public_test_cases`, `private_test_cases`, `metadata`, `question_id`."""
    cases = [
        case
        for column in ("public_test_cases", "private_test_cases")
        if row.has(column) and row.columns[column] != ""
        for case in _cases(row, column)
    ]
    if not cases:
        raise row.error("public_test_cases", "there is no test", "remove the row")
    columns = {name: c for name, c in row.columns.items() if not name.endswith("_test_cases")}
    return columns | {
        "question": _question(row),
        "tests": _livecodebench_tests(row, cases),
        "id": row.columns.get("question_id"),
    }


def _question(row: Row) -> str:
    question = required_text(row, "question_content").strip()
    starter = row.columns.get("starter_code") or ""
    if starter.strip():
        begin = "Write a Python program that begins with this code and keeps its names:"
        return f"{question}\n\n{begin}\n\n```python\n{starter.rstrip()}\n```"
    return f"{question}\n\nWrite a Python program that reads standard input and writes standard output."


def _cases(row: Row, column: str) -> list[dict[str, Any]]:
    """Return tests as a list of `input`, `output` and `testtype`."""
    value = row.columns[column]
    try:
        if isinstance(value, str) and not value.lstrip().startswith("["):
            value = _unpacked(value)
        cases = json.loads(value) if isinstance(value, str) else value
    except (ValueError, binascii.Error, zlib.error, pickle.UnpicklingError, EOFError) as error:
        raise row.error(column, f"these tests cannot be read ({error})", "fetch it again") from None
    if not isinstance(cases, list) or not all(_is_case(case) for case in cases):
        raise row.error(column, "no list of tests with input and output", "fetch it again")
    return cases


def _is_case(case: object) -> bool:
    return isinstance(case, dict) and all(isinstance(case.get(k), str) for k in ("input", "output"))


def _unpacked(text: str) -> str:
    """Return the text of packed tests; raises ValueError or UnpicklingError (decision 2)."""
    # `zlib.decompress` has no bound on what it unpacks.
    packed = zlib.decompressobj()
    data = packed.decompress(base64.b64decode(text, validate=True), MAX_BYTES)
    # A few kilobytes can unpack to gigabytes.
    if packed.unconsumed_tail:
        raise ValueError(f"more than {MAX_BYTES >> 20} MiB unpacked")
    tests = _NoNames(io.BytesIO(data)).load()
    if not isinstance(tests, str):
        raise pickle.UnpicklingError(f"it holds a {type(tests).__name__}, not text")
    return tests


def _livecodebench_tests(row: Row, cases: list[dict[str, Any]]) -> dict[str, Any]:
    # A row has tests of one type as a rule, but nothing in the format says so.
    calls = [case for case in cases if case.get("testtype") == "functional"]
    with_input = [case for case in cases if case.get("testtype") != "functional"]
    tests: dict[str, Any] = {"checker": "livecodebench", "limits": _limits(len(calls))}
    if with_input:
        tests["cases"] = [{"input": c["input"], "output": c["output"]} for c in with_input]
    if calls:
        function = _function(row)
        tests["calls"] = [_call(row, function, case) for case in calls]
    return tests


def _limits(calls: int) -> dict[str, float]:
    """Return the limits of a run. The set's own checker allows six seconds per call and 4 GiB; here calls share a run."""
    seconds = min(_MOST_SECONDS, 10.0 + _SECONDS_PER_CALL * calls)
    return {"wall_seconds": seconds, "cpu_seconds": seconds, "memory_bytes": 2**30}


def _function(row: Row) -> str:
    """Return the method that the tests call, as the verifier writes it."""
    metadata = row.columns.get("metadata")
    try:
        metadata = json.loads(metadata) if isinstance(metadata, str) and metadata else metadata
    except ValueError:
        metadata = None
    name = metadata.get("func_name") if isinstance(metadata, dict) else None
    if not isinstance(name, str):
        raise row.error("metadata", "there is no func_name, and a test calls it", "fetch it again")
    # LeetCode's starter code has its function in a class.
    in_class = "class Solution" in (row.columns.get("starter_code") or "")
    return f"Solution().{name}" if in_class else name


def _call(row: Row, function: str, case: dict[str, Any]) -> dict[str, Any]:
    """Return a call of the verifier; the arguments are one per line, each as JSON."""
    try:
        arguments = [json.loads(line) for line in case["input"].splitlines() if line.strip()]
        expected = json.loads(case["output"])
    except ValueError as error:
        raise row.error(
            "metadata", f"a call's values are no JSON ({error})", "remove the row"
        ) from None
    return {"function": function, "arguments": arguments, "expected": expected}


def read_humaneval(row: Row) -> Columns:
    """Read `task_id`, `prompt`, `entry_point`, `canonical_solution` (the rest of the function), `test`."""
    prompt, entry = required_text(row, "prompt"), required_text(row, "entry_point").strip()
    # Decision 3.
    context = _without_function(row, prompt, entry)
    # The published solution is the body of the function, to be appended to the prompt.
    solution = row.columns.get("canonical_solution")
    return row.columns | {
        "question": f"Complete this Python function. Answer with the whole of it.\n\n{_block(prompt)}",
        "tests": {
            "asserts": [f"{required_text(row, 'test')}\n\ncheck({entry})"],
            "setup": context,
            "program_names": [entry],
            "prelude": context,
            "continues": prompt,
        },
        "solution": f"{prompt}{solution}" if isinstance(solution, str) else None,
        "id": row.columns.get("task_id"),
    }


def _without_function(row: Row, prompt: str, entry: str) -> str:
    """Return the code of a prompt without the function to complete."""
    if not entry.isidentifier():
        raise row.error("entry_point", "not the name of a function", "fetch it again")
    try:
        tree = _parsed(prompt)
    except (SyntaxError, ValueError) as error:
        raise row.error(
            "prompt", f"it is not the beginning of a program ({error})", "fetch it again"
        ) from None
    if all(getattr(node, "name", None) != entry for node in tree.body):
        raise row.error("entry_point", "the prompt does not define this function", "fetch it again")
    others = [node for node in tree.body if getattr(node, "name", None) != entry]
    return ast.unparse(ast.Module(others, []))


def _parsed(prompt: str) -> ast.Module:
    """Parse a prompt that ends in the docstring of a function, or in its head alone."""
    try:
        return parsed(prompt)
    except SyntaxError:
        return parsed(f"{prompt.rstrip()}\n    pass\n")


def read_mbpp(row: Row) -> Columns:
    """Read `task_id`, `code`, `test_list`; in the full set also `text`, `test_setup_code`, `challenge_test_list`.

    The sanitized set has `prompt` and `test_imports` in their place.
    """
    text = required_text(row, "text" if row.has("text") else "prompt").strip()
    tests = _texts(row, "test_list")
    if not tests:
        raise row.error("test_list", "there is no test", "remove the row")
    # Tests that the question does not show.
    hidden = _texts(row, "challenge_test_list")
    setup = [*_texts(row, "test_imports"), str(row.columns.get("test_setup_code") or "")]
    code = str(row.columns.get("code") or "").replace("\r\n", "\n")
    number = row.columns.get("task_id")
    return row.columns | {
        "question": f"{text}\n\nWrite a Python function that passes this test, and others like it:\n\n{_block(tests[0])}",
        "tests": {
            "asserts": [*tests, *hidden],
            "setup": "\n".join(part.replace("\r\n", "\n") for part in setup if part.strip()),
            # The tests call `sum` of the program: without the name here it would be Python's own.
            "program_names": _shadowing(code),
        },
        # Emptied, so that the tests are read from `tests`.
        "test_list": None,
        "solution": code or None,
        "id": None if number is None else f"mbpp-{number}",
    }


def _texts(row: Row, column: str) -> list[str]:
    value: Any = row.columns.get(column)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise row.error(column, "no list of texts", "fetch it again")
    return [item.replace("\r\n", "\n").strip() for item in value]


def _shadowing(code: str) -> list[str]:
    """Return the functions of the reference program that have the name of a built-in, such as `sum`."""
    try:
        body = parsed(code).body
    except (SyntaxError, ValueError):
        return []
    names = {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    return sorted(names & set(dir(builtins)))


def _block(code: str) -> str:
    return f"```python\n{code.strip()}\n```"
