"""Map rows of public sets of mathematics and science to Dianoia's columns: sets whose problems have a gold answer.

In: a `Row` as it is published. Out: its columns with `question` and `answer`, or None for a row that is no problem. The
schemas are those of the hub's pages in 2025; where copies of a set differ, both forms are read. Not here: code
(`code_sets`), and whether an answer is readable, which its verifier decides.
"""

import hashlib
import re
from collections.abc import Callable
from typing import Any

from dianoia.base.bounded_json import UnreadableJSON, parse_json
from dianoia.tasks.cells import literal_in
from dianoia.tasks.file_formats import Columns
from dianoia.tasks.short_answers.choice import option_index
from dianoia.tasks.table_files import Row

LETTERS = "ABCDEFGH"
_MMLU_LETTERS = "ABCDEFGHIJ"
# Both are anchored: the same words inside of a problem stay.
_DAPO_PREFIX = re.compile(
    r"\ASolve the following math problem step by step\. The last line of your response should be of the form "
    r"Answer: \$?Answer \(without quotes\) where \$?Answer is the answer to the problem\.\s*"
)
_DAPO_SUFFIX = re.compile(r'\s*Remember to put your answer on its own line after "Answer:"\.?\s*\Z')
_GSM8K_END = re.compile(r"(?:\A|\n)####\s*[-+$]?[\d.,]+%?\s*\Z")
# The text of a list of texts, as JSON.
_ONE_ANSWER = re.compile(r'\["(?s:.*)"\]')
_OPENR1_DROPPED = frozenset(
    {"generations", "messages", "finish_reasons", "is_reasoning_complete", "correctness_math_verify",
     "correctness_llama", "correctness_count"}
)  # fmt: skip
_GPQA_WRONG = tuple(f"Incorrect Answer {number}" for number in (1, 2, 3))


def read_gsm8k(row: Row) -> Columns:
    """Read `question`, `answer`: a derivation, then `#### 1,234`."""
    text = required_text(row, "answer")
    # The last mark: a derivation may have one, too.
    derivation, mark, answer = text.rpartition("####")
    if not mark:
        raise row.error("answer", "there is no ####, which the answer follows", "repair it")
    return row.columns | {"answer": answer.strip(), "solution": derivation.strip()}


def read_math(row: Row) -> Columns:
    """Read `problem`, `solution`, `level` ("Level 5" or 5), and in MATH-500 `answer` and `unique_id`."""
    level = re.sub(r"\D", "", str(row.columns.get("level") or ""))
    columns = row.columns | {
        "question": required_text(row, "problem"),
        "answer": _answer_or_box(row, "answer", "solution"),
        "difficulty": int(level) if level else None,
    }
    return columns | ({"id": row.columns["unique_id"]} if row.has("unique_id") else {})


def read_dapo(row: Row) -> Columns:
    """Read `prompt` (messages, or text in the processed set), `solution` or `reward_model.ground_truth`."""
    # The raw form has instructions about the format of the answer, which may contradict the template of a recipe.
    question = _question(
        row, "prompt", lambda text: _DAPO_SUFFIX.sub("", _DAPO_PREFIX.sub("", text))
    )
    # Where a row has both, the ground truth counts.
    truth = (as_object(row.columns.get("reward_model")) or {}).get("ground_truth")
    answer = row.columns.get("solution") if truth is None else truth
    return row.columns | {"question": question, "answer": answer}


def read_verl(row: Row) -> Columns:
    """Read verl's `prompt` (messages, kept whole), `reward_model.ground_truth`, `data_source`, `ability`, `extra_info`.

    A ground truth is an answer, a list of one answer (as text in sets such as Skywork-OR1), or the tests of a program as an
    object of `inputs` and `outputs`.
    """
    reward_model = as_object(row.columns.get("reward_model"))
    truth = None if reward_model is None else reward_model.get("ground_truth")
    columns = row.columns | {"question": row.columns.get("prompt")}
    tests = as_object(truth)
    if tests is not None:
        return columns | {"tests": {"cases": _cases(row, tests)}, "domain": "code"}
    if isinstance(truth, str) and _ONE_ANSWER.fullmatch(truth.strip()):
        truth = _as_list(truth) or truth
    if isinstance(truth, list) and len(truth) == 1:
        (truth,) = truth
    if isinstance(truth, bool) or not isinstance(truth, str | int | float):
        raise row.error(
            "reward_model",
            "there is no ground_truth that is one answer, or tests with inputs and outputs",
            "correct the row, or name other columns",
        )
    return columns | {"answer": str(truth)}


