"""A sampler of rank 0: every rank gets its completions, and a stop."""

import threading
from typing import Any

import pytest

from dianoia.base.errors import Stopped
from dianoia.base.records import Request, SamplingParams
from dianoia.distributed.group import RankGroup
from dianoia.sampler.factory import make_sampler
from dianoia.sampler.first_rank import FirstRankSampler
from dianoia.sampler.interface import WeightUpdate
from tests.unit.sampler_models import make, requests

PARAMS = SamplingParams(6, frozenset({3}))


class _Ranks(RankGroup):
    """Two ranks in two threads."""

    size = 2

    def __init__(self, rank: int, shared: list[Any], ready: threading.Event) -> None:
        self.rank, self._shared, self._ready = rank, shared, ready

    def broadcast(self, value: Any, verb: str) -> Any:
        if self.rank == 0:
            self._shared.append(value)
            self._ready.set()
        assert self._ready.wait(10)
        return self._shared[-1]


def on_two_ranks(sampler: Any, asked: list[Request]) -> list[Any]:
    shared, ready, results = [], threading.Event(), [None, None]
    # Before the threads: they share one generator of random numbers.
    weights = make("qwen3", 1).state_dict()

    def run(rank: int) -> None:
        group = _Ranks(rank, shared, ready)
        ranked = FirstRankSampler(sampler if rank == 0 else None, 50, group)
        ranked.load(WeightUpdate(2, weights))
        try:
            results[rank] = ranked.generate(asked, PARAMS)
        except Stopped as reason:
            results[rank] = reason
        assert ranked.pull() == 2

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_every_rank_gets_the_completions_of_rank_0() -> None:
    asked = requests(4)
    first, second = on_two_ranks(make_sampler(make("qwen3")), asked)
    assert first == second == make_sampler(make("qwen3", 1)).generate(asked, PARAMS)
    assert {c.weights_version for row in second for c in row} == {2}


def test_a_stop_reaches_every_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = make_sampler(make("qwen3"))

    def stop(*_: object) -> None:
        raise Stopped("in samples that are drawn again")

    monkeypatch.setattr(sampler, "generate", stop)
    outcomes = on_two_ranks(sampler, requests(1))
    assert [str(outcome) for outcome in outcomes] == ["in samples that are drawn again"] * 2
