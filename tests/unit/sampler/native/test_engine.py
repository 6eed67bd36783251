"""The native sampler against transformers, and its promises about order, refilling and stopping."""

import itertools
import random
from dataclasses import replace

import pytest
import torch
from transformers import PreTrainedModel

from dianoia.base.errors import ConfigError, ModelError
from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.sampler.interface import WeightUpdate
from dianoia.sampler.native.engine import CpuDecoders, NativeSampler
from tests.unit.sampler_models import (
    FAMILIES,
    POSITIONS,
    VOCABULARY,
    make,
    requests,
    worst_difference,
)

PARAMS = SamplingParams(max_tokens=24, stop_ids=frozenset({3, 5}))


@pytest.fixture(autouse=True, params=["in_c", "without_c"])
def either(request: pytest.FixtureRequest) -> str:
    """Everything here holds for the C functions of a CPU and for PyTorch alone."""
    request.getfixturevalue(request.param)
    return str(request.param)


def sampler(family: str = "qwen3-tied", slots: int = 8, seed: int = 0) -> NativeSampler:
    """A native sampler with the weights of `make(family, seed)`."""
    model = make(family, seed)
    native = NativeSampler(model.config, slots=slots)
    native.load(WeightUpdate(0, model.state_dict()))
    return native


@pytest.mark.parametrize("family", FAMILIES)
def test_logprobs_agree_with_a_plain_forward(family: str) -> None:
    model, batch = make(family), requests(6)
    for slots, temperature in ((3, 1.0), (64, 0.6), (8, 1.7)):
        params = SamplingParams(20, frozenset({3, 5}), temperature)
        native = NativeSampler(model.config, slots=slots)
        native.load(WeightUpdate(0, model.state_dict()))
        answered = native.generate(batch, params)
        assert worst_difference(model, batch, answered, temperature) < 1e-4


@pytest.mark.parametrize("family", ["qwen3", "qwen2", "llama"])
def test_greedy_equals_generate(family: str) -> None:
    model = make(family)
    native = NativeSampler(model.config, slots=2)
    native.load(WeightUpdate(0, model.state_dict()))
    batch = requests(4, samples=1)
    params = SamplingParams(16, frozenset(), temperature=0.0)
    answered = native.generate(batch, params)
    for request, group in zip(batch, answered, strict=True):
        prompt = torch.tensor([request.prompt_ids])
        theirs = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=16,
            eos_token_id=None,
            pad_token_id=0,
        )
        assert group[0].ids == tuple(theirs[0, len(request.prompt_ids) :].tolist())
    assert worst_difference(model, batch, answered) < 1e-4


def test_a_sample_does_not_depend_on_its_company() -> None:
    batch = requests(9, samples=20)
    first = sampler(slots=256).generate(batch, PARAMS)
    # One slot draws one sample after another: those of three requests are enough.
    for slots, count in ((1, 3), (7, 9), (70, 9)):
        answered = sampler(slots=slots).generate(batch[:count], PARAMS)
        assert [[c.ids for c in g] for g in answered] == [[c.ids for c in g] for g in first[:count]]
    order = list(range(len(batch)))
    random.Random(0).shuffle(order)
    shuffled = sampler().generate([batch[i] for i in order], PARAMS)
    for i, group in zip(order, shuffled, strict=True):
        assert [c.ids for c in group] == [c.ids for c in first[i]]


@pytest.mark.parametrize("threads", [2, 3])
def test_a_sample_does_not_depend_on_the_number_of_threads(threads: int) -> None:
    before = torch.get_num_threads()
    batch, finished = requests(7, samples=6), []
    torch.set_num_threads(1)
    native = sampler(slots=12)
    alone = native.generate(batch, PARAMS)
    tokens = native.stats.tokens
    torch.set_num_threads(threads)
    for _ in range(2):  # the second time with the decoders and caches of the first
        finished.clear()
        again = native.generate(batch, PARAMS, lambda *ended: finished.append(ended))
        assert [[c.ids for c in g] for g in again] == [[c.ids for c in g] for g in alone]
        assert worst_difference(make("qwen3-tied"), batch, again) < 1e-4
        assert native.stats.tokens == tokens and 0 < native.stats.occupancy <= 1
        counts = {(request, sample): completion for request, sample, completion in finished}
        assert counts == {(i, j): c for i, g in enumerate(again) for j, c in enumerate(g)}
    torch.set_num_threads(before)


MIXED = [
    SamplingParams(24, frozenset({3, 5})),
    SamplingParams(7, frozenset({3, 5}), temperature=0.6),
    SamplingParams(24, frozenset({4}), temperature=0.0),
    SamplingParams(1, frozenset(), temperature=1.3),
    SamplingParams(16, frozenset({3}), temperature=0.8, top_p=0.7),
    SamplingParams(24, frozenset({5, 8}), top_k=5),
    SamplingParams(12, frozenset(), temperature=1.5, top_p=0.9, top_k=9),
]


