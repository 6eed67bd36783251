"""Tries out an untrusted tokenizer in a process of its own, with limits on time and memory.

In: a model folder. Out: the number of ids that its tokenizer needs, or a `ModelError`. A tokenizer is a program: its
rules can turn a word into gigabytes, its regular expressions can search for hours, and its chat template can loop.
If a short text shows that, the tokenizer is refused before any work; so is a file that the tokenizers library
cannot read. The program that runs in the process is `models.tokenizer_trial`.
"""

import json
import os
import signal
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from dianoia.base.errors import ModelError
from dianoia.base.files import digest

_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
"""What a trial reads."""
CPU_SECONDS = 20
MEMORY_BYTES = 4 * 2**30
_WALL_SECONDS = 120
_PROGRAM = (
    "import sys; sys.path[:] = {path!r}; from dianoia.models.tokenizer_trial import try_out; "
    "try_out({folder!r}, {seconds}, {size})"
)


def tokenizer_size(folder: Path) -> int | None:
    """Return one more than the largest id of a token that is not special; None without a `tokenizer.json`.

    Raises ModelError for a tokenizer or a chat template that cannot be read, or exceeds the limits.
    """
    # Sizes and times of change are the cache key: files that were replaced are tried again.
    versions = tuple(
        (f.stat().st_size, f.stat().st_mtime_ns) if f.is_file() else None for f in _files(folder)
    )
    outcome = _cached_trial(folder, versions)
    if isinstance(outcome, ModelError):
        raise outcome
    return outcome


@lru_cache(maxsize=32)
def _cached_trial(
    folder: Path, versions: tuple[tuple[int, int] | None, ...]
) -> int | ModelError | None:
    """Return the size or the refusal of a folder's tokenizer.

    A refusal is cached too: which limit is reached first may differ between trials, and a plan and its run must
    give the same message.
    """
    content = _content(folder)
    if content in _sizes:
        return _sizes[content]
    try:
        size = _try_tokenizer(folder)
    except ModelError as refusal:
        return refusal
    if content is not None:
        _sizes[content] = size
    return size


_sizes: dict[tuple[object, ...] | None, int | None] = {}
"""Sizes by content: the checkpoints of a run have the tokenizer of its base, which need not be tried for each."""


def _content(folder: Path) -> tuple[object, ...] | None:
    """Return what the outcome of a trial depends on; None if a file cannot be read, which the trial will tell."""
    try:
        digests = [digest(file) if file.is_file() else None for file in _files(folder)]
    except OSError:
        return None
    return CPU_SECONDS, MEMORY_BYTES, *digests


def _files(folder: Path) -> list[Path]:
    return [folder / name for name in _FILES]


def _try_tokenizer(folder: Path) -> int | None:
    """Try a folder's tokenizer in a process of its own. Raises ModelError."""
    # The child gets this process's module path, since the package need not be installed.
    code = _PROGRAM.format(
        path=sys.path, folder=str(folder), seconds=CPU_SECONDS, size=MEMORY_BYTES
    )
    # Threads of the libraries would each reserve memory against the limit.
    single_threaded = {
        "TOKENIZERS_PARALLELISM": "false",
        "RAYON_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    try:
        process = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            timeout=_WALL_SECONDS,
            env=os.environ | single_threaded,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise _exceeded(folder, f"{_WALL_SECONDS} seconds") from None
    # The first signal comes at the soft limit, the second at the hard one.
    if process.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise _exceeded(folder, f"{CPU_SECONDS} seconds of processor time")
    try:
        answer: dict[str, Any] = json.loads(process.stdout)
    except ValueError:
        last_line = "".join(process.stderr.decode("utf-8", "replace").strip().splitlines()[-1:])
        # The Rust library aborts if it gets no memory; Python raises.
        if process.returncode == -signal.SIGABRT or "MemoryError" in last_line:
            raise _exceeded(folder, f"{MEMORY_BYTES // 2**30} GiB of memory") from None
        raise ModelError(
            f"{folder}: its tokenizer could not be tried out ({last_line[:300]}); fetch the folder again"
        ) from None
    if answer.get("beyond"):
        raise _exceeded(folder, answer["beyond"])
    if answer.get("unreadable"):
        raise ModelError(
            f"{folder / 'tokenizer.json'}: the tokenizer cannot be read or used ({answer['unreadable']}); fetch the file again"
        )
    size: int | None = answer["size"]
    return size


def _exceeded(folder: Path, limit: str) -> ModelError:
    return ModelError(
        f"{folder}: its tokenizer or its chat template takes more than {limit} for a short text, "
        "so it would stall every stage; give another folder, or correct tokenizer.json or the template"
    )
