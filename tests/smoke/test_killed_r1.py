"""What `test_killed.py` shows, for the stages that R1 adds: demonstrations, preferences, RL with reward models, PPO.

By default: in the middle of three of them. Marked slow: of the rest, and right before every rename of a whole run.
"""

import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dianoia.cli import main
from tests.conftest import Make
from tests.smoke.killing import (
    arguments,
    assert_same,
    check_every_rename,
    kill,
)
from tests.smoke.moments import Moment

# Without tags every response that stops has a final part, so that a model of little has finished samples to judge.
RECIPE = """
name = "tiny-r1"
threads = 1
[stages.general]
kind = "demonstrations"
source = "miniature/general"
rows = 40
[stages.pairs]
kind = "preferences"
starts = ["miniature-base-small", "miniature-base"]
problems = "miniature/helpful"
template = "plain"
prompts = 10
samples = 3
pairs_per_problem = 3
problems_per_batch = 4
judge = "miniature"
[stages.pairs.sampling]
max_tokens = 32
slots = 16
[stages.labels]
kind = "preferences"
starts = ["miniature-base-small"]
objective = "pointwise"
problems = "miniature/safety"
template = "plain"
prompts = 10
samples = 3
problems_per_batch = 4
judge = "miniature"
[stages.labels.sampling]
max_tokens = 32
slots = 16
[stages.helpful]
kind = "reward_model"
start = "{base}"
data = ["{pairs}"]
heldout_share = 0.25
samples_per_step = 16
[stages.helpful.optimizer]
learning_rate = 1e-2
[stages.safety]
kind = "reward_model"
start = "{base}"
objective = "pointwise"
data = ["{labels}"]
heldout_share = 0.25
samples_per_step = 16
[stages.safety.optimizer]
learning_rate = 1e-2
[stages.mixed]
kind = "rl"
start = "{base}"
problems = "miniature/math"
template = "plain"
steps = 8
group_size = 4
problems_per_rollout = 8
minibatches = 2
checkpoint_every = 1
[stages.mixed.sampling]
max_tokens = 32
slots = 16
[stages.mixed.algorithm]
dynamic_sampling = true
kl_coefficient = 0.01
reference_every = 4
[stages.mixed.optimizer]
learning_rate = 1e-2
[stages.mixed.progress]
every = 2
problems = 4
samples = 2
rollouts_every = 1
[stages.mixed.preferences]
helpful = "helpful"
problems = "miniature/helpful"
safety = "safety"
safety_problems = "miniature/unsafe"
safety_share = 0.25
from_step = 2
[stages.ppo]
kind = "rl"
start = "{base}"
problems = "miniature/math"
steps = 6
group_size = 4
problems_per_rollout = 4
minibatches = 2
checkpoint_every = 1
[stages.ppo.sampling]
max_tokens = 24
slots = 16
[stages.ppo.algorithm]
name = "ppo"
gae_lambda = 0.95
kl_in = "reward"
kl_coefficient = 0.05
value_clip = 0.2
[stages.ppo.rewards]
random = 1.0
[stages.ppo.optimizer]
learning_rate = 1e-2
[stages.ppo.progress]
every = 2
problems = 4
samples = 2
rollouts_every = 1
"""
SHOWN = ("general", "pairs", "labels", "mixed", "ppo")
"""Stages that nothing else reads; the others are of kinds that `test_killed.py` shows."""


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan on lines that do not wrap."""
    monkeypatch.setenv("COLUMNS", "400")


def without(stage: str, whole: Path, out: Path) -> None:
    """A copy of a whole run in which one stage has not begun; nothing reads those that are shown."""
    shutil.copytree(whole, out)
    shutil.rmtree(out / "stages" / stage)


def written(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path.as_posix()


@pytest.fixture(scope="module")
def whole(copy_of: Callable[[str, Make], Path], tiny_base: Path) -> tuple[Path, Path]:
    """A recipe with these stages, and its run, never stopped."""

    def make(folder: Path) -> None:
        draw = random.Random(2)
        texts = [" ".join(draw.choices(["two", "six", "apple", "box"], k=4)) for _ in range(48)]
        pairs = [
            {"prompt": f"Say {n}", "chosen": f"Alice {text}", "rejected": f"apple {text}"}
            for n, text in enumerate(texts)
        ]
        labels = [
            {"prompt": f"Do {n}", "response": text, "label": n % 2} for n, text in enumerate(texts)
        ]
        files = {
            "base": tiny_base.as_posix(),
            "pairs": written(folder / "pairs.jsonl", pairs),
            "labels": written(folder / "labels.jsonl", labels),
        }
        recipe = folder / "r1.toml"
        recipe.write_text(RECIPE.format(**files), encoding="utf-8")
        assert main(arguments(recipe, folder / "run")) == 0

    folder = copy_of("r1", make)
    return folder / "r1.toml", folder / "run"


MOMENTS = {
    "demonstrations": ("general", Moment("general/data.parquet"), "starts from scratch"),
    "preferences, one checkpoint sampled": (
        "pairs",
        Moment("state/sampled-1-0000004.parquet"),
        "resumes after 4 finished parts",
    ),
    "preferences, judged in part": (
        "labels",
        Moment("state/judged-0000004.parquet"),
        "resumes after 6 finished parts",
    ),
    "RL with reward models": ("mixed", Moment("mixed/metrics.jsonl", 9, "open"), "from step 6"),
    "PPO": ("ppo", Moment("ppo/metrics.jsonl", 6, "open"), "from step 4"),
}


BY_DEFAULT = ("preferences, judged in part", "RL with reward models", "PPO")


@pytest.mark.parametrize(
    "case",
    [
        item if item in BY_DEFAULT else pytest.param(item, marks=pytest.mark.slow)
        for item in MOMENTS
    ],
)
def test_killed_and_started_again(
    case: str, whole: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (stage, moment, message), (recipe, reference) = MOMENTS[case], whole
    without(stage, reference, tmp_path / "run")
    command = arguments(recipe, tmp_path / "run")
    kill(command, moment)
    assert main(command) == 0
    assert message in capsys.readouterr().out
    assert_same(tmp_path / "run", reference)


def test_the_reference_is_worth_comparing_with(whole: tuple[Path, Path]) -> None:
    """Reward models had a say, values moved, something was judged: a state that forgets one of them shows."""
    stages = whole[1] / "stages"
    mixed, ppo = (
        [json.loads(row) for row in (stages / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("mixed", "ppo")
    )
    assert all(row["frac_general"] > 0 for row in mixed[3::2])
    assert any(row["kl"] > 0 for row in mixed[1:])
    assert ppo[5]["values/mean"] != ppo[1]["values/mean"] == 0.0
    for name in ("pairs", "labels"):
        assert json.loads((stages / name / "preferences.json").read_text())["rows"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("stage", SHOWN)
def test_killed_before_every_rename(stage: str, whole: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, reference = whole
    without(stage, reference, tmp_path / "start")
    check_every_rename(recipe, stage, tmp_path)
