"""Rows of public sets of mathematics and science, as they are published, in Dianoia's columns.

In: a `Row`. Out: its columns with `question` and `answer`, or None for a row that is no problem. The schemas are
those of the hub's pages in 2025; where copies of a set differ, both forms are read. Left out: code
(`livecodebench`), and whether an answer is readable, which its verifier decides.
"""

import hashlib
import re
from typing import Any

from dianoia.tasks.short_answers.choice import option_index
from dianoia.tasks.table_files import Columns, Row

LETTERS = "ABCDEFGH"
_DAPO_BEFORE = re.compile(
    r"\ASolve the following math problem step by step\. The last line of your response should be of the form "
    r"Answer: \$?Answer \(without quotes\) where \$?Answer is the answer to the problem\.\s*"
)
_DAPO_AFTER = re.compile(r'\s*Remember to put your answer on its own line after "Answer:"\.?\s*\Z')
_OPENR1_DROPPED = frozenset(
    {"generations", "messages", "finish_reasons", "is_reasoning_complete", "correctness_math_verify",
     "correctness_llama", "correctness_count"}
)  # fmt: skip
_GPQA_WRONG = tuple(f"Incorrect Answer {number}" for number in (1, 2, 3))


def read_gsm8k(row: Row) -> Columns:
    """`question`, `answer`: a derivation, then `#### 1,234`."""
    text = needed(row, "answer")
    derivation, mark, answer = text.rpartition("####")
    if not mark:
        raise row.error("answer", "there is no ####, behind which the answer stands", "repair it")
    return row.columns | {"answer": answer.strip(), "solution": derivation.strip()}


def read_math(row: Row) -> Columns:
    """`problem`, `solution`, `level` ("Level 5" or 5), and in MATH-500 `answer` and `unique_id`."""
    level = re.sub(r"\D", "", str(row.columns.get("level") or ""))
    found = row.columns | {
        "question": needed(row, "problem"),
        "answer": _answer_or_box(row, "answer", "solution"),
        "difficulty": int(level) if level else None,
    }
    return found | ({"id": row.columns["unique_id"]} if row.has("unique_id") else {})


def read_dapo(row: Row) -> Columns:
    """`prompt` (messages, or text in the processed set), `solution` or `reward_model.ground_truth`."""
    question = _last_user(row, "prompt")
    question = _DAPO_AFTER.sub("", _DAPO_BEFORE.sub("", question))
    truth = (row.columns.get("reward_model") or {}).get("ground_truth")
    answer = row.columns.get("solution") if truth is None else truth
    return row.columns | {"question": question, "answer": answer}


def read_openr1(row: Row) -> Columns | None:
    """`problem`, `answer`, `question_type` (proofs have no answer), `uuid`, and what others generated."""
    if (
        row.columns.get("question_type") == "proof"
        or not str(row.columns.get("answer") or "").strip()
    ):
        return None
    kept = {name: value for name, value in row.columns.items() if name not in _OPENR1_DROPPED}
    found = kept | {"question": needed(row, "problem")}
    if (
        row.columns.get("question_type") == "MCQ"
        and option_index(needed(row, "answer"), ()) is not None
    ):
        found["verifier"] = (
            "choice"  # the letter of an option; the options stand in the question only
        )
    return found


def read_deepmath(row: Row) -> Columns:
    """`question`, `final_answer`, `difficulty`, `topic`, `r1_solution_1` to `_3`; or TRL's `prompt`, `solution`."""
    kept = {
        name: value for name, value in row.columns.items() if not name.startswith("r1_solution")
    }
    if row.has("prompt"):
        question, answer = _last_user(row, "prompt"), needed(row, "solution")
        return kept | {"question": question, "answer": _without_dollars(answer)}
    level = row.columns.get("difficulty")
    grade = {"difficulty": round(level)} if isinstance(level, int | float) else {}
    return (
        kept | {"question": needed(row, "question"), "answer": needed(row, "final_answer")} | grade
    )


def read_aime(row: Row) -> Columns:
    """`problem`, `answer`, `solution`, whichever letters of theirs are large."""
    small = {name.lower(): value for name, value in row.columns.items()}
    lower = Row(row.path, row.number, small)
    question = "problem" if lower.has("problem") else "question"
    return small | {
        "question": needed(lower, question),
        "answer": _answer_or_box(lower, "answer", "solution"),
        "id": None,  # counts from 0 in each year's set
    }


def read_gpqa(row: Row) -> Columns:
    """`Question`, `Correct Answer`, `Incorrect Answer 1` to `3`, `Subdomain`, `Record ID`."""
    question = needed(row, "Question").strip()
    right = needed(row, "Correct Answer").strip()
    options = [right, *(needed(row, name).strip() for name in _GPQA_WRONG)]
    if len(set(options)) < len(options):
        raise row.error("Correct Answer", "two options are the same", "remove the row")
    options.sort(key=lambda option: hashlib.sha256(f"{question}\n{option}".encode()).digest())
    listed = "\n".join(f"{letter}) {text}" for letter, text in zip(LETTERS, options, strict=False))
    kept = {name: value for name, value in row.columns.items() if "nswer" not in name}
    return kept | {
        "question": f"{question}\n\n{listed}\n\nAnswer with the letter of the right option.",
        "answer": LETTERS[options.index(right)],
        "options": options,
        "id": row.columns.get("Record ID"),
    }


# Parts -------------------------------------------------------------------------------------------


def needed(row: Row, column: str) -> str:
    """The text of a column; raises ProblemFileError where there is none."""
    value = row.columns.get(column)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise row.error(
            column,
            "the mapping reads this column, and there is no text in it",
            f"name another mapping, or columns (this row has {', '.join(row.columns)})",
        )
    return str(value)


def _answer_or_box(row: Row, answer: str, solution: str) -> str:
    if row.has(answer):
        return needed(row, answer)
    boxed = last_box(needed(row, solution))
    if boxed is None:
        raise row.error(solution, "no \\boxed{} holds the answer", "remove the row")
    return boxed


def last_box(text: str) -> str | None:
    """What the last `\\boxed{...}` of a text holds, braces balanced; None without one."""
    start = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    opened = text.find("{", start) if start >= 0 else -1
    if opened < 0:
        return None
    depth = 0
    for at in range(opened, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[opened + 1 : at].strip()
    return None


def _last_user(row: Row, column: str) -> str:
    value: Any = row.columns.get(column)
    if isinstance(value, list):
        said = [m.get("content") for m in value if isinstance(m, dict) and m.get("role") == "user"]
        value = said[-1] if said else None
    if not isinstance(value, str):
        raise row.error(column, "neither text nor messages with one of the user", "repair it")
    return value


def _without_dollars(text: str) -> str:
    inner = text.strip()
    return inner.strip("$").strip() if inner.startswith("$") and inner.endswith("$") else inner
