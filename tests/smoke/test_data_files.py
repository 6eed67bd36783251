"""Files as people have them, from the command to what the model was asked: verl's rows and R1's traces, compressed."""

import gzip
import json
from pathlib import Path

import pytest

from dianoia.cli import main
from dianoia.miniature.problems import MiniatureProblems
from dianoia.tasks import catalog

SYSTEM = {"role": "system", "content": "Be brief."}
RL = """
name = "verl"
threads = 1
[stages.zero]
kind = "rl"
start = "{base}"
problems = "problems.json.gz"
steps = 1
group_size = 2
problems_per_rollout = 2
[stages.zero.sampling]
max_tokens = 8
[stages.zero.optimizer]
learning_rate = 1e-5
[stages.zero.progress]
problems = 0
[[stages.zero.rewards.functions]]
path = "keep.py:keep"
"""
KEEP = """
import json

def keep(prompts, completions, reward_model, **columns):
    with open("keep.jsonl", "a") as file:
        file.write(json.dumps([prompts, reward_model]) + "\\n")
    return [0.0] * len(prompts)
"""
SFT = """
name = "cold"
[stages.cold]
kind = "sft"
start = "{base}"
datasets = [{ path = "traces.json.gz" }]
template = "r1-zero"
max_length = 300
tokens_per_step = 700
evaluation_share = 0
[stages.cold.optimizer]
learning_rate = 1e-2
"""


@pytest.mark.parametrize("large", [False, True], ids=["in memory", "read as it goes"])
def test_rows_of_verl_reach_a_reward_function_whole(
    large: bool, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    if large:
        monkeypatch.setattr(catalog, "LARGE", 0)
    rows = [
        {
            "data_source": "sums", "ability": "math",
            "prompt": [SYSTEM, {"role": "user", "content": problem.question}],
            "reward_model": {"style": "rule", "ground_truth": problem.answer},
        }
        for problem in MiniatureProblems("math").draw(1, 0, 40)
    ]  # fmt: skip
    Path("problems.json.gz").write_bytes(gzip.compress(json.dumps(rows).encode()))
    Path("keep.py").write_text(KEEP, encoding="utf-8")
    Path("verl.toml").write_text(RL.replace("{base}", tiny_base.as_posix()), encoding="utf-8")
    assert main(["tasks", "check", "problems.json.gz"]) == 0
    checked = " ".join(capsys.readouterr().out.split())
    assert "Mapping: verl." in checked and "problems.json.gz: 40 right" in checked
    assert main(["run", "verl.toml", "--out", "run", "--dry-run"]) == 0
    assert "Mapping: verl." in " ".join(capsys.readouterr().out.split())
    assert main(["run", "verl.toml", "--out", "run"]) == 0
    (kept_rows,) = map(json.loads, Path("keep.jsonl").read_text(encoding="utf-8").splitlines())
    answers = {row["prompt"][1]["content"]: row["reward_model"]["ground_truth"] for row in rows}
    assert len(kept_rows[0]) == 4
    for prompt, reward_model in zip(*kept_rows, strict=True):
        assert prompt[0] == SYSTEM and len(prompt) == 2
        assert answers[prompt[1]["content"]] == reward_model["ground_truth"]


def test_a_plan_names_the_template_that_traces_fit(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    rows = [
        {
            "system": "Be brief.",
            "conversations": [
                {"from": "user", "value": f"{n}+1?"},
                {"from": "assistant", "value": f"<think>\nWe add.\n</think>\n\nIt is \\boxed{{{n + 1}}}."},
            ],
        }
        for n in range(20)
    ]  # fmt: skip
    Path("traces.json.gz").write_bytes(gzip.compress(json.dumps(rows).encode()))
    Path("cold.toml").write_text(SFT.replace("{base}", tiny_base.as_posix()), encoding="utf-8")
    assert main(["run", "cold.toml", "--dry-run"]) == 0
    planned = " ".join(capsys.readouterr().out.split())
    assert "20 of 20 responses to learn (100%) do not fit template = 'r1-zero'" in planned
    assert "set template = 'r1', which 100% of them fit" in planned
