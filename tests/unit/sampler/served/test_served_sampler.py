"""The served sampler over servers of ours: the native sampler's completions, whatever happens to servers."""

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from dianoia.base.errors import ConfigError, EndpointError
from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.config import LoRASettings
from dianoia.learner.lora import MergedWeights, adapters, add_adapters
from dianoia.sampler.factory import make_sampler
from dianoia.sampler.interface import WeightUpdate
from dianoia.serve.rollout_engine import RolloutEngine
from tests.unit.rollout_servers import Server, engine_of, sampler_over, serving
from tests.unit.sampler_models import make, requests

PARAMS = SamplingParams(12, frozenset({3, 5}))
REQUESTS = requests(7)


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return make("qwen3-tied")


@pytest.fixture(scope="module")
def native(model: PreTrainedModel) -> list[list[Completion]]:
    return make_sampler(model).generate(REQUESTS, PARAMS)


@pytest.fixture
def server(model: PreTrainedModel) -> Iterator[Server]:
    with serving(engine_of(model)) as (running_server,):
        yield running_server


def changed(model: PreTrainedModel, seed: int = 1) -> dict[str, torch.Tensor]:
    """Other weights of the same shapes; the head stays the embedding."""
    other = make("qwen3-tied", seed)
    return {name: tensor.clone() for name, tensor in other.state_dict().items()}


def test_completions_are_those_of_the_native_sampler(
    server: Server, model: PreTrainedModel, native: list[list[Completion]], tmp_path: Path
) -> None:
    with sampler_over([server], model, tmp_path) as sampler:
        sampler.load(WeightUpdate(0, model.state_dict()))
        ended: list[tuple[int, int, Completion]] = []
        completions = sampler.generate(REQUESTS, PARAMS, lambda *end: ended.append(end))
        assert completions == native
        assert sorted(end[:2] for end in ended) == [
            (number, sample)
            for number, request in enumerate(REQUESTS)
            for sample in range(request.samples)
        ]
        assert all(completions[number][sample] == end for number, sample, end in ended)
        tokens = sum(len(c.ids) for row in native for c in row)
        assert (sampler.stats.tokens, sampler.stats.weights_version) == (tokens, 0)
        # New weights: what a sampler with them from the start would draw, and the version in each completion.
        weights = changed(model)
        sampler.load(WeightUpdate(7, weights))
        other = make_sampler(make("qwen3-tied", 1)).generate(REQUESTS, PARAMS)
        again = sampler.generate(REQUESTS, PARAMS)
        assert again == other != native
        assert {c.weights_version for row in again for c in row} == {7}
        # One version is left, and nothing after the end.
        (own,) = next(tmp_path.glob("dianoia-weights-*")).iterdir()
        assert len([*own.iterdir()]) == 1
    assert not [*tmp_path.iterdir()]


def test_parameters_of_a_request_reach_the_server_and_its_logprobs_are_no_contract_then(
    server: Server, model: PreTrainedModel, tmp_path: Path
) -> None:
    cut = SamplingParams(9, frozenset({3}), temperature=0.7, top_p=0.6, top_k=20)
    mixed = [Request((4, 9), 3, (1, 2), cut), Request((4, 9), 3, (1, 2))]
    with sampler_over([server], model, tmp_path) as sampler:
        sampler.load(WeightUpdate(0, model.state_dict()))
        truncated, plain = sampler.generate(mixed, PARAMS)
        expected = make_sampler(model).generate(mixed, PARAMS)
    assert [c.ids for c in truncated] == [c.ids for c in expected[0]]
    assert all(math.isnan(value) for c in truncated for value in c.logprobs)
    assert plain == expected[1]


# Servers that are lost, and come back ---------------------------------------------------------------


def test_samples_of_a_lost_server_are_drawn_elsewhere_the_same(
    model: PreTrainedModel, native: list[list[Completion]], tmp_path: Path
) -> None:
    with (
        serving(engine_of(model), engine_of(model)) as (first, second),
        sampler_over([first, second], model, tmp_path, concurrency=2) as sampler,
    ):
        sampler.load(WeightUpdate(0, model.state_dict()))
        ends = 0

        def on_finish(*_: object) -> None:
            nonlocal ends
            ends += 1
            if ends == 3:
                second.stop(wait=False)

        assert sampler.generate(REQUESTS, PARAMS, on_finish) == native
        second.stop()
        assert sampler.generate(REQUESTS, PARAMS) == native
        # It comes back with the weights of a start, and draws only after it has loaded and proved the version.
        weights = changed(model)
        sampler.load(WeightUpdate(1, weights))
        expected = make_sampler(make("qwen3-tied", 1)).generate(REQUESTS, PARAMS)
        assert sampler.generate(REQUESTS, PARAMS) == expected
        back = Server(engine_of(model, _Counting), port=second.port)
        try:
            first.stop()
            assert sampler.generate(REQUESTS, PARAMS) == expected
            assert isinstance(back.engine, _Counting)
            assert back.engine.versions[0].endswith("-trial")
            assert "-1-2" in back.engine.versions[-1] and "default" not in back.engine.versions
        finally:
            back.stop()


