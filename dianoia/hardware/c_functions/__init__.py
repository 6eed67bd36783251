"""C functions of a CPU: a whole decoding model, and the work of a learner between two matrix products.

In: tensors in float32 (bfloat16 where a function's name or argument says so), contiguous and on the CPU. Out: the same
tensors, filled. The C files are compiled on first use, once per machine and version, which takes some seconds; the
library stays in the cache folder (DIANOIA_CACHE, else dianoia in XDG_CACHE_HOME or ~/.cache). The compiler is `CC`, else cc,
gcc or clang. Without one, or with DIANOIA_C=0, `library()` is None and callers compute the same in PyTorch, up to
rounding.

Why C: PyTorch needs several passes over memory where one is enough, masks and padding where lengths differ, and a call
from Python for each operation. At the sizes of a small model that takes more time than the matrix products.
"""

import ctypes
import hashlib
import logging
import os
import platform
import re
import shutil
import struct
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
# in this order: a file uses what the files before it define
SOURCES = ("layers.c", "attend.c", "bfloat16.c", "draw.c", "product.c", "head.c", "step.c")
# No -ffast-math: NaN must stay visible, and sums must keep their order. errno and traps are not used, and without them
# loops vectorise.
FLAGS = (
    *("-O3", "-march=native", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"),
    *("-shared", "-fPIC"),
)
SECONDS = 120
"""Longest compilation; it takes about seven seconds."""


@cache
def library() -> ctypes.CDLL | None:
    """Return the compiled functions; None where they are turned off or cannot be compiled."""
    # cached, with the answer None too: the search and the warning happen once per process
    compiler = _compiler()
    if os.environ.get(SWITCH) == "0" or compiler is None:
        return None
    try:
        return _open(_built(compiler))
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("No C functions, so that a CPU's steps are slower: %s", error)
        return None


def call(name: str, *arguments: Tensor | int | float | None) -> None:
    """Run the C function `name`. Tensors are passed by address, numbers in the types that C declares."""
    loaded = library()
    assert loaded is not None, "ask library() first"
    values = [part.data_ptr() if isinstance(part, Tensor) else part for part in arguments]
    getattr(loaded, name)(*values)


def c_struct(name: str, values: Mapping[str, Tensor | int | float | None]) -> Tensor:
    """Return a C structure as int64 `[fields]`, for a function that takes its address.

    Fields are addresses (of tensors, or None for NULL), 64-bit integers or doubles. The tensors must outlive the
    structure. Raises KeyError where a field of the C declaration has no value.
    """
    return torch.tensor([_word(values[field]) for field in _fields(name)], dtype=torch.int64)


def _word(value: Tensor | int | float | None) -> int:
    """Return a field of a C structure as the 64-bit integer with the same bits."""
    if isinstance(value, Tensor):
        return value.data_ptr()
    if isinstance(value, float):
        return int(struct.unpack("<q", struct.pack("<d", value))[0])
    return value or 0


@cache
def constant(name: str) -> int:
    """Return an integer that the C files define, such as VECTOR; of several definitions the first."""
    match = re.search(rf"^#define {name} (\d+)", _source(), re.MULTILINE)
    assert match is not None, f"no constant {name}"
    return int(match[1])


def round_to_vectors(length: int) -> int:
    """Return the length rounded up to whole vectors of the C functions."""
    return -(-length // VECTOR) * VECTOR


def pack_panels(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """Return `[outer, inner]` in panels of VECTOR rows, the last one filled up with zeros.

    The shape is `[outer / VECTOR, inner, VECTOR]`, in bfloat16 `[outer / VECTOR, inner / 2, VECTOR, 2]`.
    """
    inner = matrix.shape[1]
    # zeros in the last panel give outputs that nobody reads
    panels = F.pad(matrix, (0, 0, 0, -len(matrix) % VECTOR)).to(dtype).view(-1, VECTOR, inner)
    if dtype == torch.bfloat16:
        # the instruction for bfloat16 adds two products at a time, so numbers lie in pairs
        panels = panels.view(-1, VECTOR, inner // 2, 2)
    return panels.transpose(1, 2).contiguous()


def _open(path: Path) -> ctypes.CDLL:
    """Load the library and declare the argument types of its functions.

    With undeclared types ctypes would look at every argument of every call, a tenth of the time of a small decoding step.
    """
    loaded = ctypes.CDLL(str(path))
    # every `void` function at the start of a line is exported; helpers are static
    for name, arguments in re.findall(r"^void (\w+)\(([^)]*)\)", _source(), re.MULTILINE):
        getattr(loaded, name).argtypes = [_type(argument) for argument in arguments.split(",")]
        getattr(loaded, name).restype = None
    return loaded


@cache
def _fields(name: str) -> list[str]:
    """Return the fields of a C structure in their order."""
    declaration = re.search(r"typedef struct \{([^}]*)\} " + name + ";", _source())
    assert declaration is not None, f"no structure {name}"
    return re.findall(r"(\w+)\s*[,;]", declaration[1])


def _type(argument: str) -> Any:
    """Return the ctypes type of an argument as C declares it."""
    if "*" in argument:
        return ctypes.c_void_p
    return ctypes.c_float if "float" in argument else ctypes.c_int64


# Compilation --------------------------------------------------------------------------------------


def _compiler() -> str | None:
    """Return the path of a C compiler, None where there is none."""
    # CC first: who sets it wants that compiler
    names = [os.environ.get("CC", ""), "cc", "gcc", "clang"]
    return next((path for name in names if name and (path := shutil.which(name))), None)


def _built(compiler: str) -> Path:
    """Return the library for this source, compiler and processor; compile it if it is not in the cache folder."""
    source = _source()
    # part of the name, so that another source, compiler or processor never loads this library
    key = hashlib.sha256("\n".join((source, *FLAGS, compiler, _processor())).encode())
    target = _folder() / f"kernels-{key.hexdigest()[:16]}.so"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            _compile(compiler, source, Path(scratch) / "kernels.c", Path(scratch) / "kernels.so")
            # atomic, whatever other process compiles the same
            (Path(scratch) / "kernels.so").replace(target)
    return target


@cache
def _source() -> str:
    """Return all C files as one text, which is compiled as one file."""
    return "\n".join((Path(__file__).parent / name).read_text() for name in SOURCES)


def _compile(compiler: str, source: str, code: Path, out: Path) -> None:
    code.write_text(source)
    command = [compiler, *FLAGS, str(code), "-o", str(out), "-lm"]
    # -lm comes last: a linker resolves from left to right
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    if done.returncode:
        raise OSError(f"{compiler} failed: {done.stderr.strip()[-500:]}")


def _processor() -> str:
    """Return what `-march=native` depends on, since unlike machines may share a cache folder."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    features = [
        line for line in lines if line.startswith(("model", "flags", "Features", "CPU part"))
    ]
    return "\n".join((platform.machine(), platform.processor(), *dict.fromkeys(features)))


def _folder() -> Path:
    """Return the folder of compiled libraries; create it if it is missing."""
    folder = cache_folder() / "kernels"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


VECTOR = constant("VECTOR")
"""Numbers per vector of the C functions: the layout of packed weights and of KV caches."""
