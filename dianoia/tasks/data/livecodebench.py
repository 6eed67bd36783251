"""Rows of LiveCodeBench's kind: programs tested by standard input and output, or by calls of a method.

In: a `Row` with `question_content`, `starter_code`, `public_test_cases`, `private_test_cases`, `metadata`. Out:
`question`, and `tests` as the verifier `code` reads them, to be run and compared as the set's own checker does
(`dianoia.tasks.code.official`).

Private tests are published as base64 of zlib of a pickled text. A pickle can run anything, so it is read by a
reader that knows no names: a text comes out, and everything else is refused. What is unpacked is bounded.
"""

import base64
import binascii
import io
import json
import pickle
import zlib
from typing import Any, NoReturn

from dianoia.tasks.data.public_sets import needed
from dianoia.tasks.table_files import Columns, Row

MAX_BYTES = 256 * 2**20
"""Of a row's private tests, unpacked."""
_FENCE = "```"
_SECONDS_PER_CALL, _MOST_SECONDS = 2.0, 60.0


class _NoNames(pickle.Unpickler):
    """Reads plain values alone."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def read_livecodebench(row: Row) -> Columns:
    """The row's question with its starter code, and all its tests."""
    cases = [
        case
        for column in ("public_test_cases", "private_test_cases")
        if row.has(column) and row.columns[column] != ""
        for case in _cases(row, column)
    ]
    if not cases:
        raise row.error("public_test_cases", "there is no test", "remove the row")
    kept = {name: value for name, value in row.columns.items() if not name.endswith("_test_cases")}
    return kept | {
        "question": _question(row),
        "tests": _tests(row, cases),
        "id": row.columns.get("question_id"),
    }


def _question(row: Row) -> str:
    question, starter = (
        needed(row, "question_content").strip(),
        row.columns.get("starter_code") or "",
    )
    if starter.strip():
        begin = "Write a Python program that begins with this code and keeps its names:"
        return f"{question}\n\n{begin}\n\n{_FENCE}python\n{starter.rstrip()}\n{_FENCE}"
    return f"{question}\n\nWrite a Python program that reads standard input and writes standard output."


def _cases(row: Row, column: str) -> list[dict[str, Any]]:
    """Tests as a list of `input`, `output` and `testtype`."""
    value = row.columns[column]
    try:
        if isinstance(value, str) and not value.lstrip().startswith("["):
            value = _unpacked(value)
        found = json.loads(value) if isinstance(value, str) else value
    except (ValueError, binascii.Error, zlib.error, pickle.UnpicklingError, EOFError) as error:
        raise row.error(column, f"these tests cannot be read ({error})", "fetch it again") from None
    if not isinstance(found, list) or not all(_is_case(case) for case in found):
        raise row.error(column, "no list of tests with input and output", "fetch it again")
    return found


def _is_case(case: object) -> bool:
    return isinstance(case, dict) and all(isinstance(case.get(k), str) for k in ("input", "output"))


def _unpacked(text: str) -> str:
    packed = zlib.decompressobj()
    data = packed.decompress(base64.b64decode(text, validate=True), MAX_BYTES)
    if packed.unconsumed_tail:
        raise ValueError(f"more than {MAX_BYTES >> 20} MiB unpacked")
    found = _NoNames(io.BytesIO(data)).load()
    if not isinstance(found, str):
        raise pickle.UnpicklingError(f"it holds a {type(found).__name__}, not text")
    return found


def _tests(row: Row, cases: list[dict[str, Any]]) -> dict[str, Any]:
    calls = [case for case in cases if case.get("testtype") == "functional"]
    written = [case for case in cases if case.get("testtype") != "functional"]
    found: dict[str, Any] = {"checker": "livecodebench", "limits": _limits(len(calls))}
    if written:
        found["cases"] = [{"input": c["input"], "output": c["output"]} for c in written]
    if calls:
        function = _function(row)
        found["calls"] = [_call(row, function, case) for case in calls]
    return found


def _limits(calls: int) -> dict[str, float]:
    """The set's own checker gives every call six seconds and all of a program 4 GiB; calls share one run here."""
    seconds = min(_MOST_SECONDS, 10.0 + _SECONDS_PER_CALL * calls)
    return {"wall_seconds": seconds, "cpu_seconds": seconds, "memory_bytes": 2**30}


def _function(row: Row) -> str:
    """The method that is called, as the verifier writes it."""
    about = row.columns.get("metadata")
    try:
        about = json.loads(about) if isinstance(about, str) and about else about
    except ValueError:
        about = None
    name = about.get("func_name") if isinstance(about, dict) else None
    if not isinstance(name, str):
        raise row.error("metadata", "there is no func_name, and a test calls it", "fetch it again")
    return (
        f"Solution().{name}"
        if "class Solution" in (row.columns.get("starter_code") or "")
        else name
    )


def _call(row: Row, function: str, case: dict[str, Any]) -> dict[str, Any]:
    """Arguments stand one a line, each as JSON."""
    try:
        arguments = [json.loads(line) for line in case["input"].splitlines() if line.strip()]
        expected = json.loads(case["output"])
    except ValueError as error:
        raise row.error(
            "metadata", f"a call's values are no JSON ({error})", "remove the row"
        ) from None
    return {"function": function, "arguments": arguments, "expected": expected}
