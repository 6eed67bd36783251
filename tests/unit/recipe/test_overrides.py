"""Values behind `--set`: read as their keys take them where that is plain, refused with what to write where not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dianoia.base.errors import ConfigError
from dianoia.recipe.check.number_ranges import impossible_numbers, unusual_numbers
from dianoia.recipe.load import load_recipe

Write = Callable[..., Path]
ROOT = Path(__file__).parents[3]


def value(recipe: object, key: str) -> Any:
    for part in key.split("."):
        recipe = recipe[part] if isinstance(recipe, dict) else getattr(recipe, part)
    return recipe


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_recipe(path, overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("zero.optimizer.learning_rate=.000001", 1e-6),
        ("zero.optimizer.learning_rate=1.e-6", 1e-6),
        ("zero.optimizer.learning_rate=+.5e-3", 5e-4),
        ("zero.sampling.top_p=1.", 1.0),
        ("zero.steps=1e3", 1000),
        ("zero.steps=1E2", 100),
        ("zero.steps=1.2e1", 12),
        ("zero.steps=0012", 12),
        ("stages.zero.steps=1e1", 10),
        ("seed=1e3", 1000),
        ("zero.recompute=True", True),
        ("zero.recompute=FALSE", False),
        ("zero.recompute=yes", True),
        ("zero.algorithm.importance_cap=none", None),
        ("zero.algorithm.importance_cap=.5e1", 5.0),
    ],
)
def test_what_is_plain_is_read(override: str, expected: object, write: Write) -> None:
    key = override.partition("=")[0].removeprefix("stages.")
    result = value(load_recipe(write(), [override]), key if key == "seed" else f"stages.{key}")
    assert result == expected and type(result) is type(expected)


@pytest.mark.parametrize("name", ["2024", "2024-05-01", "1e3", "true", "0.5"])
def test_a_folder_may_have_a_name_like_a_number(
    name: str, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write().resolve()
    monkeypatch.chdir(tmp_path)
    assert "it is a text here" in refusal(path, f"zero.start={name}")
    (tmp_path / name).mkdir()
    assert value(load_recipe(path, [f"zero.start={name}"]), "stages.zero.start") == name


@pytest.mark.parametrize(
    ("override", "advice"),
    [
        ("zero.steps=2.0", "write 2"),
        ("zero.steps=2.5", "write a whole number"),
        ("zero.steps=1,000", "write 1000 or 1_000"),
        ("zero.steps=10k", "write 10000"),
        ("zero.steps=", "the value is empty"),
        ("zero.optimizer.learning_rate=1,5", "write 1.5"),
        ("zero.optimizer.learning_rate=3x10^-6", "write 3e-6"),
        ('zero.optimizer.learning_rate="1e-6"', "without quotes"),
        ("zero.sampling.top_p=90%", "write 0.9"),
        ("zero.start=2024", "--set 'zero.start=\"2024\"'"),
        ("zero.start=true", "--set 'zero.start=\"true\"'"),
        ("zero.recompute=1", "write true or false"),
        ("evaluation.checkpoints=zero", "--set 'evaluation.checkpoints=[\"zero\"]'"),
        ("evaluation.checkpoints=[zero, base]", '["zero", "base"]'),
        ("zero.sampling=512", "set one of its keys"),
        ("zero.optimizer.learning_rate=inf", "leave the key out"),
    ],
)
def test_what_is_not_plain_is_refused_with_the_cure(
    override: str, advice: str, write: Write
) -> None:
    message = refusal(write(), override)
    assert f"--set {override}: value" in message and advice in message


# Ranges --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "effect"),
    [
        ("zero.optimizer.learning_rate=5", "moves every weight"),
        ("zero.sampling.temperature=100", "logits are divided"),
        ("evaluation.temperature=11", "logits are divided"),
        ("zero.algorithm.clip_high=1e9", "ratios"),
        ("zero.algorithm.kl_coefficient=10000", "reference"),
        ("zero.algorithm.std_epsilon=1000", "standard deviation"),
        ("zero.optimizer.weight_decay=1000", "share of a weight"),
        ("zero.optimizer.epsilon=10", "gradient"),
        ("zero.sampling.slots=100_000_000", "memory"),
        ("zero.rewards.accuracy=1e9", "outweigh"),
        ("seed=5_000_000_000", "32 bits"),
        ("threads=100_000", "fewer cores"),
    ],
)
def test_what_no_run_can_want_is_refused(override: str, effect: str, write: Write) -> None:
    message = refusal(write(), override)
    assert (
        f"--set {override}: that is above" in message and effect in message and "write " in message
    )


@pytest.mark.parametrize(
    "override",
    [
        "zero.optimizer.learning_rate=0.3",
        "zero.sampling.temperature=3",
        "zero.sampling.temperature=0.01",
        "zero.optimizer.warmup_steps=500",
        "zero.optimizer.beta2=0.5",
        "zero.algorithm.kl_coefficient=5",
        "zero.algorithm.importance_cap=0.01",
        "zero.group_size=5000",
    ],
)
def test_what_hardly_anybody_wants_is_said(override: str, write: Write) -> None:
    recipe = load_recipe(write(), [override])
    key, number = override.split("=")
    warnings = unusual_numbers(recipe)
    assert len(warnings) == 1 and f"stages.{key} = " in warnings[0] and "write " in warnings[0]
    assert list(impossible_numbers(recipe)) == [] and number


@pytest.mark.parametrize(("rate", "warned"), [("3e-6", True), ("3e-5", False)])
def test_a_rate_of_full_training_is_low_for_adapters(rate: str, warned: bool, write: Write) -> None:
    rates = [f"zero.optimizer.learning_rate={rate}"]
    assert unusual_numbers(load_recipe(write(), rates)) == []
    warnings = unusual_numbers(load_recipe(write(), [*rates, "zero.lora.rank=8"]))
    assert len(warnings) == warned
    assert not warned or "learning_rate = 3e-06: with a lora table" in warnings[0]
    assert not warned or "write 3e-05 or higher" in warnings[0]


def test_no_shipped_recipe_is_unusual() -> None:
    for path in (ROOT / "recipes").glob("*.toml"):
        assert unusual_numbers(load_recipe(path)) == [], path.name


# The file itself -----------------------------------------------------------------------------------


def test_a_recipe_that_is_none(write: Write, tmp_path: Path) -> None:
    path = write()
    assert "this is a folder" in refusal(path.parent) and path.name in refusal(path.parent)
    (tmp_path / "link.toml").symlink_to(tmp_path / "gone.toml")
    assert "link to" in refusal(tmp_path / "link.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * 2**21)
    assert "2,097,152 bytes" in refusal(tmp_path / "large.toml")
    (tmp_path / "deep.toml").write_text(f"a = {'[' * 5000}")
    assert "not TOML" in refusal(tmp_path / "deep.toml")
    (tmp_path / "digits.toml").write_text(f"a = {'9' * 5000}")
    assert "not TOML" in refusal(tmp_path / "digits.toml")


def test_a_recipe_may_begin_with_a_byte_order_mark(write: Write, tmp_path: Path) -> None:
    (tmp_path / "mark.toml").write_bytes(b"\xef\xbb\xbf" + write().read_bytes())
    assert load_recipe(tmp_path / "mark.toml") == load_recipe(write())
