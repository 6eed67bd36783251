"""Whether the packages that Dianoia needs are installed, in versions that it takes, and which extras are complete.

In: the metadata of the installed distribution, or pyproject.toml in a clone, whose installed metadata may be old. Out:
findings.

PyTorch is imported in a process of its own, which prints one line of JSON: an import can fail, hang or end the process (a missing
library, a driver of the wrong version), and takes a second. So the caller starts it apart, with a time limit.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.version import InvalidVersion

import dianoia
from dianoia.base.extras import DISTRIBUTION, pip_install
from dianoia.base.shipped_files import shipped_root
from dianoia.doctor.finding import Finding, broken

_SECONDS = 180
"""Longest probe: a cold import from a slow disk, and the compilation of the C functions."""
_MARK = "dianoia-probe:"
"""In front of the answer: libraries may print on import."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What the process has found."""

    version: str = ""
    cuda: str | None = None
    """CUDA version of the build; None for a build without CUDA."""
    gpus: tuple[dict[str, Any], ...] = ()
    """Name, bytes of memory and compute capability of each GPU that PyTorch can use."""
    c_functions: bool = False
    """Whether the C functions could be compiled and loaded."""
    error: str = ""
    """Why PyTorch could not be imported, in the words of the last line; empty if it could."""
    notes: tuple[str, ...] = field(default=())
    """What the process has logged, such as why the C functions could not be compiled."""


def probe_torch() -> Probe:
    """Return what a new process finds in PyTorch; never raises for what is wrong with it."""
    # -P: a file in the working directory, such as torch.py, is not imported in place of a package.
    paths = [str(Path(dianoia.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "dianoia.doctor.package_checks"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Probe(error=f"importing it took more than {_SECONDS} s")
    # No answer, and not the exit status, says that it failed: a library may crash while the process ends.
    answers = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if not answers:
        words = done.stderr.strip().splitlines()[-1:] or [
            f"the process ended with {done.returncode}"
        ]
        return Probe(error=words[0])
    table = json.loads(answers[-1].removeprefix(_MARK))
    notes = tuple(line for line in done.stderr.splitlines() if "C functions" in line)
    return Probe(**{**table, "gpus": tuple(table["gpus"]), "notes": notes})


def _look() -> dict[str, Any]:
    """Return the fields of a `Probe`; runs in the process of its own."""
    # Only here: the module is imported by commands that must not import torch.
    import torch

    from dianoia.hardware.c_functions import library

    gpus = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            gpus.append(
                {
                    "name": properties.name,
                    "memory": properties.total_memory,
                    "capability": f"{properties.major}.{properties.minor}",
                }
            )
    return {
        "version": str(torch.__version__),
        "cuda": torch.version.cuda,
        "gpus": gpus,
        "c_functions": library() is not None,
    }


_NOT_FOR_USERS = ("dev",)
"""Extras for those who change the code."""


def check_packages() -> Iterator[Finding]:
    """Yield what is wrong with required packages, and the state of each extra."""
    required, extras = requirements()
    faults = [fault for line in required if (fault := _fault(line))]
    if faults:
        yield broken(
            "packages",
            "; ".join(faults),
            f"pip install --upgrade {DISTRIBUTION} (in a clone: make setup)",
        )
    else:
        yield Finding("packages", f"all {len(required)} that Dianoia needs are installed")
    yield from _foreign_package()
    for extra, lines in extras.items():
        if extra not in _NOT_FOR_USERS:
            yield _extra(extra, lines)


@cache
def requirements() -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Return the requirements of the package, and those of each extra, for this Python and system."""
    file = shipped_root() / "pyproject.toml"
    if file.is_file():
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        extras = {name: tuple(lines) for name, lines in project["optional-dependencies"].items()}
        return _that_apply(project["dependencies"]), {
            name: _that_apply(lines) for name, lines in extras.items()
        }
    lines = metadata.requires(DISTRIBUTION) or []
    names = metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    base = _that_apply(lines)
    return base, {
        name: tuple(line for line in _that_apply(lines, name) if line not in base) for name in names
    }


def _that_apply(lines: Sequence[str], extra: str = "") -> tuple[str, ...]:
    """Return the requirements whose marker holds here (for an extra, those that it adds)."""
    requirements = map(Requirement, lines)
    return tuple(
        str(requirement)
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra})
    )


def installed(distribution: str) -> str | None:
    """Return the version of an installed distribution; None if there is none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _fault(line: str) -> str | None:
    """Return what is wrong with a requirement; None if it is met."""
    requirement = Requirement(line)
    version = installed(requirement.name)
    if version is None:
        return f"{requirement.name} is not installed"
    try:
        # prereleases: a version for testing was installed on purpose.
        fits = requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        fits = True  # a build of one's own; nobody can say
    return None if fits else f"{requirement.name} {version} is not {requirement.specifier}"


def missing_of(extra: str) -> list[str]:
    """Return what an extra lacks, in words; empty if it is complete."""
    # An extra may hold another extra of this package, whose own line says whether it is complete.
    packages = [line for line in requirements()[1][extra] if Requirement(line).name != DISTRIBUTION]
    return [fault for line in packages if (fault := _fault(line))]


def _extra(extra: str, lines: Sequence[str]) -> Finding:
    packages = [line for line in lines if Requirement(line).name != DISTRIBUTION]
    faults = missing_of(extra)
    topic = f"extra {extra}"
    if faults:
        return Finding(topic, f"not installed ({'; '.join(faults)}): {pip_install(extra)}")
    versions = [
        f"{name} {installed(name)}" for name in (Requirement(line).name for line in packages)
    ]
    return Finding(topic, ", ".join(versions) or "nothing to install for this Python")


def _foreign_package() -> Iterator[Finding]:
    """Yield a finding if the other project's `dianoia` has put its files over or beside ours."""
    try:
        files = metadata.files("dianoia") or []
    except metadata.PackageNotFoundError:
        return
    if any(re.match(r"dianoia/.*\.py$", str(file)) for file in files):
        yield broken(
            "packages",
            "another project's package `dianoia` is installed, and its files have the names of ours",
            f"pip uninstall dianoia && pip install --force-reinstall --no-deps {DISTRIBUTION}",
        )


if __name__ == "__main__":
    sys.stdout.write(f"{_MARK}{json.dumps(_look())}\n")
