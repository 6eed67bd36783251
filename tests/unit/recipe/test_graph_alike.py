"""Samples that cannot differ are refused, whatever makes them equal and whichever stage draws them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError
from dianoia.recipe import load_recipe

Write = Callable[..., Path]

EVALUATION = "stages.evaluation"
SAMPLE = """
[stages.traces]
kind = "sample"
start = "miniature-base"
problems = "miniature/math"
prompts = 8
samples = 4
sampling = {{ max_tokens = 64, {} }}
"""
PREFERENCES = """
[stages.judged]
kind = "preferences"
starts = ["miniature-base", "zero"]
problems = "miniature/helpful"
prompts = 8
samples = 2
judge = "miniature"
sampling = {{ max_tokens = 64, {} }}
"""


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["evaluation.temperature=0"], ["samples = ", "temperature = 0", "set samples = 1"]),
        (["evaluation.temperature=0.0", "evaluation.samples=2"], ["samples = 2", "cons@2"]),
        (["evaluation.temperature=1e-6"], ["temperature = 1e-06", "same text"]),
        (["evaluation.top_k=1"], ["top_k = 1", "pass@1"]),
        (["evaluation.top_p=1e-9"], ["top_p = 1e-09"]),
        (["evaluation.top_p=0.01"], ["top_p = 0.01"]),
        (["zero.sampling.temperature=0"], ["sampling.temperature = 0", "use 1 (the paper)"]),
        (["zero.sampling.temperature=0.001"], ["group_size = ", "no advantage"]),
        (["zero.sampling.top_k=1"], ["group_size = ", "sampling.top_k = 1", "nothing to learn"]),
        (["zero.sampling.top_p=0.001"], ["sampling.top_p = 0.001"]),
        (["zero.progress.temperature=0"], ["stages.zero.progress", "samples = 4", "cons@4"]),
        (["zero.progress.top_p=0.001"], ["stages.zero.progress", "top_p = 0.001"]),
    ],
)
def test_equal_samples_are_refused(overrides: list[str], words: list[str], write: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(), overrides)
    for word in words:
        assert word in str(caught.value), str(caught.value)


@pytest.mark.parametrize("table", [SAMPLE, PREFERENCES])
@pytest.mark.parametrize("draws", ["temperature = 0.0", "top_k = 1", "top_p = 1e-4"])
def test_in_stages_that_make_data(table: str, draws: str, write: Write) -> None:
    path = write()
    path.write_text(path.read_text() + table.format(draws))
    with pytest.raises(ConfigError, match=f"samples = .* with sampling.{draws.split(' ')[0]} ="):
        load_recipe(path)


@pytest.mark.parametrize(
    "overrides",
    [
        ["evaluation.temperature=0", "evaluation.samples=1"],
        ["evaluation.top_k=1", "evaluation.samples=1"],
        ["evaluation.temperature=0.1", "evaluation.top_p=0.3", "evaluation.top_k=2"],
        ["zero.progress.temperature=0", "zero.progress.samples=1"],
        ["zero.progress.temperature=0", "zero.progress.problems=0"],
    ],
)
def test_one_sample_may_be_greedy(overrides: list[str], write: Write) -> None:
    load_recipe(write(), overrides)


def test_one_sample_a_problem_may_be_greedy_in_a_sample_stage(write: Write) -> None:
    path = write()
    text = SAMPLE.format("temperature = 0.0").replace("samples = 4", "samples = 1")
    path.write_text(path.read_text() + text)
    load_recipe(path)