def is_verl(row: Row) -> bool:
    """Return True for a row with verl's columns."""
    reward_model = as_object(row.columns.get("reward_model"))
    plain = row.has("answer") or row.has("solution")
    return (
        row.has("prompt") and reward_model is not None and "ground_truth" in reward_model
    ) and not plain


def is_raw_dapo(row: Row) -> bool:
    """Return True for a row with verl's columns whose prompt has the instructions of DAPO-Math-17k."""
    return is_verl(row) and _DAPO_PREFIX.match(_last_user(row, "prompt")) is not None


def is_gsm8k(row: Row) -> bool:
    """Return True for a row whose answer is a derivation that ends with `#### 72`."""
    answer = row.columns.get("answer")
    return row.has("question") and isinstance(answer, str) and bool(_GSM8K_END.search(answer))


def is_openr1(row: Row) -> bool:
    """Return True for a row with the columns of OpenR1-Math-220k."""
    return {"problem", "answer", "generations", "correctness_math_verify"} <= row.columns.keys()


def as_object(value: object) -> dict[str, Any] | None:
    """Return an object, also one in a cell as JSON or as a Python literal; None for any other value."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        text = value
        try:
            value = parse_json(text)
        except UnreadableJSON:
            value = literal_in(text)
    return value if isinstance(value, dict) else None


def _as_list(text: str) -> list[Any] | None:
    try:
        value = parse_json(text)
    except UnreadableJSON:
        return None
    return value if isinstance(value, list) and all(isinstance(v, str) for v in value) else None


def _cases(row: Row, tests: dict[str, Any]) -> list[dict[str, str]]:
    inputs, outputs = tests.get("inputs"), tests.get("outputs")
    if tests.get("fn_name") or not (
        isinstance(inputs, list)
        and isinstance(outputs, list)
        and len(inputs) == len(outputs)
        and all(isinstance(text, str) for text in (*inputs, *outputs))
    ):
        raise row.error(
            "reward_model",
            "its ground_truth holds no tests of standard input and output",
            "write inputs and outputs, two lists of texts of the same length, or leave the row out",
        )
    return [
        {"input": argument, "output": expected}
        for argument, expected in zip(inputs, outputs, strict=True)
    ]


def read_openr1(row: Row) -> Columns | None:
    """Read `problem`, `answer`, `question_type`, `uuid`; proofs have no answer, and generations of models are dropped."""
    if (
        row.columns.get("question_type") == "proof"
        or not str(row.columns.get("answer") or "").strip()
    ):
        return None
    columns = {name: value for name, value in row.columns.items() if name not in _OPENR1_DROPPED}
    columns["question"] = required_text(row, "problem")
    is_choice = row.columns.get("question_type") == "MCQ"
    if is_choice and option_index(required_text(row, "answer"), ()) is not None:
        # The answer is the letter of an option; the options are in the question only.
        columns["verifier"] = "choice"
    return columns


def read_deepmath(row: Row) -> Columns:
    """Read `question`, `final_answer`, `difficulty`, `topic`, `r1_solution_1` to `_3`; or TRL's `prompt`, `solution`."""
    columns = {name: v for name, v in row.columns.items() if not name.startswith("r1_solution")}
    if row.has("prompt"):
        question, answer = _question(row, "prompt"), required_text(row, "solution")
        return columns | {"question": question, "answer": _without_dollars(answer)}
    level = row.columns.get("difficulty")
    if isinstance(level, int | float):
        # DeepMath has halves such as 7.5, and difficulties are whole numbers.
        columns["difficulty"] = round(level)
    question, answer = required_text(row, "question"), required_text(row, "final_answer")
    return columns | {"question": question, "answer": answer}


