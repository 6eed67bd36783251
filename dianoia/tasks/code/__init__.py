"""Code: programs judged by tests in a sandbox."""

from dianoia.tasks.code.judge import (
    Judgement,
    Verdict,
    extract_program,
    judge_code,
    judge_program,
)
from dianoia.tasks.code.tests import CodeTests, code_tests
from dianoia.tasks.code.verifier import code, code_many, shared_pool, use_sandbox, verdicts

__all__ = [
    "CodeTests",
    "Judgement",
    "Verdict",
    "code",
    "code_many",
    "code_tests",
    "extract_program",
    "judge_code",
    "judge_program",
    "shared_pool",
    "use_sandbox",
    "verdicts",
]
