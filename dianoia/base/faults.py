"""Messages on faults of the machine: a disk, its permissions and limits, memory. No torch.

In: an exception, whoever raised it (the system, PyTorch, safetensors, pyarrow). Out: a message for the user, or None for
an error of the program, whose traceback must be shown. `error_path` adds the path to an error of the system that lacks
it.
"""

import errno
import os
import re
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dianoia.base.errors import MachineFault, UserError

_MEMORY_CURE = (
    "end other programs, raise the limit (ulimit -v), or lower what the stage needs: `dianoia run RECIPE --dry-run` says "
    "how much each stage takes and which keys lower it, and fewer --jobs need less; then run the same command again, "
    "which resumes from the last state"
)
_AGAIN = "then run the same command again; finished work is kept"
_TEXTS: dict[int, tuple[str, str]] = {
    errno.ENOSPC: (
        "there is no space left on the disk",
        f"free some space there, or give --out on another disk; {_AGAIN}",
    ),
    errno.EDQUOT: (
        "there is no space left in your quota of the disk",
        f"delete files of yours there, ask for a larger quota, or give --out on another disk; {_AGAIN}",
    ),
    errno.EFBIG: (
        "the file is larger than a limit on this machine allows",
        f"raise the limit on the size of files (ulimit -f unlimited) or use another file system; {_AGAIN}",
    ),
    errno.EROFS: (
        "the disk can only be read",
        f"have it mounted for writing, or use a folder on another disk (--out of `dianoia run`); {_AGAIN}",
    ),
    errno.EACCES: (
        "permission denied: this user has no right to read or write it",
        f"change the rights (ls -l shows them, chmod or chown changes them), or give another --out; {_AGAIN}",
    ),
    errno.ENAMETOOLONG: (
        "the name is longer than the file system allows (most allow 255 bytes per name and 4,096 per path)",
        "give a shorter --out, or shorter names in the recipe",
    ),
    errno.ENOTDIR: (
        "a part of this path is a file, not a folder",
        "give another path, or move that file away",
    ),
    errno.EISDIR: (
        "it is a folder where a file is needed",
        "move that folder away, or give another path",
    ),
    errno.EEXIST: (
        "something else has this name already",
        "move it away, or give another path",
    ),
    errno.ENOTEMPTY: (
        "the folder is not empty; another program may be writing to it",
        f"end that program, or move what it wrote away; {_AGAIN}",
    ),
    errno.EIO: (
        "the disk reports an input/output error",
        f"check the disk (its cable, `dmesg`, a full or broken device), or give --out on another one; {_AGAIN}",
    ),
    errno.ESTALE: (
        "the network disk has lost this file; its server may have been restarted, or the file deleted elsewhere",
        f"have the disk mounted again; {_AGAIN}",
    ),
    errno.EMFILE: (
        "this process has as many open files as it may have",
        f"raise the limit (ulimit -n 4096), or give fewer --jobs; {_AGAIN}",
    ),
    errno.ENFILE: (
        "this machine has as many open files as it may have",
        f"end other programs, or give fewer --jobs; {_AGAIN}",
    ),
    errno.ENOENT: (
        "it is missing; it may have been deleted, or its disk removed",
        f"bring it back, or check the path; {_AGAIN}",
    ),
    errno.ELOOP: (
        "it is a symbolic link, which is not followed, or a circle of links",
        "remove the link; a run directory's own files are never links",
    ),
    errno.EBUSY: ("another program holds it", f"end that program; {_AGAIN}"),
    errno.EAGAIN: (
        "this machine starts no further process or thread for this user",
        f"raise the limit (ulimit -u), end other programs, or give fewer --jobs; {_AGAIN}",
    ),
}
# Numbers that get the text of another one.
for _number, _like in (
    (errno.EPERM, errno.EACCES),
    (errno.ENXIO, errno.EIO),
    (errno.ENODEV, errno.EIO),
    (errno.ENOTCONN, errno.ESTALE),
    (errno.EHOSTDOWN, errno.ESTALE),
):
    _TEXTS[_number] = _TEXTS[_like]

