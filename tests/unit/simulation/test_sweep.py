"""Numbers of devices."""

from dataclasses import replace

import pytest

from dianoia.base.errors import ConfigError
from dianoia.hardware.machine import Machine, other_machine
from dianoia.recipe.plan.layout import Layout
from dianoia.recipe.plan.model_sizes import size_from_config
from dianoia.simulation.lengths import LogNormal
from dianoia.simulation.prediction import predict, workload_of
from dianoia.simulation.rates import rates_of
from dianoia.simulation.sweep import Cluster, sweep
from tests.unit.simulation.test_prediction import QWEN3, SIZE, stage

H100 = other_machine("H100")
CLUSTER = Cluster(H100, rates_of(H100, SIZE.hidden, True, True), 8)
STAGE = stage()
WORK = workload_of(STAGE, SIZE, LogNormal(0, 0.3, 0.7, 256).with_mean(100), 50.0, cpu=False)


def test_the_first_point_is_what_others_are_compared_with() -> None:
    points = sweep(STAGE, WORK, CLUSTER, [1, 8, 64])
    assert [point.times.ranks for point in points] == [1, 8, 64]
    assert points[0].efficiency == 1 > points[1].efficiency > points[2].efficiency
    assert all(point.fits and point.shard == "none" for point in points)
    base = points[0].times.tokens_per_device
    assert sweep(STAGE, WORK, CLUSTER, [8], per_device=base)[0].efficiency == points[1].efficiency


def test_memory_decides_the_sharding() -> None:
    """7 billion parameters are 112 GB with gradients and AdamW: too much for a card of 80 GB, not for eight."""
    large = {**QWEN3, "hidden_size": 4096, "intermediate_size": 12_288, "num_hidden_layers": 36}
    size = size_from_config(large, "large")
    changed = stage(recompute=True, sampling={"max_tokens": 256, "dtype": "bfloat16", "slots": 16})
    work = workload_of(changed, size, WORK.lengths, 50.0, cpu=False)
    one, eight = sweep(changed, work, CLUSTER, [1, 8])
    assert (one.shard, one.fits) == ("none", False) and (eight.shard, eight.fits) == ("node", True)


def test_the_fastest_split_is_taken() -> None:
    (best,) = sweep(STAGE, WORK, CLUSTER, [16], staleness=1)
    tried = [
        predict(WORK, CLUSTER.rates, Layout(16, 8), samplers, 1).total
        for samplers in (8, 10, 12, 14)
    ]
    assert best.times.total == min(tried) and best.times.samplers in (8, 10, 12, 14)
    (asked,) = sweep(STAGE, WORK, CLUSTER, [16], staleness=1, samplers=5)
    assert asked.times.samplers == 5
    assert sweep(STAGE, WORK, CLUSTER, [1], staleness=1) == [], "one device cannot be split"


def test_ranks_that_all_sample_are_refused() -> None:
    for ranks in (4, 8):
        with pytest.raises(ConfigError, match=f"--samplers 8: of {ranks} ranks none"):
            sweep(STAGE, WORK, CLUSTER, [16, ranks], staleness=1, samplers=8)


def test_ranks_of_a_cpu_share_its_threads() -> None:
    machine = Machine("this CPU", None, 2, 1e11, 1e11, None)
    rates = replace(rates_of(machine, SIZE.hidden, False, False), link=1e30, latency=0.0)
    work = workload_of(STAGE, SIZE, WORK.lengths, 50.0, cpu=True)
    one, two = sweep(STAGE, work, Cluster(machine, rates, 8), [1, 2])
    assert two.times.sampling == pytest.approx(one.times.sampling)
    assert two.times.updating == pytest.approx(one.times.updating)
    assert two.efficiency == pytest.approx(1.0, rel=0.05)
