"""Computing activations again changes their memory and no number."""

from copy import deepcopy

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from transformers import PreTrainedModel

from dianoia.base.errors import ConfigError
from dianoia.base.records import Sample
from dianoia.learner.attention.packed_rows import Demonstration
from dianoia.learner.kernels.prepare import recompute_layers
from dianoia.learner.logprobs import active_dropout
from dianoia.learner.policy import PolicyLearner
from dianoia.learner.supervised import SupervisedLearner
from tests.unit.learner.conftest import optimizer_settings, policy_learner
from tests.unit.sampler_models import make

FAMILIES = ("qwen3", "qwen2", "llama")
SAMPLES = [
    Sample((1, 2, 3), (4, 5, 6, 7), (-1.0,) * 4, 1.0),
    Sample((1, 2, 3), (8, 9), (-2.0,) * 2, -1.0),
    Sample((5, 6), (7, 3, 3), (-0.5,) * 3, 0.5),
]


def kept_bytes(learner: SupervisedLearner, samples: list[Demonstration]) -> int:
    """Bytes of the tensors that a step keeps for its backward pass, parameters aside."""
    reference = {p.untyped_storage().data_ptr() for p in learner.model.parameters()}
    observed: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in reference:
            observed[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        learner.update(samples)
    return sum(observed.values())


def supervised(model: PreTrainedModel, recompute: bool, autocast: str) -> SupervisedLearner:
    return SupervisedLearner(
        model,
        optimizer_settings(),
        total_steps=10,
        autocast=autocast,  # type: ignore[arg-type]
        recompute=recompute,
    )


def demonstrations() -> list[Demonstration]:
    return [
        Demonstration(torch.arange(3, 3 + n, dtype=torch.int32), torch.arange(n) > 1)
        for n in (9, 5, 12)
    ]


@pytest.mark.parametrize("autocast", ["none", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_supervised_steps_are_the_same(family: str, autocast: str) -> None:
    remaining, again = (supervised(make(family), flag, autocast) for flag in (False, True))
    assert remaining.packs and again.packs, "rows of several samples are what makes it hard"
    for _ in range(2):
        assert remaining.update(demonstrations()) == again.update(demonstrations())
    for first, other in zip(remaining.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(first, other)


def rl(family: str, recompute: bool, ppo: bool) -> PolicyLearner:
    return policy_learner(
        make(family),
        name="ppo" if ppo else "grpo",
        kl_coefficient=0.01,
        max_tokens=8,
        recompute=recompute,
    )


@pytest.mark.parametrize("ppo", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_steps_of_reinforcement_are_the_same(family: str, ppo: bool) -> None:
    """With prompts shared, a reference and a value model: all of them are copies of the policy."""
    remaining, again = rl(family, False, ppo), rl(family, True, ppo)
    assert again.layout.shares
    for _ in range(2):
        assert remaining.update(remaining.prepare(SAMPLES)) == again.update(again.prepare(SAMPLES))
    for first, other in zip(remaining.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(first, other)
    if ppo:
        assert remaining.critic is not None and again.critic is not None
        pairs = zip(
            remaining.critic.model.parameters(), again.critic.model.parameters(), strict=True
        )
        assert all(torch.equal(first, other) for first, other in pairs)


@pytest.mark.parametrize("how", ["in_c", "without_c"])
def test_less_is_kept(how: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(how)
    remaining, again = (
        kept_bytes(supervised(make("qwen3"), flag, "none"), demonstrations())
        for flag in (False, True)
    )
    assert again < 0.5 * remaining


def test_a_copy_reads_its_own_configuration() -> None:
    """Two twins may be in the middle of different passes."""
    model = make("qwen3")
    recompute_layers(model)
    twin = deepcopy(model)
    layer = twin.get_submodule("model.layers.0")
    assert layer._gradient_checkpointing_func.args[0] is twin.config  # type: ignore[union-attr]


def test_dropout_stays_off() -> None:
    model = make("qwen3")
    model.config.attention_dropout = 0.5
    recompute_layers(model)
    assert not active_dropout(model)
    assert not any(m.training for m in model.modules() if not hasattr(m, "gradient_checkpointing"))


def test_a_model_without_such_layers_is_refused() -> None:
    model = make("qwen3")
    model.model.layers = torch.nn.ModuleList()
    with pytest.raises(ConfigError, match=r"recompute = true.*Qwen3ForCausalLM"):
        recompute_layers(model)
