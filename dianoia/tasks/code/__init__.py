"""Code: programs judged by tests in a sandbox."""

from dianoia.tasks.code.code_verifier import (
    CODE,
    grade_many,
    graded,
    run_jobs,
    shared_pool,
    use_sandbox,
)
from dianoia.tasks.code.predict import INPUT, output, value
from dianoia.tasks.code.run_tests import (
    Judgement,
    Verdict,
    extract_program,
    judge_code,
    judge_program,
)
from dianoia.tasks.code.test_cases import CodeTests, code_tests

__all__ = [
    "CODE",
    "INPUT",
    "CodeTests",
    "Judgement",
    "Verdict",
    "code_tests",
    "extract_program",
    "grade_many",
    "graded",
    "judge_code",
    "judge_program",
    "output",
    "run_jobs",
    "shared_pool",
    "use_sandbox",
    "value",
]
