"""Demonstrations with the real command: written, counted, learnt together with a file, refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dianoia.base.records import Problem
from dianoia.cli import main
from dianoia.storage.sample_table import SAMPLE_COLUMNS
from dianoia.tasks import plugins

RECIPE = """
name = "general"
threads = 1
[stages.general]
kind = "demonstrations"
source = "tests/greetings"
rows = 5
[stages.learnt]
kind = "sft"
start = "{base}"
template = "r1"
datasets = [{ path = "general" }]
epochs = 1
max_length = 128
tokens_per_step = 128
evaluation_share = 0.0
[stages.learnt.optimizer]
learning_rate = 1e-3
"""


def greetings(seed: int) -> Iterator[tuple[Problem, str, str]]:
    """Three questions in turn, a greeting without a thought among them."""
    while True:
        for number, thought in enumerate(("", "I count the words. Two.", "我想一想。")):
            language = "zh" if number == 2 else "en"
            problem = Problem(
                f"g{number}", f"Hello {seed}.{number}?", "-", "reference", "general", language
            )
            yield problem, thought, f"Hello! It is \\boxed{{{number}}}." if number else "Hello!"


@pytest.fixture
def recipe(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(plugins.DEMONSTRATIONS, "tests/greetings", greetings)  # type: ignore[arg-type]
    path = tmp_path / "general.toml"
    path.write_text(RECIPE.replace("{base}", tiny_base.as_posix()), encoding="utf-8")
    return path


def run(recipe: Path, out: Path, *overrides: str) -> int:
    options = [part for override in overrides for part in ("--set", override)]
    return main(["run", str(recipe), "--out", str(out), *options])


def test_demonstrations_are_written_and_learnt(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(recipe, out) == 0
    file = out / "stages/general/data.parquet"
    schema = pq.read_schema(file)
    assert schema.names == list(SAMPLE_COLUMNS) and not schema.metadata
    rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    assert [row["question"] for row in rows] == [f"Hello 1.{n}?" for n in (0, 1, 2, 0, 1)]
    content = [row["completion"][0]["content"] for row in rows]
    assert content[0] == "<think>\n</think>\nHello!"
    assert content[1] == "<think>\nI count the words. Two.\n</think>\nHello! It is \\boxed{1}."
    assert [row["answer"] for row in rows[:3]] == ["Hello!", "1", "2"]
    assert [row["target_language"] for row in rows[:3]] == [None, 1.0, 1.0]
    assert all(row["messages"] == row["prompt"] + row["completion"] for row in rows)
    for name in ("tokens", "thought_tokens", "accuracy", "sampled_thought"):
        assert {row[name] for row in rows} == {None}
    document = json.loads((out / "stages/general/demonstrations.json").read_text("utf-8"))
    assert document.pop("seconds") >= 0 and document.pop("format_version") == 1
    assert document == {
        "rows": 5, "questions": 3, "without_thought": 2, "by_domain": {"general": 5},
        "by_language": {"en": 4, "zh": 1},
    }  # fmt: skip
    stdout = capsys.readouterr().out
    assert "general: 5 demonstrations of tests/greetings, 2 of them without a thought" in stdout
    assert "learnt: 5 samples per epoch, 0 held out, 0 longer" in stdout
    assert main(["report", str(out)]) == 0


def test_one_seed_is_one_data_set(recipe: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run(recipe, tmp_path / name, f"seed={seed}") == 0
    a, b, c = (
        (tmp_path / name / "stages/general/data.parquet").read_bytes() for name in ("a", "b", "c")
    )
    assert a == b != c


@pytest.mark.parametrize(
    ("template", "message"), [("r1-zero", "<answer>Hello!</answer>"), ("plain", "Hello!")]
)
def test_the_form_is_the_templates(
    template: str, message: str, recipe: Path, tmp_path: Path
) -> None:
    options = (f"general.template={template}", f"learnt.template={template}")
    assert run(recipe, tmp_path / "run", *options) == 0
    rows = pq.read_table(tmp_path / "run/stages/general/data.parquet").to_pylist()
    assert rows[0]["completion"][0]["content"].endswith(message)


def test_a_source_that_ends_gives_what_it_has(
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def two(seed: int) -> Iterator[tuple[Problem, str, str]]:
        source = greetings(seed)
        yield from (next(source), next(source))

    monkeypatch.setitem(plugins.DEMONSTRATIONS, "tests/greetings", two)  # type: ignore[arg-type]
    assert run(recipe, tmp_path / "run") == 0
    assert "2 demonstrations of tests/greetings, fewer than rows = 5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("general.source=tests/greeting", ["stages.general.source", "did you mean 'tests/greetings'?"]),
        ("general.rows=0", ["general.rows=0", "greater than or equal to 1"]),
        ("general.template=r2", ["stages.general.template = 'r2'", "r1-prefilled"]),
        ("general.row=5", ["general.row=5", "did you mean 'rows'?"]),
        ("learnt.start=general", ["'general' is a stage of kind 'demonstrations', which writes no model"]),
    ],
)  # fmt: skip
def test_what_cannot_run(
    override: str,
    parts: list[str],
    recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(recipe, tmp_path / "run", override) == 2
    stderr = capsys.readouterr().err
    for part in parts:
        assert part in stderr, stderr
    assert not (tmp_path / "run").exists()


def test_the_plan_needs_no_model(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(recipe), "--set", "general.rows=2_000", "--dry-run"]) == 0
    stdout = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "2,000 demonstrations of" in stdout and "as many samples as general will write" in stdout
