"""A learner asks the device a few things a step, however many micro-batches there are.

The meta device stands in for a GPU: it computes no numbers, so that everything which would need one is an
operator that is seen here.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel

from dianoia.base.records import Sample
from dianoia.learner.attention.packed_rows import Demonstration, never_plain
from dianoia.learner.policy import PolicyLearner
from dianoia.learner.supervised import SupervisedLearner
from tests.unit.learner.conftest import optimizer_settings, policy_learner

MakeModel = Callable[..., PreTrainedModel]
META = torch.device("meta")
ANSWERED = torch.ops.aten._local_scalar_dense.default
COPIED = torch.ops.aten._to_copy.default


class Questions(TorchDispatchMode):
    """Counts where a host would wait for a GPU: `float(x)` and the like, and copies that it waits for.

    Operators whose result has a size that depends on numbers (`nonzero`, a boolean index) fail by themselves.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is ANSWERED and args[0].device == META:
            self.count += 1
            return 1.0 if args[0].is_floating_point() else 1
        if function is COPIED and "device" in kwargs and kwargs["device"] != args[0].device:
            self.count += not kwargs.get("non_blocking")
            if args[0].device == META:
                return torch.ones(args[0].shape, dtype=kwargs["dtype"])
        return function(*args, **kwargs)


@contextmanager
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Questions]:
    """Questions of what runs inside, tensors that are made on the device from numbers among them."""
    made = torch.tensor
    with monkeypatch.context() as patch, Questions() as questions:

        def tensor(*args: Any, device: Any = None, **kwargs: Any) -> Tensor:
            questions.count += device is not None and torch.device(device) == META
            return made(*args, device=device, **kwargs)

        patch.setattr(torch, "tensor", tensor)
        yield questions


@pytest.fixture(params=["packed", "shared"])
def layout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a learner finds out about its model by computing, and what belongs to CUDA alone."""

    def packs(model: PreTrainedModel, _: str) -> bool:
        never_plain(model)
        return bool(request.param == "packed")

    for module in ("policy", "supervised"):
        path = f"dianoia.learner.{module}"
        monkeypatch.setattr(f"{path}.has_plain_head", lambda _: True)
    for module in ("kernels.prepare", "supervised"):
        monkeypatch.setattr(f"dianoia.learner.{module}.packs_on_gpu", packs)
    for module in ("policy", "supervised"):
        monkeypatch.setattr(f"dianoia.learner.{module}.prepare_for_gpu", lambda *_: None)
    monkeypatch.setattr("dianoia.learner.kernels.prepare.can_share_prompts", lambda _: True)
    for path in (
        "learner.batching.batch.to_device",
        "learner.batching.shared_prompts.to_device",
        "hardware.flash_attention.to_device",
    ):
        path = f"dianoia.{path}"
        monkeypatch.setattr(path, lambda tensor, device: tensor.to(device, non_blocking=True))
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)
    return str(request.param)


def learner_of(model: PreTrainedModel, algorithm: str, tokens: int) -> PolicyLearner:
    ppo = {"value_clip": 0.2} if algorithm == "ppo" else {}
    return policy_learner(
        model,
        name=algorithm,
        kl_coefficient=0.1,
        importance_cap=2.0,
        max_tokens=20,
        total_steps=4,
        tokens_per_micro_batch=tokens,
        **ppo,
    )


@pytest.mark.parametrize("algorithm", ["grpo", "gspo", "cispo", "ppo"])
def test_micro_batches_of_rollouts_do_not_wait(
    make_model: MakeModel,
    samples: list[Sample],
    layout: str,
    algorithm: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = []
    for tokens in (8, 20, 4096):
        learner = learner_of(make_model().to(META), algorithm, tokens)
        assert learner.layout == layout
        with asked(monkeypatch) as questions:
            learner.update(learner.prepare(samples))
        counts.append(questions.count)
    assert counts[0] == counts[1] == counts[2] > 0


@pytest.mark.parametrize("layout", ["packed"], indirect=True)
def test_rows_of_demonstrations_do_not_wait(
    make_model: MakeModel,
    samples: list[Sample],
    layout: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = [torch.tensor(one.prompt_ids + one.response_ids, dtype=torch.int32) for one in samples]
    shown = [Demonstration(ids_L, torch.arange(len(ids_L)) > 0) for ids_L in ids]
    counts = []
    for tokens in (8, 20, 4096):
        model = make_model().to(META)
        learner = SupervisedLearner(
            model, optimizer_settings(), total_steps=4, tokens_per_row=tokens
        )
        with asked(monkeypatch) as questions:
            learner.update(shown)
        counts.append(questions.count)
    assert counts[0] == counts[1] == counts[2] > 0
