"""Adds a section to the report of the tests: the accuracy of the verifier of mathematics on the labelled pairs."""

import pytest

ACCURACY = pytest.StashKey[dict[str, tuple[int, int]]]()
"""(number graded correctly, number of pairs) by label."""


@pytest.fixture
def accuracy(pytestconfig: pytest.Config) -> dict[str, tuple[int, int]]:
    """Return the counts by label, to which a test adds its own."""
    return pytestconfig.stash.setdefault(ACCURACY, {})


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    counts = config.stash.get(ACCURACY, {})
    if not counts:
        return
    correct, pairs = (sum(column) for column in zip(*counts.values(), strict=True))
    terminalreporter.section("accuracy of the verifier of mathematics")
    for label, (number, size) in counts.items():
        terminalreporter.line(f"{label:32}{number:5} of {size:5}  {number / size:.1%}")
    terminalreporter.line(
        f"{'all labelled pairs':32}{correct:5} of {pairs:5}  {correct / pairs:.1%}"
    )
