"""What this machine has: Python, PyTorch, cores, memory, disk, compiler, GPU, sandbox, terminal. No torch in this process."""

import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from math import inf
from pathlib import Path

from dianoia.base.cgroups import cpu_limit, memory_limit, usable_cores
from dianoia.base.disk_space import free_bytes
from dianoia.base.extras import DISTRIBUTION
from dianoia.base.files import cache_folder
from dianoia.doctor.finding import Finding, broken, warning
from dianoia.doctor.package_checks import Probe, check_packages, probe_torch
from dianoia.hardware.machine import address_limit, main_memory
from dianoia.recipe.plan.number_format import format_bytes
from dianoia.sandbox.sandbox import STRONG, offered
from dianoia.storage.run_directory import code_version

_MIN_MEMORY = 2e9
"""Bytes of memory that the miniature takes with two jobs, PyTorch included."""
_MIN_DISK = 1e9
_MIN_FILES = 256
"""Open files that a run with several jobs may need."""
_MEMORY_INFO = Path("/proc/meminfo")


def check_machine() -> Iterator[Finding]:
    """Yield what was found, one thing after another; the slow ones (PyTorch, sandbox) take seconds."""
    yield Finding(
        "python", f"{platform.python_version()} ({sys.executable}) on {platform.platform()}"
    )
    yield Finding("dianoia", f"{code_version()} in {Path(__file__).parents[1]}")
    yield from check_packages()
    # Once, and handed on: importing PyTorch is what takes the time.
    probe = probe_torch()
    yield from torch_findings(probe)
    yield from _gpu(probe)
    yield from _cores()
    yield from _memory()
    yield from _disk()
    yield from _compiler(probe)
    yield from _sandbox()
    yield from _surroundings()


def torch_findings(probe: Probe) -> Iterator[Finding]:
    """Yield what was found of PyTorch."""
    if probe.error:
        advice = (
            f"pip install --force-reinstall torch, or install {DISTRIBUTION} into a new environment"
        )
        yield broken("torch", f"it cannot be imported: {probe.error}", advice)
        return
    build = f"built for CUDA {probe.cuda}" if probe.cuda else "built for the CPU"
    yield Finding("torch", f"{probe.version}, {build}")


def _gpu(probe: Probe) -> Iterator[Finding]:
    # Asked apart from PyTorch: the difference between the two is the fault that people meet.
    listed = _listed_gpus()
    for gpu in probe.gpus:
        yield Finding(
            "gpu",
            f"{gpu['name']}, {format_bytes(gpu['memory'])}, compute capability {gpu['capability']}",
        )
    if probe.gpus or probe.error:
        return
    if not listed:
        yield Finding("gpu", "none; runs use the CPU")
    elif os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        yield Finding("gpu", f"{listed}, hidden by CUDA_VISIBLE_DEVICES; runs use the CPU")
    elif probe.cuda is None:
        advice = "pip install --force-reinstall torch (make TORCH=cuda setup in a clone) takes the CUDA build"
        yield warning("gpu", f"{listed}, which this build of PyTorch cannot use", advice)
    else:
        advice = f"update the driver to one for CUDA {probe.cuda}, or install a PyTorch for an older CUDA"
        yield warning("gpu", f"{listed}, which PyTorch does not find", advice)