_SHOWN = 400
"""Characters of a path that are shown."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
# Libraries that do not raise OSError put the number into the text: Rust ("os error 28"), PyTorch ("errno: 28").
_IN_TEXT = re.compile(r"\(os error (\d+)\)|[Ee]rrno:? ?(\d+)")
# PyTorch's errors of writing that name no cause.
_WRITING = re.compile(r"PytorchStreamWriter failed|unexpected pos \d+ vs|file write failed")
# Texts on memory of the system, PyTorch, C++ and Python. Not only MemoryError: most libraries raise RuntimeError.
_MEMORY = re.compile(
    r"can't allocate memory|cannot allocate memory|out of memory|bad_alloc|failed to allocate|"
    r"alloc(?:ate|ation) .{0,40}failed|can't start new thread|failed to map segment|mmap .{0,20}failed",
    re.IGNORECASE,
)
# The requested size in such a text: bytes, or a number with its unit.
_BYTES = re.compile(r"(?:allocate|size) (\d{4,}) bytes|allocate ([\d.]+ [KMGT]i?B)")


@contextmanager
def error_path(path: Path) -> Iterator[None]:
    """In the block, set the path of an error of the system that names no file or a temporary one.

    Raises:
        MachineFault: a library raised an error of its own for a fault of the machine.
    """
    try:
        yield
    # Already a message for the user, with its path.
    except UserError:
        raise
    except OSError as error:
        if error.errno is not None:
            # Users know the file, not its temporary sibling or its lock.
            if error.filename is None or str(error.filename).endswith((".part", ".lock")):
                error.filename = str(path)
            # Measured now: the reserve of the stage is freed when it ends.
            error.__dict__["free"] = _free(path)
        raise
    except Exception as error:
        fault = None if isinstance(error, MemoryError) else fault_message(error)
        if fault is None:
            raise
        raise MachineFault(f"{path}: {fault}") from error


def fault_message(error: BaseException) -> str | None:
    """Return the message for the user; None for an error of the program."""
    for cause in _chain(error):
        # Already a message for the user, wrapped by a library that called our code.
        if isinstance(cause, UserError):
            return str(cause)
        message = _message(cause)
        if message is not None:
            return message
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the errors that it was raised from.

    Of a library's error also the one that it was raised while handling: libraries seldom say `raise ... from`.
    """
    # By identity, since a chain of causes can be circular.
    visited: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in visited:
        visited.add(id(current))
        yield current
        # By name: safetensors need not be imported to read its errors.
        is_library = type(current).__name__ == "SafetensorError" or type(current) is RuntimeError
        current = current.__cause__ or (current.__context__ if is_library else None)


def _message(error: BaseException) -> str | None:
    """Return the message of one error of a chain; None for an error of the program."""
    text = str(error)
    # Memory first: a system error with ENOMEM has its own text.
    message = memory_message(error)
    if message is not None:
        return message
    if isinstance(error, OSError):
        return _system(error, text)
    if type(error).__name__ == "SafetensorError" or isinstance(error, RuntimeError):
        number = _IN_TEXT.search(text)
        # The number in the text is the system's own, so it selects the same message.
        if number is not None:
            return _text_of(int(number[1] or number[2]), None, text)
        if _WRITING.search(text):  # the library does not say why
            return _text_of(errno.EFBIG if _files_are_limited() else errno.ENOSPC, None, text)
    return None


def memory_message(error: BaseException) -> str | None:
    """Return the message of an error that says that memory has run out; None for any other."""
    text = str(error)
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | ImportError | OSError) and _is_memory(error, text)
    ):
        return _memory(text)
    return None


def _files_are_limited() -> bool:
    """Return True if a limit (ulimit -f) holds for the files of this process."""
    return resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY


def _is_memory(error: BaseException, text: str) -> bool:
    # The number of a system error is certain; its text may mention memory for other reasons.
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno == errno.ENOMEM
    return _MEMORY.search(text) is not None


def _memory(text: str) -> str:
    request = _BYTES.search(text)
    detail = ""
    if request is not None:
        size = f"{int(request[1]) / 1e6:,.0f} MB" if request[1] else request[2]
        detail = f" (another {size} were requested)"
    if "start new thread" in text:
        detail = " (no further thread could be started)"
    return f"memory has run out{detail}: this machine, or a limit on this process, gives no more; {_MEMORY_CURE}"


def _system(error: OSError, text: str) -> str:
    """Return the message of an error of the system."""
    if error.errno is None:  # raised by a library, such as transformers, with a message of its own
        number = _IN_TEXT.search(text)
        return _text_of(int(number[1] or number[2]), error.filename, text) if number else text
    free = error.__dict__.get("free", "")
    return _text_of(error.errno, error.filename, error.strerror or text, free)


def _text_of(number: int, path: object, text: str, free: str = "") -> str:
    """Return the message of an error number.

    Args:
        text: the system's own text, for a number that has no text here.
        free: the free space in brackets, as measured when the error was raised.
    """
    name = os.fsdecode(path) if isinstance(path, str | bytes) else None
    prefix = f"{_short(name)}: " if name else ""
    # For a number without a text here: the first line of the system's text, and general advice.
    problem, cure = _TEXTS.get(
        number, (text.partition("\n")[0], _AGAIN.replace("then ", "fix that, then "))
    )
    # mkdir reports "exists" also for a file under the name of the folder.
    if number == errno.EEXIST and name and Path(name).is_file():
        problem = "it is a file where a folder is needed"
    if number in _FULL and name:
        problem += free or _free(Path(name))
    return f"{prefix}{problem}; {cure}"


def _short(name: str) -> str:
    # The end is shown too, since it holds the file's name.
    return name if len(name) <= _SHOWN else f"{name[: _SHOWN // 2]}...{name[-_SHOWN // 4 :]}"


def _free(path: Path) -> str:
    """Return the free space on the disk of a path, in brackets; empty if the system does not say."""
    # The file may not exist yet; the nearest folder that does is on its disk.
    for folder in (path, *path.parents):
        try:
            return f" ({shutil.disk_usage(folder).free / 1e6:,.1f} MB free)"
        except OSError:
            continue
    return ""
