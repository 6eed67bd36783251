"""What a CPU computes in C: a decoding model as a whole, and what a learner computes between two matrix products.

Compiled on first use, once a machine and version. In: tensors in float32 (bfloat16 where a function's name or argument
says half), contiguous and on the CPU. Out: the same tensors, filled. PyTorch needs several passes over memory where one is
enough, masks and padding where lengths differ, and a call from Python for each; at the sizes of a small model that is more
time than the products take. Without a compiler, or with DIANOIA_C=0, `library()` is None and callers compute the
same with PyTorch, up to rounding. A C compiler (`CC`, else cc, gcc, clang) takes some
seconds, and the library is kept in the cache folder (DIANOIA_CACHE, else dianoia in XDG_CACHE_HOME or ~/.cache).
"""

import ctypes
import hashlib
import logging
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dianoia.base.files import cache_folder

log = logging.getLogger(__name__)

SWITCH = "DIANOIA_C"
"""Environment variable; 0 turns the functions off."""
SOURCES = ("layers.c", "attend.c", "half.c", "draw.c", "product.c", "head.c", "step.c")
FLAGS = (
    *("-O3", "-march=native", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"),
    *("-shared", "-fPIC"),
)
VECTOR = 16
"""Numbers of a vector, as the C files have it: what weights and caches are laid out by."""
SECONDS = 120
"""Longest compilation; it takes about seven."""


@cache
def library() -> ctypes.CDLL | None:
    """The functions of the C files; None where they are turned off or cannot be compiled."""
    compiler = _compiler()
    if os.environ.get(SWITCH) == "0" or compiler is None:
        return None
    try:
        return _loaded(_built(compiler))
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("No C functions, so that a CPU's steps are slower: %s", error)
        return None


def c_struct(name: str, values: Mapping[str, Tensor | int | None]) -> Tensor:
    """A C structure of addresses and 64-bit numbers, int64 `[fields]`, for a function that takes its words.

    The tensors among `values` must outlive it. Raises KeyError where a field of the C declaration has no value.
    """
    given = [values[field] for field in _fields(name)]
    words = [one.data_ptr() if isinstance(one, Tensor) else (one or 0) for one in given]
    return torch.tensor(words, dtype=torch.int64)


def call(name: str, *arguments: Tensor | int | float | None) -> None:
    """Run one of the functions: tensors by address, numbers as the function declares them."""
    loaded = library()
    assert loaded is not None, "ask library() first"
    given = [one.data_ptr() if isinstance(one, Tensor) else one for one in arguments]
    getattr(loaded, name)(*given)


def round_to_vectors(length: int) -> int:
    """The length in whole vectors."""
    return -(-length // VECTOR) * VECTOR


def pack_panels(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """`[outer, inner]` in panels of LANE rows: `[outer / LANE, inner, LANE]`, in bfloat16 `[.., inner / 2, LANE, 2]`."""
    inner = matrix.shape[1]
    panels = F.pad(matrix, (0, 0, 0, -len(matrix) % VECTOR)).to(dtype).view(-1, VECTOR, inner)
    if dtype == torch.bfloat16:
        panels = panels.view(-1, VECTOR, inner // 2, 2)
    return panels.transpose(1, 2).contiguous()


def _loaded(path: Path) -> ctypes.CDLL:
    """The library, whose functions know the types of their arguments: converting them anew at every call would
    take a tenth of a small decoding step."""
    loaded = ctypes.CDLL(str(path))
    for name, declared in re.findall(r"^void (\w+)\(([^)]*)\)", _source(), re.MULTILINE):
        getattr(loaded, name).argtypes = [_type(one) for one in declared.split(",")]
        getattr(loaded, name).restype = None
    return loaded


@cache
def _fields(name: str) -> list[str]:
    """Of a structure, in their order."""
    declared = re.search(r"typedef struct \{([^}]*)\} " + name + ";", _source())
    assert declared is not None, f"no structure {name}"
    return re.findall(r"(\w+)\s*[,;]", declared[1])


def _type(declared: str) -> Any:
    """Of an argument as C declares it."""
    if "*" in declared:
        return ctypes.c_void_p
    return ctypes.c_float if "float" in declared else ctypes.c_int64


# Compiling ----------------------------------------------------------------------------------------


def _compiler() -> str | None:
    """Path of a C compiler."""
    names = [os.environ.get("CC", ""), "cc", "gcc", "clang"]
    return next((found for name in names if name and (found := shutil.which(name))), None)


def _built(compiler: str) -> Path:
    """The library for this source, compiler and processor, compiled now if nobody did before."""
    source = _source()
    key = hashlib.sha256("\n".join((source, *FLAGS, compiler, _processor())).encode())
    target = _folder() / f"kernels-{key.hexdigest()[:16]}.so"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            _compile(compiler, source, Path(scratch) / "kernels.c", Path(scratch) / "kernels.so")
            (Path(scratch) / "kernels.so").replace(target)  # whole, whoever else compiles
    return target


def _source() -> str:
    return "\n".join((Path(__file__).parent / name).read_text() for name in SOURCES)


def _compile(compiler: str, source: str, code: Path, out: Path) -> None:
    code.write_text(source)
    command = [compiler, *FLAGS, str(code), "-o", str(out), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    if done.returncode:
        raise OSError(f"{compiler} failed: {done.stderr.strip()[-500:]}")


def _processor() -> str:
    """What `-march=native` depends on: a cache folder may be shared by unlike machines."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    known = [line for line in lines if line.startswith(("model", "flags", "Features", "CPU part"))]
    return "\n".join((platform.machine(), platform.processor(), *dict.fromkeys(known)))


def _folder() -> Path:
    """Where compiled libraries stay; made if it is not there."""
    folder = cache_folder() / "kernels"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
