"""Layers with bfloat16 products in C: as near to float64 as autocast is, and float32 wherever nothing is a product."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from dianoia.base.records import Sample
from dianoia.hardware.c_functions import typed_calls as functions
from dianoia.learner.batching.batch import Batch, Layout, PreparedSample, collate
from dianoia.learner.kernels.fused_layers import _FusedForward
from dianoia.learner.kernels.prepare import prepare_for_cpu, recompute_layers
from dianoia.learner.logprobs import response_logprobs
from tests.unit.learner.conftest import policy_learner

pytestmark = pytest.mark.usefixtures("in_c")

FAMILIES = {"qwen3": (Qwen3Config, Qwen3ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}
SAMPLES = [
    Sample(
        tuple(range(3, 8 + i)),
        tuple((7 * i + j) % 90 for j in range(9 + 3 * i)),
        (-1.0,) * (9 + 3 * i),
        1.0 - i % 3,
    )
    for i in range(6)
]


def make(family: str) -> PreTrainedModel:
    config, model = FAMILIES[family]
    torch.manual_seed(0)
    sizes = {"vocab_size": 90, "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 32}
    return model(config(**sizes, **heads)).eval()  # type: ignore[no-any-return]


def batch_of(layout: str) -> Batch:
    rows = [PreparedSample(sample, torch.tensor(sample.logprobs)) for sample in SAMPLES]
    return collate(rows, layout=Layout(layout))


def passed(model: PreTrainedModel, layout: str, autocast: bool) -> list[Tensor]:
    """Log-probabilities and the gradient of a sum that weighs every token differently."""
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logprobs_BT, _ = response_logprobs(model, batch_of(layout), 1.0, plain_head=True)
    model.zero_grad()
    (logprobs_BT * torch.arange(logprobs_BT.numel()).view(logprobs_BT.shape).sin()).sum().backward()
    return [
        logprobs_BT.detach(),
        *(p.grad.clone() for p in model.parameters() if p.grad is not None),
    ]


def distances(approximate: list[Tensor], exact: list[Tensor]) -> Tensor:
    """Relative, one a tensor."""
    pairs = zip(approximate, exact, strict=True)
    return torch.stack([(first.double() - other).norm() / other.norm() for first, other in pairs])


@pytest.mark.parametrize("layout", ["padded", "shared", "tight", "packed"])
@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_no_further_from_float64_than_autocast(family: str, layout: str) -> None:
    model = make(family)
    exact = passed(deepcopy(model).double(), layout, autocast=False)
    usual = distances(passed(deepcopy(model), layout, autocast=True), exact)
    prepare_for_cpu(model, "bfloat16")
    ours = distances(passed(model, layout, autocast=True), exact)
    assert 1e-4 < ours.max() < 0.03, "bfloat16 has 8 bits"
    assert ours.mean() < 1.1 * usual.mean()


def test_layers_are_exchanged_for_the_format_that_is_asked_for() -> None:
    formats = []
    for autocast in ("none", "bfloat16"):
        model = make("qwen3")
        prepare_for_cpu(model, autocast)
        forward = model.base_model.layers[0].forward
        assert isinstance(forward, _FusedForward) and forward.has_c_functions
        formats.append(forward.dtype)
    assert formats == [torch.float32, torch.bfloat16]


def test_layers_computed_again_give_the_same() -> None:
    remaining, again = make("qwen3"), make("qwen3")
    recompute_layers(again)
    for model in (remaining, again):
        prepare_for_cpu(model, "bfloat16")
    results = (passed(model, "shared", autocast=True) for model in (again, remaining))
    for first, other in zip(*results, strict=True):
        assert torch.equal(first, other)


def test_a_learner_takes_a_step_with_it() -> None:
    norms = {}
    for autocast in ("none", "bfloat16"):
        model = make("qwen3")
        learner = policy_learner(
            model, max_tokens=32, learning_rate=1e-3, kl_coefficient=0.1, autocast=autocast
        )
        norms[autocast] = learner.update(learner.prepare(SAMPLES)).grad_norm
        assert all(weight.dtype == torch.float32 for weight in model.parameters())
    assert norms["bfloat16"] != norms["none"]
    assert norms["bfloat16"] == pytest.approx(norms["none"], rel=0.02)


# Kernels ------------------------------------------------------------------------------------------


def test_rounding_is_to_the_nearest_even() -> None:
    """Values of a row pass from float32 to bfloat16 unchanged but for rounding."""
    ties = [1.0 + 2**-8, 1.0 + 3 * 2**-8, -1.0 - 2**-8, 1.0 + 2**-8 + 2**-20]
    edges = [0.0, -0.0, float("inf"), -float("inf"), float("nan"), 3.4e38, 1e-40, 7.0]
    values = torch.tensor([*ties, *edges])
    size = len(values)
    qkv, out = torch.zeros(2, 2 * size).bfloat16(), torch.empty(2, 2 * size, dtype=torch.bfloat16)
    cos, sin = torch.ones(2, 1, size)
    grads = (torch.zeros(1, 0, size), torch.zeros(1, 1, size), values)
    none = (None, None)
    functions.rope_qkv_backward(qkv, none, 1e-6, (cos, sin), grads, out, none)
    rounded = out[0, size:]
    bits, expected = (
        rounded.view(torch.int16).tolist(),
        values.bfloat16().view(torch.int16).tolist(),
    )
    assert bits[:8] == expected[:8] and rounded[8].isnan() and bits[9:] == expected[9:]


def test_a_norm_behind_a_product() -> None:
    torch.manual_seed(0)
    x, extra, weight = torch.randn(5, 24), torch.randn(5, 24).bfloat16(), torch.rand(24)
    y, normed, inverse = torch.empty(5, 24), torch.empty(5, 24).bfloat16(), torch.empty(5)
    functions.add_rms_bfloat16(x, extra, weight, 1e-6, y, normed, inverse)
    torch.testing.assert_close(y, x + extra.float())
    expected = torch.nn.functional.rms_norm(y, (24,), weight, 1e-6)
    torch.testing.assert_close(normed.float(), expected, rtol=2**-8, atol=0.0)
    functions.add_rms_bfloat16(x, None, weight, 1e-6, x, normed, inverse)
    expected = torch.nn.functional.rms_norm(x, (24,), weight, 1e-6)
    torch.testing.assert_close(normed.float(), expected, rtol=2**-8, atol=0.0)


def test_the_gated_unit_and_its_gradient() -> None:
    torch.manual_seed(0)
    combined, grad = (5 * torch.randn(7, 38)).bfloat16(), torch.randn(7, 19).bfloat16()
    exact = combined.float().requires_grad_()
    gate, up = exact.chunk(2, 1)
    expected = torch.nn.functional.silu(gate) * up
    expected.backward(grad.float())
    y, of_both = torch.empty(7, 19).bfloat16(), torch.empty(7, 38).bfloat16()
    functions.swiglu(combined, y)
    functions.swiglu_backward(combined, grad, of_both)
    torch.testing.assert_close(y.float(), expected.detach(), rtol=2**-7, atol=1e-6)
    torch.testing.assert_close(of_both.float(), exact.grad, rtol=2**-7, atol=1e-6)
