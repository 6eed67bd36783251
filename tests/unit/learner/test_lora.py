"""Adapters: every layout, kernel and replica reads W + s B A; gradients are right; the reference is the base."""

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from dianoia.base.errors import ConfigError
from dianoia.base.records import Sample
from dianoia.config import LoRASettings
from dianoia.hardware.c_functions import library
from dianoia.learner.attention.packed_rows import Demonstration
from dianoia.learner.batching.batch import Layout, PreparedSample, collate
from dianoia.learner.kernels.prepare import prepare_for_gpu
from dianoia.learner.logprobs import has_plain_head, response_logprobs
from dianoia.learner.lora import (
    MergedWeights,
    adapters,
    add_adapters,
    has_adapters,
    merged_model,
    reference_weights,
    save_adapter,
)
from dianoia.learner.policy import PolicyLearner
from dianoia.learner.reference import AdapterReference
from dianoia.learner.replicas import ThreadReplicas
from dianoia.learner.reward_learner import Example, RewardModelLearner
from dianoia.learner.supervised import SupervisedLearner
from dianoia.learner.trainer import Trainer
from dianoia.models.loading import load_model
from tests.unit.learner.conftest import KINDS, SIZES, optimizer_settings, policy_learner

MakeModel = Callable[..., PreTrainedModel]
RANK = 3


def adapted(model: PreTrainedModel, seed: int = 0, **table: Any) -> PreTrainedModel:
    """The model with adapters whose B is noise, so that each of them counts."""
    add_adapters(model, LoRASettings(**{"rank": RANK, "alpha": 6.0, **table}), seed)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for layer in adapters(model).values():
            layer.B.copy_(torch.randn(layer.B.shape, generator=generator) / 4)
    return model


def float32(model: PreTrainedModel) -> PreTrainedModel:
    return nn.Module.float(model)  # type: ignore[return-value]


def logprobs(model: PreTrainedModel, samples: list[Sample], layout: Layout) -> Tensor:
    rows = [PreparedSample(s, torch.tensor(s.logprobs)) for s in samples]
    batch = collate(rows, layout=layout)
    return response_logprobs(model, batch, 0.8, plain_head=True)[0]


# Every reader has the sum -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("kernels", ["transformers", "C", "fused"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_logprobs_are_those_of_the_merged_model(
    make_model: MakeModel,
    samples: list[Sample],
    kind: str,
    kernels: str,
    dtype: str,
) -> None:
    if kernels == "C" and library() is None:
        pytest.skip("no C compiler")
    model = adapted(float32(make_model(kind)), dtype=dtype)
    expected = logprobs(merged_model(model), samples, Layout.PADDED)
    if kernels == "C":
        Trainer(model, optimizer_settings(), 1)  # exchanges the layers
    elif kernels == "fused":
        prepare_for_gpu(model, "none")
    assert has_plain_head(model)
    for layout in Layout:
        assert torch.allclose(logprobs(model, samples, layout), expected, atol=1e-5), layout
        with reference_weights(model):
            assert (logprobs(model, samples, layout) - expected).abs().max() > 0.1, layout


def test_products_in_bfloat16_round_the_sum(make_model: MakeModel, samples: list[Sample]) -> None:
    """Under autocast the weight that is rounded is W + s B A, as in a merged model, to the last bit."""
    model = adapted(float32(make_model()))
    plain = merged_model(model)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = (logprobs(m, samples, Layout.PADDED) for m in (model, plain))
    assert torch.equal(ours, theirs)


