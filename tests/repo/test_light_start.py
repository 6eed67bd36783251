"""What a person types first starts at once: no torch behind --help, --dry-run and the report."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from dianoia.base.files import write_json
from dianoia.cli.main import parser
from dianoia.recipe import load_recipe
from dianoia.recipe.resume.fingerprint import fingerprint, fingerprint_record
from dianoia.storage.run_directory import RunDirectory

HEAVY = ("torch", "transformers")
RUN_ALL = f"""
import io, json, sys
from contextlib import redirect_stdout
from dianoia.cli import main
outputs, faults = [], []
for arguments in json.loads(sys.argv[1]):
    with redirect_stdout(io.StringIO()) as output:
        try:
            status = main(arguments) or 0
        except SystemExit as stop:
            status = stop.code or 0
    outputs.append(output.getvalue())
    heavy = [name for name in {HEAVY} if name in sys.modules]
    if status or heavy:
        faults.append(f"{{arguments}}: status {{status}}, imported on the way: {{heavy}}")
    if heavy:
        break  # what comes after it would be blamed too
import dianoia.report, dianoia.claims.seeds, dianoia.results.run_results, dianoia.results.run_list
faults += [f"the report imports {{name}}" for name in {HEAVY} if name in sys.modules]
assert not faults, faults
print(json.dumps(outputs))
"""
"""Runs commands one after another in one new interpreter, imports the report, and prints what each command has written."""

OFFLINE = {**os.environ, "HF_HUB_OFFLINE": "1"}
"""A plan of a known model needs no connection, and the tests should not have one."""


def _outputs(*commands: list[str], root: Path) -> list[str]:
    """Run commands where nothing heavy is imported yet; assert that each succeeds and that nothing heavy is after it."""
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL, json.dumps(commands)],
        cwd=root,
        env=OFFLINE,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outputs: list[str] = json.loads(done.stdout)
    return outputs


def test_help_plans_and_report_import_no_torch(root: Path, tmp_path: Path) -> None:
    (commands,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    helps = [["--help"], *([command, "--help"] for command in commands.choices)]
    recipes = sorted(path.name for path in (root / "recipes").glob("*.toml"))
    plans = [["run", f"recipes/{name}", "--dry-run"] for name in recipes]
    as_json = ["run", "recipes/miniature-zero.toml", "--dry-run", "--json"]

    zero, run = load_recipe(root / "recipes/miniature-zero.toml"), RunDirectory(tmp_path)
    before = fingerprint("zero", zero, run)
    write_json(run.stage("zero").begun, fingerprint_record(before, "today"))
    write_json(run.stage("zero").state_step, {"step": 4})
    goes_on = [*plans[recipes.index("miniature-zero.toml")], "--out", str(tmp_path)]
    goes_on += ["--only", "zero"]

    outputs = _outputs(*helps, *plans, as_json, goes_on, root=root)
    assert len(recipes) > 10 and len(outputs) == len(helps) + len(plans) + 2
    assert all("usage" in text.lower() for text in outputs[: len(helps)])
    assert all(outputs)
    assert [stage["name"] for stage in json.loads(outputs[-2])["stages"]][:1] == ["zero"]
    assert "resumes from step 4" in outputs[-1]


def test_python_m_starts_the_command_line(root: Path) -> None:
    command = [sys.executable, "-m", "dianoia", "--help"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout.lower()
