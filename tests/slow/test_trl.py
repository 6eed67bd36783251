"""TRL's own reward functions, installed from the registry for this test alone, unmodified in a miniature recipe.

They have to give the values that TRL's trainer gets from them on the same completions: those of the run, and
hand-made ones that are right, wrong, unreadable, looping, too long. The environment has TRL and math-verify of its own
and everything else of the one that runs the tests.
"""

import json
import os
import subprocess
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

WANTED = ("trl", "math-verify", "accelerate", "datasets")
KEEP = '''
import json
from pathlib import Path

def keep(trainer_state, log_extra, log_metric, **lists):
    """Writes down what it is given, and applies to nothing."""
    with Path("keep.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(lists) + "\\n")
    return [None] * len(lists["prompts"])
'''
RECIPE = """
name = "trl"
threads = 1
[stages.zero]
kind = "rl"
start = "miniature-base"
problems = "miniature/math"
template = "r1-zero-prefilled"
steps = 2
group_size = 4
problems_per_rollout = 4
[stages.zero.sampling]
max_tokens = 96
[stages.zero.optimizer]
learning_rate = 1e-5
[stages.zero.progress]
problems = 0
rollouts_every = 1
[stages.zero.rewards]
accuracy = 0.0
format = 0.0
[[stages.zero.rewards.functions]]
path = "keep.py:keep"
form = "messages"
"""
FUNCTIONS = {
    "accuracy_reward": ("accuracy_reward", ""),
    "reasoning_accuracy_reward": ("reasoning_accuracy_reward", ""),
    "think_format_reward": ("think_format_reward", ""),
    "cosine_reward": ("get_cosine_scaled_reward", "{ max_len = 24 }"),
    "repetition_reward": (
        "get_repetition_penalty_reward",
        "{ ngram_size = 2, max_penalty = -0.5 }",
    ),
    "overlong_reward": (
        "get_soft_overlong_punishment",
        "{ max_completion_len = 24, soft_punish_cache = 16 }",
    ),
}
WEIGHTS = dict(zip(FUNCTIONS, (1.0, 0.5, 0.25, 2.0, 1.0, -1.0), strict=True))


def _tables() -> str:
    text = ""
    for name, (function, arguments) in FUNCTIONS.items():
        text += (
            f'[[stages.zero.rewards.functions]]\npath = "trl.rewards.{function}"\nname = "{name}"\n'
        )
        text += f'form = "messages"\nweight = {WEIGHTS[name]}\n'
        text += f"arguments = {arguments}\n" if arguments else ""
    return text


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with TRL; skips where the registry cannot be reached."""
    folder = tmp_path_factory.mktemp("trl") / "venv"
    venv.create(folder, with_pip=True)
    found = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    site = subprocess.run(
        [found, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    # Torch and the rest are there already, and the versions stay those that are tested together.
    (Path(site) / "tests.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    root = Path(__file__).parents[2]
    pip = [found, "-m", "pip", "install", "--quiet", "-c", root / "constraints.txt", *WANTED]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        pytest.skip(f"pip could not install {', '.join(WANTED)}: {done.stderr.strip()[-300:]}")
    return found


@pytest.fixture(scope="module")
def found(python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Values of the recipe and of TRL."""
    folder, root = tmp_path_factory.mktemp("run"), Path(__file__).parents[2]
    (folder / "keep.py").write_text(KEEP, encoding="utf-8")
    (folder / "trl.toml").write_text(RECIPE + _tables(), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [python, "-m", "dianoia", "run", "trl.toml", "--out", "run"]
    script = [python, root / "tests/slow/trl_rewards.py", "run"]
    said = ""
    for words in (command, script):
        done = subprocess.run(
            words, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        said = done.stdout
        if words is command:
            (folder / "keep.jsonl").rename(folder / "run/keep.jsonl")
    values: dict[str, Any] = json.loads(said.splitlines()[-1])
    assert values["functions"] == list(FUNCTIONS)
    return values


def _equal(one: list[list[float | None]], other: list[list[float | None]]) -> bool:
    """TRL keeps rewards in float32."""
    return len(one) == len(other) and all(
        (a is None) == (b is None) and (a is None or a == pytest.approx(b, abs=1e-6))
        for row, others in zip(one, other, strict=True)
        for a, b in zip(row, others, strict=True)
    )


def test_a_run_gives_trls_own_values(found: dict[str, Any]) -> None:
    run = found["run"]
    assert run["told"] == [f"<think>{text}" for text in run["texts"]], "with the tag of the prompt"
    assert len(run["told"]) == 16
    assert _equal(run["ours"], run["theirs"])
    assert any(row[2] == 1.0 for row in run["ours"]), "some keep the form"
    assert {"gold_parsed", "answer_parsed"} <= set(run["notes"]), "what they log is kept"
    for row, reward in zip(run["ours"], run["rewards"], strict=True):
        terms = zip(WEIGHTS.values(), row, strict=True)
        assert reward == pytest.approx(sum(weight * (value or 0.0) for weight, value in terms))


def test_hand_made_completions_have_trls_own_values(found: dict[str, Any]) -> None:
    hand = found["hand"]
    assert _equal(hand["ours"], hand["theirs"]) and len(hand["ours"]) == 32
    columns = list(zip(*hand["ours"], strict=True))
    assert set(columns[0]) == {None, 0.0, 1.0}, "right, wrong, and a gold that cannot be read"
    assert set(columns[2]) == {0.0, 1.0}
    assert all(len(set(column)) > 2 for column in columns[3:6]), "length and loops are graded"
    assert set(columns[6]) == {None, 1.0}, "one message each, where the function applies"
