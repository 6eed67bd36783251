"""Programs that a model wrote run behind walls that the recipe names, or the run is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError, SandboxError
from dianoia.recipe import load_recipe
from dianoia.recipe.check.inputs import check_inputs
from dianoia.recipe.check.sandbox_use import requested_sandbox, sandbox_of
from dianoia.sandbox import sandbox
from dianoia.sandbox.sandbox import AUTO, STRONG, UNSANDBOXED, VARIABLE
from dianoia.tasks import code

Write = Callable[..., Path]
TESTS = json.dumps({"calls": [{"function": "f", "arguments": [2], "expected": 4}]})


@pytest.fixture(autouse=True)
def no_word_from_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Problems about numbers, and the last two about code."""
    rows = [{"question": f"{n}+1?", "answer": str(n + 1)} for n in range(40)]
    rows += [{"question": f"code {n}", "answer": TESTS, "verifier": "code"} for n in range(2)]
    file = tmp_path / "problems.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return file


@pytest.fixture
def no_walls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "offered", lambda name: "the kernel says no")


def test_the_names_are_those_of_the_sandboxes(write: Write) -> None:
    for name in (AUTO, *STRONG, UNSANDBOXED):
        assert load_recipe(write(), [f"sandbox={name}"]).sandbox == name
    with pytest.raises(ConfigError, match="sandbox=none"):
        load_recipe(write(), ["sandbox=none"])


def test_no_program_needs_no_sandbox(write: Write, no_walls: None) -> None:
    recipe = load_recipe(write())
    assert sandbox_of(recipe) is None
    check_inputs(recipe)


@pytest.mark.parametrize("stage", ["zero", "evaluation"])
def test_refused_before_the_run(stage: str, write: Write, programs: Path, no_walls: None) -> None:
    recipe = load_recipe(write(), [f"{stage}.problems={programs}", "sandbox=landlock"])
    with pytest.raises(SandboxError) as caught:
        check_inputs(recipe)
    for part in (f"stages.{stage}.problems", str(programs), "'landlock'", "the kernel says no"):
        assert part in str(caught.value)


def test_the_recipe_may_accept_the_risk_in_words(
    write: Write, programs: Path, no_walls: None
) -> None:
    recipe = load_recipe(write(), [f"zero.problems={programs}", f"sandbox={UNSANDBOXED}"])
    assert sandbox_of(recipe) == UNSANDBOXED


def test_the_machine_goes_before_the_recipe(
    write: Write, programs: Path, no_walls: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recipe from elsewhere cannot take down the walls of a machine that asks for them."""
    monkeypatch.setenv(VARIABLE, "namespaces")
    recipe = load_recipe(write(), [f"zero.problems={programs}", f"sandbox={UNSANDBOXED}"])
    assert requested_sandbox(recipe) == "namespaces"
    with pytest.raises(SandboxError, match="'namespaces'"):
        sandbox_of(recipe)


def test_the_verifier_uses_what_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    code.use_sandbox(UNSANDBOXED)
    try:
        assert code.shared_pool().name == UNSANDBOXED
    finally:
        code.use_sandbox(AUTO)


def test_unreadable_tests_name_row_column_and_reason(write: Write, programs: Path) -> None:
    rows = programs.read_text("utf-8").splitlines()
    broken = {
        "question": "?",
        "answer": "-",
        "verifier": "code",
        "tests": {"cases": [{"input": 3}]},
    }
    programs.write_text("\n".join([*rows, json.dumps(broken)]), encoding="utf-8")
    with pytest.raises(ValueError) as caught:
        check_inputs(load_recipe(write(), [f"zero.problems={programs}"]))
    message = str(caught.value)
    for part in (f"{programs}, row 43", "tests, cases = {'input': 3}", "is no text", "write both"):
        assert part in message
