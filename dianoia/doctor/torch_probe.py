"""Import PyTorch in a process of its own and look at what it finds; that process prints one line of JSON.

An import can fail, hang or end the process (a missing library, a driver of the wrong version), and takes a second. So the
caller starts it apart, with a time limit.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dianoia

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
            [sys.executable, "-P", "-m", "dianoia.doctor.torch_probe"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Probe(error=f"importing it took more than {_SECONDS} s")
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


if __name__ == "__main__":
    sys.stdout.write(f"{_MARK}{json.dumps(_look())}\n")
