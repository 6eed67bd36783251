"""Tries a tokenizer that somebody else wrote in a process that can be ended, with bounds on its time and memory.

In: a model folder. Out: how many ids the tokens of its tokenizer need, or a `ModelError`. A tokenizer is a program: its rules can
make a word into gigabytes, its expressions can search for hours, and its chat template can loop. What a short text
shows of that is refused before any work; so is a file that the tokenizers library cannot read.
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

CPU_SECONDS = 20
BYTES = 4 * 2**30
_WALL_SECONDS = 120
_START = (
    "import sys; sys.path[:] = {path!r}; from dianoia.models.tokenizer_trial import try_out; "
    "try_out({folder!r}, {seconds}, {size})"
)


def tokenizer_size(folder: Path) -> int | None:
    """How many ids the tokens of a folder's tokenizer need, special ones aside; None without a `tokenizer.json`.

    Raises ModelError for a tokenizer or a chat template that cannot be read, or goes beyond the bounds.
    """
    files = [
        folder / name for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
    ]
    marks = tuple((f.stat().st_size, f.stat().st_mtime_ns) if f.is_file() else None for f in files)
    size = _tried_out(folder, marks)
    if isinstance(size, ModelError):
        raise size
    return size


@lru_cache(maxsize=32)
def _tried_out(folder: Path, marks: tuple[tuple[int, int] | None, ...]) -> int | ModelError | None:
    """Return what `tokenizer_size` returns or raises for a folder whose files have these sizes and times of change.

    The refusal is kept too: which bound is met first may differ from one trial to the next, and a plan and its run
    have to say the same.
    """
    try:
        return _size(folder)
    except ModelError as refusal:
        return refusal


def _size(folder: Path) -> int | None:
    """Try a folder's tokenizer in a process of its own."""
    code = _START.format(path=sys.path, folder=str(folder), seconds=CPU_SECONDS, size=BYTES)
    alone = {
        "TOKENIZERS_PARALLELISM": "false",
        "RAYON_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    try:
        ended = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            timeout=_WALL_SECONDS,
            env=os.environ | alone,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise _beyond(folder, f"{_WALL_SECONDS} seconds") from None
    if ended.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise _beyond(folder, f"{CPU_SECONDS} seconds of a processor")
    try:
        answer: dict[str, Any] = json.loads(ended.stdout)
    except ValueError:
        last = ended.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        if ended.returncode == -signal.SIGABRT or "MemoryError" in "".join(last):
            raise _beyond(folder, f"{BYTES // 2**30} GiB of memory") from None
        raise ModelError(
            f"{folder}: its tokenizer could not be tried out ({''.join(last)[:300]}); fetch the folder again"
        ) from None
    if answer.get("beyond"):
        raise _beyond(folder, answer["beyond"])
    if answer.get("unreadable"):
        raise ModelError(
            f"{folder / 'tokenizer.json'}: the tokenizer cannot be read or used ({answer['unreadable']}); fetch the file again"
        )
    size: int | None = answer["size"]
    return size


def _beyond(folder: Path, bound: str) -> ModelError:
    return ModelError(
        f"{folder}: its tokenizer or its chat template takes more than {bound} for a short text, "
        "so it would hold up everything; give another folder, or mend tokenizer.json or the template"
    )
