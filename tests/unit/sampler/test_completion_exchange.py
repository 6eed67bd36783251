"""Completions of all ranks, and that they are those of one process."""

from typing import Any

import pytest

from dianoia.base.errors import RankError
from dianoia.base.records import Completion, Request, SamplingParams
from dianoia.distributed.group import ranks
from dianoia.sampler import completion_exchange
from dianoia.sampler.factory import make_sampler
from dianoia.sampler.transformers import TransformersSampler
from tests.rank_processes import run_ranks
from tests.unit.sampler_models import make, requests

PARAMS = SamplingParams(max_tokens=12, stop_ids=frozenset({3}))


def test_arrays_hold_a_completion_exactly() -> None:
    drawn = {
        (0, 1): Completion((5, 2**31 - 1), (-0.5, -1e-30), True, 7),
        (2, 0): Completion((1,), (0.1,), False, 7),  # 0.1 is no float32
        (1, 0): Completion((3, 4, 5), (-0.25, 0.0, -2.0), False, 8),
    }
    arrays = completion_exchange._arrays(drawn)
    assert arrays["logprobs"].dtype == "float64"
    assert completion_exchange._completions(arrays) == drawn
    exact = {place: completion for place, completion in drawn.items() if place != (2, 0)}
    arrays = completion_exchange._arrays(exact)
    assert (arrays["logprobs"].dtype, arrays["ids"].dtype) == ("float64", "int32")  # 1e-30
    del exact[0, 1]
    arrays = completion_exchange._arrays(exact)
    assert arrays["logprobs"].dtype == "float32"
    back = completion_exchange._completions(arrays)
    assert back == exact and back[1, 0].weights_version == 8
    assert completion_exchange._completions(completion_exchange._arrays({})) == {}


def _sampled(kind: str) -> list[list[Completion]]:
    policy = make("qwen3")
    sampler: Any = make_sampler(policy, slots=6)
    if kind == "transformers":
        sampler = TransformersSampler(policy, slots=6)
    asked = requests(5)
    seen: list[tuple[int, int]] = []
    drawn = sampler.generate(asked, PARAMS, lambda r, s, _: seen.append((r, s)))
    # A rank hears of the samples that it has drawn itself.
    parts = ranks().gather(seen, "gather what was seen")
    everyone = sorted(place for part in parts for place in part)
    assert everyone == [(n, s) for n, request in enumerate(asked) for s in range(request.samples)]
    assert sampler.generate([], PARAMS) == []
    return drawn


@pytest.mark.parametrize("kind", ["native", "transformers"])
def test_ranks_draw_what_one_process_draws(kind: str) -> None:
    (alone,) = run_ranks(_sampled, 1, kind, threads=2)
    first, second = run_ranks(_sampled, 2, kind)
    assert first == second
    if kind == "native":
        assert first == alone
    else:  # a padded batch of other rows rounds differently
        assert [[c.ids for c in group] for group in first] == [
            [c.ids for c in group] for group in alone
        ]


def _asked_for_different_samples() -> str:
    request = Request((1, 2), 1, (ranks().rank,))
    try:
        completion_exchange.all_completions([request], {})
    except RankError as error:
        return str(error)
    return ""


@pytest.mark.slow
def test_ranks_that_were_asked_for_different_samples_say_so() -> None:
    for message in run_ranks(_asked_for_different_samples, 2):
        assert "rank 1 of 2 was asked for other samples than rank 0" in message
