"""Says in words what went wrong outside the program: a disk, its rights and limits, memory. No torch.

In: an exception, whoever raised it (the system, PyTorch, safetensors, pyarrow). Out: one message for a person, or
None for an error of ours, whose traceback has to be seen. `naming` gives an error of the system the path that it
was about, where the system leaves that out.
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
    "how much each stage takes and which keys lower it, and fewer --jobs share less; then type the same command again, "
    "which goes on from the last state"
)
_AGAIN = "then type the same command again; what was finished is kept"
_WORDS: dict[int, tuple[str, str]] = {
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
        "the name is longer than the file system allows (most allow 255 bytes a name, 4,096 a path)",
        "give a shorter --out, or shorter names in the recipe",
    ),
    errno.ENOTDIR: (
        "a part of this path is a file where a folder is needed",
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
        "the folder is not empty, as where another program writes to it",
        f"end that program, or move what it wrote away; {_AGAIN}",
    ),
    errno.EIO: (
        "the disk reports an error of input or output",
        f"check the disk (its cable, `dmesg`, a full or broken device), or give --out on another one; {_AGAIN}",
    ),
    errno.ESTALE: (
        "the network disk has lost this file, as where its server was restarted or somebody else deleted it",
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
        "it is not there, as where it was deleted or its disk was taken away meanwhile",
        f"bring it back, or check the path; {_AGAIN}",
    ),
    errno.ELOOP: (
        "it is a symbolic link, which is not followed, or links that lead in a circle",
        "remove the link; a run directory's own files are never links",
    ),
    errno.EBUSY: ("another program holds it", f"end that program; {_AGAIN}"),
    errno.EAGAIN: (
        "this machine starts no further process or thread for this user",
        f"raise the limit (ulimit -u), end other programs, or give fewer --jobs; {_AGAIN}",
    ),
}
for _number, _like in (
    (errno.EPERM, errno.EACCES),
    (errno.ENXIO, errno.EIO),
    (errno.ENODEV, errno.EIO),
    (errno.ENOTCONN, errno.ESTALE),
    (errno.EHOSTDOWN, errno.ESTALE),
):
    _WORDS[_number] = _WORDS[_like]

_SHOWN = 400
"""Characters of a path that are shown."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_IN_TEXT = re.compile(r"\(os error (\d+)\)|[Ee]rrno:? ?(\d+)")
_WRITING = re.compile(r"PytorchStreamWriter failed|unexpected pos \d+ vs|file write failed")
_MEMORY = re.compile(
    r"can't allocate memory|cannot allocate memory|out of memory|bad_alloc|failed to allocate|"
    r"alloc(?:ate|ation) .{0,40}failed|can't start new thread|failed to map segment|mmap .{0,20}failed",
    re.IGNORECASE,
)
_BYTES = re.compile(r"(?:allocate|size) (\d{4,}) bytes|allocate ([\d.]+ [KMGT]i?B)")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an error of the system that names no file, or a temporary one, the path it was about.

    Raises MachineFault for what a library makes of such an error.
    """
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        if error.errno is not None:
            if error.filename is None or str(error.filename).endswith((".part", ".lock")):
                error.filename = str(path)
            # Now: what a stage has set aside is given back when it ends.
            error.__dict__["free"] = _free(path)
        raise
    except Exception as error:
        fault = None if isinstance(error, MemoryError) else fault_of(error)
        if fault is None:
            raise
        raise MachineFault(f"{path}: {fault}") from error


def fault_of(error: BaseException) -> str | None:
    """The message for a person; None where the error is ours."""
    for cause in _chain(error):
        if isinstance(cause, UserError):
            return str(cause)
        message = _message(cause)
        if message is not None:
            return message
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from; of an error of a library also what it was raised while handling."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        library = type(current).__name__ == "SafetensorError" or type(current) is RuntimeError
        current = current.__cause__ or (current.__context__ if library else None)


def _message(error: BaseException) -> str | None:
    text = str(error)
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | ImportError | OSError) and _is_memory(error, text)
    ):
        return _memory(text)
    if isinstance(error, OSError):
        return _system(error, text)
    if type(error).__name__ == "SafetensorError" or isinstance(error, RuntimeError):
        number = _IN_TEXT.search(text)
        if number is not None:
            return _in_words(int(number[1] or number[2]), None, text)
        if _WRITING.search(text):  # which does not say why
            return _in_words(errno.EFBIG if _files_are_limited() else errno.ENOSPC, None, text)
    return None


def _files_are_limited() -> bool:
    """Whether this process may write files of a certain size only."""
    return resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY


def _is_memory(error: BaseException, text: str) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno == errno.ENOMEM
    return _MEMORY.search(text) is not None


def _memory(text: str) -> str:
    asked = _BYTES.search(text)
    more = ""
    if asked is not None:
        more = f" (a further {int(asked[1]) / 1e6:,.0f} MB were asked for)" if asked[1] else ""
        more = more or f" (a further {asked[2]} were asked for)"
    if "start new thread" in text:
        more = " (no further thread could be started)"
    return f"memory has run out{more}: this machine, or a limit on this process, gives no more; {_MEMORY_CURE}"


def _system(error: OSError, text: str) -> str:
    if error.errno is None:  # a library's own words, such as transformers'
        number = _IN_TEXT.search(text)
        return _in_words(int(number[1] or number[2]), error.filename, text) if number else text
    free = error.__dict__.get("free", "")
    return _in_words(error.errno, error.filename, error.strerror or text, free)


def _in_words(number: int, path: object, text: str, free: str = "") -> str:
    name = os.fsdecode(path) if isinstance(path, str | bytes) else None
    where = f"{_short(name)}: " if name else ""
    what, cure = _WORDS.get(
        number, (text.partition("\n")[0], _AGAIN.replace("then ", "put that right, then "))
    )
    if number == errno.EEXIST and name and Path(name).is_file():
        what = "it is a file where a folder is needed"
    if number in _FULL and name:
        what += free or _free(Path(name))
    return f"{where}{what}; {cure}"


def _short(name: str) -> str:
    return name if len(name) <= _SHOWN else f"{name[: _SHOWN // 2]}...{name[-_SHOWN // 4 :]}"


def _free(path: Path) -> str:
    """How much space there is where a path lies, in brackets; empty where nothing says so."""
    for folder in (path, *path.parents):
        try:
            return f" ({shutil.disk_usage(folder).free / 1e6:,.1f} MB free)"
        except OSError:
            continue
    return ""
