"""Tells in the report of the tests how the verifier of mathematics did on the labelled pairs."""

import pytest

ACCURACY = pytest.StashKey[dict[str, tuple[int, int]]]()
"""(right, all) by label."""


@pytest.fixture
def tell(pytestconfig: pytest.Config) -> dict[str, tuple[int, int]]:
    """Where a test puts what the report is to say."""
    return pytestconfig.stash.setdefault(ACCURACY, {})


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    told = config.stash.get(ACCURACY, {})
    if not told:
        return
    right, every = (sum(column) for column in zip(*told.values(), strict=True))
    terminalreporter.section("accuracy of the verifier of mathematics")
    for label, (some, of) in told.items():
        terminalreporter.line(f"{label:32}{some:5} of {of:5}  {some / of:.1%}")
    terminalreporter.line(f"{'all labelled pairs':32}{right:5} of {every:5}  {right / every:.1%}")
