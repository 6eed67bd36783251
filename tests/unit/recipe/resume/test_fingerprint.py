"""What makes a stage another one: its table, seed, threads, files, models, the stages before it. And what does not."""

import inspect
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from dianoia.base.files import write_json
from dianoia.config import EndpointSettings, path_of
from dianoia.recipe import load_recipe
from dianoia.recipe.graph import (
    datasets,
    functions,
    general_models,
    other_inputs,
    problem_sets,
    reward_models,
    sources,
)
from dianoia.recipe.load import KINDS
from dianoia.recipe.resume import fingerprint as module
from dianoia.recipe.resume.fingerprint import (
    COST_KEYS,
    Fingerprint,
    differences,
    fingerprint,
    fingerprint_record,
    flatten,
    record_hash,
    recorded_fingerprint,
)
from dianoia.storage.run_directory import RunDirectory
from tests.unit.recipe.conftest import TEXT

Write = Callable[..., Path]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run directory in which `base` has begun."""
    directory = RunDirectory(tmp_path / "run")
    write_json(directory.stage("base").begun, {"hash": "of-base"})
    return directory


def fingerprint_of(
    path: Path, run: RunDirectory, *overrides: str, name: str = "zero"
) -> Fingerprint:
    return fingerprint(name, load_recipe(path, overrides), run)


def reasons_of(
    path: Path, run: RunDirectory, before: Fingerprint, *overrides: str, name: str = "zero"
) -> list[str]:
    recipe = load_recipe(path, overrides)
    written_keys = recipe.stages[name].model_dump(mode="json", exclude_defaults=True)
    return differences(before, fingerprint(name, recipe, run), written_keys)


# The table, the seed -------------------------------------------------------------------------------


def test_nothing_changes_by_itself(write: Write, run: RunDirectory) -> None:
    before = fingerprint_of(write(), run)
    assert reasons_of(write(), run, before) == []
    assert reasons_of(write(TEXT.replace('"tiny"', '"other"')), run, before) == []
    assert reasons_of(write(), run, before, "evaluation.limit=3", "base.tokens=9") == []


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["zero.steps=20"], "its configuration changed (steps: 6 -> 20)"),
        (
            ["zero.algorithm.name=dapo", "zero.sampling.top_p=0.5"],
            "its configuration changed (sampling.top_p: 1.0 -> 0.5, algorithm.name: grpo -> dapo)",
        ),
        (
            ["zero.sampling.longer=[{from_step=2, max_tokens=32}]"],
            "its configuration changed (sampling.longer.0.from_step: absent -> 2, "
            "sampling.longer.0.max_tokens: absent -> 32)",
        ),
        (
            ["zero.progress.every=3", "zero.progress.problems=3", "zero.progress.samples=3",
             "zero.progress.rollouts_every=3", "zero.progress.top_p=0.3"],
            " and 2 more)",
        ),
        (["seed=2"], "the seed changed (1 -> 2)"),
        (["threads=3"], "the threads changed (0 -> 3)"),
    ],
)  # fmt: skip
def test_what_has_changed_is_said(
    overrides: list[str], reason: str, write: Write, run: RunDirectory
) -> None:
    (result,) = reasons_of(write(), run, fingerprint_of(write(), run), *overrides)
    assert result == reason or (reason.startswith(" and") and result.endswith(reason))


def test_what_only_costs_does_not_count(write: Write, run: RunDirectory) -> None:
    before = fingerprint_of(write(), run)
    assert reasons_of(write(), run, before, "zero.checkpoint_every=7") == []


def test_where_servers_are_does_not_count_and_who_draws_does(
    write: Write, run: RunDirectory
) -> None:
    capped = ["zero.algorithm.importance_cap=2.0"]
    here = ['zero.rollouts.engine="vllm"', 'zero.rollouts.servers=["http://a:1"]', *capped]
    before = fingerprint_of(write(), run, *here)
    there = [here[0], 'zero.rollouts.servers=["http://b:1","http://c:1"]', *capped]
    quick = ["zero.rollouts.concurrency=9", "zero.rollouts.patience=1.0"]
    assert reasons_of(write(), run, before, *there, *quick) == []
    (reason,) = reasons_of(write(), run, before, *capped)
    assert "rollouts.engine: vllm -> native" in reason
    (reason,) = reasons_of(write(), run, before, *here, "zero.rollouts.staleness=1")
    assert "rollouts.staleness: 0 -> 1" in reason


def test_the_keys_that_only_cost_exist_and_mean_nothing_else() -> None:
    """A key of these names in another table would silently not count."""
    tables_of = {key: set() for key in COST_KEYS}  # type: ignore[var-annotated]
    for model in KINDS.values():
        for key in flatten(_schema(model)):
            last = key.rpartition(".")[2]
            if last in COST_KEYS:
                table = key.rpartition(".")[0]
                tables_of[last].add(table.rpartition(".")[2])
    # "": the stage's own table
    assert tables_of.pop("checkpoint_every") == {""}
    assert tables_of.pop("cache_share") == {"", "sampling"}
    assert set(tables_of) <= set(EndpointSettings.model_fields)
    assert all(
        tables <= {"judge", "rewriter", "rollouts"} and tables for tables in tables_of.values()
    ), tables_of


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """Every key of a table, the tables inside it too."""
    result: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        inner = list(_models(field.annotation))
        result[name] = {k: v for m in inner for k, v in _schema(m).items()} if inner else None
    return result


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def test_a_new_key_with_its_default_does_not_count(write: Write, run: RunDirectory) -> None:
    """A newer version goes on with what an older one began, but not where its new key is used."""
    now = fingerprint_of(write(), run)
    older = dict(now.configuration)
    del older["checkpoint_every"], older["template"]
    before = Fingerprint(now.seed, now.threads, older, now.stages, now.files)
    assert reasons_of(write(), run, before) == []
    (result,) = reasons_of(write(), run, before, "zero.template=plain")
    assert result == "its configuration changed (template: absent -> plain)"


# Stages, files, models -----------------------------------------------------------------------------


def test_a_template_counts_for_the_stages_that_use_it(write: Write, run: RunDirectory) -> None:
    own = '[templates.mine]\nprompt = "Q: {question}"\n'
    path = write(
        TEXT.replace(
            'problems = "miniature/math"', 'problems = "miniature/math"\ntemplate = "mine"', 1
        )
        + own
    )
    before = fingerprint_of(path, run)
    assert reasons_of(path, run, before) == []
    (reason,) = reasons_of(path, run, before, "templates.mine.prompt=A: {question}")
    assert "templates.mine.prompt: Q: {question} -> A: {question}" in reason
    # The evaluation has another template.
    evaluation = fingerprint_of(path, run, name="evaluation")
    assert "templates" not in evaluation.configuration


def test_a_stage_that_was_run_again_is_another_one(write: Write, run: RunDirectory) -> None:
    before = fingerprint_of(write(), run)
    assert before.stages == {"base": "of-base"}
    write_json(run.stage("base").begun, {"hash": "of-another"})
    assert reasons_of(write(), run, before) == ["base was run again"]
    run.stage("base").begun.unlink()
    assert reasons_of(write(), run, before) == ["base is run again"]


def test_the_record_of_a_beginning(write: Write, run: RunDirectory) -> None:
    now = fingerprint_of(write(), run)
    early, late = fingerprint_record(now, "9 o'clock"), fingerprint_record(now, "10 o'clock")
    assert early["hash"] != late["hash"], "two runs of one configuration are two"
    assert early == fingerprint_record(now, "9 o'clock")
    write_json(run.stage("zero").begun, early)
    assert (
        record_hash(run.stage("zero")) == early["hash"]
        and recorded_fingerprint(run.stage("zero")) == now
    )
    write_json(run.stage("zero").manifest, late | {"seconds": 1.0})
    assert record_hash(run.stage("zero")) == late["hash"], "the manifest counts if there is one"
    write_json(run.stage("zero").manifest, {"seconds": 1.0})
    assert (
        recorded_fingerprint(run.stage("zero")) is None and record_hash(run.stage("zero")) is None
    )


def problems(path: Path, count: int) -> Path:
    rows = [{"question": f"{n}+1?", "answer": str(n + 1)} for n in range(count)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_a_file_counts_by_its_content(write: Write, run: RunDirectory, tmp_path: Path) -> None:
    file = problems(tmp_path / "problems.jsonl", 40)
    option = f"zero.problems={file}"
    before = fingerprint_of(write(), run, option)
    os.utime(file, (1, 1))
    assert reasons_of(write(), run, before, option) == []
    problems(file, 41)
    assert reasons_of(write(), run, before, option) == [f"the file {file} changed"]
    file.unlink()
    assert reasons_of(write(), run, before, option) == [f"the file {file} changed"]
    (result,) = reasons_of(write(), run, before)  # another path: its table says so, once
    assert result.startswith("its configuration changed (problems: ")


def test_a_model_folder_counts_by_its_files(
    write: Write, run: RunDirectory, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    option = f"zero.start={folder}"
    before = fingerprint_of(write(), run, option)
    assert f"{folder}/config.json" in before.files and f"{folder}/model.safetensors" in before.files
    weights = folder / "model.safetensors"
    os.utime(weights, (1, 1))
    (folder / "README.md").write_text("read me")
    assert reasons_of(write(), run, before, option) == []
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert reasons_of(write(), run, before, option) == [f"the file {weights} changed"]
    (folder / "tokenizer.json").write_text("{}")
    assert f"the file {folder}/tokenizer.json changed" in reasons_of(write(), run, before, option)
    monkeypatch.setattr(module, "LARGE", 1000)
    large = fingerprint_of(write(), run, option)
    os.utime(weights, (2, 2))
    assert reasons_of(write(), run, large, option) == [f"the file {weights} changed"]


def test_a_shipped_model_counts_by_content_always(
    write: Write, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGE", 0)
    result = fingerprint_of(write(), run, "zero.start=miniature-base")
    assert "sha256" in result.files["miniature-base/model.safetensors"]
    assert result.stages == {}


# What a stage reads --------------------------------------------------------------------------------

PLAIN = frozenset(
    {"template", "completion_template", "source", "url", "model", "key_env", "arguments", "config", "split", "mapping",
      "columns", "verifier", "domain", "language", "corpus", "judge", "rewriter", "targets", "wording",
      "servers", "python", "command", "devices", "environment", "weights"}
)  # fmt: skip
"""Keys with texts that name nothing outside of the recipe. A new key stands here or in `model.reads`."""


def _texts(model: type[BaseModel]) -> Iterator[str]:
    """Keys that take any text at all."""
    for name, field in model.model_fields.items():
        if str in _leaves(field.annotation):
            yield name
        for inner in _models(field.annotation):
            yield from _texts(inner)


def _leaves(annotation: Any) -> list[Any]:
    arguments = get_args(annotation)
    return (
        [leaf for argument in arguments for leaf in _leaves(argument)]
        if arguments
        else [annotation]
    )


def test_every_text_of_a_table_is_read_or_plain() -> None:
    """Everything that a stage reads from outside has to be in its fingerprint."""
    readers = (
        sources, datasets, reward_models, general_models, functions, other_inputs, problem_sets, path_of,
    )  # fmt: skip
    source = "".join(inspect.getsource(function) for function in readers)
    texts = {name for model in KINDS.values() for name in _texts(model)}
    assert {"start", "problems", "path", *PLAIN} <= texts
    unknown = {name for name in texts - PLAIN if f".{name}" not in source}
    assert not unknown, f"does a stage read {unknown}? Then name them in recipe/graph.py, else here"
