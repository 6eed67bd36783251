"""Every benchmark has the paper's protocol, and columns that its mapping reads."""

import json
from pathlib import Path
from typing import Any

import pytest

from dianoia.config.template_table import QUESTION
from dianoia.evaluation.benchmarks import BENCHMARKS, PROTOCOLS
from dianoia.evaluation.targets import find_targets
from dianoia.tasks.data.mappings import HUB, MAPPINGS
from dianoia.tasks.short_answers.choice import score_choice
from dianoia.text.parsing import parse
from dianoia.text.template import TEMPLATES

CALLS = json.dumps([{"input": "3", "output": "4", "testtype": "functional"}])
ROWS: dict[str, dict[str, Any]] = {
    "aime24": {"id": 60, "problem": "Find $2^5$.", "solution": "...", "answer": "032"},
    "aime25": {"problem": "Find $7^2$.", "answer": 49},
    "math-500": {"problem": "What is $1/2$?", "solution": "...", "answer": "\\frac{1}{2}", "subject": "Algebra",
                 "level": 2, "unique_id": "test/algebra/1.json"},
    "gpqa-diamond": {"Question": "Which gas is inert?", "Correct Answer": "argon", "Incorrect Answer 1": "oxygen",
                     "Incorrect Answer 2": "chlorine", "Incorrect Answer 3": "fluorine", "Record ID": "rec9"},
    "mmlu-pro": {"question_id": 7, "question": "Which gas is inert?", "options": ["oxygen", "argon", "neon (no)"],
                 "answer": "B", "answer_index": 1, "cot_content": "", "category": "chemistry"},
    "gsm8k": {"question": "Ann has 2 pens and buys 3. How many has she?", "answer": "2 + 3 = 5\n#### 5"},
    "livecodebench": {"question_content": "Add one.", "question_id": "q1", "starter_code": "class Solution:\n    def f(self, n: int) -> int:\n        ",
                      "public_test_cases": CALLS, "private_test_cases": "", "metadata": json.dumps({"func_name": "f"})},
    "humaneval": {"task_id": "HumanEval/0", "prompt": 'def f(n):\n    """ One more. """\n', "entry_point": "f",
                  "canonical_solution": "    return n + 1\n", "test": "def check(candidate):\n    assert candidate(1) == 2\n"},
}  # fmt: skip
"""A row of each in the published form, written for these tests."""


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_file_in_the_published_form_is_read(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.jsonl"
    file.write_text(json.dumps(ROWS[name]) + "\n", encoding="utf-8")
    (target,) = find_targets([f"{name}={file}"])
    (problem,) = target.read()
    assert problem.domain == name, "two benchmarks of mathematics have two results"
    assert set(BENCHMARKS[name].columns) <= ROWS[name].keys()
    note = target.note(1)
    count = BENCHMARKS[name].problems
    assert (note is None) == (count is None)
    assert note is None or f"the published set has {count:,}" in note


def test_the_protocols_are_those_of_the_paper() -> None:
    # DeepSeek-R1 (arXiv 2501.12948v2), D.1.
    samples = {name: benchmark.protocol("paper").samples for name, benchmark in BENCHMARKS.items()}
    paper = {"aime24": 64, "aime25": 64, "math-500": 16, "gpqa-diamond": 64, "livecodebench": 8}
    assert paper.items() <= samples.items()
    assert all(4 <= count <= 64 for count in samples.values())
    for benchmark in BENCHMARKS.values():
        protocol = benchmark.protocol("paper")
        assert (protocol.temperature, protocol.top_p, protocol.max_tokens) == (0.6, 0.95, 32_768)
    # open-r1, README: samples per problem.
    theirs = {name: BENCHMARKS[name].protocol("open-r1").samples for name in paper}
    assert theirs == {
        "aime24": 64,
        "aime25": 64,
        "math-500": 4,
        "gpqa-diamond": 8,
        "livecodebench": 16,
    }
    assert BENCHMARKS["gsm8k"].protocol("open-r1") == BENCHMARKS["gsm8k"].protocol("paper")


def test_every_wording_asks_the_question_once_and_its_answer_is_read() -> None:
    for benchmark in BENCHMARKS.values():
        assert benchmark.mapping in MAPPINGS
        assert benchmark.hub is None or benchmark.hub in HUB
        assert benchmark.hub is None or HUB[benchmark.hub].name == benchmark.mapping
        for name in PROTOCOLS:
            assert benchmark.protocol(name).wording.count(QUESTION) == 1
    # What the wordings ask for is what the parser of a summary reads.
    boxed = parse(
        "So it is 5.\n\nTherefore, the final answer is: $\\boxed{5}$. I hope it is correct",
        TEMPLATES["chat"],
    )
    lettered = parse("Argon is a noble gas.\n\nAnswer: B", TEMPLATES["chat"])
    assert getattr(boxed, "answer", None) == "5"
    assert score_choice(["oxygen", "argon"], "B", getattr(lettered, "answer", "")) == 1.0
