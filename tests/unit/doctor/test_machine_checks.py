"""What is wrong with a machine is said, with what to do; what is right is no problem."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dianoia.doctor import machine_checks
from dianoia.doctor.finding import Finding, Status
from dianoia.doctor.machine_checks import check_machine, torch_findings
from dianoia.doctor.package_checks import Probe

WORKS = Probe(version="2.13.0+cpu", c_functions=True)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Finding]]:
    """Looks at this machine, with a given answer of PyTorch and without a GPU; findings by topic, the worst of each."""

    def look(probe: Probe = WORKS, listed: str = "") -> dict[str, Finding]:
        monkeypatch.setattr(machine_checks, "probe_torch", lambda: probe)
        monkeypatch.setattr(machine_checks, "_listed_gpus", lambda: listed)
        order = list(Status)
        rows = sorted(check_machine(), key=lambda row: order.index(row.status))
        return {row.topic: row for row in rows}

    return look


def test_a_machine_in_order(machine: Callable[..., dict[str, Finding]]) -> None:
    rows = machine()
    assert {"python", "dianoia", "packages", "torch", "cores", "memory", "disk", "sandbox"} <= set(
        rows
    )
    assert rows["gpu"].value == "none; runs use the CPU"
    assert not [row for row in rows.values() if row.status is Status.BROKEN]


def test_a_pytorch_that_cannot_be_imported() -> None:
    (row,) = torch_findings(Probe(error="ImportError: libcudart.so.13: cannot open shared object"))
    assert row.status is Status.BROKEN and "libcudart" in row.value and row.advice


@pytest.mark.parametrize(
    ("cuda", "part"), [(None, "this build of PyTorch cannot use"), ("13.0", "update the driver")]
)
def test_a_gpu_that_pytorch_does_not_use(
    cuda: str | None, part: str, machine: Callable[..., dict[str, Finding]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    probe = Probe(version="2.13.0", cuda=cuda, c_functions=True)
    row = machine(probe, "NVIDIA L4, 23034 MiB, 570.1")["gpu"]
    assert row.status is Status.WARNING and part in f"{row.value} {row.advice}"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "hidden by CUDA_VISIBLE_DEVICES" in machine(probe, "NVIDIA L4")["gpu"].value
    gpu = {"name": "NVIDIA L4", "memory": 24e9, "capability": "8.9"}
    row = machine(Probe(version="2.13.0", cuda="13.0", gpus=(gpu,)))["gpu"]
    assert (row.value, row.status) == ("NVIDIA L4, 24.0 GB, compute capability 8.9", Status.OK)


def test_limits_of_a_container(
    machine: Callable[..., dict[str, Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_checks, "cpu_limit", lambda: 0.5)
    monkeypatch.setattr(machine_checks, "main_memory", lambda: 1.5e9)
    monkeypatch.setattr(machine_checks, "memory_limit", lambda: 1.5e9)
    rows = machine()
    assert rows["cores"].value.endswith("a control group allows the time of 0.5")
    assert "a whole core" in rows["cores"].advice
    assert "a control group allows 1.5 GB" in rows["memory"].value
    assert {rows[topic].status for topic in ("cores", "memory")} == {Status.WARNING}


def test_a_folder_that_cannot_be_written(
    machine: Callable[..., dict[str, Finding]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine_checks, "_can_write", lambda folder: folder != tmp_path)
    row = machine()["disk"]
    assert row.status is Status.BROKEN and str(tmp_path) in row.value
    monkeypatch.undo()
    assert machine_checks._can_write(tmp_path / "not/there/yet")
    assert not machine_checks._can_write(Path("/proc/1"))


def test_without_a_compiler_or_a_sandbox_it_works_slower_or_not_everything(
    machine: Callable[..., dict[str, Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(machine_checks, "offered", lambda name: f"no {name} here")
    rows = machine(Probe(version="2.13.0+cpu"))
    assert "install gcc or clang" in rows["c compiler"].advice
    assert "namespaces: no namespaces here" in rows["sandbox"].value
    assert {rows[topic].status for topic in ("c compiler", "sandbox")} == {Status.WARNING}
    monkeypatch.setenv("DIANOIA_C", "0")
    assert "DIANOIA_C=0" in machine(Probe(version="2.13.0+cpu"))["c compiler"].value


def test_variables_that_change_what_runs_do(
    machine: Callable[..., dict[str, Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.setenv("DIANOIA_SANDBOX", "landlock")
    rows = machine()
    assert rows["cores"].status is Status.WARNING
    assert "DIANOIA_SANDBOX=landlock" in rows["environment"].value


def test_the_listing_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 0, "A, 1 MiB, 5\nB, 2 MiB, 5\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert machine_checks._listed_gpus() == "A, 1 MiB, 5; B, 2 MiB, 5"
    monkeypatch.undo()
    monkeypatch.setenv("PATH", "")
    assert machine_checks._listed_gpus() == ""


@pytest.fixture(autouse=True)
def _no_gpu_variable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield
