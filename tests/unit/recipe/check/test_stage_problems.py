"""`[data]` tables: named by stages, checked before a run, part of what a stage is made from."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError, ProblemFileError
from dianoia.config import DataSettings, FileSettings
from dianoia.recipe import load_recipe
from dianoia.recipe.check.inputs import check_inputs
from dianoia.recipe.check.missing_inputs import missing_files, missing_inputs
from dianoia.recipe.graph import Recipe, other_inputs
from dianoia.recipe.resume.fingerprint import differences, fingerprint
from dianoia.storage.run_directory import RunDirectory
from dianoia.tasks import catalog
from dianoia.tasks.data import large_files as large
from dianoia.tasks.data import locations as places
from tests.unit.recipe.conftest import TEXT, plan_text

Write = Callable[..., Path]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Training problems under strange names, and a test."""
    rows = [{"task": f"What is {n} + 1?", "gold": n + 1} for n in range(60)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    test = {"question": "What is 7 + 1?", "answer": "8"}
    (tmp_path / "test.jsonl").write_text(json.dumps(test), encoding="utf-8")
    return tmp_path


def text(files: Path, extra: str = "") -> str:
    tables = f"""
[data.mine]
path = "{(files / "train.jsonl").as_posix()}"
columns = {{ question = "task", answer = "gold" }}
decontaminate = ["tests"]
{extra}
[data.tests]
path = "{(files / "test.jsonl").as_posix()}"
"""
    before, after = TEXT.split('problems = "miniature/math"\nsteps')
    return f'{before}problems = "mine"\nsteps{after}{tables}'


@pytest.fixture
def recipe(write: Write, files: Path) -> Recipe:
    return load_recipe(write(text(files)))


def test_a_table_takes_the_place_of_its_name(recipe: Recipe, files: Path) -> None:
    stage = recipe.stages["zero"]
    problems = stage.problems  # type: ignore[union-attr]
    assert isinstance(problems, DataSettings) and str(problems) == f"{files}/train.jsonl"
    (tests,) = problems.decontaminate
    assert type(tests) is FileSettings and tests.path == f"{files}/test.jsonl"
    assert other_inputs(stage) == [f"{files}/train.jsonl", f"{files}/test.jsonl"]
    check_inputs(recipe)


def test_a_table_may_stand_in_the_stage(write: Write, files: Path) -> None:
    table = f'[stages.evaluation.problems]\npath = "{files}/test.jsonl"'
    before, after = TEXT.rsplit('problems = "miniature/math"\n', 1)
    whole = load_recipe(write(f"{before}whole_file = true\n{after}{table}"))
    assert other_inputs(whole.stages["evaluation"]) == [f"{files}/test.jsonl"]
    check_inputs(whole)


@pytest.mark.parametrize(
    ("extra", "parts"),
    [
        ("verifer = 'number'", ["data.mine.verifer", "unknown key", "did you mean 'verifier'"]),
        ("heldout_share = 2", ["data.mine.heldout_share", "less than or equal to 1"]),
        ("language = 'English'", ["data.mine.language", "value 'English'"]),
        ("[data.other]\npath = 'a.jsonl'", ["data.other: no stage names this table"]),
    ],
)
def test_what_is_wrong_with_a_table(
    write: Write, files: Path, extra: str, parts: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(text(files, extra)))
    assert all(part in str(caught.value) for part in parts), caught.value


def test_overrides_reach_a_table(write: Write, files: Path) -> None:
    path = write(text(files))
    changed = load_recipe(path, ["data.mine.heldout_share=0.5", "data.mine.domain=sums"])
    problems = changed.stages["zero"].problems  # type: ignore[union-attr]
    assert isinstance(problems, DataSettings)
    assert (problems.heldout_share, problems.domain) == (0.5, "sums")
    with pytest.raises(ConfigError, match=r"--set data.mine.colums=1: unknown key.*'columns'"):
        load_recipe(path, ["data.mine.colums=1"])


def test_a_refusal_names_stage_and_row(write: Write, files: Path) -> None:
    broken = text(files).replace('answer = "gold"', 'answer = "golds"')
    with pytest.raises(ProblemFileError, match=r"train.jsonl, row 1, column 'golds'"):
        check_inputs(load_recipe(write(broken)))
    wrong = text(files, 'mapping = "gsm"')
    with pytest.raises(ConfigError, match=r"stages.zero.problems = .*mapping = 'gsm'"):
        check_inputs(load_recipe(write(wrong)))


def test_a_stage_is_another_one_with_another_table(write: Write, files: Path) -> None:
    run = RunDirectory(files / "run")
    start = "zero.start=miniature-base"
    before = fingerprint("zero", load_recipe(write(text(files)), [start]), run)

    def reasons(recipe: Recipe) -> list[str]:
        written_keys = recipe.stages["zero"].model_dump(mode="json", exclude_defaults=True)
        return differences(before, fingerprint("zero", recipe, run), written_keys)

    assert reasons(load_recipe(write(text(files)), [start])) == []
    (reason,) = reasons(load_recipe(write(text(files, 'domain = "sums"')), [start]))
    assert "problems.domain: None -> sums" in reason or "problems.domain: null -> sums" in reason
    (files / "test.jsonl").write_text('{"question": "1+1?", "answer": "2"}')
    assert reasons(load_recipe(write(text(files)), [start])) == [
        f"the file {files}/test.jsonl changed"
    ]


def test_a_folder_counts_by_its_files(write: Write, files: Path) -> None:
    folder = files / "set"
    folder.mkdir()
    (files / "train.jsonl").rename(folder / "train.jsonl")
    recipe_with_folder = load_recipe(write(text(files).replace("/train.jsonl", "/set")))
    fingerprinted = fingerprint("zero", recipe_with_folder, RunDirectory(files / "run")).files
    assert (
        "sha256" in fingerprinted[f"{folder}/train.jsonl"]
        and f"{files}/test.jsonl" in fingerprinted
    )


def test_a_plan_tells_the_set_in_numbers(recipe: Recipe) -> None:
    printed = " ".join(plan_text(recipe).split())
    assert "Problems read from files." in printed
    assert "train.jsonl: " in printed and "held out, of 60 rows. Domains: math 100.0%." in printed
    assert "share words with a test" in printed


def test_a_plan_goes_without_data_that_cannot_be_fetched(
    write: Write, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    places._from_hub.cache_clear()
    hub = load_recipe(write(TEXT.replace('"miniature/math"\nsteps', '"openai/gsm8k"\nsteps')))
    assert missing_files(hub.stages["zero"], hub) == ["openai/gsm8k"]
    check_inputs(hub, planned=True)
    (missing,) = missing_inputs(hub)
    assert "openai/gsm8k" in missing and "pip install 'dianoia-r1[data]'" in missing
    with pytest.raises(
        ConfigError, match=r"stages.zero.problems = 'openai/gsm8k'.*dianoia-r1\[data\]"
    ):
        check_inputs(hub)


def test_a_large_file_is_checked_where_the_run_will_draw(
    write: Write, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "LARGE", 0)
    monkeypatch.setattr(large, "FIRST", 4)
    catalog._files_source.cache_clear()
    rows = [{"task": f"What is {n} + 1?", "gold": n + 1} for n in range(60)]
    rows[10]["gold"] = "many"
    (files / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(ProblemFileError, match=r"row 11, column 'gold'|row 11, column 'answer'"):
        check_inputs(load_recipe(write(text(files)), ["zero.steps=40"]))
