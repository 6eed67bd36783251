"""The sampler and the learner are one policy: the same tokens have the same log-probabilities.

What the sampler records while it draws, with a cache, slots and shared prompts, is compared with what
the learner computes for its loss, in padded micro-batches: at most 1e-4 apart in float32. And the
greedy continuation of transformers itself is that of the native sampler.
"""

import random
from collections.abc import Iterator, Sequence

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from dianoia.base.records import Completion, Request, Sample, SamplingParams
from dianoia.bases import shipped_model
from dianoia.config import AlgorithmSettings, OptimizerSettings
from dianoia.learner.policy import PolicyLearner
from dianoia.miniature.problems import MiniatureProblems
from dianoia.models.loading import load_model, load_tokenizer
from dianoia.sampler.interface import WeightUpdate
from dianoia.sampler.native.engine import NativeSampler
from dianoia.text.template import TEMPLATES

AGREEMENT = 1e-4
VOCABULARY = 120
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 160,
}
SETTINGS = [  # temperature, slots, tokens_per_micro_batch, share_prompts
    (1.0, 256, 16_384, True),
    (0.6, 50, 512, True),
    (1.3, 120, 1024, False),
]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def random_model(family: str) -> PreTrainedModel:
    """Weights so large that every part of the model shows in the logits."""
    torch.manual_seed(1)
    model: PreTrainedModel
    if family == "qwen3":
        model = Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=16, tie_word_embeddings=True))
    else:
        model = LlamaForCausalLM(LlamaConfig(**SIZES))
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn_like(parameter) * 0.15
            parameter.copy_(noise if parameter.dim() > 1 else parameter + noise)
    return model.eval()


def random_prompts(count: int) -> list[tuple[int, ...]]:
    rng = random.Random(0)
    return [
        tuple(rng.randrange(VOCABULARY) for _ in range(rng.randint(1, 40))) for _ in range(count)
    ]


def base_and_prompts(count: int) -> tuple[PreTrainedModel, list[tuple[int, ...]]]:
    folder = shipped_model("miniature-base")
    if folder is None:
        pytest.skip("the miniature's base is not there yet")
    tokenizer, template = load_tokenizer(folder), TEMPLATES["r1-zero"]
    texts = [
        template.render(problem.question) for problem in MiniatureProblems("math").heldout(count)
    ]
    return load_model(folder), [tuple(ids) for ids in tokenizer(texts)["input_ids"]]


def differences(
    model: PreTrainedModel,
    prompts: Sequence[tuple[int, ...]],
    samples: int,
    stops: frozenset[int],
    settings: tuple[float, int, int, bool],
) -> torch.Tensor:
    """|learner - sampler| of every sampled token."""
    temperature, slots, budget, share = settings
    sampler = NativeSampler(model.config, slots=slots)
    sampler.load(WeightUpdate(0, model.state_dict()))
    requests = [Request(ids, samples, (1, n)) for n, ids in enumerate(prompts)]
    params = SamplingParams(90, stops, temperature)
    draws = [
        Sample(request.prompt_ids, completion.ids, completion.logprobs, 1.0)
        for request, group in zip(requests, sampler.generate(requests, params), strict=True)
        for completion in group
    ]
    random.Random(0).shuffle(draws)
    learner = PolicyLearner(
        model,
        # the cap asks for the learner's own log-probabilities
        AlgorithmSettings(kl_coefficient=0.0, importance_cap=2.0),
        OptimizerSettings(learning_rate=1e-3),
        temperature=temperature,
        tokens_per_micro_batch=budget,
        share_prompts=share,
        max_tokens=90,
        total_steps=1,
    )
    theirs = torch.cat([row.old_T for row in learner.prepare(draws)])
    ours = torch.tensor([value for sample in draws for value in sample.logprobs])
    assert theirs.dtype == ours.dtype == torch.float32 and theirs.shape == ours.shape
    return (theirs - ours).abs()


@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_sampler_and_learner_agree(family: str) -> None:
    model, stops = random_model(family), frozenset({3, 5, 7})
    prompts = random_prompts(48 if family == "qwen3" else 36)
    for settings in SETTINGS if family == "qwen3" else SETTINGS[1:]:
        gaps = differences(model, prompts, 8, stops, settings)
        assert len(gaps) >= 10_000
        assert float(gaps.max()) <= AGREEMENT, settings


