"""`dianoia evaluate` as a person types it: side by side, resumed, as JSON, and the same as the stage."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dianoia.cli import main
from dianoia.sampler.rollouts import RolloutSampler
from dianoia.stages import evaluate as stage
from dianoia.storage.run_directory import RunDirectory
from dianoia.tasks.catalog import problem_source

OPTIONS = ["--samples", "2", "--max-tokens", "100", "--slots", "8"]
MODEL = "miniature-base"


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Problems of the miniature in the form of AIME's: a base model solves one now and then."""
    solved = (
        "en:50-35*3-44+38-3",
        "zh:63-18+10*2",
        "en:138+47*2/2-66+67+25-90",
        "en:74-19+39/2-18",
        "en:31+2-21+40-10",
        "zh:44/2-14",
    )
    members = [p for p in problem_source("miniature/math").heldout(60) if p.id in solved]
    rows = [{"problem": problem.question, "answer": problem.answer} for problem in members]
    file = tmp_path_factory.mktemp("problems") / "sums.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, problems: Path) -> Path:
    """The run directory of two models on a benchmark; for reading only."""
    out = tmp_path_factory.mktemp("evaluation") / "out"
    assert (
        main(["evaluate", MODEL, str(tiny_base), *_on(problems), *OPTIONS, "--out", str(out)]) == 0
    )
    return out


def _on(problems: Path) -> list[str]:
    return ["--on", f"aime24={problems}", "--limit", "6"]


def _rows(out: Path, name: str) -> list[dict[str, Any]]:
    (file,) = RunDirectory(out).stage(name).rollout_files()
    rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return rows


def test_the_table_and_its_json_are_what_was_measured(
    whole: Path, tiny_base: Path, problems: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", MODEL, str(tiny_base), *_on(problems), *OPTIONS, "--out", str(whole)]
    # All of it is done: the same command prints it again.
    assert main(command) == 0
    out = capsys.readouterr().out
    assert all(len(line) <= 80 for line in out.splitlines() if str(whole) not in line), out
    assert "aime24, in per cent: 6 problems, 2 samples each, temperature 0.6, top-p 0.95" in out
    assert f"less {MODEL}, problem by problem:" in out
    assert "aime24: these are 6 problems" not in out, "so many were asked for"
    assert main([*command, "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    for target in table["targets"]:
        for model in target["models"]:
            stage_name = model["stage"]
            evaluation = json.loads(RunDirectory(whole).stage(stage_name).evaluation.read_text())
            ((_, domains),) = evaluation["evaluations"].items()
            if len(domains) == 1:
                ((_, metrics),) = domains.items()
                for metric in ("pass@1", "cons@2", "pass@2", "format", "truncated"):
                    assert model["estimates"][metric] == metrics[metric]
            value = 100 * model["estimates"]["pass@1"]["value"]
            title = MODEL if model["model"] == MODEL else "run:base"
            assert re.search(rf"{title}\s+{value:.1f} \[", out)
            grades = [row["accuracy"] for row in _rows(whole, stage_name)]
            assert model["estimates"]["pass@1"]["value"] == pytest.approx(sum(grades) / len(grades))
        means = [model["estimates"]["pass@1"]["value"] for model in target["models"]]
        assert means[0] > 0, "a table of zeros would prove little"
        (difference,) = target["differences"]
        assert difference["less"] == MODEL
        assert difference["pass@1"]["value"] == pytest.approx(means[1] - means[0])


def test_a_recipe_with_the_same_tables_gives_the_same_rollouts(whole: Path, tmp_path: Path) -> None:
    recipe = whole / "evaluate.toml"
    only = "aime24--miniature-base"
    assert main(["run", str(recipe), "--only", only, "--out", str(tmp_path / "run")]) == 0
    assert _rows(tmp_path / "run", only) == _rows(whole, only)
    assert main(["report", str(whole)]) == 0


def test_models_get_the_same_draws(whole: Path) -> None:
    first, second = (_rows(whole, f"aime24--{name}") for name in (MODEL, "base"))
    key: Callable[[dict[str, Any]], tuple[Any, Any]] = lambda row: (row["problem"], row["sample"])  # noqa: E731
    assert list(map(key, first)) == list(map(key, second))


def test_killed_in_the_middle_it_goes_on(
    whole: Path, problems: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "EVALUATED_AT_ONCE", 2)
    sampled: list[int] = []
    sample, write = RolloutSampler.__call__, stage.write_completions

    def counted(self: RolloutSampler, batch: Any, *arguments: Any, **named: Any) -> Any:
        sampled.append(len(batch))
        return sample(self, batch, *arguments, **named)

    def killed(path: Path, completions: Any) -> None:
        if len(sampled) == 3:
            raise KeyboardInterrupt
        write(path, completions)

    monkeypatch.setattr(RolloutSampler, "__call__", counted)
    monkeypatch.setattr(stage, "write_completions", killed)
    command = [
        "evaluate",
        MODEL,
        "--on",
        f"aime24={problems}",
        "--limit",
        "6",
        *OPTIONS,
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(command) == 130
    assert sampled == [2, 2, 2]
    sampled.clear()
    monkeypatch.setattr(stage, "write_completions", write)
    assert main(command) == 0
    assert sampled == [2], "what was written is not sampled again"
    name = f"aime24--{MODEL}"
    assert _rows(tmp_path / "out", name) == _rows(whole, name)
    assert not RunDirectory(tmp_path / "out").stage(name).state.exists()


def test_other_models_in_the_same_folder_leave_what_is_done_alone(
    whole: Path, problems: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifests = [RunDirectory(whole).stage(f"aime24--{name}").manifest for name in (MODEL, "base")]
    before = [manifest.read_bytes() for manifest in manifests]
    turned = ["evaluate", str(tiny_base), MODEL, *_on(problems), *OPTIONS, "--out", str(whole)]
    assert main(turned) == 0
    assert [manifest.read_bytes() for manifest in manifests] == before
    assert f"less run:base, problem by problem:\n{MODEL}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-model", "--on", "miniature/math"], "no-such-model: there is no such model"),
        ([MODEL, MODEL, "--on", "miniature/math"], "this model is named twice"),
        (
            [MODEL, "--on", "miniature/math", "--limit", "2", "--max-tokens", "5000"],
            "has 1,024 positions",
        ),
        ([MODEL, "--on", "miniature/math", "--template", "r2"], "there is no such template"),
        (
            [
                MODEL,
                "--on",
                "miniature/math",
                "--temperature",
                "0",
                "--samples",
                "4",
                "--limit",
                "2",
            ],
            "samples",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_work(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "stages").exists()
