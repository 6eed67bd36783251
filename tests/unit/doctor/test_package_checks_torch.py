"""PyTorch is looked at in a process of its own; what ends that process is a finding."""

import subprocess

import pytest

from dianoia.doctor.package_checks import probe_torch

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working directory with a file that has the name of a package; it must not be imported."""
    (tmp_path / "json.py").write_text("raise SystemExit('imported from the working directory')")
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow  # a new interpreter that imports PyTorch
def test_what_a_process_finds_here() -> None:
    probe = probe_torch()
    assert probe.version.startswith("2.") and not probe.error


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (subprocess.CompletedProcess([], 1, "", "Traceback\nImportError: libgomp.so.1"), "ImportError: libgomp.so.1"),
        (subprocess.CompletedProcess([], -11, "", ""), "the process ended with -11"),
        (subprocess.TimeoutExpired("python", 180), "importing it took more than 180 s"),
    ],
)  # fmt: skip
def test_what_ends_the_process_is_said(outcome, error, monkeypatch) -> None:
    def run(*_, **__):
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(subprocess, "run", run)
    assert probe_torch().error == error


def test_what_libraries_print_is_no_answer(monkeypatch) -> None:
    line = '{"version": "2.13.0", "cuda": "13.0", "gpus": [{"name": "L4"}], "c_functions": false}'
    output = f"a library says hello\ndianoia-probe:{line}\n"
    errors = "No C functions, so that a CPU's steps are slower: gcc failed\nother words"
    done = subprocess.CompletedProcess([], 0, output, errors)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    probe = probe_torch()
    assert (probe.version, probe.gpus, probe.c_functions) == ("2.13.0", ({"name": "L4"},), False)
    assert probe.notes == (errors.splitlines()[0],)
