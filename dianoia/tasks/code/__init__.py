"""Code: programs judged by tests in a sandbox."""

from dianoia.tasks.code.code_verifier import (
    code,
    code_many,
    judged,
    shared_pool,
    use_sandbox,
    verdicts,
)
from dianoia.tasks.code.predict import input_, output, value
from dianoia.tasks.code.run_tests import (
    Judgement,
    Verdict,
    extract_program,
    judge_code,
    judge_program,
)
from dianoia.tasks.code.test_cases import CodeTests, code_tests

__all__ = [
    "CodeTests",
    "Judgement",
    "Verdict",
    "code",
    "code_many",
    "code_tests",
    "extract_program",
    "input_",
    "judge_code",
    "judge_program",
    "judged",
    "output",
    "shared_pool",
    "use_sandbox",
    "value",
    "verdicts",
]
