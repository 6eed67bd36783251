"""lm-eval and inspect ask a served model, and find the accuracy of our own `evaluate` on the same problems within its interval.

They live where `DIANOIA_LM_EVAL` and `DIANOIA_INSPECT` say, or on the path: each in an environment of its own, since they pin
packages of others.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dianoia.cli import main
from dianoia.tasks.catalog import problem_source
from tests.servers.conftest import serving

LM_EVAL = os.environ.get("DIANOIA_LM_EVAL") or shutil.which("lm-eval")
INSPECT = os.environ.get("DIANOIA_INSPECT") or shutil.which("inspect")
MODEL = "miniature-base-small"
MAX_TOKENS = 160
PROBLEMS = 80
TASK = """
task: miniature
dataset_path: json
dataset_kwargs:
  data_files:
    test: {problems}
test_split: test
output_type: generate_until
doc_to_text: "{{{{problem}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs:
  until: []
  temperature: 0
  max_gen_toks: {max_tokens}
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""

INSPECT_TASK = """
from inspect_ai import Task, task
from inspect_ai.dataset import FieldSpec, json_dataset
from inspect_ai.scorer import match
from inspect_ai.solver import generate

@task
def miniature():
    rows = json_dataset("problems.jsonl", FieldSpec(input="problem", target="answer"))
    return Task(dataset=rows, solver=generate(), scorer=match(location="exact"))
"""

pytestmark = pytest.mark.slow


def _write(folder: Path) -> Path:
    """Write problems whose answer is a letter, so that texts can be compared."""
    members = problem_source("miniature/stem").heldout(PROBLEMS)
    rows = [{"problem": p.question, "answer": p.answer, "verifier": p.verifier} for p in members]
    file = folder / "problems.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return file


def _run(command: list[str], folder: Path, **variables: str) -> None:
    # Nothing of this checkout: a harness is a stranger.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    process = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=600
    )
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]


def _lm_eval(address: str, folder: Path) -> float:
    """Return the accuracy that lm-eval finds."""
    (folder / "tasks").mkdir()
    text = TASK.format(problems=folder / "problems.jsonl", max_tokens=MAX_TOKENS)
    (folder / "tasks" / "miniature.yaml").write_text(text, encoding="utf-8")
    about = f"model={MODEL},base_url={address}/v1/chat/completions,num_concurrent=8,max_retries=1"
    command = [str(LM_EVAL), "run", "--model", "local-chat-completions", "--model_args", about, "--tasks", "miniature",
               "--include_path", str(folder / "tasks"), "--apply_chat_template", "--output_path", str(folder / "out")]  # fmt: skip
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "hub")}
    _run(command, folder, **offline)
    (results,) = (folder / "out").rglob("results_*.json")
    value: float = json.loads(results.read_text())["results"]["miniature"]["exact_match,none"]
    return value


def _inspect(address: str, folder: Path) -> float:
    """Return the accuracy that inspect finds."""
    (folder / "miniature.py").write_text(INSPECT_TASK, encoding="utf-8")
    command = [str(INSPECT), "eval", "miniature.py", "--model", f"openai-api/dianoia/{MODEL}", "--temperature", "0",
               "--max-tokens", str(MAX_TOKENS), "--log-dir", str(folder / "logs"), "--log-format", "json", "--display", "plain"]  # fmt: skip
    _run(command, folder, DIANOIA_BASE_URL=f"{address}/v1", DIANOIA_API_KEY="none")
    (log,) = (folder / "logs").glob("*.json")
    (scores,) = json.loads(log.read_text(encoding="utf-8"))["results"]["scores"]
    value: float = scores["metrics"]["accuracy"]["value"]
    return value


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(
            ask, marks=pytest.mark.skipif(program is None, reason="missing; see CONTRIBUTING.md")
        )
        for ask, program in ((_lm_eval, LM_EVAL), (_inspect, INSPECT))
    ],
)
def test_a_harness_finds_our_accuracy(
    ask: Callable[[str, Path], float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = _write(tmp_path)
    command = ["evaluate", MODEL, "--on", str(problems), "--temperature", "0", "--max-tokens", str(MAX_TOKENS)]  # fmt: skip
    assert main([*command, "--out", str(tmp_path / "ours"), "--json"]) == 0
    (target,) = json.loads(capsys.readouterr().out)["targets"]
    ours = target["models"][0]["estimates"]["pass@1"]
    assert (ours["n"], target["samples"]) == (PROBLEMS, 1)
    assert 0.1 < ours["value"] < 0.9, "or the comparison says little"

    def serve(port: int) -> list[str]:
        return [sys.executable, "-m", "dianoia", "serve", MODEL, "--port", str(port)]

    with serving(serve, tmp_path, tmp_path / "serve.txt", 120) as address:
        theirs = ask(address, tmp_path)
    assert ours["low"] <= theirs <= ours["high"], (ours, theirs)
    # Greedy answers are the same ones; they differ in grading alone, of answers that break the template.
    assert abs(theirs - ours["value"]) < 0.05
