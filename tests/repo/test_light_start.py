"""What a person types first starts at once: no torch behind --help, --dry-run and the report."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dianoia.base.files import write_json
from dianoia.recipe import load_recipe
from dianoia.recipe.resume.fingerprint import fingerprint, fingerprint_record
from dianoia.storage.run_directory import RunDirectory

HEAVY = ("torch", "transformers")

RECIPES = sorted(path.name for path in (Path(__file__).parents[2] / "recipes").glob("*.toml"))
RUN_MAIN = f"""
import sys
from dianoia.cli import main
try:
    status = main(sys.argv[1:]) or 0
except SystemExit as stop:
    status = stop.code or 0
heavy = [name for name in {HEAVY} if name in sys.modules]
assert not heavy, f"imported on the way: {{heavy}}"
sys.exit(status)
"""


OFFLINE = {**os.environ, "HF_HUB_OFFLINE": "1"}
"""A plan of a known model needs no connection, and the tests should not have one."""


def _succeeds(code: str, *arguments: str, root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(
        command, cwd=root, env=OFFLINE, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["report", "--help"], ["claims", "--help"]],
    ids=" ".join,
)
def test_help_imports_no_torch(root: Path, arguments: list[str]) -> None:
    assert "usage" in _succeeds(RUN_MAIN, *arguments, root=root).stdout.lower()


@pytest.mark.parametrize("recipe", RECIPES)
def test_dry_run_imports_no_torch(root: Path, recipe: str) -> None:
    assert _succeeds(RUN_MAIN, "run", f"recipes/{recipe}", "--dry-run", root=root).stdout


def test_dry_run_as_json_imports_no_torch(root: Path) -> None:
    command = ("run", "recipes/miniature-zero.toml", "--dry-run", "--json")
    plan = json.loads(_succeeds(RUN_MAIN, *command, root=root).stdout)
    assert [stage["name"] for stage in plan["stages"]][:1] == ["zero"]


def test_dry_run_of_a_run_that_goes_on_imports_no_torch(root: Path, tmp_path: Path) -> None:
    recipe, run = load_recipe(root / "recipes/miniature-zero.toml"), RunDirectory(tmp_path)
    before = fingerprint("zero", recipe, run)
    write_json(run.stage("zero").begun, fingerprint_record(before, "today"))
    write_json(run.stage("zero").state_step, {"step": 4})
    command = ("run", "recipes/miniature-zero.toml", "--dry-run", "--out", str(tmp_path))
    assert (
        "resumes from step 4" in _succeeds(RUN_MAIN, *command, "--only", "zero", root=root).stdout
    )


def test_report_imports_no_torch(root: Path) -> None:
    code = f"import sys, dianoia.report, dianoia.claims.seeds; assert not any(n in sys.modules for n in {HEAVY})"
    _succeeds(code, root=root)


def test_python_m_starts_the_command_line(root: Path) -> None:
    command = [sys.executable, "-m", "dianoia", "--help"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout.lower()
