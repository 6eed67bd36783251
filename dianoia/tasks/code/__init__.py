"""Code: programs graded by tests in a sandbox.

The tests of a problem (`test_cases`) are cases on standard input, calls, plain asserts (`asserts`) or any code (`scripts`,
with `names` and `refusals`). `run_tests` runs them and compares (`output_compare`, `official`); `code_verifier` and
`predict` make verifiers of it.
"""

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
    ProgramResult,
    Verdict,
    extract_program,
    grade_program,
    score_program,
)
from dianoia.tasks.code.test_cases import CodeTests, code_tests

__all__ = [
    "CODE",
    "INPUT",
    "CodeTests",
    "ProgramResult",
    "Verdict",
    "code_tests",
    "extract_program",
    "grade_many",
    "grade_program",
    "graded",
    "output",
    "run_jobs",
    "score_program",
    "shared_pool",
    "use_sandbox",
    "value",
]
