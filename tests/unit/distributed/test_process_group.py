"""Ranks as processes: what each gets of the others, in which order, and how a lost rank shows."""

import os
import time

import pytest
import torch

from dianoia.base.errors import RankError
from dianoia.distributed.group import RankGroup, ranks
from tests.rank_processes import RankFailed, run_ranks


def _exchanges() -> dict[str, object]:
    group = ranks()
    group.begin("sample", 3)
    rank = group.rank
    gathered = group.gather({"rank": rank, "ids": torch.arange(rank + 2)}, "gather completions")
    bfloat16 = group.gather(torch.tensor([rank + 0.5], dtype=torch.bfloat16), "gather one number")
    claim, mine = group.claims(5), []
    while (number := claim()) is not None:
        mine.append(number)
    group.barrier("wait")
    group.require_equal({"loss": float("nan")}, "after a step")
    return {
        "ranks": [part["rank"] for part in gathered],
        "ids": [part["ids"].tolist() for part in gathered],
        "bfloat16": [(part.dtype, part.item()) for part in bfloat16],
        "broadcast": group.broadcast(rank + 7, "share a number"),
        "claimed": [number for part in group.gather(mine, "gather claims") for number in part],
        "writes": group.writes,
    }


def test_every_rank_gets_everything_in_the_order_of_ranks() -> None:
    results = run_ranks(_exchanges, 2)
    assert [result.pop("writes") for result in results] == [True, False]
    for result in results:
        assert result["ranks"] == [0, 1] and result["broadcast"] == 7
        assert result["ids"] == [[0, 1], [0, 1, 2]]
        assert result["bfloat16"] == [(torch.bfloat16, 0.5), (torch.bfloat16, 1.5)]
        # Each number once, whoever has taken it.
        assert sorted(result["claimed"]) == [0, 1, 2, 3, 4]


def test_a_group_of_one_exchanges_nothing() -> None:
    group = ranks()
    assert type(group) is RankGroup and (group.rank, group.size, group.writes) == (0, 1, True)
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.ones(2)
    group.add_gradients([[parameter]], 1, "sum gradients")
    assert parameter.grad.tolist() == [1, 1]
    mine = object()
    assert group.gather(mine, "gather") == [mine] and group.broadcast(mine, "share") is mine
    claim = group.claims(2)
    assert [claim(), claim(), claim()] == [0, 1, None]


def _differ(how: str) -> str:
    group, rank = ranks(), ranks().rank
    group.begin("update", 12)
    try:
        if how == "values":
            group.require_equal({"step": 3, "weights": f"{rank + 10:x}"}, "after step 3")
        elif how == "exchange":
            group.gather(1, "gather completions" if rank else "sum gradients")
        elif how == "raises":
            if rank == 1:
                group.report("the reward function gave nan")
                os._exit(1)
            group.barrier("sum gradients")
        elif how == "ends":
            if rank == 1:
                os._exit(1)
            group.barrier("sum gradients")
    except RankError as error:
        return str(error)
    return ""


def test_ranks_that_come_apart_say_what_differs() -> None:
    for message in run_ranks(_differ, 2, "values"):
        assert "weights is a on rank 0 and b on rank 1 of 2" in message and "step 3" in message
    first, second = run_ranks(_differ, 2, "exchange")
    assert "rank 0 of 2 is at 'sum gradients' (update in step 12)" in first
    assert "rank 1 of 2 is at 'gather completions' (update in step 12)" in second


def _report_the_loss(how: str) -> None:
    raise AssertionError(_differ(how))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["raises", "ends"])
def test_a_rank_that_has_ended_is_named_with_what_it_did(how: str) -> None:
    began = time.monotonic()
    with pytest.raises(RankFailed) as failed:
        run_ranks(_report_the_loss, 2, how)
    assert time.monotonic() - began < 30
    message = str(failed.value)
    assert "rank 1 of 2" in message and "update in step 12" in message
    if how == "raises":
        assert "the reward function gave nan" in message
    else:
        assert "rank 0 waited at 'sum gradients'" in message


def _sums(counts: list[int]) -> dict[str, object]:
    """Return the sum of the gradients of four lanes, of which the first `active` have one."""
    group, result = ranks(), {}
    for active in counts:
        lanes = []
        for lane in range(group.rank * group.lanes, (group.rank + 1) * group.lanes):
            parameters = [torch.nn.Parameter(torch.zeros(7, 11)), torch.nn.Parameter(torch.zeros(3))]  # fmt: skip
            if lane < active:
                generator = torch.Generator().manual_seed(lane)
                parameters[0].grad = torch.randn(7, 11, generator=generator)
                if lane != 1:  # no gradient has reached it there
                    parameters[1].grad = torch.randn(3, generator=generator)
            lanes.append(parameters)
        group.add_gradients(lanes, active, "sum gradients")
        result[active] = [parameter.grad for parameter in lanes[0]]
    return result


def test_gradients_are_added_in_the_order_of_lanes_over_any_number_of_ranks() -> None:
    expected = {}
    for active in (1, 3, 4):
        totals = [torch.zeros(7, 11), torch.zeros(3)]
        for lane in range(active):
            generator = torch.Generator().manual_seed(lane)
            totals[0] = totals[0] + torch.randn(7, 11, generator=generator)
            if lane != 1:
                totals[1] = totals[1] + torch.randn(3, generator=generator)
        expected[active] = totals
    for size, threads in ((2, 2), (4, 1)):
        for result in run_ranks(_sums, size, [1, 3, 4], threads=threads):
            for active, totals in expected.items():
                for mine, total in zip(result[active], totals, strict=True):
                    assert torch.equal(mine, total), (size, active)
