"""How ranks are laid out on nodes, and what each gets in its environment."""

import pytest

from dianoia.base.errors import ConfigError
from dianoia.cluster.bundles import Layout, Node, gpu_count, lay_out, passed_on, rank_environment
from dianoia.distributed.placement import placement_by_environment

EIGHT = Node("a", 64, 8)


@pytest.mark.parametrize(
    ("nodes", "ranks", "cpus", "gpus", "layout"),
    [
        ([EIGHT, EIGHT], 8, 1, 1, Layout(1, 8, 1, 1)),
        ([EIGHT, EIGHT], 16, 1, 1, Layout(2, 8, 1, 1)),
        # 12 = 2 x 6: equally many per node, and not 8 + 4.
        ([EIGHT, EIGHT], 12, 1, 1, Layout(2, 6, 1, 1)),
        ([Node("a", 4, 0), Node("b", 2, 0)], 4, 1, 0, Layout(1, 4, 1, 0)),
        ([Node("a", 3, 0), Node("b", 2, 0)], 4, 1, 0, Layout(2, 2, 1, 0)),
        ([Node("a", 4, 0), Node("b", 4, 0)], 2, 3, 0, Layout(2, 1, 3, 0)),
        # 0 CPUs per rank: the CPUs of the smaller of the nodes, shared by its ranks.
        ([Node("a", 9, 0), Node("b", 6, 0), Node("c", 0, 0)], 12, 0, 0, Layout(2, 6, 1, 0)),
        ([Node("a", 9, 0), Node("b", 3, 0)], 6, 0, 0, Layout(1, 6, 1, 0)),
        ([Node("a", 4, 0), Node("b", 8, 0)], 10, 0, 0, None),
        ([Node("a", 5, 0), Node("b", 8, 0)], 2, 0, 0, Layout(1, 2, 4, 0)),
        # A GPU without a CPU runs no rank.
        ([Node("a", 1, 2)], 2, 1, 1, None),
        ([], 1, 1, 0, None),
    ],
)
def test_as_many_ranks_per_node_as_fit_and_equally_many(
    nodes: list[Node], ranks: int, cpus: int, gpus: int, layout: Layout | None
) -> None:
    if layout is None:
        with pytest.raises(ConfigError):
            lay_out(nodes, ranks, cpus, gpus)
    else:
        assert lay_out(nodes, ranks, cpus, gpus) == layout


def test_a_refusal_says_what_the_cluster_has_and_what_would_fit() -> None:
    nodes = [Node("10.0.0.1", 16, 4), Node("10.0.0.2", 16, 2.5)]
    with pytest.raises(ConfigError) as refusal:
        lay_out(nodes, 6, 1, 1)
    assert str(refusal.value) == (
        "--gpus 6: each rank takes a GPU and a CPU, every node gets equally many, and the cluster has no room for it: 10.0.0.1 "
        "has 16 CPUs, 4 GPUs; 10.0.0.2 has 16 CPUs, 2.5 GPUs. 4 would fit; or add nodes"
    )
    with pytest.raises(ConfigError, match="--ranks 2: each rank takes 20 CPUs.* Add nodes$"):
        lay_out(nodes, 2, 20, 0)


def test_bundles_hold_all_ranks_of_a_node() -> None:
    assert Layout(2, 4, 3, 0).bundles() == [{"CPU": 12.0}] * 2
    assert Layout(1, 8, 1, 1).bundles() == [{"CPU": 8.0, "GPU": 8.0}]
    assert gpu_count([EIGHT, Node("b", 1, 0.5)]) == 8


def test_each_rank_gets_what_torchrun_would_set() -> None:
    layout = Layout(2, 2, 1, 1)
    environment = rank_environment(3, layout, "10.0.0.1", 29500, ["4", "6"])
    assert environment["CUDA_VISIBLE_DEVICES"] == "4,6"
    placement = placement_by_environment(environment)
    assert placement is not None
    assert (placement.rank, placement.size) == (3, 4)
    assert (placement.local_rank, placement.local_size) == (1, 2)
    assert (placement.host, placement.port, placement.is_host) == ("10.0.0.1", 29500, False)
    assert [layout.node_of(rank) for rank in range(4)] == [0, 0, 1, 1]


def test_ranks_on_cpus_see_no_gpu() -> None:
    assert rank_environment(0, Layout(2, 1, 1, 0), "h", 1)["CUDA_VISIBLE_DEVICES"] == ""


def test_settings_of_the_driver_are_passed_on() -> None:
    variables = {"HF_HOME": "/hf", "NCCL_DEBUG": "INFO", "PATH": "/bin", "RANK": "0"}
    assert passed_on(variables) == {"HF_HOME": "/hf", "NCCL_DEBUG": "INFO"}
