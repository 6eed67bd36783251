"""Keys that lower the memory of a stage, and what would make a stage fit."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dianoia.hardware.machine import Machine
from dianoia.recipe import load_recipe
from dianoia.recipe.graph import Stage
from dianoia.recipe.plan.layout import ALONE, Layout
from dianoia.recipe.plan.memory import peak
from dianoia.recipe.plan.model_sizes import Size, size_of
from dianoia.recipe.plan.savings import savings, ways_to_fit

Write = Callable[..., Path]
CPU = Machine("this CPU", None, 1, 1e11, 1e11, None)
GPU = Machine("a GPU", 80e9, 1, 1e13, 1e14, 2e12)
LARGE = [
    f"base.model.{key}={value}"
    for key, value in {"hidden_size": 512, "layers": 4, "intermediate_size": 2048}.items()
]


def zero(write: Write, *overrides: str) -> tuple[Stage, Size]:
    recipe = load_recipe(write(), [*LARGE, *overrides])
    return recipe.stages["zero"], size_of("zero", recipe)


def test_savings_are_keys_with_the_peak_that_they_leave(write: Write) -> None:
    stage, size = zero(write)
    useful, least = savings(stage, size, CPU, None)
    assert useful[0].text == "recompute = true", "the best comes first"
    assert "algorithm.kl_coefficient = 0.0" in {saving.text for saving in useful}
    before = peak(stage, size, CPU).bytes
    for saving in useful:
        key, _, value = saving.text.partition(" = ")
        changed = zero(write, f"zero.{key}={value}")[0]
        assert peak(changed, size, CPU).bytes == saving.bytes < before
    assert least <= min(saving.bytes for saving in useful)


SHARD_NODE, SHARD_ALL = (f'stages.zero.shard = "{shard}"' for shard in ("node", "all"))
LORA = 'stages.zero.lora = { rank = 32, dtype = "bfloat16" }'
SERVED = 'stages.zero.rollouts.engine = "vllm"'


def keys_to_fit(write: Write, layout: Layout, room: float) -> set[frozenset[str]]:
    stage, size = zero(write)
    ways = ways_to_fit("zero", stage, size, GPU, room, layout=layout)
    assert [way.bytes for way in ways] == sorted(way.bytes for way in ways)
    assert all(way.bytes <= room for way in ways)
    return {frozenset(way.keys) for way in ways}


def test_only_the_smallest_sets_of_changes_are_named(write: Write) -> None:
    stage, size = zero(write)
    layout = Layout(16, 8)

    def bytes_of(changed: Stage, layout: Layout) -> float:
        return peak(changed, size, GPU, layout=layout).bytes

    node, whole = (bytes_of(stage, layout.with_shard(shard)) for shard in ("node", "all"))
    adapters = bytes_of(zero(write, "zero.lora.rank=32", "zero.lora.dtype=bfloat16")[0], layout)
    assert whole < node < adapters < bytes_of(stage, layout)
    alone = [frozenset({key}) for key in (SHARD_NODE, SHARD_ALL, LORA)]
    assert keys_to_fit(write, layout, adapters) == {*alone}, (
        "a set whose part is enough is left out"
    )
    between = keys_to_fit(write, layout, (whole + node) / 2)
    assert frozenset({SHARD_ALL}) in between and not between & {alone[0], alone[2]}
    assert frozenset({SHARD_NODE, SERVED}) in between
    assert keys_to_fit(write, layout, 0.4e9) == set(), "PyTorch alone takes 0.5 GB"


@pytest.mark.parametrize("layout", [ALONE, Layout(8, 8, "node")], ids=str)
def test_what_is_so_already_is_not_suggested(write: Write, layout: Layout) -> None:
    stage, size = zero(write, "zero.lora.rank=4")
    ways = ways_to_fit("zero", stage, size, GPU, 80e9, layout=layout)
    assert [way.keys for way in ways] == [(SERVED,)]
