"""Supervised fine-tuning in recipes: what is refused, and its plan by hand."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError, ProblemFileError
from dianoia.recipe import load_recipe
from dianoia.recipe.check.inputs import check_inputs
from dianoia.storage.run_directory import RunDirectory, dataset_path
from dianoia.text.template import TEMPLATES
from tests.unit.recipe.conftest import TEXT, planned_work

Write = Callable[..., Path]
COLD = """
[stages.cold]
kind = "sft"
start = "base"
epochs = 3
max_length = 512
tokens_per_step = 2048
evaluation_share = 0.0
datasets = [{ path = "{file}", weight = 2.0 }]
[stages.cold.optimizer]
learning_rate = 1e-3
"""

TRACES = """
[stages.traces]
kind = "sample"
start = "zero"
problems = "miniature/math"
prompts = 10
[stages.traces.sampling]
max_tokens = 24
[stages.cold]
"""


@pytest.fixture
def cold(write: Write, tmp_path: Path) -> Path:
    """A recipe with a stage that learns from ten samples."""
    data = tmp_path / "data.jsonl"
    rows = [{"prompt": f"{n}+1?", "completion": "x" * 200} for n in range(10)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return write(TEXT + COLD.replace("{file}", data.as_posix()))


def test_the_defaults_are_the_papers(cold: Path) -> None:
    optimizer = load_recipe(cold).stages["cold"].optimizer  # type: ignore[union-attr]
    assert (optimizer.schedule, optimizer.floor) == ("cosine", 0.1)


def test_the_plan_by_hand(cold: Path) -> None:
    # 10 samples x weight 2 = 20; x 3 epochs = 60. Without the base's tokenizer 0.3 tokens a character:
    # 4 + 201 + the template's prompt. 2,048 tokens hold 15 of 131: 4 steps, a row each
    plan = planned_work(cold)["cold (sft)"]
    assert "20 samples x 3 epochs = 60, 0 held out" in plan

    length = round((len(TEMPLATES["r1-zero"].render("0+1?")) + 201) * 0.3) + 1
    steps = -(-60 // (2048 // length))
    assert f"about {60 * length:,} tokens in {steps} packed rows" in plan
    assert f"about {steps} optimizer steps of at most 2,048 tokens" in plan


def test_the_plan_reads_the_tokenizer_that_is_there(cold: Path) -> None:
    plan = planned_work(cold, "cold.start=miniature-base")["cold (sft)"]
    assert "from miniature-base (0.92 M parameters)" in plan


def test_longer_samples_are_not_planned(cold: Path) -> None:
    assert "0 samples x 3 epochs = 0" in planned_work(cold, "cold.max_length=20")["cold (sft)"]
    cut = planned_work(cold, "cold.max_length=20", "cold.longer=cut")["cold (sft)"]
    assert "20 samples x 3 epochs = 60" in cut and "about 1,200 tokens" in cut


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("cold.max_length=2000", ["max_length = 2000", "'base' has 1024 positions"]),
        ('cold.datasets=[{path="zero"}]', ["'zero' is a stage of kind 'rl'", "no samples"]),
        ("cold.evaluation_share=0.02", ["evaluation_share = 0.02", "none of 10"]),
    ],
)
def test_inputs_that_do_not_fit(override: str, parts: list[str], cold: Path) -> None:
    options = ["cold.tokens_per_step=4096", override]
    with pytest.raises(ConfigError) as caught:
        check_inputs(load_recipe(cold, options))
    for part in ["stages.cold", *parts]:
        assert part in str(caught.value)


def test_a_data_set_is_named_once(cold: Path) -> None:
    with pytest.raises(ConfigError, match=r"'a.jsonl' is named twice.* weight"):
        load_recipe(cold, ['cold.datasets=[{path="a.jsonl"}, {path="a.jsonl"}]'])


def test_a_data_set_comes_from_an_earlier_stage(write: Write, cold: Path) -> None:
    text = cold.read_text(encoding="utf-8").replace("[stages.cold]\n", TRACES)
    with pytest.raises(ConfigError, match=r"stages.cold uses stages.cold, which comes after"):
        load_recipe(cold, ['cold.datasets=[{path="cold"}]'])
    options = ['cold.datasets=[{path="traces"}]', "cold.evaluation_share=0.1"]
    check_inputs(load_recipe(write(text), options))  # what traces will write cannot be read yet
    plan = planned_work(write(text), *options)["cold (sft)"]
    assert "3 epochs in steps of at most 2,048 tokens; as many samples as traces will write" in plan


def test_a_broken_evaluation_file(cold: Path, tmp_path: Path) -> None:
    heldout = tmp_path / "held.jsonl"
    heldout.write_text('{"prompt": "1+1?"}\n', encoding="utf-8")
    text = cold.read_text(encoding="utf-8").replace("evaluation_share = 0.0\n", "")
    cold.write_text(text, encoding="utf-8")
    with pytest.raises(ProblemFileError, match=r"stages.cold: .*held.jsonl, row 1"):
        check_inputs(load_recipe(cold, [f"cold.evaluation_file={heldout}"]))


def test_where_a_data_set_lies(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    dataset = run.stage("traces").dataset
    assert dataset_path(run.stage("cold"), "traces") == Path("traces")
    dataset.parent.mkdir(parents=True)
    dataset.write_bytes(b"")
    assert dataset_path(run.stage("cold"), "traces") == dataset
    assert dataset == tmp_path / "stages" / "traces" / "data.parquet"
    assert dataset_path(run.stage("cold"), "data/x.jsonl") == Path("data/x.jsonl")
