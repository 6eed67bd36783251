"""Ranks, nodes and what ranks share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dianoia.base.errors import ConfigError
from dianoia.recipe.plan.layout import ALONE, Layout, layout_of


def test_ranks_fill_nodes_of_eight_unless_told_otherwise() -> None:
    layout = layout_of(20)
    assert (layout.nodes, layout.node_ranks, str(layout)) == (3, 8, "20 ranks on 3 nodes")
    layout = layout_of(16, nodes=4)
    assert (layout.nodes, layout.node_ranks) == (4, 4)
    with pytest.raises(ConfigError, match=r"--nodes 3: 8 ranks cannot be divided evenly"):
        layout_of(8, nodes=3)
    assert (str(ALONE), ALONE.choices()) == ("1 rank", ("none",))


@given(st.integers(1, 100), st.integers(1, 16))
def test_a_group_is_one_copy_of_the_model(ranks: int, per_node: int) -> None:
    layout = Layout(ranks, per_node)
    groups = [layout.with_shard(shard).group for shard in layout.choices()]
    assert groups == sorted(set(groups)) and groups[0] == 1, "every choice divides further"
    assert groups[-1] == ranks
    assert layout.nodes * per_node >= ranks > (layout.nodes - 1) * per_node