def test_a_sample_does_not_depend_on_the_parameters_of_its_company(either: str) -> None:
    """Each request alone, under its parameters as those of the call, is the same as among all the others."""
    default, mixed = MIXED[0], requests(14, samples=5)
    mixed = [replace(request, params=MIXED[i % len(MIXED)]) for i, request in enumerate(mixed)]
    mixed[7] = replace(mixed[7], params=None)
    together = sampler(slots=6).generate(mixed, default)
    assert len({request.params for request in mixed}) == len(MIXED) + 1
    for request, group in zip(mixed, together, strict=True):
        params, alone = request.params or default, replace(request, params=None)
        (expected,) = sampler(slots=6).generate([alone], params)
        if either == "in_c":
            assert group == expected
        else:  # PyTorch's products may round differently beside other rows
            assert [(c.ids, c.stopped) for c in group] == [(c.ids, c.stopped) for c in expected]
        assert all(len(completion.ids) <= params.max_tokens for completion in group)


def test_completions_with_parameters_of_their_own_keep_their_numbers() -> None:
    """Callbacks name requests by their place in the call, whatever the groups they are decoded in."""
    mixed = [
        replace(request, params=MIXED[i % 3]) for i, request in enumerate(requests(7, samples=3))
    ]
    finished: dict[tuple[int, int], Completion] = {}
    groups = sampler(slots=4).generate(
        mixed, PARAMS, lambda *ended: finished.update({ended[:2]: ended[2]})
    )
    assert finished == {(i, j): c for i, group in enumerate(groups) for j, c in enumerate(group)}


def test_samples_of_a_group_differ_and_keys_matter() -> None:
    prompt = (9, 4, 7)
    batch = [Request(prompt, 4, (1, 2)), Request(prompt, 4, (2, 1)), Request(prompt, 4, (1, 2))]
    params = SamplingParams(12, frozenset(), temperature=3.0)
    a, b, c = ([completion.ids for completion in g] for g in sampler().generate(batch, params))
    assert len(set(a)) == 4 and a == c and not set(a) & set(b)


def test_refilling_loses_nothing_and_tells_every_end_once() -> None:
    batch, reports = requests(40, samples=9), {}

    def on_finish(request: int, sample: int, completion: Completion) -> None:
        assert (request, sample) not in reports
        reports[request, sample] = completion

    native = sampler(slots=5)
    answered = native.generate(batch, PARAMS, on_finish)
    assert [len(group) for group in answered] == [request.samples for request in batch]
    assert reports == {(i, j): c for i, group in enumerate(answered) for j, c in enumerate(group)}
    assert native.stats.tokens == sum(len(c.ids) for group in answered for c in group)
    assert 0.7 < native.stats.occupancy <= 1.0


def test_stop_ids_end_a_sample_and_stand_in_it_once() -> None:
    answered = sampler().generate(requests(30), PARAMS)
    completions = list(itertools.chain.from_iterable(answered))
    for completion in completions:
        stops = [i for i, token in enumerate(completion.ids) if token in PARAMS.stop_ids]
        assert stops == ([len(completion.ids) - 1] if completion.stopped else [])
        assert completion.stopped or len(completion.ids) == PARAMS.max_tokens
        assert len(completion.logprobs) == len(completion.ids)
    assert {
        completion.ids[-1] for completion in completions if completion.stopped
    } == PARAMS.stop_ids
    assert any(not completion.stopped for completion in completions)


@pytest.mark.parametrize("limit", [1, 2])
def test_a_stop_as_the_last_allowed_token_counts(limit: int) -> None:
    params = SamplingParams(limit, frozenset(range(25)))
    batch = [Request((1, 2), 40, (0,))]
    (group,) = sampler().generate(batch, params)
    ends = {(len(completion.ids), completion.stopped) for completion in group}
    assert (limit, True) in ends and (limit, False) in ends
    assert all(completion.stopped == (completion.ids[-1] < 25) for completion in group)


def test_the_next_generate_uses_the_weights_of_the_last_load() -> None:
    native, batch = sampler(seed=0), requests(3)
    before = native.generate(batch, PARAMS)
    native.load(WeightUpdate(1, make("qwen3-tied", seed=1).state_dict()))
    after = native.generate(batch, PARAMS)
    assert after == sampler(seed=1).generate(batch, PARAMS) != before