def test_gradients_are_those_of_a_plain_implementation(
    make_model: MakeModel, samples: list[Sample]
) -> None:
    """dL/dA = s B' dL/dW and dL/dB = s dL/dW A', where dL/dW is autograd's in the merged model; in float64."""
    model = adapted(make_model())
    plain = merged_model(model).requires_grad_(True)
    for each in (model, plain):
        logprobs(each, samples, Layout.SHARED).square().sum().backward()  # type: ignore[no-untyped-call]
    scale = 6.0 / RANK
    for name, layer in adapters(model).items():
        dW = plain.get_submodule(name).weight.grad
        assert layer.A.grad is not None and layer.B.grad is not None
        assert isinstance(dW, Tensor)
        assert torch.allclose(layer.A.grad, scale * layer.B.detach().T @ dW, atol=1e-10)
        assert torch.allclose(layer.B.grad, scale * dW @ layer.A.detach().T, atol=1e-10)
    frozen = [p for p in model.parameters() if not p.requires_grad]
    assert len(frozen) > len(adapters(model))
    assert all(p.grad is None for p in frozen)


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "down_proj"]])
def test_c_layers_have_the_gradients_of_plain_layers(
    make_model: MakeModel, samples: list[Sample], targets: Any
) -> None:
    """Also where some weights of a layer are frozen and without gradient."""
    gradients = []
    for prepare in (False, True):
        model = adapted(float32(make_model()), targets=targets)
        Trainer(model, optimizer_settings(), 1, prepare=prepare)
        logprobs(model, samples, Layout.TIGHT).sum().backward()  # type: ignore[no-untyped-call]
        gradients.append([p.grad for p in model.parameters() if p.requires_grad])
    for plain, ours in zip(*gradients, strict=True):
        assert torch.allclose(plain, ours, atol=1e-4 * float(plain.abs().max()))


def test_replicas_share_frozen_weights_and_take_the_same_step(
    make_model: MakeModel, samples: list[Sample]
) -> None:
    outcomes = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        learner = policy_learner(
            adapted(make_model()),
            kl_coefficient=0.1,
            reference_every=2,
            tokens_per_micro_batch=17,
        )
        metrics = [learner.update(learner.prepare(samples)) for _ in range(4)]
        replicas = learner.trainer.replicas
        if isinstance(replicas, ThreadReplicas):  # of three threads
            addresses = [
                [p.data_ptr() for p in replica.model.parameters()] for replica in replicas.replicas
            ]
            assert addresses[1:] == [addresses[0]] * 2
        outcomes.append((learner, metrics))
    (one, ours), (many, theirs) = outcomes
    for mine, other in zip(one.model.parameters(), many.model.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-9)
    assert [m.kl for m in ours] == pytest.approx([m.kl for m in theirs], abs=1e-9)


# The reference ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_reference_is_the_base_bit_for_bit(
    make_model: MakeModel, samples: list[Sample], dtype: str
) -> None:
    base = float32(make_model())
    if dtype == "bfloat16":
        with torch.no_grad():
            for weight in base.parameters():
                weight.copy_(weight.bfloat16())
    frozen = policy_learner(base, kl_coefficient=0.1)
    expected = [row.ref_T for row in frozen.prepare(samples)]
    learner = policy_learner(
        adapted(float32(make_model()), dtype=dtype), kl_coefficient=0.1, reference_every=2
    )
    assert isinstance(learner.reference, AdapterReference)
    assert not learner.reference.equals_policy()
    rows = learner.prepare(samples)
    for row, ref_T in zip(rows, expected, strict=True):
        assert row.ref_T is not None and ref_T is not None
        assert torch.equal(row.ref_T, ref_T)
    # One step later it still is; after the second it is the policy of then.
    learner.update(rows)
    rows = learner.prepare(samples)
    assert all(torch.equal(r.ref_T, ref_T) for r, ref_T in zip(rows, expected, strict=True))  # type: ignore[arg-type]
    learner.update(rows)
    assert learner.reference.equals_policy()
    refreshed = learner.prepare(samples)[0].ref_T
    own = logprobs(merged_model(learner.model), samples[:1], Layout.PADDED)
    assert refreshed is not None and not torch.equal(refreshed, expected[0])  # type: ignore[arg-type]
    learner.update(learner.prepare(samples))
    assert torch.equal(learner.prepare(samples)[0].ref_T, refreshed)  # type: ignore[arg-type]
    assert own.shape[1] == len(refreshed)


