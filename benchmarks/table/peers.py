"""An environment with TRL, of its own, so that Dianoia's has nothing in it that Dianoia does not need.

It sees the packages of the environment that runs the benchmark: both sides compute with one PyTorch and one transformers,
and nothing large is fetched, no CUDA build either. pip adds TRL and what it lacks.
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
WANTED = (f"trl=={TRL}", "accelerate", "datasets", "matplotlib")


def peers(folder: Path = FOLDER) -> Path:
    """The interpreter of the environment, which is made if it is not there. Raises SystemExit where pip fails."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp, wanted = folder / "peers.txt", "\n".join((*WANTED, sysconfig.get_path("purelib")))
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"Making the environment {folder} with TRL {TRL}", flush=True)
    venv.create(folder, with_pip=True)
    show = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = subprocess.run(show, check=True, capture_output=True, text=True).stdout.strip()
    (Path(site) / "ours.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    pip = [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", *WANTED]
    if subprocess.run(pip, check=False).returncode:
        raise SystemExit("TRL could not be installed (pip's message is above); check the network")
    stamp.write_text(wanted, encoding="utf-8")
    return python


def versions(python: Path | str) -> dict[str, str]:
    """Of what both sides compute with, and of TRL, as that interpreter sees them."""
    names = ("torch", "transformers", "trl", "accelerate")
    code = "import importlib.metadata as m, sys; print(*[m.version(n) for n in sys.argv[1:]])"
    told = subprocess.run([python, "-c", code, *names], check=True, capture_output=True, text=True)
    found = dict(zip(names, told.stdout.split(), strict=True))
    return {"python": sys.version.split()[0], **found}
