"""Rollouts drawn ahead: in order, with the weights of their beginning, and the same after a restart."""

import io
import threading
from collections.abc import Callable

import pytest
import torch

from dianoia.base.records import Completion, Problem, Request, SamplingParams
from dianoia.config import LoRASettings
from dianoia.learner.lora import MergedWeights, adapters, add_adapters
from dianoia.sampler.drawn_ahead import AheadBatch, DrawnAhead, copied
from dianoia.sampler.interface import WeightUpdate
from dianoia.sampler.rollouts import RolloutSampler
from tests.unit.conftest import ScriptedSampler
from tests.unit.sampler_models import make


class VersionedSampler(ScriptedSampler):
    """Says the first weight that it was loaded with; a draw waits until `go` is set."""

    go = threading.Event()

    def _completion(self, request: Request, sample: int) -> Completion:
        assert self.go.wait(10)
        weight = float(self.loaded[-1].tensors["w"][0])
        base = super()._completion(request, sample)
        return Completion(base.ids, (weight,) * len(base.ids), True, self.loaded[-1].version)


@pytest.fixture
def ahead(
    roller: Callable[..., RolloutSampler], params: SamplingParams
) -> Callable[..., DrawnAhead]:
    def make_ahead(in_background: bool) -> DrawnAhead:
        made = roller(lambda prompt, sample: "7")
        made.sampler = VersionedSampler(made.tokenizer, lambda prompt, sample: f"{sample}")
        return DrawnAhead(made, in_background=in_background)

    return make_ahead


def batch(problems: list[Problem], number: int, params: SamplingParams) -> AheadBatch:
    return AheadBatch([(3, 2 * number), (3, 2 * number + 1)], problems, 2, params)


@pytest.mark.parametrize("in_background", [False, True])
def test_each_batch_has_the_weights_of_its_beginning(
    in_background: bool,
    ahead: Callable[..., DrawnAhead],
    problems: list[Problem],
    params: SamplingParams,
) -> None:
    buffer, weight = ahead(in_background), torch.tensor([0.0])
    VersionedSampler.go.set()
    if in_background:
        VersionedSampler.go.clear()
    for version in range(3):
        buffer.begin(batch(problems, version, params), WeightUpdate(version, {"w": weight}))
        weight += 1  # the learner goes on at once
    VersionedSampler.go.set()
    assert len(buffer) == 3
    for version in range(3):
        completions = [r.completion for row in buffer.take() for r in row]
        assert {c.weights_version for c in completions} == {version}
        assert {value for c in completions for value in c.logprobs} == {float(version)}
    buffer.close()


def test_a_state_holds_what_was_drawn_to_the_last_bit(
    ahead: Callable[..., DrawnAhead], problems: list[Problem], params: SamplingParams
) -> None:
    VersionedSampler.go.set()
    first, second = ahead(True), ahead(False)
    batches = [batch(problems, number, params) for number in range(2)]
    for version, each in enumerate(batches):
        weight = torch.tensor([1 / 3 + version])
        first.begin(each, WeightUpdate(version, {"w": weight}))
    torch.save(first.state(), file := io.BytesIO())
    file.seek(0)
    second.load_state(batches, torch.load(file, weights_only=True))
    assert len(second) == 2
    for _ in batches:
        ours, theirs = first.take(), second.take()
        assert ours == theirs
        versions = [
            [[r.completion.weights_version for r in row] for row in x] for x in (ours, theirs)
        ]
        assert versions[0] == versions[1]
    first.close()


def test_an_error_of_the_sampler_is_raised_where_the_batch_is_taken(
    ahead: Callable[..., DrawnAhead], problems: list[Problem], params: SamplingParams
) -> None:
    VersionedSampler.go.set()
    buffer = ahead(True)
    buffer.begin(batch(problems, 0, params), WeightUpdate(0, {}))
    with pytest.raises(KeyError):
        buffer.finish()
    with pytest.raises(KeyError):
        buffer.take()
    buffer.close()


def test_copies_do_not_change_with_the_learner_and_share_what_is_frozen() -> None:
    model = make("qwen3-tied")
    weights = copied(model.state_dict())
    before = {name: tensor.clone() for name, tensor in weights.items()}
    tied = "lm_head.weight", "model.embed_tokens.weight"
    assert weights[tied[0]].data_ptr() == weights[tied[1]].data_ptr()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert all(torch.equal(weights[name], tensor) for name, tensor in before.items())
    add_adapters(model, LoRASettings(rank=2), seed=1)
    live = MergedWeights(model)
    copy = copied(live)
    name = "model.layers.0.mlp.up_proj.weight"
    old = copy[name]
    with torch.no_grad():
        for layer in adapters(model).values():
            layer.B.fill_(1.0)
    assert torch.equal(copy[name], old) and not torch.equal(live[name], old)
    assert copy[tied[1]].data_ptr() == live[tied[1]].data_ptr()
