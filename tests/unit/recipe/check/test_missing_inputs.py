"""Models that are not here: a plan reckons with shapes that are known, a run is refused."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dianoia.base.errors import ConfigError, ModelError
from dianoia.models import hub_config as hub
from dianoia.models.hub_config import KNOWN, model_config
from dianoia.recipe import load_recipe
from dianoia.recipe.check.inputs import check_inputs
from dianoia.recipe.check.missing_inputs import missing_inputs
from dianoia.recipe.plan.model_sizes import size_from_config
from tests.unit.recipe.conftest import plan_text

Write = Callable[..., Path]
NAME = "Qwen/Qwen2.5-1.5B"


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_: None)
    hub._from_hub.cache_clear()
    yield
    hub._from_hub.cache_clear()


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_hub_failure", lambda: "the hub was not reached, ConnectError")


def printed(path: Path, *overrides: str) -> str:
    return plan_text(load_recipe(path, overrides))


# Parameters in billions: the hub's own count of each model's tensors, embeddings included.
COUNTS = {
    "Qwen/Qwen2.5-0.5B-Instruct": 0.49,
    "Qwen/Qwen2.5-1.5B": 1.54,
    "Qwen/Qwen2.5-3B": 3.09,
    "Qwen/Qwen2.5-7B": 7.62,
    "Qwen/Qwen2.5-14B": 14.77,
    "Qwen/Qwen2.5-32B": 32.76,
    "Qwen/Qwen2.5-Math-1.5B": 1.54,
    "Qwen/Qwen2.5-Math-7B": 7.62,
    "Qwen/Qwen3-0.6B-Base": 0.60,
    "Qwen/Qwen3-1.7B-Base": 1.72,
    "meta-llama/Llama-3.1-8B": 8.03,
    "meta-llama/Llama-3.3-70B-Instruct": 70.55,
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_shapes_that_ship_have_the_published_numbers_of_parameters(name: str) -> None:
    assert size_from_config(KNOWN[name], name).parameters / 1e9 == pytest.approx(
        COUNTS[name], abs=0.006
    )


@pytest.mark.usefixtures("no_hub")
def test_a_plan_of_a_known_model_says_that_the_hub_was_not_reached(write: Write) -> None:
    text = printed(write(), f"zero.start={NAME}")
    assert f"from {NAME} (1543.57 M parameters)" in text
    assert f"Missing, and a run would be refused: {NAME}: not on this machine" in text
    assert "the hub was not reached, ConnectError" in text and "uses the shape" in text


@pytest.mark.usefixtures("no_hub")
def test_a_run_of_it_is_refused(write: Write) -> None:
    with pytest.raises(ModelError) as caught:
        check_inputs(load_recipe(write(), [f"zero.start={NAME}"]))
    for part in ("stages.zero", NAME, "was not reached", "give its folder", "--dry-run"):
        assert part in str(caught.value)


@pytest.mark.usefixtures("no_hub")
def test_an_unknown_model_cannot_even_be_planned(write: Write) -> None:
    with pytest.raises(ModelError, match=r"stages.zero: the model 'Some/Model'.*was not reached"):
        printed(write(), "zero.start=Some/Model")


@pytest.mark.usefixtures("no_hub")
def test_the_length_of_a_known_model_is_checked(write: Write) -> None:
    options = ["zero.start=Qwen/Qwen2.5-Math-7B", "zero.sampling.max_tokens=4096"]
    with pytest.raises(ConfigError, match=r"Qwen2.5-Math-7B' has 4096 positions"):
        check_inputs(load_recipe(write(), options), planned=True)


def test_a_gated_model_says_what_to_do(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    class GatedRepoError(OSError):
        pass

    def refuse(*_: str) -> str:
        raise GatedRepoError

    monkeypatch.setattr(hub, "_hub_failure", lambda: None)
    monkeypatch.setattr(hub, "hf_hub_download", refuse)
    recipe = load_recipe(write(), ["zero.start=meta-llama/Llama-3.1-8B"])
    check_inputs(recipe, planned=True)
    with pytest.raises(ModelError, match="ask for access on the model's page"):
        check_inputs(recipe)


def test_a_cached_configuration_needs_no_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"hidden_size": 7}), encoding="utf-8")
    cached = {"config.json": str(file)}
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda _, name: cached.get(name))
    monkeypatch.setattr(hub, "_hub_failure", lambda: "no way")
    assert model_config("stages.zero", "Some/Model") == {"hidden_size": 7}
    assert hub.unavailable_reason("Some/Model") == "no way", "there are no weights"
    cached["model.safetensors"] = str(file)
    assert hub.unavailable_reason("Some/Model") is None


def test_the_hub_is_asked_for_seconds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    hub._hub_failure.cache_clear()
    try:
        text = hub._hub_failure()
    finally:
        hub._hub_failure.cache_clear()
    assert text is not None and "http://127.0.0.1:9 was not reached" in text


def test_files_that_are_not_there_are_listed(write: Write) -> None:
    options = ["zero.problems=data/train.jsonl", "evaluation.problems=data/train.jsonl"]
    text = printed(write(), *options)
    assert "3 rollouts of 8 prompts x 4 samples" in text
    assert "data/train.jsonl: there is no such file; zero, evaluation would read it" in text
    recipe = load_recipe(write(), options)
    assert len(missing_inputs(recipe)) == 1
    with pytest.raises(ConfigError, match=r"data/train.jsonl.*\"problem\": \"2\+3\?\""):
        check_inputs(recipe)
