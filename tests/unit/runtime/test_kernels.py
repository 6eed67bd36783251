"""The C functions of a CPU against the same in PyTorch, and what happens without a compiler."""

import math

import pytest
import torch
import torch.nn.functional as F

from dianoia.runtime import kernels
from dianoia.runtime.kernels import call, library

needs_compiler = pytest.mark.usefixtures("in_c")
EPS = 1e-6


@needs_compiler
def test_a_norm_by_hand() -> None:
    """Of (3, 4) the mean square is 12.5: 3 / sqrt(12.5) = 0.848528, twice that by the weight; 4 gives 1.131371."""
    x, y, inverse = torch.tensor([[3.0, 4.0]]), torch.empty(1, 2), torch.empty(1)
    call("rms", x, torch.tensor([2.0, 1.0]), 0.0, y, inverse, 1, 2)
    assert y[0].tolist() == pytest.approx([1.697056, 1.131371])
    assert inverse.item() == pytest.approx(12.5**-0.5)


@needs_compiler
def test_the_gradient_of_a_norm_and_what_passes_beside_it() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(5, 24, requires_grad=True), torch.rand(24, requires_grad=True)
    grad, residual = torch.randn(5, 24), torch.randn(5, 24)
    F.rms_norm(x, (24,), weight, EPS).backward(grad)
    y, inverse = torch.empty(5, 24), torch.empty(5)
    call("rms", x.detach(), weight.detach(), EPS, y, inverse, 5, 24)
    of_x, of_weight = torch.empty(5, 24), torch.zeros(24)
    given = (x.detach(), weight.detach(), inverse, grad, residual)
    call("rms_backward", *given, of_x, of_weight, 5, 24)
    assert x.grad is not None and weight.grad is not None
    torch.testing.assert_close(of_x, x.grad + residual)
    torch.testing.assert_close(of_weight, weight.grad)


@needs_compiler
def test_queries_and_keys_are_rotated_and_written_where_asked() -> None:
    """A head of two numbers turns like a vector in the plane: (1, 0) by 90 degrees is (0, 1)."""
    qkv = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [5.0, 6.0]]])
    cos, sin = torch.zeros(1, 2), torch.ones(1, 2)
    queries, keys, values = torch.empty(1, 1, 2), torch.zeros(1, 1, 4, 2), torch.zeros(1, 1, 4, 2)
    where = (queries, keys, values, torch.tensor([1]), 8)
    call("rotate", qkv, None, None, EPS, cos, sin, *where, 1, 1, 1, 2)
    assert queries.flatten().tolist() == [0.0, 1.0]
    assert keys[0, 0].tolist() == [[0, 0], [0, 0], [-2, 0], [0, 0]]  # column 1 lies behind the seat
    assert values[0, 0].tolist() == [[0, 0], [0, 0], [5, 6], [0, 0]]


@needs_compiler
def test_the_gated_unit_and_its_gradient() -> None:
    torch.manual_seed(0)
    both, grad = (20 * torch.randn(7, 38)).requires_grad_(), torch.randn(7, 19)
    gate, up = both.chunk(2, 1)
    expected = F.silu(gate) * up
    expected.backward(grad)
    y, of_both = torch.empty(7, 19), torch.empty(7, 38)
    call("gated", both.detach(), y, 7, 19)
    call("gated_backward", both.detach(), grad, of_both, 7, 19)
    torch.testing.assert_close(y, expected.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(of_both, both.grad, rtol=1e-5, atol=1e-5)


@needs_compiler
def test_scores_by_hand() -> None:
    """Logits log 1, log 3 at temperature 1: 1/4 and 3/4; entropy of the two 0.562335 nats."""
    logits, ids = torch.tensor([[0.0, math.log(3)]]), torch.tensor([1])
    normal, logprob, entropy = torch.empty(3, 1)
    call("score", logits, ids, 1.0, normal, logprob, entropy, 1, 2)
    found = (normal.item(), logprob.item(), entropy.item())
    assert found == pytest.approx((math.log(4), math.log(0.75), 0.562335))
    call("score_backward", logits, ids, 1.0, normal, torch.tensor([2.0]), 1, 2)
    assert logits[0].tolist() == pytest.approx([-0.5, 0.5])


@needs_compiler
def test_an_impossible_token_costs_no_entropy_and_a_nan_stays_one() -> None:
    logits = torch.tensor([[0.0, 0.0, -math.inf], [0.0, math.nan, 1.0]])
    normal, logprob, entropy = torch.empty(3, 2)
    call("score", logits, torch.tensor([0, 0]), 1.0, normal, logprob, entropy, 2, 3)
    assert entropy[0].item() == pytest.approx(math.log(2), abs=1e-6)
    assert logprob.isnan().tolist() == [False, True]


@needs_compiler
@pytest.mark.parametrize(("repeats", "head"), [(2, 32), (1, 8), (3, 64), (8, 128)])
def test_a_new_token_sees_its_prompt_and_its_response_and_no_more(repeats: int, head: int) -> None:
    torch.manual_seed(0)
    q = torch.randn(3, 2, repeats, head)
    prompt, cache = torch.randn(2, 2, 2, 5, head), torch.randn(2, 3, 2, 7, head)
    rows, lengths, used = torch.tensor([1, 0, 1]), torch.tensor([4, 5, 4]), torch.tensor([1, 6, 3])
    seen, scratch = torch.empty_like(q), torch.empty(repeats, 12)
    call(
        "decode", q, *prompt, *cache, rows, lengths, used, scratch, seen, 5, 7, 3, 2, repeats, head
    )
    for n in range(3):
        for k in range(2):
            own, shared = cache[:, n, k, 1 : 1 + used[n]], prompt[:, rows[n], k, : lengths[n]]
            keys, values = torch.cat((shared, own), 1)
            expected = (q[n, k] @ keys.T / head**0.5).softmax(-1) @ values
            torch.testing.assert_close(seen[n, k], expected, rtol=1e-5, atol=1e-5)


def test_nobody_compiles_where_it_is_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIANOIA_C", "0")
    monkeypatch.setattr(kernels, "_built", lambda _: pytest.fail("compiled"))
    assert library.__wrapped__() is None


def test_a_compiler_that_fails_is_reported_and_done_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("DIANOIA_C", raising=False)
    monkeypatch.setenv("DIANOIA_CACHE", str(tmp_path))
    monkeypatch.setattr(kernels, "_compiler", lambda: "false")
    assert library.__wrapped__() is None
    assert "false failed" in caplog.text
