"""A recipe of every kind of stage, and a folder with a random model to start from."""

import re
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console
from transformers import Qwen3Config, Qwen3ForCausalLM

from dianoia.recipe import Recipe, load_recipe
from dianoia.recipe.check.inputs import check_inputs
from dianoia.recipe.plan.plan_text import print_plan
from dianoia.recipe.plan.run_plan import plan_run
from dianoia.recipe.resume.stage_status import StageTask
from tests.unit.model_folders import write_tokenizer

TEXT = """
name = "tiny"
[stages.base]
kind = "pretrain"
tokens = 10_000
tokens_per_step = 1024
[stages.base.model]
hidden_size = 16
layers = 2
heads = 4
kv_heads = 2
head_dim = 8
intermediate_size = 32
[stages.base.optimizer]
learning_rate = 1e-2
[stages.zero]
kind = "rl"
start = "base"
problems = "miniature/math"
steps = 6
group_size = 4
problems_per_rollout = 8
minibatches = 2
[stages.zero.sampling]
max_tokens = 24
slots = 8
[stages.zero.optimizer]
learning_rate = 1e-2
[stages.evaluation]
kind = "evaluate"
checkpoints = ["base", "zero"]
problems = "miniature/math"
limit = 6
samples = 2
max_tokens = 30
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a recipe."""

    def write(text: str = TEXT) -> Path:
        path = tmp_path / "tiny.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session", params=[True, False], ids=["tied", "untied"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen3 of about the miniature's proportions."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=800,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        intermediate_size=160,
        max_position_embeddings=256,
        tie_word_embeddings=request.param,
    )
    path = tmp_path_factory.mktemp("model")
    Qwen3ForCausalLM(config).save_pretrained(path)
    write_tokenizer(path)
    return path


def plan_text(
    recipe: Recipe,
    tasks: Sequence[StageTask] = (),
    run_directory: Path | None = None,
    *,
    jobs: int = 1,
    width: int = 10_000,
    details: bool = True,
    gpu: str | None = None,
) -> str:
    """Check the inputs of a recipe as a dry run does; return what its plan prints."""
    check_inputs(recipe, planned=True)
    file = StringIO()
    plan = plan_run(recipe, tasks, run_directory, jobs, gpu)
    print_plan(plan, Console(file=file, width=width), details)
    return file.getvalue()


def planned_work(path: Path, *overrides: str) -> dict[str, str]:
    """Return the work of each stage by `name (kind)`, as the detailed plan prints it, with its memory."""
    text = plan_text(load_recipe(path, overrides), width=1000)
    rows = [line for line in text.splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in row.strip("│").split("│")] for row in rows]
    assert all(len(row) == 4 and re.search("about |over a year", row[3]) for row in cells)
    return {row[0]: " ".join(row[1:3]) for row in cells}
