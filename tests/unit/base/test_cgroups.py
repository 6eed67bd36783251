"""Limits of control groups: version 1 and 2, of the group itself and of those above it."""

from math import inf
from pathlib import Path

import pytest

from dianoia.base import cgroups
from dianoia.base.cgroups import cpu_limit, memory_limit, usable_cores


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the groups; this process is in /service/worker of both versions."""
    membership = tmp_path / "cgroup"
    membership.write_text("4:memory:/service\n3:cpu,cpuacct:/service\n0::/service/worker\n")
    root = tmp_path / "groups"
    monkeypatch.setattr(cgroups, "_MEMBERSHIP", membership)
    monkeypatch.setattr(cgroups, "_ROOT", root)
    return root


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="ascii")


def test_without_groups_nothing_is_limited(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (memory_limit(), cpu_limit()) == (inf, inf)
    monkeypatch.setattr(cgroups, "_MEMBERSHIP", system / "none")
    assert (memory_limit(), cpu_limit()) == (inf, inf)


def test_version_2_takes_the_least_of_a_group_and_those_above(system: Path) -> None:
    write(system / "memory.max", "max\n")
    write(system / "service/memory.max", "2000000\n")
    write(system / "service/worker/memory.max", "3000000\n")
    write(system / "service/worker/cpu.max", "max 100000\n")
    assert (memory_limit(), cpu_limit()) == (2e6, inf)
    write(system / "service/cpu.max", "150000 100000\n")  # microseconds of time in each period
    assert cpu_limit() == 1.5


def test_version_1_has_a_folder_per_controller(system: Path) -> None:
    write(system / "memory/memory.limit_in_bytes", "9223372036854771712\n")  # no limit
    write(system / "cpu/cpu.cfs_quota_us", "-1\n")
    write(system / "cpu/cpu.cfs_period_us", "100000\n")
    assert (memory_limit(), cpu_limit()) == (inf, inf)
    write(system / "memory/service/memory.limit_in_bytes", "4000000\n")
    write(system / "cpu/service/cpu.cfs_quota_us", "200000\n")
    write(system / "cpu/service/cpu.cfs_period_us", "100000\n")
    assert (memory_limit(), cpu_limit()) == (4e6, 2.0)


def test_threads_are_counted_by_cores_and_by_the_time_that_a_container_gets(
    system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups.os, "sched_getaffinity", lambda _: set(range(8)))
    assert usable_cores() == 8
    quota = system / "service/worker/cpu.max"
    for microseconds, cores in (
        (400_000, 4),
        (250_000, 2),
        (150_000, 1),
        (50_000, 1),
        (1_600_000, 8),
    ):
        write(quota, f"{microseconds} 100000\n")
        assert usable_cores() == cores
    write(quota, "max 100000\n")
    write(system / "cpu/service/cpu.cfs_quota_us", "300000\n")
    write(system / "cpu/service/cpu.cfs_period_us", "100000\n")
    assert usable_cores() == 3, "version 1"
