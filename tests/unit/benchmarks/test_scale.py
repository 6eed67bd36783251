"""The tables of docs/scale.md."""

from pathlib import Path

import pytest

from benchmarks.scale import fits, r1_zero
from benchmarks.scale.__main__ import markdown, replaced
from benchmarks.scale.curves import LENGTHS, curve

PAGE = Path(__file__).parents[3] / "docs" / "scale.md"


def test_the_page_has_the_table_of_what_fits() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert replaced(page, "what fits", markdown(fits.table())) == page, (
        "run python -m benchmarks.scale --write docs/scale.md --figure docs/scale.svg"
    )


def test_more_memory_and_adapters_fit_what_fits_already() -> None:
    rows = fits.table()[1:]
    for whole, lora in zip(rows[::2], rows[1::2], strict=True):
        assert whole[0] == lora[0] and (whole[1], lora[1]) == ("all weights", "LoRA")
        for cells in (whole, lora):
            fitting = dict(zip(fits.CLUSTERS, (cell != "no" for cell in cells[2:]), strict=True))
            for gpus, memory in fits.CLUSTERS:
                larger = [(g, m) for g, m in fits.CLUSTERS if g >= gpus and m >= memory]
                assert all(fitting[other] >= fitting[gpus, memory] for other in larger)
        assert all(b != "no" for a, b in zip(whole[2:], lora[2:], strict=True) if a != "no")


def test_a_page_without_marks_is_refused() -> None:
    assert replaced("a\n<!-- x -->\nold\n<!-- end of x -->\nb", "x", "new") == (
        "a\n<!-- x -->\nnew\n<!-- end of x -->\nb"
    )
    with pytest.raises(SystemExit, match="no place for 'x'"):
        replaced("a", "x", "new")


def test_a_sampler_of_r1_zero_by_hand() -> None:
    """Reading 671 GB on 32 GPUs takes 8.7 ms, 58 exchanges of 428 microseconds 24.8 ms, 61 launches 1.1 ms."""
    reading, exchange, launches = 671e9 / (32 * 0.72 * 3.35e12), 58 * 428e-6, 61 * 1.8e-5
    assert r1_zero.decoder().step(1, 0) == pytest.approx(reading + exchange + launches)
    # 1.8 tokens per step: about 52 tokens per second for the longest response
    assert 1.8 / r1_zero.decoder().step(1, 30_000) == pytest.approx(52, abs=1)


def test_operations_of_r1_zero_by_hand() -> None:
    """A token costs two operations per active parameter without the embedding, 72.1 G, and attention 82 k per layer and token."""
    size = r1_zero.ACTIVE
    assert size.layer_flops(0) + 2 * size.embedding == pytest.approx(72.1e9, rel=1e-3)
    assert size.layer_flops(1) - size.layer_flops(0) == 61 * 81_920
    assert size.cache_per_token * 2 == pytest.approx(70_000, rel=0.01), (
        "70 kB per token (V3 report)"
    )


@pytest.mark.slow
def test_the_page_has_todays_predictions() -> None:
    page = PAGE.read_text(encoding="utf-8")
    points = curve(*LENGTHS[1], gpus=(64,))
    (sync,), (stale,) = points.synchronous, points.stale
    assert f"| {sync.times.total:,.0f} s | " in page
    assert f"| {stale.times.total:,.0f} s ({stale.times.samplers} sample) |" in page
    hours = r1_zero.hours([r1_zero.part(step) for step in r1_zero.steps(12)])
    assert f"**{hours:.0f} hours**" in page
