"""The sampler and the learner on a GPU: the numbers of a CPU, and in bfloat16 numbers near them.

These tests use no conftest, so that a machine with PyTorch, transformers and pytest alone can run them:
`python -m pytest --noconftest -W default -m gpu tests/gpu`.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from dianoia.base.records import Completion, Request, Sample, SamplingParams
from dianoia.config import AlgorithmSettings, OptimizerSettings
from dianoia.hardware import compiled
from dianoia.hardware.devices import use_deterministic_kernels
from dianoia.hardware.flash_attention import (
    SequenceBounds,
    causal_attention,
    has_flash_attention,
)
from dianoia.learner.batching.batch import Layout, PreparedSample, collate
from dianoia.learner.kernels.head_gpu import Scoring, scored
from dianoia.learner.logprobs import response_logprobs
from dianoia.learner.policy import PolicyLearner
from dianoia.sampler.interface import WeightUpdate
from dianoia.sampler.native.engine import NativeSampler
from dianoia.sampler.native.torch.decode_attention import (
    MOST_GROUP,
    Places,
    Rotation,
    Tiles,
    attend_tiles,
    attend_tiles_reference,
    has_decode_kernels,
    rope_into_pages,
    rope_into_pages_reference,
)
from dianoia.sampler.native.torch.decode_steps import DecodeSteps
from dianoia.sampler.native.torch.page_pool import PAGE
from dianoia.sampler.native.torch.torch_decoder import TorchDecoder
from tests.unit.sampler_models import make, requests

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("default"),
]
CUDA = torch.device("cuda")
PARAMS = SamplingParams(max_tokens=40, stop_ids=frozenset({3, 5}))
FAMILIES = ("qwen3", "qwen2", "llama-rope-bias")
"""The first has heads of 16, which the kernels of a step ask for; the others of 8."""


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """Set the exact arithmetic of a run."""
    if torch.cuda.is_available():
        use_deterministic_kernels(CUDA)
    yield
    torch.use_deterministic_algorithms(False)


def sampler(
    family: str,
    device: torch.device | str = CUDA,
    dtype: torch.dtype = torch.float32,
    slots: int = 16,
) -> NativeSampler:
    model = make(family)
    native = NativeSampler(model.config, slots=slots, dtype=dtype, device=device)
    native.load(WeightUpdate(0, model.state_dict()))
    return native


def ids(groups: list[list[Completion]]) -> list[list[tuple[int, ...]]]:
    return [[done.ids for done in group] for group in groups]


def logprobs(groups: list[list[Completion]]) -> torch.Tensor:
    return torch.tensor([p for group in groups for done in group for p in done.logprobs])


# Pieces -------------------------------------------------------------------------------------------


def test_this_machine_has_flash_attention() -> None:
    assert has_flash_attention(CUDA, torch.bfloat16, 128)


@pytest.mark.skipif(os.environ.get(compiled.SWITCH) == "0", reason="compilation is turned off")
def test_this_machine_compiles() -> None:
    assert compiled._compiles()


def plain_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool
) -> torch.Tensor:
    """Return the attention of one sequence, `[T, heads, D]`, in float32."""
    parts = (x.float().transpose(0, 1)[None] for x in (q, k, v))
    output = F.scaled_dot_product_attention(*parts, is_causal=causal, enable_gqa=True)
    return output[0].transpose(0, 1)


def test_flash_attention_end_to_end_with_gradients() -> None:
    torch.manual_seed(0)
    lengths = [5, 1, 130, 64]
    sizes = [(sum(lengths), heads, 64) for heads in (4, 2, 2)]
    q, k, v = (torch.randn(s, device=CUDA, dtype=torch.bfloat16, requires_grad=True) for s in sizes)
    output = causal_attention(q, k, v, SequenceBounds.of(lengths, CUDA), 64**-0.5)
    parts = zip(*(x.split(lengths) for x in (q, k, v)), strict=True)
    expected = torch.cat([plain_attention(*part, causal=True) for part in parts])
    assert (output.float() - expected).abs().max() < 0.03
    factors = torch.randn(output.shape, device=CUDA)
    ours = torch.autograd.grad((output.float() * factors).sum(), (q, k, v))
    theirs = torch.autograd.grad((expected * factors).sum(), (q, k, v))
    for first, other in zip(ours, theirs, strict=True):
        assert (first.float() - other.float()).norm() < 0.02 * other.float().norm()


def test_this_machine_has_the_kernels_of_a_step() -> None:
    assert has_decode_kernels(CUDA, torch.bfloat16, 128, 2)


def paged(head: int, kv: int) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Keys and values of six samples of 1,024 tokens in pages of a random order, and their table."""
    order = torch.randperm(6 * 16, device=CUDA) + 1
    keys, values = (
        torch.randn(6 * 16 + 1, PAGE, kv, head, device=CUDA, dtype=torch.bfloat16) for _ in range(2)
    )
    return (keys, values), order.view(6, 16).to(torch.int32)


