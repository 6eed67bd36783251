"""Memory of a rank and of a node, by hand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dianoia.hardware.machine import Machine
from dianoia.recipe import Recipe, load_recipe
from dianoia.recipe.plan.host_memory import PROCESS, host_memory
from dianoia.recipe.plan.layout import ALONE, Layout
from dianoia.recipe.plan.memory import Phase, peak
from dianoia.recipe.plan.model_sizes import size_of

Write = Callable[..., Path]
CPU = Machine("this CPU", None, 1, 1e11, 1e11, None)
GPU = Machine("a GPU", 80e9, 1, 1e13, 1e14, 2e12)
# 4 layers of 2 x 512 x 8 x (4 + 2) + 3 x 512 x 2048, and 1024 x 512 of embeddings
LAYER, TABLE = 49_152 + 3_145_728, 524_288
PARAMETERS = 4 * LAYER + TABLE
SHARDED = Layout(8, 8, "node")


def recipe(write: Write, *overrides: str) -> Recipe:
    shape = {"hidden_size": 512, "layers": 4, "intermediate_size": 2048}
    options = [f"base.model.{key}={value}" for key, value in shape.items()]
    return load_recipe(write(), [*options, "base.vocabulary=1024", *overrides])


def phase(write: Write, layout: Layout, *overrides: str, machine: Machine = GPU) -> Phase:
    loaded = recipe(write, *overrides)
    return peak(loaded.stages["zero"], size_of("zero", loaded), machine, layout=layout)


def test_a_rank_of_a_shard_by_hand(write: Write) -> None:
    whole, part = (phase(write, layout).parts for layout in (Layout(8, 8), SHARDED))
    assert part["weights"] == part["reference"] == part["gradients"] == 4 * PARAMETERS / 8
    assert part["AdamW"] == 8 * PARAMETERS / 8
    # two layers and the embedding, weights and gradients in float32
    assert part["gathered layers"] == (4 + 4) * (2 * LAYER + TABLE)
    # the sampler reads whole weights at every token
    assert part["sampler"] == whole["sampler"] == 4 * PARAMETERS
    assert whole["weights"] == 4 * PARAMETERS and "gathered layers" not in whole


def test_a_value_model_and_adapters_are_divided_too(write: Write) -> None:
    ppo = ("zero.algorithm.name=ppo",)
    assert phase(write, SHARDED, *ppo).parts["value model"] == 12 * PARAMETERS / 8
    lora = ("zero.lora.rank=4", "zero.lora.dtype=bfloat16")
    alone, part = (phase(write, layout, *lora).parts for layout in (ALONE, SHARDED))
    assert part["adapters"] == alone["adapters"] / 8 and part["AdamW"] == alone["AdamW"] / 8
    assert part["weights"] == 2 * PARAMETERS / 8
    assert part["gathered layers"] == 2 * (2 * LAYER + TABLE), "frozen weights have no gradients"


def test_a_cpu_has_the_whole_gradient_until_the_ranks_have_summed_it(write: Write) -> None:
    assert phase(write, SHARDED, machine=CPU).parts["gradients"] == 4 * PARAMETERS


def test_a_gpu_that_computes_again_rounds_one_layer_at_a_time(write: Write) -> None:
    rounded = [
        phase(write, ALONE, "zero.autocast=bfloat16", f"zero.recompute={recompute}").parts
        for recompute in ("false", "true")
    ]
    assert [parts["bfloat16 weights"] for parts in rounded] == [2 * 4 * LAYER, 2 * LAYER]


def test_ranks_share_out_the_problems_of_a_rollout(write: Write) -> None:
    """8 problems of 4 samples: one problem per rank, so 4 of the 8 slots are used."""
    options = ("zero.sampling.slots=1000", "zero.sampling.max_tokens=4096", "zero.recompute=true")
    alone, ranks = (
        phase(write, layout, *options, machine=CPU).parts["KV cache"]
        for layout in (ALONE, Layout(8, 8))
    )
    # in C the samples of a problem share its prompt
    assert (alone, ranks) == (4 * 128 * (32 * 4097 + 8 * 80), 4 * 128 * (4 * 4097 + 80))


def test_served_rollouts_leave_no_sampler_on_a_rank(write: Write) -> None:
    served = phase(write, Layout(8, 8, "node", served=True))
    assert served.activity == "updating" and "sampler" not in served.parts
    assert served.parts["weights"] == 4 * PARAMETERS / 8


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.integers(1, 64), st.sampled_from(["none", "node", "all"]))
def test_more_ranks_never_need_more_of_one(write: Write, ranks: int, shard: str) -> None:
    loaded = recipe(write)
    size = size_of("zero", loaded)

    def needed(layout: Layout) -> float:
        return peak(loaded.stages["zero"], size, GPU, layout=layout).bytes

    layout = Layout(ranks, 8, shard)  # type: ignore[arg-type]
    assert needed(replace(layout, served=True)) <= needed(layout)
    wider = replace(layout, ranks=ranks + 1)
    # two ranks are the first that hold whole layers beside their shards
    assert layout.group == 1 < wider.group or needed(wider) <= needed(layout)


# Main memory --------------------------------------------------------------------------------------

RANK = Phase("updating", {"weights": 10e9})


def node(write: Write, layout: Layout, machine: Machine = GPU, *overrides: str) -> Phase:
    loaded = recipe(write, *overrides)
    return host_memory(loaded.stages["zero"], size_of("zero", loaded), machine, layout, RANK)


def test_main_memory_of_a_node_by_hand(write: Write) -> None:
    copies = node(write, Layout(16, 8))
    # eight ranks of the node read the folder, each for itself
    assert copies.activity == "loading"
    assert copies.parts == {"ranks": 8 * PROCESS, "folder that is read": 8 * 4 * PARAMETERS}
    shared = node(write, Layout(16, 8, "all"))
    assert shared.activity == "writing a state"
    # weights, both averages and the reference, whole, on rank 0
    assert shared.parts["gathered state"] == 16 * PARAMETERS
    # 8 problems x 4 samples x 24 tokens, 0.4 of them used
    assert shared.parts["rollouts"] == pytest.approx(8 * 80 * 0.4 * 8 * 4 * 24)


def test_on_a_cpu_a_node_holds_its_ranks(write: Write) -> None:
    phase = node(write, Layout(2, 8), CPU)
    assert phase.parts["ranks"] == 20e9 and phase.bytes == 20e9
    assert node(write, Layout(2, 8, "node"), CPU).bytes == 20e9 + 16 * PARAMETERS