def test_the_sampler_gets_the_sum_and_the_base_stays(
    make_model: MakeModel, samples: list[Sample]
) -> None:
    base = {name: weight.clone() for name, weight in make_model().state_dict().items()}
    learner = policy_learner(adapted(make_model()))
    learner.update(learner.prepare(samples))
    weights = learner.weights()
    assert isinstance(weights, MergedWeights)
    assert set(weights) == set(base)
    parts = weights.adapted()
    assert parts is not None
    for name, layer in adapters(learner.model).items():
        key = f"{name}.weight"
        assert torch.equal(parts[key], weights[key])
        assert weights.shape(key) == parts.shape(key) == base[key].shape
        expected = base[key] + 6.0 / RANK * layer.B.detach() @ layer.A.detach()
        assert torch.allclose(weights[key], expected, atol=1e-12)
        assert not torch.equal(weights[key], base[key])
        stored = learner.model.get_parameter(f"{name}.parametrizations.weight.original")
        assert torch.equal(stored, base[key])
    # Live: the next step shows.
    before = weights["model.layers.0.mlp.up_proj.weight"].clone()
    learner.update(learner.prepare(samples))
    assert not torch.equal(weights["model.layers.0.mlp.up_proj.weight"], before)


def test_frozen_bfloat16_matrices(make_model: MakeModel) -> None:
    model = adapted(float32(make_model()), targets=["q_proj"], dtype="bfloat16")
    dtypes = {name: p.dtype for name, p in model.named_parameters()}
    for name, dtype in dtypes.items():
        narrow = name.endswith(("original", "embed_tokens.weight"))
        assert dtype == (torch.bfloat16 if narrow else torch.float32), name
    # Readers get float32.
    assert model.model.layers[0].mlp.up_proj.weight.dtype == torch.float32  # type: ignore[union-attr, index]
    assert model(torch.arange(3)[None]).logits.dtype == torch.float32


# State --------------------------------------------------------------------------------------------


def test_a_state_holds_adapters_alone_and_resumes_bit_for_bit(
    make_model: MakeModel, samples: list[Sample], tmp_path: Path
) -> None:
    settings = {"kl_coefficient": 0.1, "reference_every": 2, "name": "ppo", "weight_decay": 0.1}

    def make() -> PolicyLearner:
        return policy_learner(adapted(make_model()), **settings)

    whole, rewarded = make(), [replace(s, reward=s.advantage) for s in samples]
    for step in range(5):
        if step == 3:
            whole.save_state(tmp_path / "state", {})
        last = whole.update(whole.prepare(rewarded))
    state = whole.state_dict()
    assert all(".parametrizations." in name for name in state["model"])
    heads = {"head.weight", "head.bias"}
    assert {n for n in state["critic"]["model"] if ".parametrizations." not in n} == heads
    assert state["reference"].keys() == adapters(whole.model).keys()
    resumed = make()
    assert resumed.load_state(tmp_path / "state") == {}
    for _ in range(2):
        again = resumed.update(resumed.prepare(rewarded))
    assert again == last
    pairs = zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
    assert all(torch.equal(mine, theirs) for mine, theirs in pairs)


def test_a_state_of_other_adapters_is_refused(make_model: MakeModel) -> None:
    state = policy_learner(adapted(make_model())).state_dict()
    with pytest.raises(
        ConfigError,
        match=r"other trained weights: .*\.A has the shape \[3, 12\] there and \[2, 12\] here",
    ):
        policy_learner(adapted(make_model(), rank=2)).load_state_dict(state)
    with pytest.raises(ConfigError, match="other trained weights"):
        policy_learner(make_model()).load_state_dict(state)


def test_adapters_are_drawn_by_seed_and_name(make_model: MakeModel) -> None:
    first, again, other = (adapters(adapted(make_model(), seed)) for seed in (0, 0, 1))
    name, second = "model.layers.0.mlp.up_proj", "model.layers.0.mlp.gate_proj"
    assert torch.equal(first[name].A, again[name].A)
    assert not torch.equal(first[name].A, other[name].A)
    assert not torch.equal(first[name].A, first[second].A)
    # Uniform within 1 / sqrt(columns), as PEFT draws it: 8 columns here.
    assert 0.2 < float(first[name].A.detach().abs().max()) <= 8**-0.5


# Targets ------------------------------------------------------------------------------------------


def test_targets_that_name_nothing_are_refused_with_the_names_that_exist(
    make_model: MakeModel,
) -> None:
    with pytest.raises(ConfigError) as caught:
        add_adapters(
            make_model(tied=False), LoRASettings(targets=["q_proj", "W_pack", "lm_head"]), 0
        )
    message = str(caught.value)
    assert "'W_pack', 'lm_head'" in message
    assert '"down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"' in message