class _Counting(RolloutEngine):
    """Remembers the versions that it has drawn with."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.versions: list[str] = []

    async def draw(self, *args: Any) -> Any:
        completion, version = await super().draw(*args)
        if version not in self.versions:
            self.versions.append(version)
        return completion, version


def test_without_any_server_the_run_ends_with_their_reasons_and_goes_on_later(
    model: PreTrainedModel, native: list[list[Completion]], tmp_path: Path
) -> None:
    with serving(engine_of(model)) as (server,):
        port, url = server.port, server.url
    with sampler_over([url], model, tmp_path, patience=0.0) as sampler:
        sampler.load(WeightUpdate(0, model.state_dict()))
        with pytest.raises(EndpointError, match="no server of rollouts is left") as refused:
            sampler.generate(REQUESTS, PARAMS)
        assert url in str(refused.value) and "resumes" in str(refused.value)
        back = Server(engine_of(model), port=port)
        try:
            assert sampler.generate(REQUESTS, PARAMS) == native
        finally:
            back.stop()


def test_weights_of_somebody_else_are_noticed_and_exchanged(
    server: Server, model: PreTrainedModel, native: list[list[Completion]], tmp_path: Path
) -> None:
    with sampler_over([server], model, tmp_path) as sampler:
        sampler.load(WeightUpdate(0, model.state_dict()))
        sampler.pull()
        server.engine.weight_version = "somebody's"
        assert sampler.generate(REQUESTS, PARAMS) == native
        assert "somebody's" in sampler.said[0]


# Weights that do not arrive --------------------------------------------------------------------------


class _OldHead(RolloutEngine):
    """A server that was started from a tied folder, as vLLM's CPU build packs its head once."""

    def _read(self, folder: Path) -> dict[str, torch.Tensor]:
        tensors = super()._read(folder)
        return tensors | {"lm_head.weight": self.head}

    head: torch.Tensor


class _OldTensor(RolloutEngine):
    """A server that keeps the old tensor where one is missing."""

    def _read(self, folder: Path) -> dict[str, torch.Tensor]:
        tensors = super()._read(folder)
        old = tensors.get("model.layers.0.mlp.up_proj.weight")
        return tensors | {"model.layers.0.mlp.up_proj.weight": torch.zeros_like(old)}


class _NoLoad(RolloutEngine):
    """A server whose load has no effect."""

    async def reload(self, folder: Path) -> None:
        await asyncio.sleep(0)


class _OldCache(RolloutEngine):
    """A server that answers long prompts with what the weights before had computed."""

    async def reload(self, folder: Path) -> None:
        self._lines.setdefault("old", self._lines["policy"])
        copy = self._sampler_of(self._read(folder))
        self._lines["policy"] = type(self._lines["old"])(copy, self.context)

    async def draw(self, model: str, prompt_ids: Any, params: Any, seed: int) -> Any:
        return await super().draw(
            "old" if len(prompt_ids) > 60 else model, prompt_ids, params, seed
        )


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (_OldHead, "new weights with the old output head.*tie_word_embeddings false"),
        (_OldTensor, "some tensors are older, or were left out"),
        (_NoLoad, "those of the weights before, so that the load had no effect"),
        (_OldCache, "shortest prompt is answered right.*prefix cache"),
    ],
)
def test_weights_that_do_not_arrive_are_named(
    kind: type[RolloutEngine], reason: str, tmp_path: Path
) -> None:
    untied = make("qwen3")
    engine = engine_of(untied, kind)
    if isinstance(engine, _OldHead):
        engine.head = untied.lm_head.weight.detach().clone()
    with serving(engine) as servers, sampler_over(servers, untied, tmp_path) as sampler:
        sampler.load(WeightUpdate(0, untied.state_dict()))
        with pytest.raises(EndpointError, match=f"(?s)does not answer with the weights.*{reason}"):
            sampler.generate(REQUESTS, PARAMS)


