"""Recipes and overrides: typed values, and mistakes named as the user typed them."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dianoia.base.errors import ConfigError
from dianoia.recipe import Recipe, load_recipe
from dianoia.recipe.graph import result_names
from tests.unit.recipe.conftest import TEXT

Write = Callable[..., Path]


def value(recipe: Recipe, key: str) -> Any:
    part_value: Any = recipe.model_dump()
    for part in key.split("."):
        part_value = part_value[part]
    return part_value


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_recipe(path, overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "key", "expected"),
    [
        ("zero.group_size=8", "stages.zero.group_size", 8),
        ("stages.zero.group_size=8", "stages.zero.group_size", 8),
        (" zero.group_size = 8 ", "stages.zero.group_size", 8),
        ("zero.steps=1_000", "stages.zero.steps", 1000),
        ("zero.optimizer.learning_rate=3e-6", "stages.zero.optimizer.learning_rate", 3e-6),
        ("zero.optimizer.learning_rate=1", "stages.zero.optimizer.learning_rate", 1.0),
        ("zero.sampling.top_p=0.5", "stages.zero.sampling.top_p", 0.5),
        ("zero.algorithm.mask_truncated=true", "stages.zero.algorithm.mask_truncated", True),
        ("zero.algorithm.name=dr_grpo", "stages.zero.algorithm.name", "dr_grpo"),
        ('zero.algorithm.name="dapo"', "stages.zero.algorithm.name", "dapo"),
        ("zero.start=Qwen/Qwen3-0.6B-Base", "stages.zero.start", "Qwen/Qwen3-0.6B-Base"),
        ("zero.start=./a folder", "stages.zero.start", "./a folder"),
        ('evaluation.checkpoints=["zero"]', "stages.evaluation.checkpoints", ["zero"]),
        (
            "zero.sampling.longer=[{from_step=2, max_tokens=32}]",
            "stages.zero.sampling.longer",
            [{"from_step": 2, "max_tokens": 32}],
        ),
        ("seed=5", "seed", 5),
        ("description=what = this", "description", "what = this"),
        ("zero.progress.every=3", "stages.zero.progress.every", 3),
    ],
)
def test_overrides_are_typed(override: str, key: str, expected: Any, write: Write) -> None:
    part_value = value(load_recipe(write(), [override]), key)
    assert part_value == expected and type(part_value) is type(expected)
    assert value(load_recipe(write()), key) != expected, "the override changed something"


def test_the_last_override_wins_and_the_rest_stays(write: Write) -> None:
    recipe = load_recipe(write(), ["zero.steps=2", "zero.group_size=6", "zero.steps=8"])
    assert (value(recipe, "stages.zero.steps"), value(recipe, "stages.zero.group_size")) == (8, 6)
    before, after = load_recipe(write()).model_dump(), recipe.model_dump()
    for dump in (before, after):
        del dump["stages"]["zero"]["steps"], dump["stages"]["zero"]["group_size"]
    assert before == after


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("zero.steps=2.0", ["--set zero.steps=2.0", "2.0", "integer"]),
        ("zero.steps=true", ["--set zero.steps=true", "True", "integer"]),
        ('zero.steps="4"', ['--set zero.steps="4"', "'4'", "integer"]),
        ("zero.start=5", ["--set zero.start=5", "5", "string"]),
        ("zero.algorithm.mask_truncated=1", ["mask_truncated=1", "boolean"]),
        ("zero.sampling.top_p=nan", ["top_p=nan", "finite number"]),
        ("zero.sampling.topp=0.5", ["topp=0.5", "unknown key", "did you mean 'top_p'"]),
        ("zero.algorithm.name=grop", ["name=grop", "'grop'", "grpo"]),
        ("evaluation.checkpoints=zero", ["checkpoints=zero", "list"]),
        ("zero.steps", ["--set zero.steps", "expected stage.key=value"]),
        ("=4", ["--set =4", "expected stage.key=value"]),
        ("zero..steps=4", ["--set zero..steps=4", "expected stage.key=value"]),
        ("zeor.steps=4", ["no stage 'zeor'", "did you mean 'zero'", "base, zero, evaluation"]),
        ("zero.steps.more=4", ["--set zero.steps.more=4", "'steps' is a value"]),
        ("sed=4", ["--set sed=4", "unknown key", "did you mean 'seed'"]),
        ("seed=-1", ["--set seed=-1", "greater than or equal to 0"]),
        ("zero=4", ["--set zero=4", "4"]),
        ("stages=4", ["--set stages=4", "4"]),
        (
            "zero.sampling.longer=[{from_stp=2, max_tokens=32}]",
            ["unknown key", "did you mean 'from_step'"],
        ),
    ],
)
def test_a_mistake_is_named_as_it_was_typed(override: str, parts: list[str], write: Write) -> None:
    message = refusal(write(), override)
    for part in parts:
        assert part in message, message


@pytest.mark.parametrize(
    ("before", "after", "parts"),
    [
        ("steps = 6", "stepz = 6", ["stages.zero.stepz", "'steps'", "required"]),
        ("steps = 6", "steps = 6.5", ["stages.zero.steps", "6.5"]),
        ('kind = "rl"', 'kind = "lr"', ["stages.zero", "'lr'", "did you mean 'rl'"]),
        ('kind = "rl"', "", ["stages.zero", "pretrain, rl"]),
        ('name = "tiny"', 'name = "Tiny Zero"', ["name", "Tiny Zero"]),
        ('name = "tiny"', 'name = "tiny"\nseeds = 3', ["seeds", "'seed'"]),
        ("heads = 4", "heads = 3", ["heads = 3", "kv_heads = 2"]),
        ("[stages.zero]", "[stages.zero", ["not TOML", "line"]),
        (
            'start = "base"',
            'start = "evaluation"',
            ["stages.zero uses stages.evaluation", "move it"],
        ),
        ('start = "base"', 'start = "zero"', ["stages.zero uses stages.zero", "or is itself"]),
    ],
)
def test_a_mistake_in_the_file_names_file_key_and_value(
    before: str, after: str, parts: list[str], write: Write
) -> None:
    assert TEXT.count(before) >= 1
    path = write(TEXT.replace(before, after, 1))
    message = refusal(path)
    assert message.startswith(str(path))
    for part in parts:
        assert part in message, message


def test_a_checkpoint_is_evaluated_once_on_each_set_of_problems(write: Write) -> None:
    again = TEXT.split("[stages.evaluation]")[1].replace('["base", "zero"]', '["zero"]')
    message = refusal(write(f"{TEXT}[stages.again]{again}"))
    assert "'zero' is evaluated twice on problems = 'miniature/math'" in message
    assert "stages.evaluation and stages.again" in message
    other = again.replace("miniature/math", "miniature/all")
    assert set(load_recipe(write(f"{TEXT}[stages.again]{other}")).stages) >= {"evaluation", "again"}
    recipe = load_recipe(write(f'{TEXT}[stages.again]{again}template = "plain"\n'))
    assert result_names("evaluation", recipe.stages) == {"base": "base", "zero": "zero"}
    assert result_names("again", recipe.stages) == {"zero": "zero under plain"}


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["gae_lambda=0.95"], ["gae_lambda = 0.95", 'name = "grpo"', 'name = "ppo"']),
        (["gamma=0.9", "name=dapo"], ["gamma = 0.9", 'name = "dapo"', "a value model"]),
        (["whiten_advantages=false"], ["whiten_advantages = false"]),
        (["value_learning_rate=1e-4"], ["value_learning_rate = 0.0001"]),
        (["value_clip=0.2"], ["value_clip = 0.2", "remove value_clip"]),
        (["kl_in=reward"], ['kl_in = "reward"', "nothing would read it"]),
        (["name=ppo", "std_epsilon=1e-4"], ["std_epsilon = 0.0001", "relative to the group"]),
        (["name=ppo", "dynamic_sampling=true"], ["dynamic_sampling = true", "such as grpo"]),
        (["name=ppo", "dynamic_rounds=2"], ["dynamic_rounds = 2"]),
        (
            ["name=ppo", "kl_in=reward", "kl_estimator=k3_corrected"],
            ['kl_estimator = "k3_corrected"', 'kl_in = "reward"', "remove one"],
        ),
        (["name=ppo", "gae_lambda=1.5"], ["gae_lambda=1.5", "less than or equal to 1"]),
    ],
)
def test_what_an_algorithm_would_not_read_is_refused(
    overrides: list[str], parts: list[str], write: Write
) -> None:
    message = refusal(write(), *(f"zero.algorithm.{override}" for override in overrides))
    for part in ("tiny.toml", "zero.algorithm", *parts):
        assert part in message, message


def test_ppo_needs_no_group(write: Write) -> None:
    options = ["zero.algorithm.name=ppo", "zero.algorithm.gae_lambda=0.95", "zero.group_size=1"]
    assert value(load_recipe(write(), options), "stages.zero.group_size") == 1
    assert "group_size = 1" in refusal(write(), "zero.group_size=1")


def test_a_resolved_recipe_can_be_read_again(write: Write) -> None:
    for name in ("grpo", "ppo"):
        recipe = load_recipe(write(), [f"zero.algorithm.name={name}"])
        assert type(recipe).model_validate(recipe.model_dump()) == recipe


def test_every_mistake_is_named_at_once(write: Write) -> None:
    message = refusal(write(), "zero.steps=x", "zero.sampling.top_p=2", "evaluation.limt=3")
    for part in ("zero.steps=x", "zero.sampling.top_p=2", "evaluation.limt=3"):
        assert f"--set {part}" in message
    assert len(message.splitlines()) == 4


def test_a_recipe_that_is_not_there(write: Write, tmp_path: Path) -> None:
    write()
    assert "did you mean 'tiny.toml'" in refusal(tmp_path / "tinny.toml")
    assert "this is a folder" in refusal(tmp_path)
    assert "no such recipe" in refusal(tmp_path / "nowhere" / "a.toml")


def test_a_recipe_without_stages(write: Write) -> None:
    assert "stages" in refusal(write('name = "a"'))
    assert "stages" in refusal(write('name = "a"\n[stages]'))
    assert "no stage 'zero'" in refusal(write('name = "a"'), "zero.steps=4")


def test_a_recipe_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes('name = "caf\xe9"'.encode("latin-1"))
    assert str(path) in refusal(path)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_byte_order_mark_is_read(ending: str, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(("\ufeff" + TEXT.replace("\n", ending)).encode())
    plain = tmp_path / "b.toml"
    plain.write_text(TEXT)
    assert load_recipe(path) == load_recipe(plain)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (TEXT.encode("utf-16"), "UTF-16"),
        (gzip.compress(TEXT.encode()), "gzip"),
        (b"\xff", "UTF-8"),
        (b"seed = " + b"7" * 5000, "not TOML"),
        (b"a = " + b"[" * 5000, "not TOML"),
        (b"\0", "not TOML"),
    ],
)
def test_a_file_that_is_no_recipe(content: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    assert str(path) in refusal(path) and why in refusal(path)


JUDGED = (
    TEXT.replace("[stages.evaluation]", "[stages.zero.rewards.judge]\nmodel = 'm'\nurl = 'http://h/v1'\n[stages.evaluation]")
)  # fmt: skip


@pytest.mark.parametrize(
    "override",
    [
        "zero.rewards.judge.api_key=sk-hidden",
        "zero.rewards.judge.key=sk-hidden",
        "zero.rewards.judge.token=sk-hidden",
        "zero.rewards.judge.password=sk-hidden",
        "zero.rewards.judge.url=http://me:sk-hidden@host/v1",
        "zero.rewards.judge.url=http://host/v1?key=sk-hidden",
        "zero.rewards.judge.url=ftp://sk-hidden@host/v1",
    ],
)
def test_a_secret_is_not_shown(override: str, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(JUDGED)
    load_recipe(path)
    message = refusal(path, override)
    assert "hidden" not in message and "zero.rewards.judge" in message
    key, _, value = override.rpartition(".")[2].partition("=")
    again = tmp_path / "b.toml"
    again.write_text(
        JUDGED.replace(
            "url = 'http://h/v1'",
            f"url = '{value}'" if key == "url" else f"url = 'http://h/v1'\n{key} = '{value}'",
        )
    )
    assert "hidden" not in refusal(again)


def test_what_a_path_is_instead_of_a_recipe(write: Write, tmp_path: Path) -> None:
    write()
    assert "folder" in refusal(tmp_path) and ".toml" in refusal(tmp_path)
    (tmp_path / "link.toml").symlink_to(tmp_path / "gone.toml")
    message = refusal(tmp_path / "link.toml")
    assert "which does not exist" in message and "gone.toml" in message
    (tmp_path / "dir.toml").mkdir()
    assert "folder" in refusal(tmp_path / "dir.toml")
    os.mkfifo(tmp_path / "pipe.toml")
    assert "a pipe" in refusal(tmp_path / "pipe.toml")
    (tmp_path / "circle.toml").symlink_to(tmp_path / "circle.toml")
    assert "fix the link" in refusal(tmp_path / "circle.toml")


def test_stages_that_are_no_table(write: Write) -> None:
    assert "stages" in refusal(write('name = "a"\nstages = 3'), "zero.steps=4")


def test_a_loaded_recipe_cannot_be_changed(write: Write) -> None:
    recipe = load_recipe(write())
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 2  # type: ignore[misc]
    assert list(recipe.stages) == ["base", "zero", "evaluation"]