@pytest.mark.parametrize(
    ("targets", "count"),
    [("all-linear", 14), (["q_proj"], 2), (["0.self_attn.q_proj", "mlp.up_proj"], 3)],
)
def test_targets(make_model: MakeModel, targets: Any, count: int) -> None:
    model = make_model(tied=False)
    add_adapters(model, LoRASettings(targets=targets), 0)
    assert len(adapters(model)) == count
    assert "lm_head" not in adapters(model)


# Other learners -----------------------------------------------------------------------------------


def test_the_value_model_has_adapters_of_its_own_on_the_same_frozen_weights(
    make_model: MakeModel, samples: list[Sample]
) -> None:
    learner = policy_learner(adapted(make_model()), name="ppo")
    critic = learner.critic
    assert critic is not None
    policy = dict(learner.model.base_model.named_parameters())
    for name, weight in critic.model.backbone.named_parameters():
        shares = weight.data_ptr() == policy[name].data_ptr()
        assert shares == (not weight.requires_grad), name
    before = {n: p.clone() for n, p in critic.model.named_parameters()}
    rewarded = [replace(s, reward=s.advantage) for s in samples]
    for _ in range(2):  # the backbone has a gradient from the second step on
        learner.update(learner.prepare(rewarded))
    changed = {n for n, p in critic.model.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {n for n, p in critic.model.named_parameters() if p.requires_grad}


def test_supervised_learning_changes_adapters_alone(make_model: MakeModel) -> None:
    learner = SupervisedLearner(adapted(make_model()), optimizer_settings(), total_steps=3)
    base = {n: p.clone() for n, p in learner.model.named_parameters() if not p.requires_grad}
    ids = torch.arange(1, 9, dtype=torch.int32)
    data = [Demonstration(ids, torch.arange(8) > 2)] * 2
    losses = [learner.update(data).loss for _ in range(3)]
    assert losses[2] < losses[0]
    assert all(torch.equal(learner.model.get_parameter(name), base[name]) for name in base)


def reward_model(tmp_path: Path) -> PreTrainedModel:
    config, _, more = KINDS["qwen3"]
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(
        config(**SIZES, **more, num_labels=1, pad_token_id=0)
    )
    model.save_pretrained(tmp_path / "base")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base").eval()
    add_adapters(model, LoRASettings(rank=RANK), 0, train_head=True)
    return model


def test_the_head_of_a_reward_model_is_trained_in_full(tmp_path: Path) -> None:
    learner = RewardModelLearner(reward_model(tmp_path), optimizer_settings(), total_steps=2)
    trained = {n for n, p in learner.model.named_parameters() if p.requires_grad}
    assert {n for n in trained if ".parametrizations." not in n} == {"score.weight"}
    head = learner.model.get_parameter("score.weight").clone()
    pairs = [Example(((1, 2, 3), (1, 2, 4, 5))), Example(((3, 2), (3, 6)))]
    learner.update(pairs)
    learner.update(pairs)
    assert not torch.equal(learner.model.get_parameter("score.weight"), head)
    texts = [(1, 2, 3), (5, 6)]
    merged = RewardModelLearner(merged_model(learner.model), optimizer_settings(), total_steps=1)
    assert learner.rewards(texts) == pytest.approx(merged.rewards(texts), abs=1e-5)


# Folders ------------------------------------------------------------------------------------------


def test_a_checkpoint_is_merged_and_has_the_adapter_beside_it(
    make_model: MakeModel, samples: list[Sample], tmp_path: Path
) -> None:
    learner = policy_learner(adapted(float32(make_model(tied=False)), dtype="bfloat16"))
    folder = tmp_path / "checkpoint"
    learner.write(folder, lambda model: model.save_pretrained(folder))
    again = load_model(tmp_path / "checkpoint", torch.float32)
    assert again.config.dtype == torch.float32
    assert not has_adapters(again)
    ours, theirs = (logprobs(m, samples, Layout.PADDED) for m in (learner.model, again))
    assert torch.allclose(ours, theirs, atol=1e-5)
    config = json.loads((tmp_path / "checkpoint/adapter/adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (RANK, 6, "LORA")
    assert config["target_modules"] == sorted(
        f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")
    )
    tensors = load_file(tmp_path / "checkpoint/adapter/adapter_model.safetensors")
    key = "base_model.model.model.layers.1.mlp.up_proj.lora_A.weight"
    assert torch.equal(tensors[key], adapters(learner.model)["model.layers.1.mlp.up_proj"].A)
    assert len(tensors) == 2 * 14


@pytest.mark.parametrize("head", [False, True])
def test_peft_loads_the_adapter_with_equal_results(
    make_model: MakeModel, tmp_path: Path, head: bool
) -> None:
    peft = pytest.importorskip("peft")
    if head:
        model = reward_model(tmp_path)
        learner = RewardModelLearner(model, optimizer_settings(), total_steps=1)
        learner.update([Example(((1, 2, 3), (1, 2, 4, 5)))])
        base = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base")
    else:
        plain = float32(make_model())
        plain.save_pretrained(tmp_path / "base")
        model, base = adapted(load_model(tmp_path / "base")), load_model(tmp_path / "base")
    save_adapter(tmp_path / "adapter", model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT asks transformers by an old name
        theirs = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    named = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert named["base_model_name_or_path"] == str(tmp_path / "base")
    ids = torch.arange(1, 9)[None]
    with torch.no_grad():
        assert torch.allclose(theirs(ids).logits, model(ids, use_cache=False).logits, atol=1e-5)
        assert not torch.allclose(
            load_base(base)(ids).logits
            if head
            else load_model(tmp_path / "base")(ids, use_cache=False).logits,
            model(ids, use_cache=False).logits,
            atol=1e-3,
        )


def load_base(model: PreTrainedModel) -> PreTrainedModel:
    """The base of a reward model without its adapter."""
    return AutoModelForSequenceClassification.from_pretrained(model.name_or_path)  # type: ignore[no-any-return]


# Nothing to learn ---------------------------------------------------------------------------------


def test_a_rollout_without_advantages_at_the_reference_does_not_run(
    make_model: MakeModel, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps count and nothing changes, to the last bit as if all of it had run."""
    flat = [replace(s, advantage=0.0) for s in samples]
    learner, worked = (
        policy_learner(float32(make_model()), kl_coefficient=0.1, importance_cap=2.0)
        for _ in range(2)
    )
    monkeypatch.setattr(worked, "_is_at_rest", lambda prepared: False)
    runs: list[int] = []
    for each in (learner, worked):
        each.model.register_forward_hook(lambda *_: runs.append(1))
        each.model.base_model.register_forward_hook(lambda *_: runs.append(1))
    metrics = learner.update(learner.prepare(flat))
    assert not runs
    assert (metrics.step, metrics.samples_skipped, metrics.grad_norm) == (1, 8, 0.0)
    assert worked.update(worked.prepare(flat)).samples_skipped == 0
    assert runs
    for each in (learner, worked):  # and then both learn alike
        each.update(each.prepare(samples))
    pairs = zip(learner.model.parameters(), worked.model.parameters(), strict=True)
    assert all(torch.equal(mine, theirs) for mine, theirs in pairs)


@pytest.mark.parametrize("reason", ["decay", "moved", "momentum"])
def test_a_rollout_without_advantages_runs_where_it_changes_something(
    make_model: MakeModel, samples: list[Sample], reason: str
) -> None:
    """The divergence has a gradient once the policy has moved; decay and momentum move it within the rollout."""
    learner = policy_learner(
        make_model(),
        kl_coefficient=0.1,
        weight_decay=0.1 if reason == "decay" else 0.0,
        reference_every=1 if reason == "momentum" else 400,
    )
    if reason != "decay":
        learner.update(learner.prepare(samples))
    before = [p.clone() for p in learner.model.parameters()]
    flat = [replace(s, advantage=0.0) for s in samples]
    assert learner.update(learner.prepare(flat)).samples_skipped == 0
    after = learner.model.parameters()
    assert not all(torch.equal(mine, earlier) for mine, earlier in zip(after, before, strict=True))
