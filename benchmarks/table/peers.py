"""A separate environment for TRL, so that Dianoia's holds nothing that Dianoia does not need.

It sees the packages of the environment that runs the benchmark: both sides use the same PyTorch and transformers, and
nothing large is downloaded, such as a CUDA build. pip adds TRL and its other requirements.
"""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from benchmarks.table.link import ROOT

FOLDER = ROOT / ".venv-peers"
TRL = "1.16.0"
REQUIREMENTS = (f"trl=={TRL}", "accelerate", "datasets", "matplotlib")


def peers(folder: Path = FOLDER) -> Path:
    """Return the interpreter of the environment, which is created if it is missing. Raises SystemExit if pip fails."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp, content = folder / "peers.txt", "\n".join((*REQUIREMENTS, sysconfig.get_path("purelib")))
    if stamp.exists() and stamp.read_text(encoding="utf-8") == content:
        return python
    print(f"Creating the environment {folder} with TRL {TRL}", flush=True)
    venv.create(folder, with_pip=True)
    show = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = subprocess.run(show, check=True, capture_output=True, text=True).stdout.strip()
    (Path(site) / "ours.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    pip = [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", *REQUIREMENTS]
    if subprocess.run(pip, check=False).returncode:
        raise SystemExit("TRL could not be installed (see pip's message above); check the network")
    stamp.write_text(content, encoding="utf-8")
    return python


def versions(python: Path | str) -> dict[str, str]:
    """Return the versions of PyTorch, transformers, TRL and accelerate that an interpreter has, and of Python."""
    names = ("torch", "transformers", "trl", "accelerate")
    code = "import importlib.metadata as m, sys; print(*[m.version(n) for n in sys.argv[1:]])"
    output = subprocess.run(
        [python, "-c", code, *names], check=True, capture_output=True, text=True
    )
    numbers = dict(zip(names, output.stdout.split(), strict=True))
    return {"python": sys.version.split()[0], **numbers}
