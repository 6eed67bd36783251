"""Which PyTorch is installed: never gigabytes of CUDA libraries unasked."""

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

CUDA = ("filelock", 'cuda-toolkit[cublas]==13.0.3; platform_system == "Linux"')
PLAIN = ("filelock", 'nvidia-ml-py; extra == "monitor"')


@pytest.fixture(scope="module")
def bootstrap(root: Path) -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("bootstrap", root / "scripts" / "bootstrap.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bootstrap"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["bootstrap"]


@pytest.mark.parametrize(
    ("version", "requires", "is_cuda"),
    [
        ("2.13.0+cpu", PLAIN, False),
        ("2.13.0+cu130", (), True),
        ("2.13.0", CUDA, True),
        ("2.13.0", ('nvidia-cublas-cu12==12.8; platform_machine == "x86_64"',), True),
        ("2.13.0", PLAIN, False),
    ],
)
def test_cuda_builds_are_recognised(
    bootstrap: ModuleType, version: str, requires: tuple[str, ...], is_cuda: bool
) -> None:
    assert bootstrap.Build(version, requires).is_cuda is is_cuda


@pytest.mark.parametrize(
    ("requested", "system", "processor", "nvidia", "offered", "expected"),
    [
        ("auto", "Linux", "x86_64", False, CUDA, True),
        ("auto", "Linux", "aarch64", False, CUDA, True),
        ("auto", "Linux", "x86_64", False, PLAIN, False),
        ("cpu", "Linux", "x86_64", True, CUDA, True),
        ("cpu", "Linux", "x86_64", True, PLAIN, False),
        # From here on pip is not asked at all.
        ("auto", "Linux", "x86_64", True, None, False),
        ("cuda", "Linux", "x86_64", False, None, False),
        ("auto", "Darwin", "arm64", False, None, False),
        ("cpu", "Darwin", "arm64", False, None, False),
        ("auto", "Linux", "riscv64", False, None, False),
    ],
)
def test_where_pytorch_comes_from(
    bootstrap: ModuleType,
    requested: str,
    system: str,
    processor: str,
    nvidia: bool,
    offered: tuple[str, ...] | None,
    expected: bool,
) -> None:
    def offer() -> object:
        assert offered is not None, "pip was asked without need"
        return bootstrap.Build("2.13.0", offered)

    machine = bootstrap.Machine(system, processor, nvidia)
    assert bootstrap.needs_cpu_index(requested, machine, offer) is expected


@pytest.mark.parametrize(
    ("requested", "version", "requires", "expected"),
    [
        ("auto", "2.13.0", CUDA, True),
        ("auto", "2.13.0+cpu", PLAIN, True),
        ("auto", "2.12.1", PLAIN, False),
        ("cpu", "2.13.0", CUDA, False),
        ("cpu", "2.13.0+cpu", PLAIN, True),
        ("cuda", "2.13.0", CUDA, True),
        ("cuda", "2.13.0+cpu", PLAIN, False),
    ],
)
def test_an_installed_build_stays_if_it_fits(
    bootstrap: ModuleType, requested: str, version: str, requires: tuple[str, ...], expected: bool
) -> None:
    assert bootstrap.is_kept(requested, "2.13.0", bootstrap.Build(version, requires)) is expected
    assert not bootstrap.is_kept(requested, "2.13.0", None)


class Pip:
    """An environment whose pip only writes down what it was told."""

    def __init__(self, offered: object, *, reachable: bool = True) -> None:
        self.calls: list[tuple[str, ...]] = []
        self._offered = offered
        self._reachable = reachable

    def pip(self, step: str, *arguments: str) -> bool:
        assert step and "\n" not in step
        self.calls.append(arguments)
        return self._reachable

    def offered(self, requirement: str) -> object:
        assert requirement.startswith("torch==")
        return self._offered

    def installed(self, name: str) -> None:
        assert name == "torch"


@pytest.fixture
def laptop(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    machine = bootstrap.Machine("Linux", "x86_64", False)
    monkeypatch.setattr(bootstrap, "this_machine", lambda: machine)
    return bootstrap


def test_a_laptop_takes_the_cpu_index(laptop: ModuleType) -> None:
    pip = Pip(laptop.Build("2.13.0", CUDA))
    laptop.install_torch(pip, "auto")
    (call,) = pip.calls
    assert call[call.index("--index-url") + 1] == laptop.CPU_INDEX
    assert "--no-deps" in call


def test_a_cpu_build_that_pip_finds_itself_is_taken(laptop: ModuleType) -> None:
    pip = Pip(laptop.Build("2.13.0+cpu", PLAIN))
    laptop.install_torch(pip, "auto")
    (call,) = pip.calls
    assert "--index-url" not in call


def test_without_the_cpu_index_it_stops_and_says_what_to_do(laptop: ModuleType) -> None:
    pip = Pip(laptop.Build("2.13.0", CUDA), reachable=False)
    with pytest.raises(SystemExit, match=r"2\.7 GB(.|\n)*make TORCH=cuda"):
        laptop.install_torch(pip, "auto")
    assert len(pip.calls) == 1


def test_a_step_is_one_line_and_its_words_come_when_it_fails(
    bootstrap: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    words = "import sys; print('out'); print('err', file=sys.stderr); sys.exit({})"
    assert bootstrap.run_step("Making tea", [sys.executable, "-c", words.format(0)])
    output, errors = capfd.readouterr()
    assert re.fullmatch(r"Making tea \.\.\. done in \d+ s\n", output) and not errors
    assert not bootstrap.run_step("Making tea", [sys.executable, "-c", words.format(3)])
    output, errors = capfd.readouterr()
    assert output.startswith("Making tea ... failed\n") and not errors
    assert {"out", "err"} <= set(output.split())


def test_the_stamp(bootstrap: ModuleType, tmp_path: Path) -> None:
    stamp = tmp_path / "stamp.json"
    assert not bootstrap.is_up_to_date(stamp, "auto", "digest")
    stamp.write_text(json.dumps({"digest": "digest", "torch": "cuda"}))
    assert bootstrap.is_up_to_date(stamp, "auto", "digest")
    assert bootstrap.is_up_to_date(stamp, "cuda", "digest")
    assert not bootstrap.is_up_to_date(stamp, "cpu", "digest")
    assert not bootstrap.is_up_to_date(stamp, "auto", "other")
    stamp.write_text("cut sho")
    assert not bootstrap.is_up_to_date(stamp, "auto", "digest")


def test_a_folder_of_something_else_is_left_alone(bootstrap: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(SystemExit, match="stays as it is"):
        bootstrap.Environment(tmp_path).create()
    assert (tmp_path / "thesis.tex").exists()


def test_every_dependency_is_pinned(bootstrap: ModuleType, root: Path) -> None:
    constraints = (root / "constraints.txt").read_text(encoding="utf-8")
    for name in ("torch", "transformers", "pytest", "ruff"):
        assert bootstrap.pinned(name, constraints)[0].isdigit()
    with pytest.raises(SystemExit, match="add it"):
        bootstrap.pinned("no-such-package", constraints)
    lines = [line for line in constraints.splitlines() if line and not line.startswith("#")]
    assert all("==" in line and "+" not in line for line in lines)
