"""lm-eval asks a served model, and finds the accuracy of our own `evaluate` on the same problems within its interval.

lm-eval lives where `DIANOIA_LM_EVAL` says, or on the path: an environment of its own, since it pins packages of others.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dianoia.cli import main
from dianoia.tasks.catalog import problem_source
from tests.servers.conftest import serving

PROGRAM = os.environ.get("DIANOIA_LM_EVAL") or shutil.which("lm-eval")
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

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no lm-eval; see CONTRIBUTING.md"),
]


def _write(folder: Path) -> Path:
    """Write problems whose answer is a letter, so that texts can be compared."""
    members = problem_source("miniature/stem").heldout(PROBLEMS)
    rows = [{"problem": p.question, "answer": p.answer, "verifier": p.verifier} for p in members]
    file = folder / "problems.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return file


def _ask(address: str, problems: Path, folder: Path) -> float:
    """Return the accuracy that lm-eval finds."""
    (folder / "tasks").mkdir()
    text = TASK.format(problems=problems, max_tokens=MAX_TOKENS)
    (folder / "tasks" / "miniature.yaml").write_text(text, encoding="utf-8")
    about = f"model={MODEL},base_url={address}/v1/chat/completions,num_concurrent=8,max_retries=1"
    command = [str(PROGRAM), "run", "--model", "local-chat-completions", "--model_args", about, "--tasks", "miniature",
               "--include_path", str(folder / "tasks"), "--apply_chat_template", "--output_path", str(folder / "out")]  # fmt: skip
    # Nothing of this checkout: lm-eval is a stranger.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "hub")}
    process = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert process.returncode == 0, process.stderr[-3000:]
    (results,) = (folder / "out").rglob("results_*.json")
    value: float = json.loads(results.read_text())["results"]["miniature"]["exact_match,none"]
    return value


def test_lm_eval_finds_our_accuracy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problems = _write(tmp_path)
    command = [
        "evaluate",
        MODEL,
        "--on",
        str(problems),
        "--temperature",
        "0",
        "--max-tokens",
        str(MAX_TOKENS),
    ]
    assert main([*command, "--out", str(tmp_path / "ours"), "--json"]) == 0
    (target,) = json.loads(capsys.readouterr().out)["targets"]
    ours = target["models"][0]["estimates"]["pass@1"]
    assert (ours["n"], target["samples"]) == (PROBLEMS, 1)
    assert 0.1 < ours["value"] < 0.9, "or the comparison says little"

    def serve(port: int) -> list[str]:
        return [sys.executable, "-m", "dianoia", "serve", MODEL, "--port", str(port)]

    with serving(serve, tmp_path, tmp_path / "serve.txt", 120) as address:
        theirs = _ask(address, problems, tmp_path)
    assert ours["low"] <= theirs <= ours["high"], (ours, theirs)
    # Greedy answers are the same ones; they differ in grading alone, of answers that break the template.
    assert abs(theirs - ours["value"]) < 0.05
