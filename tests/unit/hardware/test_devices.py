"""Freed memory goes back to the system; `auto` is what a device can do."""

import sys
from pathlib import Path

import pytest
import torch

from dianoia.hardware import machine
from dianoia.hardware.devices import resolve_autocast, return_freed_memory
from tests.rank_processes import run_ranks

BLOCKS, NUMBERS = 20, 2**20
MEGABYTES = BLOCKS * NUMBERS * 4 / 1e6


def resident() -> float:
    """Megabytes of this process in main memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def rest_of_freed_blocks() -> float:
    """Free blocks of 4 MB that lie below another; returns the megabytes that this process still has more than before."""
    return_freed_memory()
    for _ in range(2):
        # glibc raises its threshold when it frees a block of this size for the first time.
        torch.ones(4 * NUMBERS)
    before = resident()
    blocks = [torch.ones(NUMBERS) for _ in range(BLOCKS)]
    last = torch.ones(NUMBERS)
    blocks.clear()
    return resident() - before - last.nbytes / 1e6


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_blocks_are_given_back_when_they_are_freed() -> None:
    (rest,) = run_ranks(rest_of_freed_blocks, 1)
    assert rest < 0.2 * MEGABYTES


def test_auto_multiplies_in_bfloat16_where_the_processor_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu, information = torch.device("cpu"), tmp_path / "cpuinfo"
    monkeypatch.setattr(machine, "_CPU_INFO", information)
    for flags, expected in (("fma avx2 avx512_bf16", "bfloat16"), ("fma avx2", "none")):
        information.write_text(f"flags: {flags}\n")
        assert resolve_autocast("auto", cpu) == expected
        assert resolve_autocast("none", cpu) == "none"
        assert resolve_autocast("bfloat16", cpu) == "bfloat16"