def read_aime(row: Row) -> Columns:
    """Read `problem`, `answer`, `solution`, in any case of letters."""
    columns = {name.lower(): value for name, value in row.columns.items()}
    lower = Row(row.path, row.number, columns)
    question = "problem" if lower.has("problem") else "question"
    return columns | {
        "question": required_text(lower, question),
        "answer": _answer_or_box(lower, "answer", "solution"),
        "id": None,  # a count from 0 in each year's set, so that years would collide
    }


def read_gpqa(row: Row) -> Columns:
    """Read `Question`, `Correct Answer`, `Incorrect Answer 1` to `3`, `Subdomain`, `Record ID`."""
    question = required_text(row, "Question").strip()
    right = required_text(row, "Correct Answer").strip()
    options = [right, *(required_text(row, name).strip() for name in _GPQA_WRONG)]
    # The letter of the right option would not be unique.
    if len(set(options)) < len(options):
        raise row.error("Correct Answer", "two options are the same", "remove the row")
    # By a hash, so that the right option is at a fixed but arbitrary letter.
    options.sort(key=lambda option: hashlib.sha256(f"{question}\n{option}".encode()).digest())
    listed = "\n".join(f"{letter}) {text}" for letter, text in zip(LETTERS, options, strict=False))
    # Drops `Correct Answer`, the wrong ones and all columns about answers, which tell the right option.
    columns = {name: value for name, value in row.columns.items() if "nswer" not in name}
    return columns | {
        "question": f"{question}\n\n{listed}\n\nAnswer with the letter of the right option.",
        "answer": LETTERS[options.index(right)],
        "options": options,
        "id": row.columns.get("Record ID"),
    }


def read_mmlu_pro(row: Row) -> Columns:
    """Read `question`, `options` (up to ten texts), `answer` (a letter), `category`, `question_id`."""
    question, options = required_text(row, "question").strip(), row.columns.get("options")
    if not isinstance(options, list) or not 2 <= len(options) <= len(_MMLU_LETTERS):
        raise row.error("options", "no list of two to ten options", "fetch the set again")
    texts = [str(option).strip() for option in options]
    listed = "\n".join(
        f"{letter}) {text}" for letter, text in zip(_MMLU_LETTERS, texts, strict=False)
    )
    number = row.columns.get("question_id")
    # `cot_content` is the reasoning of a few examples.
    columns = {name: value for name, value in row.columns.items() if name != "cot_content"}
    return columns | {
        "question": f"{question}\n\n{listed}\n\nAnswer with the letter of the right option.",
        "answer": required_text(row, "answer").strip(),
        "options": texts,
        "id": None if number is None else f"mmlu-pro-{number}",
    }


def required_text(row: Row, column: str) -> str:
    """Return the text of a column; raises ProblemFileError if there is none."""
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
        return required_text(row, answer)
    boxed = last_box(required_text(row, solution))
    if boxed is None:
        raise row.error(solution, "no \\boxed{} holds the answer", "remove the row")
    return boxed


def last_box(text: str) -> str | None:
    """Return the content of the last `\\boxed{...}` of a text, with balanced braces; None without one."""
    # The last box is the final answer; earlier ones are intermediate results.
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
    messages = row.messages(column)
    if messages is not None:
        users = [message["content"] for message in messages if message["role"] == "user"]
        value = users[-1] if users else None
    if not isinstance(value, str):
        raise row.error(column, "neither text nor messages with one of the user", "repair it")
    return value


def _question(
    row: Row, column: str, edit: Callable[[str], str] = str
) -> str | list[dict[str, Any]]:
    """Return the edited question, with the messages before it if there are any."""
    text = edit(_last_user(row, column))
    messages = row.messages(column) or []
    return text if len(messages) < 2 else [*messages[:-1], {**messages[-1], "content": text}]


def _without_dollars(text: str) -> str:
    inner = text.strip()
    return inner.strip("$").strip() if inner.startswith("$") and inner.endswith("$") else inner
