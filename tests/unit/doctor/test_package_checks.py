"""Required packages and extras: missing ones, wrong versions, the other project's package."""

from importlib import metadata
from pathlib import PurePosixPath

import pytest

from dianoia.doctor import package_checks
from dianoia.doctor.finding import Finding, Status
from dianoia.doctor.package_checks import check_packages, requirements


def findings(
    monkeypatch: pytest.MonkeyPatch, required: tuple[str, ...], **extras: tuple[str, ...]
) -> list[Finding]:
    monkeypatch.setattr(package_checks, "requirements", lambda: (required, extras))
    return list(check_packages())


def test_this_environment_is_complete() -> None:
    first, *others = check_packages()
    assert first.status is Status.OK and "that Dianoia needs are installed" in first.value
    assert {"extra data", "extra gym", "extra languages"} <= {row.topic for row in others}
    assert "extra dev" not in {row.topic for row in others}


def test_what_is_missing_or_of_another_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    (finding,) = findings(monkeypatch, ("numpy>=1", "numpy>=99", "no-such-package"))
    assert finding.status is Status.BROKEN
    version = metadata.version("numpy")
    assert finding.value == f"numpy {version} is not >=99; no-such-package is not installed"
    assert "dianoia-r1" in finding.advice


def test_an_extra_is_no_problem_and_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _, missing, there = findings(
        monkeypatch, (), gym=("no-such-package>=2", "numpy"), data=("numpy", "dianoia-r1[gym]")
    )
    assert missing.status is Status.OK
    assert missing.value == (
        "not installed (no-such-package is not installed): pip install 'dianoia-r1[gym]'"
    )
    assert there.value == f"numpy {metadata.version('numpy')}"


def test_an_installed_wheel_and_a_clone_have_the_same_requirements(
    monkeypatch: pytest.MonkeyPatch, tmp_path: PurePosixPath
) -> None:
    required, extras = requirements()
    assert "numpy" in required and extras["gym"] == ("reasoning-gym==0.1.25",)
    lines = [*required, 'reasoning-gym==0.1.25; extra == "gym"', 'old; python_version < "3"']
    names = metadata.metadata("numpy")
    names["Provides-Extra"] = "gym"
    monkeypatch.setattr(package_checks, "shipped_root", lambda: tmp_path)
    monkeypatch.setattr(metadata, "requires", lambda _: lines)
    monkeypatch.setattr(metadata, "metadata", lambda _: names)
    requirements.cache_clear()
    try:
        installed, (gym,) = requirements()[0], requirements()[1].values()
    finally:
        requirements.cache_clear()
    assert installed == required
    assert [line.split(";")[0] for line in gym] == ["reasoning-gym==0.1.25"]


def test_another_projects_files_over_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def files(name: str) -> list[PurePosixPath]:
        assert name == "dianoia"
        return [PurePosixPath("dianoia/__init__.py")]

    monkeypatch.setattr(metadata, "files", files)
    _, finding = findings(monkeypatch, ())
    assert finding.status is Status.BROKEN and finding.advice.startswith("pip uninstall dianoia &&")
