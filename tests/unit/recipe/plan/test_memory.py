"""The memory of a plan, by hand, and its activations beside what PyTorch keeps."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from dianoia.base.records import Sample
from dianoia.config import AlgorithmSettings, LoRASettings, OptimizerSettings
from dianoia.hardware.machine import Machine
from dianoia.learner.attention.packed_rows import Demonstration
from dianoia.learner.lora import add_adapters
from dianoia.learner.policy import PolicyLearner
from dianoia.learner.supervised import SupervisedLearner
from dianoia.recipe import load_recipe
from dianoia.recipe.plan.memory import (
    Pass,
    Phase,
    activations,
    gpu_logits,
    layer_bytes,
    peak,
    trained_parameters,
)
from dianoia.recipe.plan.model_sizes import Size, size_from_config, size_of

Write = Callable[..., Path]
CPU = Machine("this CPU", None, 1, 1e11, 1e11, None)
TWO = Machine("this CPU", None, 2, 1e11, 1e11, None)
GPU = Machine("a GPU", 80e9, 1, 1e13, 1e14, 2e12)
FAMILIES = {
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "llama": (LlamaConfig, LlamaForCausalLM),
}
SHAPE = {
    "vocab_size": 300,
    "hidden_size": 96,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "intermediate_size": 160,
    "max_position_embeddings": 2048,
}


def build(family: str, layers: int) -> PreTrainedModel:
    config, model = FAMILIES[family]
    torch.manual_seed(0)
    return model(config(**SHAPE, num_hidden_layers=layers))  # type: ignore[no-any-return]


def kept_bytes(model: PreTrainedModel, step: Callable[[], object]) -> int:
    """Bytes that a step keeps for its backward pass, parameters and their casts aside."""
    sizes: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    shapes = {shape for p in model.parameters() for shape in (tuple(p.shape), tuple(p.shape[::-1]))}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tuple(tensor.shape) not in shapes:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        step()
    return sum(sizes.values())


TOKENS = 4 * 200


def supervised(family: str, layers: int, autocast: str, recompute: bool = False) -> int:
    model = build(family, layers)
    learner = SupervisedLearner(
        model,
        OptimizerSettings(learning_rate=1e-3),
        total_steps=3,
        autocast=autocast,  # type: ignore[arg-type]
        recompute=recompute,
    )
    learner.tokens_per_row = TOKENS
    data = [
        Demonstration(torch.arange(200, dtype=torch.int32), torch.arange(200) > 150)
        for _ in range(4)
    ]
    return kept_bytes(model, lambda: learner.update(data))


def reinforced(family: str, layers: int, autocast: str) -> int:
    model = build(family, layers)
    learner = PolicyLearner(
        model,
        AlgorithmSettings(kl_coefficient=0.0),
        OptimizerSettings(learning_rate=1e-3),
        max_tokens=256,
        total_steps=3,
        autocast=autocast,  # type: ignore[arg-type]
    )
    learner.tokens_per_micro_batch = 8192
    samples = [
        Sample(tuple(range(3, 11)), (5,) * 198, (-1.0,) * 198, 1.0 - 2 * (k % 2)) for k in range(4)
    ]
    rows = learner.prepare(samples)
    return kept_bytes(model, lambda: learner.update(rows))


def known(family: str, layers: int) -> Size:
    return size_from_config({**SHAPE, "num_hidden_layers": layers, "model_type": family}, family)


@pytest.mark.usefixtures("without_c")
@pytest.mark.parametrize("autocast", ["none", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_keeps_what_the_plan_says(family: str, autocast: str) -> None:
    """Two layers more, so that all that is not theirs falls away."""
    measured = (supervised(family, 3, autocast) - supervised(family, 1, autocast)) / 2 / TOKENS
    estimate = layer_bytes(known(family, 1), autocast == "bfloat16", shared_prompts=False)
    assert estimate == pytest.approx(measured, rel=0.05)


@pytest.mark.usefixtures("without_c")
@pytest.mark.parametrize("autocast", ["none", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_with_shared_prompts(family: str, autocast: str) -> None:
    tokens = 4 * 198 + 8
    measured = (reinforced(family, 3, autocast) - reinforced(family, 1, autocast)) / 2 / tokens
    estimate = layer_bytes(known(family, 1), autocast == "bfloat16", shared_prompts=True)
    assert estimate == pytest.approx(measured, rel=0.1)


@pytest.mark.usefixtures("in_c")
@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_in_c_a_layer_keeps_less(family: str) -> None:
    """Inputs and results of both norms, 4 x 96; both halves of the feed-forward part and their product, 3 x 160;
    queries before and after rotation and what attention saw, 3 x 192; keys and values before and after, 4 x 64; the
    norms' and the heads' normalisers, 2 + 6. Beside that joined weights, a copy a layer."""
    numbers = 4 * 96 + 3 * 160 + 3 * 192 + 4 * 64 + 2 + 6
    joined = 4 * 96 * (192 + 2 * 64 + 2 * 160)
    measured = (supervised(family, 3, "none") - supervised(family, 1, "none")) / 2
    assert measured == 4 * numbers * TOKENS + joined
    assert measured < TOKENS * layer_bytes(known(family, 1), autocast=False, shared_prompts=False)


@pytest.mark.usefixtures("in_c")
@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_in_c_a_layer_of_bfloat16_products_keeps_less(family: str) -> None:
    measured = (supervised(family, 3, "bfloat16") - supervised(family, 1, "bfloat16")) / 2
    assert (
        0 < measured < TOKENS * layer_bytes(known(family, 1), autocast=True, shared_prompts=False)
    )


def test_computing_again_keeps_the_input_of_a_layer() -> None:
    measured = (supervised("qwen3", 3, "none", True) - supervised("qwen3", 1, "none", True)) / 2
    assert measured / TOKENS == pytest.approx(4 * 96, rel=0.02)
    single, triple = (
        activations(known("qwen3", n), Pass(TOKENS, TOKENS, recompute=True)) for n in (1, 3)
    )
    assert (triple - single) / 2 / TOKENS == 4 * 96


# By hand ------------------------------------------------------------------------------------------

# 4 layers of 2 x 512 x 8 x (4 + 2) + 3 x 512 x 2048, and 1024 x 512 of embeddings
LARGE = {"hidden_size": 512, "layers": 4, "intermediate_size": 2048}
MATRICES, TABLE = 4 * (49_152 + 3_145_728), 524_288
PARAMETERS = MATRICES + TABLE


def phase(write: Write, name: str, machine: Machine, *overrides: str) -> Phase:
    options = [f"base.model.{key}={value}" for key, value in LARGE.items()]
    recipe = load_recipe(write(), [*options, "base.vocabulary=1024", *overrides])
    return peak(recipe.stages[name], size_of(name, recipe), machine)


def test_the_parts_of_reinforcement_by_hand(write: Write) -> None:
    parts = phase(write, "zero", CPU).parts
    assert parts["weights"] == parts["reference"] == parts["sampler"] == 4 * PARAMETERS
    assert parts["AdamW"] == 8 * PARAMETERS and parts["gradients"] == 4 * PARAMETERS
    # keys and values of 4 layers x 2 heads x 8 are 128 numbers a token: 8 slots of 25 tokens, and 8 problems
    # of 4 samples are 8 prompt rows of 80
    assert parts["KV cache"] == 4 * 128 * (8 * 25 + 8 * 80)
    assert parts["value model"] == 0 == parts["bfloat16 weights"]


def test_every_lane_has_gradients_and_activations(write: Write) -> None:
    single, double = (phase(write, "zero", machine).parts for machine in (CPU, TWO))
    assert double["gradients"] == 2 * single["gradients"]
    assert double["weights"] == single["weights"] and double["AdamW"] == single["AdamW"]


def test_without_a_divergence_there_is_no_reference(write: Write) -> None:
    parts = phase(write, "zero", CPU, "zero.algorithm.kl_coefficient=0.0").parts
    assert parts["reference"] == 0


def test_a_value_model_has_weights_averages_and_gradients(write: Write) -> None:
    parts = phase(write, "zero", CPU, "zero.algorithm.name=ppo").parts
    assert parts["value model"] == 12 * PARAMETERS and parts["gradients"] == 8 * PARAMETERS


def test_a_sampler_in_bfloat16_has_two_tables(write: Write) -> None:
    """Half of the weights, and a table over the vocabulary once more in float32, as the cache is."""
    parts = phase(write, "zero", CPU, "zero.sampling.dtype=bfloat16").parts
    assert parts["sampler"] == 2 * PARAMETERS + 4 * TABLE
    assert parts["KV cache"] == 4 * 128 * (8 * 25 + 8 * 80)


def test_a_sampler_in_bfloat16_on_a_gpu_is_half_of_everything(write: Write) -> None:
    parts = phase(write, "zero", GPU, "zero.sampling.dtype=bfloat16").parts
    assert parts["sampler"] == 2 * PARAMETERS


def test_logits_on_a_gpu_by_hand() -> None:
    """16,384 tokens of a vocabulary of 2^17 are 2^31 logits: 2^29 at a time in float32, the slopes of all of them
    in bfloat16; and the head, 2^17 x 64, in bfloat16, with two float32 gradients. One token more keeps none."""
    config = {**SHAPE, "num_hidden_layers": 1, "vocab_size": 2**17, "hidden_size": 64}
    large, head = size_from_config(config, "large"), 2**17 * 64
    fits, over = (Pass(n, n, autocast=True) for n in (2**14, 2**14 + 1))
    assert gpu_logits(large, fits) == 4 * 2**29 + 2 * 2**31 + 10 * head
    assert gpu_logits(large, over) == 4 * 2**29 + 2 * 2**29 + 10 * head
    assert gpu_logits(large, Pass(100, 0)) == 0.0  # a reward model has no logits


def test_off_the_cpu_cache_and_update_take_turns(write: Write) -> None:
    many = (
        "zero.group_size=64",
        "zero.sampling.slots=512",
        "zero.sampling.max_tokens=2000",
        "zero.tokens_per_micro_batch=1024",
        "base.model.max_positions=4096",
    )
    sampling = phase(write, "zero", GPU, *many, "zero.recompute=true")
    assert sampling.parts["KV cache"] == 4 * 128 * (512 * 2001 + 512 * 80)
    assert sampling.activity == "sampling" and "activations" not in sampling.parts
    updating = phase(write, "zero", GPU)
    assert updating.activity == "updating" and updating.parts["KV cache"] == 0
    assert phase(write, "zero", CPU).parts["KV cache"] > 0


@pytest.mark.parametrize(("memory", "cache"), [(6.0, 0.8 * 5.0), (1.5, 0.9 * 1.5 - 1.0)])
def test_the_cache_of_a_gpu_takes_the_room_that_is_left(
    write: Write, memory: float, cache: float
) -> None:
    """In units of all other parts: 0.8 of what they leave, as long as that is less than 0.9 of the machine with them."""
    many = (
        "evaluation.samples=64",
        "evaluation.slots=512",
        "evaluation.max_tokens=16000",
        "base.model.max_positions=32768",
    )
    parts = phase(write, "evaluation", replace(GPU, memory=1e15), *many).parts
    others = sum(parts.values()) - parts["KV cache"]
    assert parts["KV cache"] > 4 * others
    bounded = phase(write, "evaluation", replace(GPU, memory=memory * others), *many)
    assert bounded.parts["KV cache"] == pytest.approx(cache * others)


def test_an_untied_head_is_counted_where_it_is() -> None:
    untied = size_from_config({**SHAPE, "num_hidden_layers": 2}, "untied")
    assert untied.parameters - untied.backbone == untied.embedding == 300 * 96
    # two operations for each parameter of the layers; the head and the embeddings are apart
    assert untied.layer_flops(0) == 2 * (untied.parameters - 2 * untied.embedding)
    # a token looks at 10 others: scores and sums over 6 heads of 32 in 2 layers, two operations each
    assert untied.layer_flops(10) - untied.layer_flops(0) == 4 * 6 * 32 * 10 * 2


def test_an_evaluation_drops_the_model_it_was_loaded_as(write: Write) -> None:
    small = phase(write, "evaluation", CPU)
    assert small.activity == "loading"
    assert small.parts["weights"] == small.parts["sampler"] == 4 * PARAMETERS
    large = phase(write, "evaluation", CPU, "evaluation.limit=500", "evaluation.max_tokens=900")
    assert large.activity == "sampling" and "weights" not in large.parts


# Adapters -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "mlp.down_proj"]])
def test_parameters_of_adapters_are_those_of_the_model(
    family: str, targets: str | list[str]
) -> None:
    model, lora = build(family, layers=2), LoRASettings(rank=8, targets=targets)  # type: ignore[arg-type]
    size = size_from_config(model.config.to_dict(), "model")
    add_adapters(model, lora, seed=0)
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert trained_parameters(lora, size) == trained


def test_a_stage_with_adapters(write: Write) -> None:
    """By hand, for the recipe's model of 16 wide, 2 layers of 4 x 8 queries, 2 x 8 keys and 32 inside."""
    recipe = load_recipe(write(), ["zero.lora.rank=4", "zero.lora.dtype=bfloat16"])
    size = size_of("zero", recipe)
    # per layer and rank: q and o 16 + 32, k and v 16 + 16, gate, up and down 16 + 32
    trained = 2 * 4 * (2 * 48 + 2 * 32 + 3 * 48)
    phase = peak(recipe.stages["zero"], size, GPU)
    assert phase.activity == "updating"
    assert phase.parts["weights"] == 2 * size.parameters
    assert phase.parts["adapters"] == 4 * trained
    assert phase.parts["AdamW"] == 8 * trained
    # one layer's dense gradient: 16 x 32 numbers of q, o, gate, up, down, 16 x 16 of k and v
    layer = 5 * 512 + 2 * 256
    assert phase.parts["gradients"] == 4 * trained + 4 * layer
    assert phase.parts["merged weights"] == 4 * 2 * layer + 4 * layer
    assert phase.parts["reference"] == 0
    refreshed = load_recipe(write(), ["zero.lora.rank=4", "zero.algorithm.reference_every=2"])
    parts = peak(refreshed.stages["zero"], size, GPU).parts
    assert (parts["reference"], parts["weights"]) == (4 * trained, 4 * size.parameters)
