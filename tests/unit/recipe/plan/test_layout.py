"""Ranks, nodes and what ranks share."""

from hypothesis import given
from hypothesis import strategies as st

from dianoia.recipe.plan.layout import ALONE, Layout, layout_of


def test_ranks_fill_nodes_or_are_those_of_each() -> None:
    layout = layout_of(20, 8)
    assert (layout.nodes, layout.node_ranks, str(layout)) == (3, 8, "20 ranks on 3 nodes")
    layout = layout_of(4, 8, nodes=3)
    assert (layout.ranks, layout.nodes, layout.node_ranks) == (12, 3, 4)
    assert (str(ALONE), ALONE.choices()) == ("1 rank", ("none",))


@given(st.integers(1, 100), st.integers(1, 16))
def test_a_group_is_one_copy_of_the_model(ranks: int, per_node: int) -> None:
    layout = Layout(ranks, per_node)
    groups = [layout.with_shard(shard).group for shard in layout.choices()]
    assert groups == sorted(set(groups)) and groups[0] == 1, "every choice divides further"
    assert groups[-1] == ranks
    assert layout.nodes * per_node >= ranks > (layout.nodes - 1) * per_node