def _listed_gpus() -> str:
    """Return the GPUs and drivers that nvidia-smi lists; empty without one."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "; ".join(done.stdout.strip().splitlines()) if done.returncode == 0 else ""


def _cores() -> Iterator[Finding]:
    limit = cpu_limit()
    value = f"{usable_cores()} of {os.cpu_count()}"
    if limit < (os.cpu_count() or 1):
        value += f"; a control group allows the time of {limit:g}"
    if limit < 1:
        advice = "everything takes that much longer; give the container or the service a whole core"
        yield warning("cores", value, advice)
    else:
        yield Finding("cores", value)
    if os.environ.get("OMP_WAIT_POLICY", "passive").lower() == "active":
        advice = "unset OMP_WAIT_POLICY: waiting threads that spin cost up to a hundredfold"
        yield warning("cores", "OMP_WAIT_POLICY=active is set", advice)


def _memory() -> Iterator[Finding]:
    total, free = main_memory(), _available_memory()
    parts = [f"{format_bytes(total)} for this process" if total else "unknown"]
    parts += [f"{format_bytes(free)} available now"] if free is not None else []
    limits = {"a control group": memory_limit(), "ulimit -v": address_limit()}
    parts += [f"{name} allows {format_bytes(size)}" for name, size in limits.items() if size < inf]
    # Limits are in `total` already; they are listed so that a person sees which one to raise.
    least = min(size for size in (total, free, inf) if size is not None)
    if least < _MIN_MEMORY:
        advice = "end other programs, or raise the limit; the miniature needs 2 GB with two jobs, 1 GB with --jobs 1"
        yield warning("memory", ", ".join(parts), advice)
    else:
        yield Finding("memory", ", ".join(parts))


def _available_memory() -> float | None:
    """Return the bytes that programs could take now without swapping; None if the system does not say."""
    try:
        lines = _MEMORY_INFO.read_text(encoding="ascii", errors="replace").splitlines()
        # The unit of this file is KiB, though it writes kB.
        (kibibytes,) = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        return float(kibibytes) * 1024
    except (OSError, ValueError, IndexError):
        return None


def _disk() -> Iterator[Finding]:
    folder = Path.cwd()
    free = free_bytes(folder)
    value = f"{'unknown' if free is None else format_bytes(free)} free in {folder}"
    if not _can_write(folder):
        yield broken(
            "disk",
            f"{folder} cannot be written, and runs go to runs/NAME below it",
            "change to a folder of yours, or give --out",
        )
    elif free is not None and free < _MIN_DISK:
        yield warning("disk", value, "free some space, or give --out on another disk")
    else:
        yield Finding("disk", value)
    cache = cache_folder()
    if not _can_write(cache):
        advice = "set DIANOIA_CACHE to a folder that can be written, or C functions are compiled in every process"
        yield warning("disk", f"the cache folder {cache} cannot be written", advice)
    hub = Path(
        os.environ.get("HF_HUB_CACHE")
        or Path(os.environ.get("HF_HOME", "~/.cache/huggingface"), "hub")
    ).expanduser()
    space = free_bytes(hub)
    yield Finding("hub cache", f"{hub}, {'unknown' if space is None else format_bytes(space)} free")


def _can_write(folder: Path) -> bool:
    """Tell whether a file can be made in a folder, or in the nearest one above it that exists."""
    # A folder that is missing is made when a run begins, so the one above it decides.
    existing = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    try:
        # Tried, not asked: permissions say nothing of a disk that is mounted read-only, or full.
        with tempfile.TemporaryFile(dir=existing):
            return True
    except OSError:
        return False


def _compiler(probe: Probe) -> Iterator[Finding]:
    names = [os.environ.get("CC", ""), "cc", "gcc", "clang"]
    path = next((path for name in names if name and (path := shutil.which(name))), None)
    if probe.c_functions:
        yield Finding("c compiler", f"{path}; the C functions work")
    elif os.environ.get("DIANOIA_C") == "0":
        yield warning(
            "c compiler",
            "DIANOIA_C=0 turns the C functions off",
            "unset DIANOIA_C: small models on a CPU are several times slower",
        )
    elif path is None:
        yield warning(
            "c compiler",
            "none: small models on a CPU are several times slower",
            "install gcc or clang (Debian: sudo apt install gcc; macOS: xcode-select --install)",
        )
    elif not probe.error:
        reason = " ".join(probe.notes) or "the C functions could not be compiled"
        yield warning(
            "c compiler", f"{path}: {reason}", "install a newer gcc or clang, and name it in CC"
        )


def _sandbox() -> Iterator[Finding]:
    reasons = {name: offered(name) for name in STRONG}
    # One that works is enough; why the others do not is shown beside it.
    works = [name for name, reason in reasons.items() if reason is None]
    failures = "; ".join(f"{name}: {reason}" for name, reason in reasons.items() if reason)
    if works:
        yield Finding("sandbox", ", ".join(works) + (f" (not {failures})" if failures else ""))
    else:
        yield warning(
            "sandbox",
            f"none works here ({failures}), so that programs of models are not run",
            "use Linux 5.14 or later and allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, or "
            "kernel.apparmor_restrict_unprivileged_userns=0); docs/sandbox.md has more",
        )


def _surroundings() -> Iterator[Finding]:
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    if encoding != "utf8":
        yield warning(
            "terminal",
            f"its encoding is {sys.stdout.encoding}, in which Chinese and some signs cannot be shown",
            "export LC_ALL=C.UTF-8 PYTHONIOENCODING=utf-8",
        )
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files < _MIN_FILES:
        yield warning("open files", f"{files} per process (ulimit -n)", "ulimit -n 1024")
    names = sorted(name for name in os.environ if name.startswith("DIANOIA_"))
    if names:
        yield Finding("environment", ", ".join(f"{name}={os.environ[name]}" for name in names))
