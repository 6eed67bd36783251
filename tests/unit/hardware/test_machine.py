"""What this machine has, asked of fakes."""

import subprocess
from math import inf

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from dianoia.hardware import machine
from dianoia.hardware.machine import (
    gpu_count,
    job_count,
    main_memory,
    multiply_rate,
    other_machine,
    this_machine,
    thread_count,
)


def answer(monkeypatch: pytest.MonkeyPatch, line: str, build: str = "2.13.0") -> list[list[str]]:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, line, "")

    monkeypatch.setattr(machine.subprocess, "run", run)
    monkeypatch.setattr(machine, "_version", lambda _: build)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return commands


def test_a_known_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = answer(monkeypatch, "NVIDIA H100 80GB HBM3, 81559\nNVIDIA L4, 23034\n")
    machine = this_machine(4)
    assert (machine.name, machine.workers, machine.cpu) == ("NVIDIA H100 80GB HBM3", 1, False)
    assert machine.memory == 81559 * 2**20
    assert machine.bfloat16 == pytest.approx(0.35 * 989e12)
    assert machine.bandwidth == pytest.approx(0.72 * 3350e9)
    assert commands[0][:2] == ["nvidia-smi", "--query-gpu=name,memory.total"]
    assert gpu_count() == 2


def test_a_gpu_by_its_longest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "NVIDIA A100-SXM4-80GB, 81920")
    assert this_machine(0).float32 == pytest.approx(0.35 * 19.5e12)
    answer(monkeypatch, "NVIDIA L40S, 46068")
    assert this_machine(0).bandwidth == pytest.approx(0.72 * 864e9)


def test_a_gpu_that_the_table_does_not_know_counts_as_a_slow_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer(monkeypatch, "NVIDIA GeForce GTX 1060, 6144")
    machine = this_machine(0)
    assert (machine.name, machine.memory) == ("NVIDIA GeForce GTX 1060", 6144 * 2**20)
    assert machine.bfloat16 == pytest.approx(0.35 * 125e12)


def test_another_machine_by_the_name_of_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = answer(monkeypatch, "NVIDIA L4, 23034")
    machine = other_machine("4090")
    assert (machine.name, machine.memory, machine.workers) == ("one RTX 4090", 24e9, 1)
    assert machine.float32 == pytest.approx(0.35 * 82.6e12) and not machine.cpu
    assert not commands, "nothing of this machine counts"


def test_the_first_that_may_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = answer(monkeypatch, "NVIDIA L4, 23034")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    assert this_machine(0).name == "NVIDIA L4" and commands[0][2] == "3,1"


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_hidden_gpu_is_none(hidden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "NVIDIA L4, 23034")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert this_machine(3).cpu and this_machine(3).workers == 3


def test_a_build_without_cuda_uses_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "NVIDIA L4, 23034", build="2.13.0+cpu")
    assert this_machine(0).cpu


@pytest.mark.parametrize("line", ["", "No devices were found", "NVIDIA L4, [N/A]"])
def test_an_answer_that_says_nothing(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, line)
    assert this_machine(0).cpu


def test_a_container_has_less(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = main_memory()
    monkeypatch.setattr(machine, "memory_limit", lambda: 1e6)
    assert main_memory() == 1e6
    monkeypatch.setattr(machine, "memory_limit", lambda: inf)
    assert main_memory() >= (whole or 0)  # type: ignore[operator]


def test_cores_are_shared_out_among_stages_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "", build="2.13.0+cpu")
    for cores, jobs, threads in (
        (2, 1, 2),
        (2, 2, 1),
        (2, 3, 1),
        (8, 3, 2),
        (64, 2, 8),
        (64, 1, 8),
    ):
        monkeypatch.setattr(machine, "usable_cores", lambda cores=cores: cores)
        assert thread_count(0, jobs) == threads
        assert thread_count(5, jobs) == 5, "what the recipe says"
    for cores, jobs in ((1, 1), (2, 2), (64, 4)):
        monkeypatch.setattr(machine, "usable_cores", lambda cores=cores: cores)
        assert job_count(0) == jobs and job_count(7) == 7
    answer(monkeypatch, "NVIDIA L4, 23034")
    assert job_count(0) == 1, "stages would share one GPU's memory"


def test_one_core_is_measured_whatever_numpy_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, threads = machine.time.thread_time, set()

    def watched() -> float:
        if not threads:
            threads.update(p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas")
        return clock()

    monkeypatch.setattr(machine.time, "thread_time", watched)
    with threadpool_limits(4, user_api="blas"):
        rate = multiply_rate.__wrapped__()
        after = {p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"}
    assert threads == {1} and after == {4}, "and its threads are as before"
    assert 1e8 < rate < 1e13
