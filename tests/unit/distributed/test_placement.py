"""The environment of torchrun, read as it is."""

import pytest

from dianoia.base.errors import ConfigError
from dianoia.distributed.placement import Placement, placement_by_environment

TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "node-0",
    "MASTER_PORT": "29400",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
}


def test_torchruns_variables_say_who_and_where() -> None:
    placement = placement_by_environment(TORCHRUN)
    assert placement == Placement(5, 8, 1, 4, "node-0", 29400, hosts_store=False)
    assert not placement.is_host  # the agent does
    first = placement_by_environment({**TORCHRUN, "RANK": "0"})
    assert first is not None and not first.is_host


def test_a_launcher_may_leave_out_what_is_per_machine() -> None:
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    placement = placement_by_environment({name: TORCHRUN[name] for name in names} | {"RANK": "0"})
    assert placement == Placement(0, 8, 0, 8, "node-0", 29400)
    assert placement.is_host


def test_one_process_is_no_group() -> None:
    assert placement_by_environment({}) is None
    assert placement_by_environment({"RANK": "0"}) is None  # other programs set it too
    assert placement_by_environment({**TORCHRUN, "RANK": "0", "WORLD_SIZE": "1"}) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"RANK": "8"}, "RANK=8 and WORLD_SIZE=8"),
        ({"RANK": "-1"}, "RANK=-1"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two"),
        ({"MASTER_PORT": "0"}, "MASTER_PORT=0"),
    ],
)
def test_a_wrong_variable_is_named(change: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        placement_by_environment(TORCHRUN | change)


def test_a_missing_address_is_named() -> None:
    without = {name: value for name, value in TORCHRUN.items() if name != "MASTER_ADDR"}
    with pytest.raises(ConfigError, match="MASTER_ADDR is not, so the ranks cannot find one"):
        placement_by_environment(without)
