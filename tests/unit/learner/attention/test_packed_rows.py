"""Between two products and a flash kernel lie views alone, there and back."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dianoia.hardware.flash_attention import SequenceBounds
from dianoia.learner.attention import packed_rows as packed


class Operators(TorchDispatchMode):
    """Counts what runs."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.seen[function.overloadpacket.__name__] += 1
        return function(*args, **kwargs or {})


class _Flash(torch.autograd.Function):
    """In its place: sees the queries, and gives gradients as a kernel does, token by token."""

    @staticmethod
    def forward(_: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return q.clone()

    @staticmethod
    def backward(_: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        (grad_NHD,) = grads
        tokens, heads, size = grad_NHD.shape
        return (torch.ones(tokens, heads, size), *(torch.ones(tokens, 1, size) for _ in "kv"))


def test_nothing_is_copied_around_the_flash_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients come back contiguous in the order of tokens, which is how compiled layers want them."""
    monkeypatch.setattr(packed, "has_flash_attention", lambda *_: True)
    monkeypatch.setattr(packed, "causal_attention", lambda q, k, v, *_: _Flash.apply(q, k, v))
    built = [torch.randn(1, 5, heads, 4, requires_grad=True) for heads in (2, 1, 1)]
    bounds = SequenceBounds.of([2, 3], torch.device("cpu"))
    layout = packed._PackedLayout((2, 3), bounds, None)
    query, key, value = (part.transpose(1, 2) for part in built)
    output = packed._attend(query, key, value, layout, None)
    assert torch.equal(output, built[0])
    with Operators() as operators:
        grads = torch.autograd.grad(output, built, torch.ones_like(output))
    assert not {"copy_", "clone", "select_backward", "zeros"} & set(operators.seen)
    assert [tensor.stride() for tensor in grads] == [tensor.stride() for tensor in built]
