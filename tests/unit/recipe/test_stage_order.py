"""Which stage starts when, and how long a run takes: graphs by hand."""

import heapq
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pytest

from dianoia.recipe import load_recipe
from dianoia.recipe.graph import upstream
from dianoia.recipe.stage_order import (
    chain_lengths,
    longest_chain_first,
    next_stage,
    ready_stages,
    run_seconds,
)

ROOT = Path(__file__).parents[3]
# base - zero - cold - dev1        the chain
#      \ ppo - ppo-evaluation      beside it
# small                            alone
GRAPH = {
    "small": [],
    "base": [],
    "ppo": ["base"],
    "zero": ["base"],
    "ppo-evaluation": ["ppo"],
    "cold": ["zero"],
    "dev1": ["base", "cold"],
}


def next_up(
    needs: Mapping[str, Sequence[str]], begun: Collection[str], done: Collection[str]
) -> list[str]:
    return longest_chain_first(ready_stages(needs, begun, done), needs)


def simulated(needs: Mapping[str, Sequence[str]], jobs: int) -> tuple[list[str], int]:
    """The order in which stages of one hour each begin, and the hours until all are done."""
    begun: list[str] = []
    done: set[str] = set()
    running: list[tuple[int, str]] = []
    now = 0
    while len(done) < len(needs):
        for stage in next_up(needs, begun, done)[: jobs - len(running)]:
            begun.append(stage)
            heapq.heappush(running, (now + 1, stage))
        now, stage = heapq.heappop(running)
        done.add(stage)
    return begun, now


def test_the_longest_chain_that_depends_on_a_stage() -> None:
    # base: zero, cold, dev1; zero: cold, dev1; ppo: its evaluation
    lengths = chain_lengths(GRAPH)
    assert lengths == {
        "small": 0,
        "base": 3,
        "ppo": 1,
        "zero": 2,
        "ppo-evaluation": 0,
        "cold": 1,
        "dev1": 0,
    }
    assert chain_lengths({}) == {}


def test_the_longest_chain_goes_first_and_then_the_order_of_the_recipe() -> None:
    assert next_up(GRAPH, [], set()) == ["base", "small"]
    assert next_up(GRAPH, ["base"], set()) == ["small"], "what base is read by has to wait"
    assert next_up(GRAPH, ["base"], {"base"}) == ["zero", "ppo", "small"]
    # ppo and cold have a chain of one each, ppo-evaluation none, as small
    assert next_up(GRAPH, ["base", "zero"], {"base", "zero"}) == ["ppo", "cold", "small"]
    assert next_up(GRAPH, list(GRAPH), set(GRAPH)) == []


def test_one_at_a_time_keeps_to_what_each_needs() -> None:
    begun, hours = simulated(GRAPH, 1)
    assert sorted(begun) == sorted(GRAPH) and hours == len(GRAPH)
    assert all(begun.index(source) < begun.index(k) for k in GRAPH for source in GRAPH[k])


def test_two_at_a_time_take_no_longer_than_the_chain() -> None:
    # base+small, zero+ppo, cold+ppo-evaluation, dev1
    assert simulated(GRAPH, 2)[1] == 4 == 1 + chain_lengths(GRAPH)["base"]


def test_the_whole_of_r1_keeps_two_busy() -> None:
    """One hour a stage: 21 hours in no more than 13, where 11 would be every hour filled."""
    recipe = load_recipe(ROOT / "recipes/miniature-r1.toml")
    needs = {name: upstream(name, recipe) for name in recipe.stages}
    begun, hours = simulated(needs, 2)
    assert sorted(begun) == sorted(needs)
    assert hours <= 13


def test_one_job_takes_the_stages_in_the_order_of_the_recipe() -> None:
    begun: list[str] = []
    while ready := ready_stages(GRAPH, begun, begun):
        begun.append(ready[0])
    assert begun == list(GRAPH)


def test_one_job_takes_the_first_ready_stage_and_several_the_longest_chain() -> None:
    assert next_stage(GRAPH, [], [], 1) == "small"
    assert next_stage(GRAPH, [], [], 2) == "base"
    assert next_stage(GRAPH, list(GRAPH), [], 2) is None


@pytest.mark.parametrize(
    ("jobs", "seconds"),
    [
        # 1 + 10 + 5 + 20 + 2 + 4 + 8
        (1, 50),
        # base 0-10, small 0-1; zero 10-30, ppo 10-15; ppo-evaluation 15-17, cold 30-34, dev1 34-42
        (2, 42),
        (9, 42),
    ],
)
def test_the_seconds_of_a_run_by_hand(jobs: int, seconds: float) -> None:
    times = {"small": 1, "base": 10, "ppo": 5, "zero": 20, "ppo-evaluation": 2, "cold": 4, "dev1": 8}  # fmt: skip
    assert run_seconds(GRAPH, times, jobs) == seconds


def test_what_is_done_already_holds_nobody_up() -> None:
    remaining = {"cold": ["zero"], "dev1": ["base", "cold"], "ppo-evaluation": ["ppo"]}
    assert run_seconds(remaining, {"cold": 4, "dev1": 8, "ppo-evaluation": 2}, 2) == 12
    assert run_seconds({}, {}, 1) == 0


def test_a_stage_of_no_time_ends_at_once() -> None:
    assert run_seconds({"a": [], "b": ["a"], "c": ["b"]}, {"a": 0.0, "b": 3.0, "c": 0.0}, 2) == 3.0