def test_rows_that_are_alone_and_one_slot_change_nothing() -> None:
    model, prompts = random_model("qwen3"), random_prompts(3)
    for settings in ((1.3, 1, 64, False), (0.6, 3, 64, True)):
        gaps = differences(model, prompts, 2, frozenset({3}), settings)
        assert float(gaps.max()) <= AGREEMENT, settings


def test_a_wrong_temperature_would_be_seen() -> None:
    """The comparison above is worth something: a hundredth of a degree breaks it."""
    model, prompts = random_model("qwen3"), random_prompts(4)
    sampler = NativeSampler(model.config)
    sampler.load(WeightUpdate(0, model.state_dict()))
    (group,) = sampler.generate([Request(prompts[0], 8, (1,))], SamplingParams(40, frozenset()))
    draws = [Sample(prompts[0], problem.ids, problem.logprobs, 1.0) for problem in group]
    learner = PolicyLearner(
        model,
        AlgorithmSettings(kl_coefficient=0.0, importance_cap=2.0),
        OptimizerSettings(learning_rate=1e-3),
        temperature=1.01,
        max_tokens=40,
        total_steps=1,
    )
    theirs = torch.cat([row.old_T for row in learner.prepare(draws)])
    ours = torch.tensor([value for sample in draws for value in sample.logprobs])
    assert float((theirs - ours).abs().max()) > 10 * AGREEMENT


def test_they_agree_on_the_shipped_base() -> None:
    model, prompts = base_and_prompts(40)
    parts = (prompts, prompts[:6], prompts[:6])
    gaps = [
        differences(model, part, 16, frozenset({0}), settings)
        for part, settings in zip(parts, SETTINGS, strict=True)
    ]
    assert sum(map(len, gaps)) >= 10_000
    assert max(float(candidates.max()) for candidates in gaps) <= AGREEMENT


def greedy(
    model: PreTrainedModel, prompts: Sequence[tuple[int, ...]], stops: frozenset[int], limit: int
) -> list[tuple[int, ...]]:
    """Return what transformers writes, prompts of one length at a time so that none is padded."""
    written: list[tuple[int, ...]] = [()] * len(prompts)
    for length in sorted({len(ids) for ids in prompts}):
        members = [n for n, ids in enumerate(prompts) if len(ids) == length]
        ids_BL = torch.tensor([prompts[n] for n in members])
        rows = model.generate(
            ids_BL,
            attention_mask=torch.ones_like(ids_BL),
            do_sample=False,
            max_new_tokens=limit,
            eos_token_id=sorted(stops),
            pad_token_id=0,
        )
        for n, row in zip(members, rows[:, length:].tolist(), strict=True):
            end = next((i + 1 for i, token in enumerate(row) if token in stops), len(row))
            written[n] = tuple(row[:end])
    return written


def native(
    model: PreTrainedModel, prompts: Sequence[tuple[int, ...]], stops: frozenset[int], limit: int
) -> list[Completion]:
    sampler = NativeSampler(model.config, slots=16)
    sampler.load(WeightUpdate(0, model.state_dict()))
    requests = [Request(ids, 1, (1, n)) for n, ids in enumerate(prompts)]
    params = SamplingParams(limit, stops, temperature=0.0)
    return [group[0] for group in sampler.generate(requests, params)]


@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_greedy_is_what_transformers_writes(family: str) -> None:
    model, stops = random_model(family), frozenset({3, 5, 7})
    rng = random.Random(2)
    prompts = [
        tuple(rng.randrange(VOCABULARY) for _ in range(rng.choice((1, 9, 30)))) for _ in range(50)
    ]
    ours = native(model, prompts, stops, 40)
    assert [completion.ids for completion in ours] == greedy(model, prompts, stops, 40)
    assert any(completion.stopped for completion in ours) and any(
        not completion.stopped for completion in ours
    )


def test_greedy_on_the_shipped_base_is_what_transformers_writes() -> None:
    model, prompts = base_and_prompts(50)
    ours = native(model, prompts, frozenset({0}), 60)
    assert [completion.ids for completion in ours] == greedy(model, prompts, frozenset({0}), 60)
    assert sum(completion.stopped for completion in ours) > 25, "most answers end by themselves"
