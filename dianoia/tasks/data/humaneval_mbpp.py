"""Rows of HumanEval and MBPP, as they are published, in Dianoia's columns.

In: a `Row`. Out: `question`, `tests` as the verifier `code` reads them, and `solution`, a program that passes them.

Decisions:
1. What stands in a prompt of HumanEval beside the function that is asked for (imports, helper functions) belongs to both
   sides: it runs before the program, so that an answer need not repeat it, and the tests have a copy of their own.
2. Of MBPP's tests the question shows the first, which names the function; a program that sees all of them can print
   their results.
"""

import ast
import builtins
from typing import Any

from dianoia.tasks.code.names import parsed
from dianoia.tasks.data.public_sets import needed
from dianoia.tasks.table_files import Columns, Row

_FENCE = "```"


def read_humaneval(row: Row) -> Columns:
    """`task_id`, `prompt`, `entry_point`, `canonical_solution` (the rest of the function), `test`."""
    prompt, entry = needed(row, "prompt"), needed(row, "entry_point").strip()
    beside = _beside(row, prompt, entry)
    solution = row.columns.get("canonical_solution")
    return row.columns | {
        "question": f"Complete this Python function. Answer with the whole of it.\n\n{_block(prompt)}",
        "tests": {
            "asserts": [f"{needed(row, 'test')}\n\ncheck({entry})"],
            "setup": beside,
            "program_names": [entry],
            "prelude": beside,
            "continues": prompt,
        },
        "solution": f"{prompt}{solution}" if isinstance(solution, str) else None,
        "id": row.columns.get("task_id"),
    }


def _beside(row: Row, prompt: str, entry: str) -> str:
    """The prompt without the function that is asked for."""
    if not entry.isidentifier():
        raise row.error("entry_point", "no name of a function", "fetch it again")
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
    """A prompt that ends in a function's description, or in its head alone."""
    try:
        return parsed(prompt)
    except SyntaxError:
        return parsed(f"{prompt.rstrip()}\n    pass\n")


def read_mbpp(row: Row) -> Columns:
    """`task_id`, `code`, `test_list`, and `text`, `test_setup_code`, `challenge_test_list` in the full set, or `prompt`,
    `test_imports` in the sanitized one."""
    text = needed(row, "text" if row.has("text") else "prompt").strip()
    tests = _texts(row, "test_list")
    if not tests:
        raise row.error("test_list", "there is no test", "remove the row")
    hidden = _texts(row, "challenge_test_list")
    setup = [*_texts(row, "test_imports"), str(row.columns.get("test_setup_code") or "")]
    code = str(row.columns.get("code") or "").replace("\r\n", "\n")
    number = row.columns.get("task_id")
    return row.columns | {
        "question": f"{text}\n\nWrite a Python function that passes this test, and others like it:\n\n{_block(tests[0])}",
        "tests": {
            "asserts": [*tests, *hidden],
            "setup": "\n".join(part.replace("\r\n", "\n") for part in setup if part.strip()),
            "program_names": _shadowing(code),
        },
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
    """Functions of the reference program that are named like Python's own, such as `sum`."""
    try:
        body = parsed(code).body
    except (SyntaxError, ValueError):
        return []
    names = {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    return sorted(names & set(dir(builtins)))


def _block(code: str) -> str:
    return f"{_FENCE}python\n{code.strip()}\n{_FENCE}"