def one_token_each(positions: list[int]) -> Tiles:
    numbers = torch.arange(len(positions), device=CUDA)
    return Tiles(numbers, numbers, torch.ones_like(numbers), torch.tensor(positions, device=CUDA))


@pytest.mark.parametrize(("heads", "kv"), [(16, 8), (14, 2), (4, 4)])
@pytest.mark.parametrize("head", [64, 128])
def test_a_step_over_pages(heads: int, kv: int, head: int) -> None:
    torch.manual_seed(0)
    cached, tables = paged(head, kv)
    q = torch.randn(6, heads, head, device=CUDA, dtype=torch.bfloat16)
    numbers = (q, cached, tables, one_token_each([0, 63, 64, 255, 500, 1023]), head**-0.5)
    expected = attend_tiles_reference(*numbers, 1024)
    assert (attend_tiles(*numbers, 1024).float() - expected.float()).abs().max() < 0.03


@pytest.mark.parametrize(("heads", "kv"), [(16, 8), (14, 2), (4, 4)])
@pytest.mark.parametrize("head", [64, 128])
def test_a_token_gets_the_same_bits_in_a_step_and_in_a_prompt(
    heads: int, kv: int, head: int
) -> None:
    """Whatever the number of spans, the place of its pages, and the tile that it is in."""
    torch.manual_seed(0)
    (keys, values), tables = paged(head, kv)
    q = torch.randn(600, heads, head, device=CUDA, dtype=torch.bfloat16)
    size, scale = MOST_GROUP // (heads // kv), head**-0.5
    numbers = [(0, i, min(size, 600 - i), 300 + i) for i in range(0, 600, size)]
    prompt = Tiles(*torch.tensor(numbers, device=CUDA).t().contiguous())
    whole = attend_tiles(q, (keys, values), tables, prompt, scale, None)
    moved = tables.flip(1)
    elsewhere = tuple(part.clone() for part in (keys, values))
    for part, source in zip(elsewhere, (keys, values), strict=True):
        part[moved.flatten().long()] = source[tables.flatten().long()]
    for i in (0, 1, 211, 212, 599):
        for cached, table, longest in (((keys, values), tables, 1024), (elsewhere, moved, 4096)):
            output = attend_tiles(
                q[i : i + 1], cached, table, one_token_each([300 + i]), scale, longest
            )
            assert torch.equal(output[0], whole[i])


@pytest.mark.parametrize("normed", [True, False])
def test_keys_go_into_pages(normed: bool) -> None:
    torch.manual_seed(0)
    dtype = torch.bfloat16
    qkv = torch.randn(5, (4 + 2 * 2) * 64, device=CUDA, dtype=dtype)
    norms = torch.rand(6, 64, device=CUDA, dtype=dtype) if normed else None
    rotation = Rotation(
        norms, 1e-6, *(torch.randn(5, 64, device=CUDA, dtype=dtype) for _ in range(2))
    )
    tables = torch.tensor([[4, 2], [1, 3]], device=CUDA, dtype=torch.int32)
    places = Places(
        torch.tensor([0, 5, 63, 64, 100], device=CUDA),
        torch.tensor([0, 0, 1, 1, 0], device=CUDA),
        tables,
    )
    ours, theirs = (
        (
            torch.zeros(5, PAGE, 2, 64, device=CUDA, dtype=dtype),
            torch.zeros(5, PAGE, 2, 64, device=CUDA, dtype=dtype),
        )
        for _ in range(2)
    )
    turned = rope_into_pages(qkv, rotation, places, ours)
    plain = rope_into_pages_reference(qkv, rotation, places, theirs)
    for first, other in zip((turned, *ours), (plain, *theirs), strict=True):
        assert (first.float() - other.float()).abs().max() <= 0.02 * other.float().abs().max()


