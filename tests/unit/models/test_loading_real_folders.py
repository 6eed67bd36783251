"""Folders as the hub has them: several shards, bfloat16, tied heads, for every family that is sampled natively."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from dianoia.base.errors import ModelError
from dianoia.base.records import Request, Sample, SamplingParams
from dianoia.config import AlgorithmSettings, OptimizerSettings
from dianoia.learner.policy import PolicyLearner
from dianoia.models.loading import extend_positions, load_model
from dianoia.sampler.factory import DTYPES, make_sampler
from dianoia.sampler.native.engine import NativeSampler
from tests.unit.sampler_models import FAMILIES, make, requests, worst_difference


@pytest.fixture(params=FAMILIES)
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder in bfloat16 and several files, as the hub's models come."""
    model = make(request.param).to(torch.bfloat16)
    model.save_pretrained(tmp_path, max_shard_size="8KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    assert (tmp_path / "model.safetensors.index.json").is_file()
    return tmp_path


def test_weights_are_float32_masters_of_the_same_numbers(hub: Path) -> None:
    model = load_model(hub)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    saved = AutoModelForCausalLM.from_pretrained(hub, dtype=torch.bfloat16).state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, saved[name].float()), name


def test_tied_weights_stay_one_tensor(hub: Path) -> None:
    model = load_model(hub)
    head = model.get_output_embeddings().weight
    same = head.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    assert same == model.config.tie_word_embeddings
    again = hub / "again"
    model.save_pretrained(again)
    reread = load_model(again).state_dict()
    assert all(torch.equal(tensor, reread[name]) for name, tensor in model.state_dict().items())


def test_the_sampler_of_a_folder_in_either_precision(hub: Path) -> None:
    model, batch = load_model(hub), requests(6)
    for name, bound in (("float32", 1e-4), ("bfloat16", 0.5)):
        sampler = make_sampler(model, slots=8, dtype=DTYPES[name])
        assert isinstance(sampler, NativeSampler)
        answered = sampler.generate(batch, SamplingParams(12, frozenset()))
        assert worst_difference(model, batch, answered) < bound


RATE = 3e-6
"""Of R1-Zero (section 2)."""


def moved(model: torch.nn.Module, before: list[torch.Tensor]) -> float:
    """Share of the weights that an update has changed."""
    pairs = list(zip(model.parameters(), before, strict=True))
    changed = sum(int((now != then).sum()) for now, then in pairs)
    return changed / sum(then.numel() for then in before)


def step(model: torch.nn.Module, autocast: str) -> float:
    learner = PolicyLearner(
        model,  # type: ignore[arg-type]
        AlgorithmSettings(kl_coefficient=0.0),
        OptimizerSettings(learning_rate=RATE),
        max_tokens=8,
        total_steps=1,
        autocast=autocast,  # type: ignore[arg-type]
    )
    before = [p.detach().clone() for p in model.parameters()]
    samples = [
        Sample((1, 2), (4, 5, 6), (-1.0,) * 3, 1.0),
        Sample((1, 2), (7, 8), (-1.0,) * 2, -1.0),
    ]
    learner.update(learner.prepare(samples))
    return moved(model, before)


def test_the_papers_rate_moves_float32_weights_and_is_lost_on_bfloat16(hub: Path) -> None:
    """Why weights are float32: Adam's first step is the rate itself, and half of the distance between two
    neighbours in bfloat16 is larger for every weight above 2 x 3e-6 x 2^8 = 1.5e-3."""
    assert step(load_model(hub), "bfloat16") > 0.5
    assert step(load_model(hub, dtype=torch.bfloat16), "none") < 0.05


def test_more_positions_for_rotary_embeddings(hub: Path) -> None:
    model = load_model(hub)
    if model.config.rope_parameters["rope_type"] != "default":
        with pytest.raises(ModelError, match="positions = 400.*'llama3'"):
            extend_positions(model, 400)
        return
    extend_positions(model, 400)
    model.save_pretrained(hub / "longer")
    longer = load_model(hub / "longer")
    assert longer.config.max_position_embeddings == 400
    prompt = tuple(range(1, 41)) * 4  # beyond the 96 positions of before
    sampler = make_sampler(longer, slots=2)
    (group,) = sampler.generate([Request(prompt, 2, (1,))], SamplingParams(8, frozenset()))
    assert worst_difference(longer, [Request(prompt, 2, (1,))], [group]) < 1e-4
    extend_positions(longer, 10)
    assert longer.config.max_position_embeddings == 400, "never fewer"


def test_learnt_positions_cannot_be_more() -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=60, n_embd=16, n_layer=1, n_head=2))
    with pytest.raises(ModelError, match="positions = 5000.*'gpt2'"):
        extend_positions(model, 5000)