@pytest.mark.parametrize(
    ("entry", "value", "cure"),
    [
        ("logprobs_mode", "raw_logprobs", "--logprobs-mode processed_logprobs"),
        ("chunked", True, "--no-enable-chunked-prefill"),
    ],
)
def test_a_server_that_was_started_wrongly_is_refused(
    entry: str,
    value: object,
    cure: str,
    server: Server,
    model: PreTrainedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = {
        "model_config": {"max_model_len": 96, "dtype": "torch.float32", "logprobs_mode": None},
        "scheduler_config": {"enable_chunked_prefill": entry == "chunked"},
        "device_config": {"device": "cpu"},
    }
    if entry != "chunked":
        config["model_config"][entry] = value
    server.engine.description = lambda: config  # type: ignore[method-assign]
    with sampler_over([server], model, tmp_path) as sampler:
        sampler.load(WeightUpdate(0, model.state_dict()))
        with pytest.raises(ConfigError, match=cure):
            sampler.generate(REQUESTS, PARAMS)


def test_a_prefix_cache_that_stays_is_refused(
    server: Server, model: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dianoia.sampler.served.weight_load._RESET_SECONDS", 0.0)
    monkeypatch.setattr(server.engine, "reset_prefix_cache", lambda: False)
    with sampler_over([server], model, tmp_path) as sampler:
        sampler.load(WeightUpdate(0, model.state_dict()))
        with pytest.raises(EndpointError, match="does not empty its prefix cache"):
            sampler.pull()
    assert not server.engine.is_paused, "others may use it"


def test_a_prompt_that_servers_would_cut_is_refused(
    server: Server, model: PreTrainedModel, tmp_path: Path
) -> None:
    server.engine.context = 40
    with sampler_over([server], model, tmp_path) as sampler:
        sampler.load(WeightUpdate(0, model.state_dict()))
        long = [Request((1,) * 40, 1, (1, 1))]
        with pytest.raises(ConfigError, match="40 prompt tokens and max_tokens = 12.*40 in all"):
            sampler.generate(long, PARAMS)


def test_a_key_is_sent_and_a_missing_one_is_named(model: PreTrainedModel, tmp_path: Path) -> None:
    with serving(engine_of(model), key="k") as servers:
        with sampler_over(servers, model, tmp_path, key="k") as sampler:
            sampler.load(WeightUpdate(0, model.state_dict()))
            assert sampler.pull() == 0
        with sampler_over(servers, model, tmp_path) as sampler:
            sampler.load(WeightUpdate(0, model.state_dict()))
            with pytest.raises(EndpointError, match="status 401.*rollouts.key_env"):
                sampler.pull()


# Adapters -------------------------------------------------------------------------------------------


def test_adapters_are_loaded_by_versions_beside_the_weights_of_the_start(tmp_path: Path) -> None:
    model = make("qwen3")
    source = tmp_path / "start"
    model.save_pretrained(source)
    lora = LoRASettings(rank=2, alpha=4.0)
    with (
        serving(engine_of(model, source=source)) as (server,),
        sampler_over([server], model, tmp_path, lora=lora) as sampler,
    ):
        add_adapters(model, lora, seed=1)
        weights = MergedWeights(model)
        sampler.load(WeightUpdate(0, weights))
        sampler.pull()
        with torch.no_grad():
            for layer in adapters(model).values():
                layer.B.normal_()
        sampler.load(WeightUpdate(1, weights))
        completions = sampler.generate(REQUESTS, PARAMS)
        expected = _native(weights, model).generate(REQUESTS, PARAMS)
        assert completions == expected
        name, adapter = server.engine.models
        assert (name, server.engine.weight_version) == ("policy", "default")
        assert "-1-" in adapter, "the versions before are unloaded"


def _native(weights: MergedWeights, model: PreTrainedModel) -> Any:
    sampler = make_sampler(make("qwen3"))
    sampler.load(WeightUpdate(1, dict(weights)))
    return sampler


def test_adapters_of_another_model_are_refused(tmp_path: Path) -> None:
    model, other = make("qwen3"), make("qwen3", 5)
    lora = LoRASettings(rank=2)
    with (
        serving(engine_of(other)) as servers,
        sampler_over(servers, model, tmp_path, lora=lora) as sampler,
    ):
        add_adapters(model, lora, seed=1)
        sampler.load(WeightUpdate(0, MergedWeights(model)))
        with pytest.raises(
            EndpointError, match="start it from the model that the stage starts from"
        ):
            sampler.pull()
