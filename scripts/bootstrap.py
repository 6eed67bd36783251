"""Sets up the environment in which every make target runs. Standard library only.

In: pyproject.toml and constraints.txt. Out: a virtual environment with the pinned versions, Dianoia itself
(editable) and the tools, and in it a stamp; while the stamp fits, a second call returns at once. It prints one line per
step; what pip says is shown when a step fails.

PyTorch is the one large part. From the public index pip takes the CUDA build on every Linux machine,
gigabytes that a laptop has no use for. So, where no NVIDIA GPU answers, this asks pip what it would
take, and fetches a CUDA build from PyTorch's CPU index instead; it never downloads one unasked.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INPUTS = ("pyproject.toml", "constraints.txt", "scripts/bootstrap.py")
PYTHONS = ((3, 11), (3, 14))
"""The oldest Python of the package, and the newest for which the pinned PyTorch has wheels."""
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
STAMP = "dianoia.json"
CHOICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Machine:
    """What decides which build of PyTorch is of use."""

    system: str
    processor: str
    nvidia: bool

    @property
    def has_cpu_index(self) -> bool:
        """Whether pip's usual build may be a CUDA one, and PyTorch's CPU index has another."""
        return self.system == "Linux" and self.processor in ("x86_64", "aarch64")


@dataclass(frozen=True)
class Build:
    """A build of PyTorch, installed or on offer."""

    version: str
    requires: tuple[str, ...]

    @property
    def is_cuda(self) -> bool:
        """Whether it brings NVIDIA's libraries along."""
        if "+" in self.version:
            return "+cu" in self.version
        needed = [line for line in self.requires if "extra ==" not in line]
        return any(re.match(r"(nvidia|cuda)[-_]", line) for line in needed)


def needs_cpu_index(asked: str, machine: Machine, offered: Callable[[], Build]) -> bool:
    """Whether PyTorch has to come from its CPU index. `offered` asks pip, only if it matters."""
    if asked == "cuda" or not machine.has_cpu_index:
        return False
    if asked == "auto" and machine.nvidia:
        return False
    return offered().is_cuda


def is_kept(asked: str, pin: str, installed: Build | None) -> bool:
    """Whether the installed build stays: the pinned version, and not the kind that was refused."""
    if installed is None or installed.version.partition("+")[0] != pin:
        return False
    return asked == "auto" or installed.is_cuda == (asked == "cuda")


def pinned(name: str, constraints: str) -> str:
    """The version that constraints.txt gives a package."""
    found = re.search(rf"^{re.escape(name)}==(\S+)", constraints, re.MULTILINE)
    if found is None:
        raise SystemExit(f"constraints.txt has no line {name}==VERSION; add it")
    return found[1]


def this_machine() -> Machine:
    """The machine; a GPU counts when nvidia-smi lists it."""
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30)
        nvidia = listing.returncode == 0 and "GPU " in listing.stdout
    except (OSError, subprocess.TimeoutExpired):
        nvidia = False
    return Machine(platform.system(), platform.machine(), nvidia)


def run_step(step: str, command: Sequence[str]) -> bool:
    """Run a command with one line for it; whether it succeeded. Its own words are shown only if it failed."""
    print(f"{step} ...", end=" ", flush=True)
    start = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode == 0:
        print(f"done in {time.monotonic() - start:.0f} s", flush=True)
        return True
    print(f"failed\n{done.stdout}", flush=True)
    return False


