"""The table of an evaluation: 80 columns, published numbers, footnotes, and what JSON has."""

import random
from dataclasses import replace
from typing import Any

import pytest

from dianoia.evaluation.benchmarks import BENCHMARKS
from dianoia.evaluation.evaluation_recipe import Measurement, Subject
from dianoia.evaluation.score_table import Result, as_json, table_lines
from dianoia.evaluation.scores import Scores
from dianoia.evaluation.targets import Target
from dianoia.inference.checkpoints import Checkpoint
from dianoia.text.template import TEMPLATES

AIME = BENCHMARKS["aime24"]
TARGET = Target("aime24", "aime24=x", "x", AIME.protocol("paper"), AIME)


def result(
    model: str, samples: int, share: float, *, lowered: bool = False, domains: int = 1
) -> Result:
    subject = Subject(
        model, Checkpoint(model.rpartition("/")[2], model), None, TEMPLATES["chat"], None
    )
    about = Measurement(
        "stage", subject, TARGET, samples, 0.6, 0.95, 4096, "{question}", 30, lowered
    )
    draws = random.Random(model)
    grades = tuple(tuple(float(draws.random() < share) for _ in range(samples)) for _ in range(30))
    votes = tuple(tuple(int(grade) for grade in grades_G) for grades_G in grades)
    names = tuple(f"domain {n % domains}" for n in range(30))
    scores = Scores(
        tuple(map(str, range(30))), names, grades, votes, (1.0,) * 30, (0.5,) * 30, (9.0,) * 30
    )
    return Result(about, scores, "rollouts.parquet")


KNOWN = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
OTHER = "a/model/with/a/very/long/path/indeed/and-a-long-name-of-its-own"


@pytest.mark.parametrize("samples", [1, 2, 64])
@pytest.mark.parametrize("domains", [1, 3])
def test_every_line_fits_eighty_columns(samples: int, domains: int) -> None:
    results = [
        result(KNOWN, samples, 0.5, lowered=True, domains=domains),
        result(OTHER, samples, 0.999, domains=domains),
        result("zero", samples, 0.0, domains=domains),
    ]
    lines = list(table_lines(results))
    assert max(map(len, lines)) <= 80, "\n".join(lines)
    assert ("pass@1  pass@2" in "\n".join(lines)) == (samples == 64)


def test_the_published_number_stands_beside_ours_with_its_source() -> None:
    known, other = result(KNOWN, 4, 0.3), result(OTHER, 4, 0.3, lowered=True)
    lines = list(table_lines([known, other]))
    assert lines[2].endswith("50.0      28.9"), "cut at the limit, then published"
    assert lines[3].endswith("50.0") and "*" in lines[3]
    assert "table 15" in lines[-1] and "4,096 response tokens, the protocol" in "\n".join(lines)
    table = as_json([known, other], "runs/x", 3, ["a note"])
    models: list[dict[str, Any]] = table["targets"][0]["models"]
    assert models[0]["published"]["pass@1"] == 28.9 and models[1]["published"] is None
    assert models[0]["estimates"].keys() == {
        "pass@1", "cons@4", "pass@2", "pass@4", "format", "truncated", "tokens"
    }  # fmt: skip
    assert (table["seed"], table["notes"]) == (3, ["a note"])


def test_two_models_of_one_title_keep_what_was_typed() -> None:
    first, second = result("here/zero", 2, 0.5), result("there/zero", 2, 0.5)
    text = "\n".join(table_lines([first, second]))
    assert "here/zero" in text and "there/zero" in text
    alone = "\n".join(table_lines([replace(first)]))
    assert "here/zero" not in alone and "problem by problem" not in alone