def test_weights_are_copied_once_per_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen optimizer steps per rollout publish as many versions; the sampler copies the last one."""
    native, batch, versions = sampler(seed=0), requests(2), []
    native.generate(batch, PARAMS)
    copy = native._decoders.load
    monkeypatch.setattr(
        native._decoders, "load", lambda tensors: versions.append(tensors["step"]) or copy(tensors)
    )
    weights = make("qwen3-tied", seed=1).state_dict()
    for step in range(1, 17):
        native.load(WeightUpdate(step, {**weights, "step": step}))
    assert versions == []
    (group, _) = native.generate(batch, PARAMS)
    native.generate(batch, PARAMS)
    native.load(WeightUpdate(16, {**weights, "step": "again"}))
    native.generate(batch, PARAMS)
    assert versions == [16] and native.stats.weights_version == 16
    assert {completion.weights_version for completion in group} == {16}
    assert native.pull() == 16 and versions == [16]


def test_many_calls_of_different_sizes_share_a_cache_safely() -> None:
    native = sampler(slots=16)
    native.generate(requests(20, longest=40), SamplingParams(40, frozenset({3})))
    batch = requests(5)
    assert native.generate(batch, PARAMS) == sampler(slots=16).generate(batch, PARAMS)
    assert native.generate([], PARAMS) == []


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="Set max_tokens to 6 or less"):
        sampler().generate([Request((1,) * (POSITIONS - 6), 1, (0,))], PARAMS)
    with pytest.raises(ConfigError, match="empty prompt"):
        sampler().generate([Request((), 1, (0,))], PARAMS)
    with pytest.raises(ConfigError, match="top_p=0"):
        sampler().generate([], SamplingParams(4, frozenset(), top_p=0.0))
    with pytest.raises(ConfigError, match="temperature=-1"):
        params = SamplingParams(4, frozenset(), temperature=-1.0)
        sampler().generate([Request((1,), 1, (0,), params)], PARAMS)
    full = [Request((1,) * (POSITIONS - 24), 1, (0,))]
    assert sampler().generate(full, PARAMS)[0][0].ids


def test_weights_that_do_not_fit_are_refused() -> None:
    weights = dict(make("qwen3-tied").state_dict())
    native = NativeSampler(make("qwen3-tied").config, slots=2)
    weights["model.norm.weight"] = torch.ones(1)
    with pytest.raises(ModelError, match=r"'model.norm.weight' has shape \(1,\)"):
        native.load(WeightUpdate(0, weights))
    del weights["model.norm.weight"]
    with pytest.raises(ModelError, match=r"no parameter .model[.]norm[.]weight"):
        native.load(WeightUpdate(0, weights))


def test_first_tokens_follow_the_softmax() -> None:
    model, count = make("llama"), 20000
    native = NativeSampler(model.config, slots=64)
    native.load(WeightUpdate(0, model.state_dict()))
    (group,) = native.generate([Request((9, 4), count, (3,))], SamplingParams(1, frozenset(), 2.0))
    with torch.no_grad():
        probs_V = (model(torch.tensor([[9, 4]])).logits[0, -1] / 2.0).softmax(-1)
    seen_V = torch.bincount(
        torch.tensor([completion.ids[0] for completion in group]), minlength=VOCABULARY
    )
    # five standard deviations of a binomial, and one count where almost nothing is expected
    bound_V = 5 * (probs_V * (1 - probs_V) / count).sqrt() + 1 / count
    assert ((seen_V / count - probs_V).abs() < bound_V).all()


def test_bfloat16_stays_near_float32() -> None:
    model, batch = make("qwen3"), requests(5)
    native = NativeSampler(model.config, slots=4, dtype=torch.bfloat16)
    native.load(WeightUpdate(0, model.state_dict()))
    assert worst_difference(model, batch, native.generate(batch, PARAMS)) < 0.5


@pytest.mark.parametrize("family", ["qwen3-tied", "qwen2", "llama"])
def test_bfloat16_keeps_logits_in_float32(family: str) -> None:
    """Next to a float32 learner, what differs is rounding of factors, not of logits."""
    model = make(family)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.3 if parameter.dim() > 1 else 1.0)
    sampler = NativeSampler(model.config, slots=8, dtype=torch.bfloat16)
    sampler.load(WeightUpdate(0, model.state_dict()))
    batch = requests(12)
    answered = sampler.generate(batch, SamplingParams(12, frozenset()))
    assert worst_difference(model, batch, answered) < 0.05
    with torch.no_grad():
        for layer in model.model.layers:
            for parameter in layer.parameters():
                parameter.zero_()  # nothing but the table, the last norm and the head are left
    sampler.load(WeightUpdate(1, model.state_dict()))
    answered = sampler.generate(batch, SamplingParams(12, frozenset()))
    assert worst_difference(model, batch, answered) < 0.02
    if isinstance(sampler._decoders, CpuDecoders):
        assert worst_of_rounded_head(model, batch, answered) < 1e-5


@torch.no_grad()
def worst_of_rounded_head(
    model: PreTrainedModel, requested: list[Request], answered: list[list[Completion]]
) -> float:
    """Largest difference between recorded log-probabilities and those of a head whose factors are rounded."""
    worst, head = 0.0, model.lm_head.weight.bfloat16().float()
    for request, group in zip(requested, answered, strict=True):
        for completion in group:
            ids = torch.tensor([*request.prompt_ids, *completion.ids])[None]
            states = model.model(ids).last_hidden_state[0, -len(completion.ids) - 1 : -1]
            logprobs = (states.bfloat16().float() @ head.t()).log_softmax(1)
            theirs = logprobs.gather(1, torch.tensor(completion.ids)[:, None])[:, 0]
            worst = max(worst, (theirs - torch.tensor(completion.logprobs)).abs().max().item())
    return worst