class Environment:
    """A virtual environment and its pip."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"
        self._pip = [str(self.python), "-m", "pip", "--disable-pip-version-check"]

    def works(self) -> bool:
        """Whether its Python starts, is new enough and has pip."""
        oldest, newest = PYTHONS
        code = f"import pip, sys; sys.exit(not {oldest} <= sys.version_info[:2] <= {newest})"
        try:
            return subprocess.run([self.python, "-c", code], capture_output=True).returncode == 0
        except OSError:
            return False

    def create(self) -> None:
        """Make the environment, over a broken one if need be, never over anything else."""
        if self.works():
            return
        is_ours = (self.folder / "pyvenv.cfg").is_file()
        if self.folder.exists() and not is_ours and any(self.folder.iterdir()):
            raise SystemExit(
                f"{self.folder} is a folder with files and no virtual environment; it stays as it is. "
                "Name another one: make VENV=FOLDER ..."
            )
        made = run_step(
            f"Making the environment {self.folder}",
            [sys.executable, "-m", "venv", "--clear", str(self.folder)],
        )
        if not made or not self.works():
            raise SystemExit(
                f"python -m venv {self.folder} failed (its message is above). On Debian and Ubuntu: "
                "sudo apt install python3-venv"
            )

    def pip(self, step: str, *arguments: str) -> bool:
        """Run pip as a step with one line; whether it succeeded."""
        return run_step(step, [*self._pip, *arguments])

    def offered(self, requirement: str) -> Build:
        """The build that pip would install by itself; reads metadata, downloads no wheel."""
        how = [
            "install",
            "--dry-run",
            "--no-deps",
            "--ignore-installed",
            "--quiet",
            "--report",
            "-",
        ]
        asked = subprocess.run([*self._pip, *how, requirement], capture_output=True, text=True)
        if asked.returncode != 0:
            sys.stdout.write(asked.stderr)
            raise SystemExit(
                f"pip finds no {requirement} (its message is above). Check the network, or the index "
                "that pip is set up to use (pip config list)"
            )
        metadata = json.loads(asked.stdout)["install"][0]["metadata"]
        return Build(metadata["version"], tuple(metadata.get("requires_dist", ())))

    def installed(self, name: str) -> Build | None:
        """The build that lies in the environment, if one does."""
        code = (
            "import importlib.metadata as m, json, sys; d = m.distribution(sys.argv[1]); "
            "print(json.dumps([d.version, d.requires or []]))"
        )
        asked = subprocess.run([self.python, "-c", code, name], capture_output=True, text=True)
        if asked.returncode != 0:
            return None
        version, requires = json.loads(asked.stdout)
        return Build(version, tuple(requires))


def install(environment: Environment, asked: str) -> None:
    """Everything that constraints.txt pins: pip, PyTorch, then the rest with Dianoia itself."""
    # An older pip would download the wheel only to say which one it would take.
    newer = ("install", "--upgrade", "--constraint", "constraints.txt", "pip")
    if not environment.pip("Bringing pip up to date", *newer):
        raise SystemExit(
            "pip could not bring itself up to date (its message is above); check the network"
        )
    install_torch(environment, asked)
    rest = ("install", "--compile", "--constraint", "constraints.txt", "--editable", ".[dev]")
    if not environment.pip("Installing Dianoia, its libraries and the tools", *rest):
        raise SystemExit("the packages could not be installed; pip's message is above")


def install_torch(environment: Environment, asked: str) -> None:
    """PyTorch alone, without its dependencies."""
    pin = pinned("torch", (ROOT / "constraints.txt").read_text(encoding="utf-8"))
    requirement = f"torch=={pin}"
    if is_kept(asked, pin, environment.installed("torch")):
        return
    command = ["install", "--compile", "--no-deps", "--force-reinstall", requirement]
    if not needs_cpu_index(asked, this_machine(), lambda: environment.offered(requirement)):
        if not environment.pip(f"Installing PyTorch {pin}", *command):
            raise SystemExit(f"{requirement} could not be installed; pip's message is above")
        return
    step = f"Installing PyTorch {pin} for CPUs, since no NVIDIA GPU is wanted, from {CPU_INDEX}"
    source = ("--index-url", CPU_INDEX, "--retries", "1", "--timeout", "20")
    if not environment.pip(step, *command, *source):
        raise SystemExit(
            f"\nThe CPU build of {requirement} could not be had from {CPU_INDEX} (pip's message is above).\n"
            f"The index that pip uses offers only the CUDA build, about 2.7 GB to download with NVIDIA's\n"
            "libraries, which is of no use without an NVIDIA GPU. Nothing of it has been downloaded.\n"
            "  to try again later:           the same command\n"
            "  to use a wheel that you have: PIP_FIND_LINKS=FOLDER make ...\n"
            "  to take the CUDA build:       make TORCH=cuda ..."
        )


def digest() -> str:
    """Of everything that decides what is installed."""
    total = hashlib.sha256()
    for name in INPUTS:
        total.update((ROOT / name).read_bytes())
    return total.hexdigest()


def is_up_to_date(stamp: Path, asked: str, wanted: str) -> bool:
    """Whether the environment was finished with these inputs, for this kind of PyTorch."""
    try:
        found = json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return found["digest"] == wanted and asked in ("auto", found["torch"])


def use_a_fitting_python(arguments: Sequence[str]) -> None:
    """Go on in another Python of this machine if this one does not fit."""
    oldest, newest = PYTHONS
    if oldest <= sys.version_info[:2] <= newest:
        return
    for minor in range(newest[1], oldest[1] - 1, -1):
        other = shutil.which(f"python3.{minor}")
        if other and subprocess.run([other, "-c", ""], capture_output=True).returncode == 0:
            os.execv(other, [other, __file__, *arguments])
    raise SystemExit(
        f"This is Python {platform.python_version()}; Dianoia is set up with 3.{oldest[1]} to 3.{newest[1]}, "
        "and none of them is on the PATH. Install one, or name it: make PYTHON=/path/to/python3 ..."
    )


def main(arguments: Sequence[str]) -> None:
    """Set up the environment unless its stamp fits."""
    use_a_fitting_python(arguments)
    parser = argparse.ArgumentParser(description="Set up the environment for make.")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="its folder")
    parser.add_argument("--torch", choices=CHOICES, default="auto", help="which build of PyTorch")
    options = parser.parse_args(arguments)
    environment = Environment(options.venv.absolute())
    stamp, wanted = environment.folder / STAMP, digest()
    if environment.python.exists() and is_up_to_date(stamp, options.torch, wanted):
        return
    environment.create()
    stamp.unlink(missing_ok=True)
    install(environment, options.torch)
    stamp.write_text(json.dumps({"digest": wanted, "torch": options.torch}), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
