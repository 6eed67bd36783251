"""Files that appear whole or not at all, with the checksums by which damage to them is noticed; the cache's folder.

Whole: a temporary sibling, fsync, rename; on an error the sibling is removed, so that a full disk is not fuller than
before. A name is given to a new file and never written through: a link that stands there is replaced, its target is
not touched. Checked: a JSON object may end with the key `checksum`, over everything in it but times; a folder holds
`SHA256SUMS`, in the form that `sha256sum -c` reads.
"""

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path
from typing import Any

from dianoia.base.disk_space import twice
from dianoia.base.errors import DamagedFile, MachineFault
from dianoia.base.faults import naming
from dianoia.base.remedies import cure_of

CACHE = "DIANOIA_CACHE"
"""Environment variable: the folder for what can be made again."""
SUMS = "SHA256SUMS"
"""In a folder that was written whole: the digest of each of its files."""
CHECKSUM = "checksum"
"""Last key of a JSON object that carries its own digest."""
_TIMES = ("seconds", "_per_second")
"""Ends of keys under which times stand, which differ between two runs of one seed."""


def cache_folder() -> Path:
    """Where goes what can be made again."""
    named = os.environ.get(CACHE)
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dianoia"


def sync(path: Path) -> None:
    """Have the system write a file or folder to its disk now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clear(path: Path) -> None:
    """Remove a file, a folder or a link, whichever stands there; a link's target is not touched."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write to; it becomes `path` if the block ends without an error."""
    temporary = path.with_name(f".{path.name}.part")
    with naming(path), _without_leftovers(temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        clear(temporary)  # what a kill left, or a link that somebody put there
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder; it replaces `path` if the block ends without an error, and says what is in it.

    A folder that was there before is moved aside first and deleted last, so that a kill at any moment
    leaves the old one, the new one, or both under names that the next run cleans up.
    """
    temporary, old = path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.old")
    with naming(path), _without_leftovers(temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        clear(temporary)
        temporary.mkdir()
        yield temporary
        _write_sums(temporary)
        for file in sorted(temporary.rglob("*")):
            sync(file)
        clear(old)
        if path.exists() or path.is_symlink():
            path.replace(old)
        temporary.replace(path)
        sync(path.parent)
        clear(old)


@contextmanager
def _without_leftovers(temporary: Path) -> Iterator[None]:
    """Remove what was written so far where the block ends by an error: a full disk needs the room."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            clear(temporary)
        raise


def restore_folder(path: Path) -> None:
    """Undo a kill between the two renames of `whole_folder`: bring the old folder back."""
    old = path.with_name(f".{path.name}.old")
    if old.exists() and not path.exists():
        old.replace(path)


def refuse_links(folder: Path) -> None:
    """Look for links, pipes and devices in the folder of a stage that is about to work in it.

    Raises:
        MachineFault: there is one; what is written there would end up elsewhere.
    """
    for path in (folder.parent, folder, *folder.rglob("*")):
        if path.is_symlink():
            raise MachineFault(
                f"{path}: it is a symbolic link to {path.readlink()}; a stage would write there, outside the run "
                "directory, so links in it are not followed; remove the link (its target stays), or give another --out"
            )
        if path.exists() and not path.is_file() and not path.is_dir():
            raise MachineFault(
                f"{path}: it is a pipe or a device, which no run directory holds; remove it, or give another --out"
            )


# Checksums of folders ----------------------------------------------------------------------------


def digest(path: Path, first: int | None = None) -> str:
    """SHA-256 of a file, or of its first so many bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        if first is not None:
            return hashlib.sha256(file.read(first)).hexdigest()
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_sums(folder: Path) -> None:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    lines = (f"{digest(file)}  {file.relative_to(folder).as_posix()}\n" for file in files)
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def check_folder(
    folder: Path, cure: str, pattern: str = "*", required: Collection[str] = (), most: float = inf
) -> None:
    """Compare files of a folder with its `SHA256SUMS`; `cure` ends the message.

    Args:
        pattern: of the names of the files that are compared.
        required: names that the list has to hold.
        most: bytes of the largest file that is read.

    Raises:
        DamagedFile: a file is missing, or is not the one that was written; or the sums themselves are unreadable.
    """
    sums = _read_sums(folder / SUMS, cure)
    lacking = sorted(set(required) - set(sums))
    if lacking:
        raise DamagedFile(
            f"{folder / SUMS}: the list of checksums was cut, and lacks {lacking[0]}; {cure}"
        )
    for name, expected in sums.items():
        file = folder / name
        if not file.match(pattern) or (file.is_file() and file.stat().st_size > most):
            continue
        if not file.is_file():
            raise DamagedFile(f"{file}: the file is missing, and {folder / SUMS} names it; {cure}")
        if digest(file) != expected:
            size = file.stat().st_size
            raise DamagedFile(
                f"{file}: the file ({size:,} bytes) is not the one that was written there, as {SUMS} beside it shows: "
                f"it was cut, changed or damaged by the disk; {cure}"
            )


def _read_sums(file: Path, cure: str) -> dict[str, str]:
    try:
        lines = file.read_text(encoding="ascii").splitlines()
        pairs = [line.split("  ", 1) for line in lines]
        sums = {name: expected for expected, name in pairs if len(expected) == 64}
    except (UnicodeDecodeError, ValueError):
        sums, pairs = {}, []
    if not sums or len(sums) < len(pairs):
        raise DamagedFile(f"{file}: the list of checksums is empty or damaged; {cure}")
    return sums


# Text and JSON -----------------------------------------------------------------------------------


def write_text(path: Path, text: str) -> None:
    """Write a text file whole; on a full disk with the room that a stage has set aside."""

    def write() -> None:
        with whole_file(path) as temporary:
            # A lone surrogate, as in a file's name that is no UTF-8, becomes a question mark.
            temporary.write_bytes(text.encode("utf-8", "replace"))

    twice(write, path)


def write_json(path: Path, value: Any, checked: bool = False) -> None:
    """Write a value as indented JSON, whole; NaN is refused: it is not JSON. `checked`: an object gets a checksum."""
    if checked:
        assert isinstance(value, Mapping), "a checksum is a key of an object"
        value = {key: inner for key, inner in value.items() if key != CHECKSUM}
        value[CHECKSUM] = _checksum(json.loads(json.dumps(value, allow_nan=False)))
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: Path, cure: str = "") -> Any:
    """The value of a JSON file, without its checksum; `cure` ends the message of a damaged one (default: by the file's name).

    Raises:
        DamagedFile: the file is empty, no JSON, no ordinary file, or not what its checksum says.
    """
    text = read_bytes(path, cure)
    try:
        value = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        what = _damage(text) or f"is not JSON ({type(error).__name__}: {error})"
        raise DamagedFile(f"{path}: the file {what}; {cure or cure_of(path)}") from None
    if isinstance(value, dict) and CHECKSUM in value:
        written = value.pop(CHECKSUM)
        if written != _checksum(value):
            raise DamagedFile(
                f"{path}: the file is not what was written there, as its checksum shows: it was changed, or damaged by "
                f"the disk; {cure or cure_of(path)}"
            )
    return value


def read_bytes(path: Path, cure: str = "") -> bytes:
    """What an ordinary file holds. Raises DamagedFile for a pipe or device, which would never end."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise DamagedFile(
            f"{path}: it is a pipe or a device, not an ordinary file; {cure or cure_of(path)}"
        )
    with naming(path):
        return path.read_bytes()


def read_table(path: Path, cure: str = "") -> dict[str, Any]:
    """The object of a JSON file, as `read_json`. Raises DamagedFile too where it holds another value."""
    value = read_json(path, cure)
    if not isinstance(value, dict):
        what = f"holds {type(value).__name__} where an object was written"
        raise DamagedFile(f"{path}: the file {what}; {cure or cure_of(path)}")
    return value


def _damage(content: bytes) -> str:
    """Kinds of damage that are told apart; empty where it is another."""
    if not content:
        return "is empty, as after the machine lost power"
    if b"\0" in content:
        zeros = content.count(b"\0")
        return f"holds {zeros:,} zero bytes, as after the machine lost power"
    return ""


def _checksum(value: Any) -> str:
    text = json.dumps(without_times(value), sort_keys=True, ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def without_times(value: Any) -> Any:
    """A JSON value without the keys under which times stand."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if not k.endswith(_TIMES)}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value
