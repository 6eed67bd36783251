"""A rollout with its updates: parts, laws, and measurements."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dianoia.base.errors import ConfigError
from dianoia.config import RLStage
from dianoia.hardware.machine import other_machine
from dianoia.recipe.plan.layout import ALONE, Layout
from dianoia.recipe.plan.model_sizes import size_from_config
from dianoia.simulation.lengths import LogNormal
from dianoia.simulation.prediction import Workload, predict, weights_seconds, workload_of
from dianoia.simulation.rates import rates_of

FEW = settings(max_examples=6)
QWEN3 = {
    "model_type": "qwen3",
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151_936,
    "tie_word_embeddings": True,
}
SIZE = size_from_config(QWEN3, "Qwen3-0.6B")
H100 = rates_of(other_machine("H100"), SIZE.hidden, True, True)


def stage(**changes: object) -> RLStage:
    table: dict[str, object] = {
        "kind": "rl",
        "start": "Qwen/Qwen3-0.6B",
        "problems": "miniature/math",
        "steps": 4,
        "group_size": 16,
        "problems_per_rollout": 16,
        "autocast": "bfloat16",
        "sampling": {"max_tokens": 256, "dtype": "bfloat16", "slots": 256},
        "algorithm": {"kl_coefficient": 0.0},
        "optimizer": {"learning_rate": 1e-6},
        **changes,
    }
    return RLStage.model_validate(table)


def workload(lengths: LogNormal, **changes: object) -> Workload:
    return workload_of(stage(**changes), SIZE, lengths, prompt=128.0, cpu=False)


FULL = LogNormal(6.0, 0.0, 0.0, 256)
TAIL = LogNormal(0.0, 0.35, 0.7, 4096).with_mean(800)


def test_a_step_is_as_long_as_it_was_measured_on_an_h100() -> None:
    """16 x 16 samples of 256 tokens, random weights, no reference: rollout 1.18 s, update 1.07 s, step 2.24 s.

    log/2026-11-26-one-gpu-to-itself.md. The rates come from decoding and updates of two models, not from this step.
    """
    times = predict(workload(FULL), H100, ALONE)
    assert times.sampling == pytest.approx(1.18, rel=0.25)
    assert times.updating == pytest.approx(1.07, rel=0.25)
    assert times.total - times.judging == pytest.approx(2.24, rel=0.25)


def test_without_staleness_the_parts_follow_one_another() -> None:
    times = predict(workload(TAIL), H100, Layout(8, 8))
    parts = times.sampling + times.judging + times.updating + times.communication + times.weights
    assert times.total == pytest.approx(parts)
    assert 0 < times.tail <= times.sampling and times.longest <= times.sampling
    assert times.sampler_busy + times.learner_busy <= 1 + 1e-9
    assert times.tokens_per_device * 8 == pytest.approx(times.tokens / times.total)


def test_with_staleness_both_work_at_the_same_time() -> None:
    work = workload(TAIL, problems_per_rollout=64)
    waiting, working = (predict(work, H100, Layout(8, 8), 4, k) for k in (0, 1))
    slower = max(working.sampling / 2, working.updating + working.communication)
    assert slower * (1 - 1e-9) <= working.total < waiting.total
    assert working.learner_busy > waiting.learner_busy


@FEW
@given(st.integers(0, 6))
def test_ranks_without_communication_are_never_slower(power: int) -> None:
    """Steps are bound by memory here, so that a sampler with fewer responses is no slower."""
    free = replace(H100, link=1e30, network=1e30, latency=0.0, disk=1e30)
    few, many = (predict(workload(TAIL), free, Layout(2**p, 8)) for p in (power, power + 1))
    assert many.total - many.judging <= (few.total - few.judging) * (1 + 1e-9)
    assert many.tokens == few.tokens, "the same work"


@FEW
@given(st.integers(1, 64), st.floats(1.1, 3))
def test_longer_responses_never_take_less_time(ranks: int, factor: float) -> None:
    short, long = (
        predict(workload(TAIL.with_mean(mean)), H100, Layout(ranks, 8))
        for mean in (400, 400 * factor)
    )
    assert long.total >= short.total * (1 - 1e-9) and long.tokens > short.tokens


def test_more_passes_per_token() -> None:
    """KL adds a pass of the reference, PPO a value model's, recomputation a forward pass, a cap one for pi_old."""

    def passes(**changes: object) -> float:
        return workload(FULL, **changes).learning.passes

    assert passes() == 3
    assert passes(algorithm={"kl_coefficient": 0.001}) == 4
    assert passes(recompute=True) == 4
    assert passes(algorithm={"kl_coefficient": 0.0, "importance_cap": 2.0}) == 4
    assert passes(algorithm={"name": "ppo", "kl_coefficient": 0.0}) == 7


def test_weights_go_through_a_folder_to_servers() -> None:
    work = workload(FULL)
    # written once, read once, 2 bytes per parameter
    served = weights_seconds(work, H100, ALONE, samplers=4)
    assert served == pytest.approx(2 * 2 * SIZE.parameters / 2e9)
    assert weights_seconds(work, H100, ALONE, samplers=0) < 0.01


def test_what_cannot_be_predicted_is_refused() -> None:
    with pytest.raises(ConfigError, match="staleness = 1 .*--samplers"):
        predict(workload(FULL), H100, Layout(8, 8), 0, 1)
    with pytest.raises(ConfigError, match="--samplers 8: of 8 ranks none"):
        predict(workload(FULL), H100, Layout(8, 8), 8, 1)