@pytest.mark.parametrize("remaining", [0, 2**20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_head_in_chunks(dtype: torch.dtype, remaining: int) -> None:
    torch.manual_seed(0)
    states = torch.randn(70, 64, device=CUDA, requires_grad=True)
    weight = torch.randn(3001, 64, device=CUDA, requires_grad=True)
    tokens = torch.randint(3001, (70,), device=CUDA)
    got, entropies, likeliest = scored(
        states, (weight, None), tokens, Scoring(0.8, dtype, 32, remaining)
    )
    assert torch.equal(likeliest, (states @ weight.t()).argmax(-1) == tokens)
    all_NV = torch.log_softmax(states.double() @ weight.double().t() / 0.8, -1)
    expected = all_NV.gather(1, tokens[:, None])[:, 0]
    # logits have a deviation of 10 here, and factors a relative error of 2^-9
    within = 1e-4 if dtype == torch.float32 else 0.15
    assert (got - expected).abs().max() < within
    assert (entropies + (all_NV.exp() * all_NV).sum(-1)).abs().max() < within
    factors = torch.randn(70, device=CUDA)
    ours = torch.autograd.grad((got * factors).sum(), (states, weight))
    theirs = torch.autograd.grad((expected * factors).sum(), (states, weight))
    for first, other in zip(ours, theirs, strict=True):
        assert (first - other).norm() < within * other.norm()


# Sampler ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_float32_draws_what_a_cpu_draws(family: str) -> None:
    batch = requests(9, samples=7)
    ours = sampler(family).generate(batch, PARAMS)
    theirs = sampler(family, "cpu").generate(batch, PARAMS)
    assert ids(ours) == ids(theirs)
    assert (logprobs(ours) - logprobs(theirs)).abs().max() < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_equals_transformers(family: str) -> None:
    model, params = make(family).to(CUDA), SamplingParams(30, frozenset(), temperature=0.0)
    batch = requests(4, samples=1)
    for request, group in zip(batch, sampler(family).generate(batch, params), strict=True):
        prompt = torch.tensor([request.prompt_ids], device=CUDA)
        theirs = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=30,
            eos_token_id=None,
            pad_token_id=0,
        )
        assert group[0].ids == tuple(theirs[0, len(request.prompt_ids) :].tolist())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "params",
    [
        PARAMS,
        SamplingParams(40, frozenset({3}), temperature=0.7, top_p=0.8),
        SamplingParams(40, frozenset({3}), top_k=5),
        SamplingParams(40, frozenset(), temperature=0.0),
    ],
)
def test_captured_steps_draw_what_plain_steps_draw(
    params: SamplingParams, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = requests(9, samples=7)
    native = sampler("qwen3", dtype=dtype)
    captured = native.generate(batch, params)
    (decoder,) = native._decoders._workers  # type: ignore[attr-defined]
    assert isinstance(decoder, TorchDecoder) and decoder._steps is not None
    assert decoder._steps.captures and any(decoder._steps._graphs.values())
    again = native.generate(batch, params)
    monkeypatch.setattr(DecodeSteps, "_capture", lambda *_: None)
    plain = sampler("qwen3", dtype=dtype).generate(batch, params)
    assert ids(captured) == ids(again) == ids(plain)
    assert (logprobs(captured) - logprobs(plain)).abs().max() < 1e-5


def test_float32_does_not_depend_on_slots_and_new_weights_take_effect() -> None:
    batch = requests(9, samples=7)
    first = sampler("qwen3", slots=64).generate(batch, PARAMS)
    native = sampler("qwen3", slots=3)
    assert ids(native.generate(batch, PARAMS)) == ids(first)
    native.load(WeightUpdate(1, make("qwen3", seed=1).state_dict()))
    assert ids(native.generate(batch, PARAMS)) != ids(first)


@pytest.mark.parametrize("family", ["qwen3", "qwen2"])
def test_few_pages_draw_what_many_draw(family: str) -> None:
    """Float32 in plain PyTorch: up to the rounding of products of different sizes."""
    batch = requests(9, samples=7)
    model = make(family)
    tight = NativeSampler(model.config, slots=16, device=CUDA, pages=2)
    tight.load(WeightUpdate(0, model.state_dict()))
    ours, theirs = tight.generate(batch, PARAMS), sampler(family).generate(batch, PARAMS)
    assert ids(ours) == ids(theirs)
    assert (logprobs(ours) - logprobs(theirs)).abs().max() < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_session_serves_any_parameters(dtype: torch.dtype) -> None:
    """Steps are captured, draws of several sets of parameters are not."""
    kinds = [PARAMS, replace(PARAMS, top_p=0.8), replace(PARAMS, temperature=0.0)]
    batch = requests(9, samples=3)
    with sampler("qwen3", dtype=dtype).session(20, 40) as session:
        handles = [session.submit(r, kinds[i % 3]) for i, r in enumerate(batch)]
        results = [handle.result(120) for handle in handles]
    assert [len(group) for group in results] == [request.samples for request in batch]
    if dtype == torch.float32:
        alone = [sampler("qwen3").generate([r], kinds[i % 3])[0] for i, r in enumerate(batch)]
        assert ids(results) == ids(alone)


# Learner ------------------------------------------------------------------------------------------


def learner(
    family: str, device: torch.device | str, autocast: str = "none", recompute: bool = False
) -> PolicyLearner:
    return PolicyLearner(
        make(family).to(device),
        AlgorithmSettings(clip_low=0.2, clip_high=0.2, kl_coefficient=0.01),
        OptimizerSettings(learning_rate=1e-3),
        max_tokens=40,
        total_steps=4,
        tokens_per_micro_batch=256,
        autocast=autocast,  # type: ignore[arg-type]
        recompute=recompute,
    )


def drawn(family: str, dtype: torch.dtype = torch.float32) -> list[Sample]:
    """Return samples that the sampler on the GPU draws, with advantages of both signs."""
    batch = requests(9, samples=7)
    groups = sampler(family, dtype=dtype).generate(batch, PARAMS)
    pairs: list[tuple[Request, Completion]] = [
        (request, done) for request, group in zip(batch, groups, strict=True) for done in group
    ]
    return [
        Sample(request.prompt_ids, done.ids, done.logprobs, 1.0 - 0.7 * (i % 3))
        for i, (request, done) in enumerate(pairs)
    ]


def parameters(model: PreTrainedModel) -> torch.Tensor:
    return torch.cat([p.detach().flatten().cpu() for p in model.parameters()])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_float32_update_is_that_of_a_cpu(family: str) -> None:
    samples = drawn(family)
    ours, theirs = learner(family, CUDA), learner(family, "cpu")
    for _ in range(2):
        first, other = (count.update(count.prepare(samples)) for count in (ours, theirs))
        assert first.loss == pytest.approx(other.loss, abs=1e-5)
        assert first.grad_norm == pytest.approx(other.grad_norm, rel=1e-3)
    # AdamW's first steps have the size of the rate, whatever the gradient's, so small ones are noise
    assert (parameters(ours.model) - parameters(theirs.model)).abs().mean() < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_the_sampler_agrees_with_the_learner(family: str) -> None:
    exactly = learner(family, CUDA)
    metrics = exactly.update(exactly.prepare(drawn(family)))
    assert metrics.gap_max is not None and metrics.gap_max < 1e-4
    rounded = learner(family, CUDA, "bfloat16")
    assert rounded.layout is Layout.PACKED
    metrics = rounded.update(rounded.prepare(drawn(family, torch.bfloat16)))
    assert metrics.gap_mean is not None and metrics.gap_mean < 0.05, metrics


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_gradients_point_where_float32_ones_do(family: str, recompute: bool) -> None:
    samples = drawn(family)
    rows = [PreparedSample(sample, torch.tensor(sample.logprobs)) for sample in samples]
    results = []
    for autocast in ("none", "bfloat16"):
        trained = learner(family, CUDA, autocast, recompute)
        batch = collate(rows, device=CUDA, layout=trained.layout)
        with torch.autocast("cuda", torch.bfloat16, enabled=autocast == "bfloat16"):
            logprobs_BT, _ = response_logprobs(trained.model, batch, 1.0, plain_head=True)
        (logprobs_BT * batch.advantages_B[:, None]).sum().backward()
        grads = torch.cat(
            [p.grad.flatten() for p in trained.model.parameters() if p.grad is not None]
        )
        results.append((logprobs_BT.detach(), grads))
    (exact_BT, exact_grad), (round_BT, round_grad) = results
    difference = (exact_BT - round_BT)[batch.mask_BT].abs()
    cosine = F.cosine_similarity(exact_grad, round_grad, dim=0)
    assert difference.mean() < 0.05, (difference.mean(), difference.max())
    assert cosine > 0.98


def test_two_updates_of_one_seed_are_the_same_to_the_bit() -> None:
    samples = drawn("qwen3", torch.bfloat16)
    results = []
    for _ in range(2):
        trained = learner("qwen3", CUDA, "bfloat16")
        for _ in range(2):
            trained.update(trained.prepare(samples))
        results.append(parameters(trained.model))
    assert torch.equal(*results)


def test_micro_batches_do_not_wait_for_the_device() -> None:
    """However many there are, the host asks it the same few things, at the end of the step."""
    samples = drawn("qwen3", torch.bfloat16)
    counts = []
    for budget in (64, 4096):
        trained = learner("qwen3", CUDA, "bfloat16")
        trained.tokens_per_micro_batch = budget
        trained.update(trained.prepare(samples))
        counts.append(questions(lambda trained=trained: trained.update(trained.prepare(samples))))  # type: ignore[misc]
    many, few = counts
    assert len(many) == len(few), [str(w.message) for w in many]


def questions(work: Callable[[], object]) -> list[warnings.WarningMessage]:
    """Return the warnings of places where the host waits for the device."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return [match for match in caught if "synchroniz" in str(match.message)]
