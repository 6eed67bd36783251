"""Whether the packages that Dianoia needs are installed, in versions that it takes, and which extras are complete. No torch.

In: the metadata of the installed distribution, or pyproject.toml in a clone, whose installed metadata may be old. Out:
findings.
"""

import re
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import metadata

from packaging.requirements import Requirement
from packaging.version import InvalidVersion

from dianoia.base.extras import DISTRIBUTION, pip_install
from dianoia.base.shipped_files import shipped_root
from dianoia.doctor.finding import Finding, broken

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
