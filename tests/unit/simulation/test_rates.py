"""Speed of a rank."""

import pytest

from dianoia.hardware.gpus import GPUS, gpu_named
from dianoia.hardware.machine import Machine, other_machine
from dianoia.simulation.rates import rates_of

CPU = Machine("this CPU", 16e9, 2, 1e11, 1.6e11, None)


def test_a_gpu_has_its_data_sheet_times_what_is_reached() -> None:
    rates = rates_of(other_machine("H800"), 4096, True, True, gpu_named("H800"))
    assert rates.training == rates.decoding == pytest.approx(0.35 * 989e12)
    assert rates.bandwidth == pytest.approx(0.72 * 3350e9)
    # NVLink of an H800 has 400 GB/s for both directions together, InfiniBand 400 Gbit/s per GPU
    assert (rates.link, rates.network) == (pytest.approx(0.8 * 200e9), pytest.approx(0.8 * 50e9))
    assert rates.workers == 1


def test_a_narrow_model_reaches_less_of_a_cpu() -> None:
    rates = rates_of(CPU, 75, False, True)
    assert (rates.training, rates.decoding) == (0.5 * 1e11, 0.5 * 1.6e11)
    assert rates.bandwidth is None and rates.layer_seconds == 0 and rates.workers == 2


def test_ranks_of_a_cpu_share_it() -> None:
    rates = rates_of(CPU, 128, False, False)
    half = rates.share(2)
    assert (half.workers, half.training, half.decoding) == (
        1,
        rates.training / 2,
        rates.decoding / 2,
    )
    assert half.share(2).workers == 1, "a rank has a thread at least"


def test_measured_rates_are_so_many_times_slower() -> None:
    rates = rates_of(other_machine("A100"), 4096, True, True)
    slower = rates.scaled(2.0, 3.0, 4.0)
    assert slower.bandwidth == rates.bandwidth / 2 and slower.decoding == rates.decoding / 2  # type: ignore[operator]
    assert slower.layer_seconds == 2 * rates.layer_seconds
    assert (slower.judging, slower.training) == (3 * rates.judging, rates.training / 4)


@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.name)
def test_no_link_is_faster_than_memory(gpu: object) -> None:
    assert 0 < gpu.link < gpu.bandwidth  # type: ignore[attr-defined]
