"""The C functions of a CPU against the same in PyTorch, and what happens without a compiler."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from dianoia.hardware import c_functions as kernels
from dianoia.hardware.c_functions import VECTOR, c_struct, library, pack_panels
from dianoia.hardware.c_functions import typed_calls as functions

needs_compiler = pytest.mark.usefixtures("in_c")
EPS = 1e-6


@needs_compiler
def test_a_norm_by_hand() -> None:
    """The mean square of (3, 4) is 12.5: 3 / sqrt(12.5) = 0.848528, twice that by the weight; 4 gives 1.131371."""
    x, y, inverse = torch.tensor([[3.0, 4.0]]), torch.empty(1, 2), torch.empty(1)
    functions.rms(x, torch.tensor([2.0, 1.0]), 0.0, y, inverse)
    assert y[0].tolist() == pytest.approx([1.697056, 1.131371])
    assert inverse.item() == pytest.approx(12.5**-0.5)


@needs_compiler
def test_the_gradient_of_a_norm_and_what_passes_beside_it() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(5, 24, requires_grad=True), torch.rand(24, requires_grad=True)
    grad, residual = torch.randn(5, 24), torch.randn(5, 24)
    F.rms_norm(x, (24,), weight, EPS).backward(grad)
    y, inverse = torch.empty(5, 24), torch.empty(5)
    functions.rms(x.detach(), weight.detach(), EPS, y, inverse)
    of_x, of_weight = torch.empty(5, 24), torch.zeros(24)
    inputs = (x.detach(), weight.detach(), inverse, grad, residual)
    functions.rms_backward(*inputs, of_x, of_weight)
    assert x.grad is not None and weight.grad is not None
    torch.testing.assert_close(of_x, x.grad + residual)
    torch.testing.assert_close(of_weight, weight.grad)


@needs_compiler
def test_queries_and_keys_are_rotated() -> None:
    """A head of two numbers turns like a vector in the plane: (1, 0) by 90 degrees is (0, 1), (0, 2) is (-2, 0)."""
    qkv = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [5.0, 6.0]]])
    cos, sin = torch.zeros(1, 2), torch.ones(1, 2)
    queries, keys = torch.empty(1, 1, 2), torch.empty(1, 1, 2)
    functions.rope_qkv(qkv, (None, None), EPS, (cos, sin), queries, keys)
    assert (queries.flatten().tolist(), keys.flatten().tolist()) == ([0.0, 1.0], [-2.0, 0.0])


@needs_compiler
def test_the_gated_unit_and_its_gradient() -> None:
    torch.manual_seed(0)
    combined, grad = (20 * torch.randn(7, 38)).requires_grad_(), torch.randn(7, 19)
    gate, up = combined.chunk(2, 1)
    expected = F.silu(gate) * up
    expected.backward(grad)
    y, of_both = torch.empty(7, 19), torch.empty(7, 38)
    functions.swiglu(combined.detach(), y)
    functions.swiglu_backward(combined.detach(), grad, of_both)
    torch.testing.assert_close(y, expected.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(of_both, combined.grad, rtol=1e-5, atol=1e-5)


@needs_compiler
def test_scores_by_hand() -> None:
    """Logits log 1, log 3 at temperature 1: 1/4 and 3/4; entropy of the two 0.562335 nats."""
    logits, ids = torch.tensor([[0.0, math.log(3)]]), torch.tensor([1])
    normal, logprob, entropy = torch.empty(3, 1)
    functions.score(logits, ids, 1.0, normal, logprob, entropy)
    scores = (normal.item(), logprob.item(), entropy.item())
    assert scores == pytest.approx((math.log(4), math.log(0.75), 0.562335))
    functions.score_backward(logits, ids, 1.0, normal, torch.tensor([2.0]))
    assert logits[0].tolist() == pytest.approx([-0.5, 0.5])


@needs_compiler
def test_an_impossible_token_costs_no_entropy_and_a_nan_stays_one() -> None:
    logits = torch.tensor([[0.0, 0.0, -math.inf], [0.0, math.nan, 1.0]])
    normal, logprob, entropy = torch.empty(3, 2)
    functions.score(logits, torch.tensor([0, 0]), 1.0, normal, logprob, entropy)
    assert entropy[0].item() == pytest.approx(math.log(2), abs=1e-6)
    assert logprob.isnan().tolist() == [False, True]


def multiplied(x: torch.Tensor, weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The product in C."""
    rows, outer = len(x), len(weight)
    y = torch.empty(rows, -(-outer // VECTOR) * VECTOR)
    functions.matmul(x.to(dtype), pack_panels(weight, dtype), y, outer)
    return y[:, :outer]


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("outer", [16, 48, 50])
def test_products_of_any_number_of_rows(dtype: torch.dtype, outer: int) -> None:
    """Products are those in float64 of the same factors, and a row is the same bits whatever rows are beside it."""
    torch.manual_seed(0)
    x, weight = torch.randn(41, 24).to(dtype), torch.randn(outer, 24).to(dtype)
    exact, alone = x.double() @ weight.double().T, multiplied(x[7:8], weight, dtype)
    for rows in (*range(1, 30), 41):
        y = multiplied(x[:rows], weight, dtype)
        torch.testing.assert_close(y.double(), exact[:rows], rtol=1e-5, atol=1e-5)
        assert rows < 8 or torch.equal(y[7:8], alone)


@needs_compiler
def test_tensors_that_c_cannot_read_are_refused() -> None:
    """Another dtype, or memory that is not contiguous, would corrupt memory or read the wrong numbers."""
    x, weight, y, inverse = torch.ones(4, 6), torch.ones(6), torch.empty(4, 6), torch.empty(4)
    with pytest.raises(AssertionError, match="float64 where C expects torch.float32"):
        functions.rms(x.double(), weight, EPS, y, inverse)
    with pytest.raises(AssertionError):
        functions.rms(torch.ones(6, 4).t(), weight, EPS, y, inverse)


@needs_compiler
def test_a_structure_has_its_words_in_the_order_of_c() -> None:
    lock = torch.zeros(3)
    absent = dict.fromkeys(
        ("qkv", "qkv_bias", "norm_q", "norm_k", "out", "out_bias", "norm_2", "gate_up")
    )
    words = c_struct(
        "Layer", {**absent, "norm_1": lock, "gate_up_bias": 7, "down": 8, "down_bias": 9}
    )
    assert words.tolist() == [lock.data_ptr(), 0, 0, 0, 0, 0, 0, 0, 0, 7, 8, 9]
    with pytest.raises(KeyError, match="gate_up"):
        c_struct("Layer", {"norm_1": lock} | {name: None for name in absent if name != "gate_up"})


def test_nobody_compiles_where_it_is_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIANOIA_C", "0")
    monkeypatch.setattr(kernels, "_built", lambda _: pytest.fail("compiled"))
    assert library.__wrapped__() is None


def test_a_compiler_that_fails_is_reported_and_done_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object, logged: Callable[[], str]
) -> None:
    monkeypatch.delenv("DIANOIA_C", raising=False)
    monkeypatch.setenv("DIANOIA_CACHE", str(tmp_path))
    monkeypatch.setattr(kernels, "_compiler", lambda: "false")
    assert library.__wrapped__() is None
    assert "false failed" in logged()
