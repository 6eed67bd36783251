"""Atomic writes (temporary file, fsync, rename), checksums of files and folders, and the cache folder.

Atomic: a reader sees the old file or the new one, never a part. After an error the temporary file is removed, so that a
full disk does not get fuller. A link under the name is replaced and its target is not touched. A file is readable by
whoever the umask allows, whichever library wrote it: safetensors creates its files for the owner alone.

Checksums: a JSON object may end with the key `checksum`, which covers everything in it but times. A folder holds
`SHA256SUMS`, in the format of `sha256sum -c`. JSON files of a run directory carry the version of their format, see
`base.run_files`.
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

from dianoia.base.disk_space import retry_when_full
from dianoia.base.errors import DamagedFile, MachineFault, UnknownFormat
from dianoia.base.faults import error_path
from dianoia.base.run_files import FORMAT_VERSION, FORMAT_VERSIONS, cure_of

CACHE = "DIANOIA_CACHE"
"""Environment variable: the folder for files that can be made again."""
SUMS = "SHA256SUMS"
"""In a folder that was written atomically: the SHA-256 of each of its files."""
CHECKSUM = "checksum"
"""Last key of a JSON object that carries its own SHA-256."""
_TIMES = ("seconds", "_per_second")
"""Suffixes of keys whose values are times, which differ between two runs of one seed."""


def cache_folder() -> Path:
    """Return the folder for files that can be made again."""
    folder = os.environ.get(CACHE)
    if folder:
        return Path(folder).expanduser()
    # The XDG base directory specification: ~/.cache unless the variable is set.
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dianoia"


def sync(path: Path) -> None:
    """Flush a file or folder to its disk (fsync)."""
    # A folder too: a rename is on the disk only once the folder that holds the names is.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clear(path: Path) -> None:
    """Remove a file, a folder or a link; a link's target is not touched."""
    # is_dir follows links, and rmtree of a linked folder must not reach what it points to.
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; it becomes `path` if the block ends without an error."""
    temporary = path.with_name(f".{path.name}.part")
    with error_path(path), _remove_on_error(temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        clear(temporary)  # left by a kill, or a link under this name
        # An ordinary new file has the mode that the umask allows. The umask itself can only be read by changing it,
        # for every thread of the process.
        temporary.touch()
        mode = _mode(temporary)
        yield temporary
        _set_mode(temporary, mode)
        # The content must be on the disk before the name, and the name before anything that relies on it.
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; it gets its `SHA256SUMS` and replaces `path` if the block ends without an error.

    An old folder is moved away first and deleted last. A kill at any moment leaves the old one, the new one, or both
    under names that the next run cleans up.
    """
    temporary, old = path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.old")
    with error_path(path), _remove_on_error(temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        clear(temporary)
        temporary.mkdir()
        mode = _mode(temporary)
        yield temporary
        _write_sums(temporary)
        _open_to_umask(temporary, mode)
        # Before the rename: the new name must never lead to content that is not on the disk.
        for file in sorted(temporary.rglob("*")):
            sync(file)
        # rename cannot replace a folder that is not empty, so the old one needs a name of its own for a moment.
        clear(old)
        if path.exists() or path.is_symlink():
            path.replace(old)
        temporary.replace(path)
        sync(path.parent)
        clear(old)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _open_to_umask(folder: Path, mode: int) -> None:
    """Give everything in a folder the mode that the umask allows; `mode` is that of a new folder."""
    for path in folder.rglob("*"):
        # A new file is a new folder without the rights to enter it.
        _set_mode(path, mode if path.is_dir() else mode & 0o666)


def _set_mode(path: Path, mode: int) -> None:
    # Some mounted file systems have no rights to set.
    if _mode(path) != mode:
        path.chmod(mode)


@contextmanager
def _remove_on_error(temporary: Path) -> Iterator[None]:
    """Remove a temporary file or folder if the block raises: a full disk needs the space."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            clear(temporary)
        raise


def restore_folder(path: Path) -> None:
    """Undo a kill between the two renames of `whole_folder`: rename the old folder back."""
    old = path.with_name(f".{path.name}.old")
    # Both exist after a kill between the second rename and the removal; then the new folder is the right one.
    if old.exists() and not path.exists():
        old.replace(path)


def refuse_links(folder: Path) -> None:
    """Search the folder of a stage for links, pipes and devices before the stage writes to it.

    Raises:
        MachineFault: there is one, so files would be written outside the run directory.
    """
    # rglob does not descend into linked folders, so a link is found before anything behind it.
    for path in (folder.parent, folder, *folder.rglob("*")):
        if path.is_symlink():
            raise MachineFault(
                f"{path}: it is a symbolic link to {path.readlink()}, and a stage would write there, outside the run "
                "directory; remove the link (its target stays), or give another --out"
            )
        if path.exists() and not path.is_file() and not path.is_dir():
            raise MachineFault(
                f"{path}: it is a pipe or a device, and a run directory holds only files and folders; remove it, or "
                "give another --out"
            )


# Checksums of folders ----------------------------------------------------------------------------


def digest(path: Path, length: int | None = None) -> str:
    """Return the SHA-256 of a file, or of its first `length` bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        if length is not None:
            return hashlib.sha256(file.read(length)).hexdigest()
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_sums(folder: Path) -> None:
    # Sorted, so that equal folders have equal lists.
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    lines = (f"{digest(file)}  {file.relative_to(folder).as_posix()}\n" for file in files)
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def check_folder(
    folder: Path,
    cure: str,
    pattern: str = "*",
    required: Collection[str] = (),
    max_bytes: float = inf,
) -> None:
    """Compare files of a folder with its `SHA256SUMS`.

    Args:
        cure: the end of the message, what to do about a damaged file.
        pattern: glob of the names of the files that are compared.
        required: names that the list must contain.
        max_bytes: a larger file is not read.

    Raises:
        DamagedFile: a file is missing or has changed, or the list itself is damaged.
    """
    sums = _read_sums(folder / SUMS, cure)
    missing = sorted(set(required) - set(sums))
    if missing:
        raise DamagedFile(
            f"{folder / SUMS}: the list of checksums was cut, and lacks {missing[0]}; {cure}"
        )
    for name, expected in sums.items():
        file = folder / name
        if not file.match(pattern) or (file.is_file() and file.stat().st_size > max_bytes):
            continue
        if not file.is_file():
            raise DamagedFile(f"{file}: the file is missing, and {folder / SUMS} names it; {cure}")
        if digest(file) != expected:
            size = file.stat().st_size
            raise DamagedFile(
                f"{file}: the file ({size:,} bytes) is not the one that was written there, as {SUMS} next to it shows: "
                f"it was cut, changed or damaged by the disk; {cure}"
            )


def _read_sums(file: Path, cure: str) -> dict[str, str]:
    """Read the list of checksums, by file name."""
    try:
        lines = file.read_text(encoding="ascii").splitlines()
        # sha256sum writes two spaces between digest and name.
        pairs = [line.split("  ", 1) for line in lines]
        sums = {name: expected for expected, name in pairs if len(expected) == 64}
    except (UnicodeDecodeError, ValueError):
        sums, pairs = {}, []
    # Fewer sums than lines: a digest is cut, or a name is there twice.
    if not sums or len(sums) < len(pairs):
        raise DamagedFile(f"{file}: the list of checksums is empty or damaged; {cure}")
    return sums


# Text and JSON -----------------------------------------------------------------------------------


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically; on a full disk, use the space that a stage has reserved."""

    def write() -> None:
        with whole_file(path) as temporary:
            # A lone surrogate, as from a file name that is not UTF-8, becomes a question mark.
            temporary.write_bytes(text.encode("utf-8", "replace"))

    retry_when_full(write, path)


def write_json(path: Path, value: Any, checked: bool = False) -> None:
    """Write a value as indented JSON, atomically. NaN is refused, since JSON has none.

    A file of a run directory (`base.run_files`) gets the version of its format. `checked`: the object gets a checksum.
    """
    if path.name in FORMAT_VERSIONS:
        # The first key, so that a person who opens the file sees it.
        value = {FORMAT_VERSION: FORMAT_VERSIONS[path.name], **value}
    if checked:
        assert isinstance(value, Mapping), "a checksum is a key of an object"
        # A checksum that came with the value covers older content.
        value = {key: inner for key, inner in value.items() if key != CHECKSUM}
        # Over the value as it will be read: JSON turns tuples into lists and keys into texts.
        value[CHECKSUM] = _checksum(json.loads(json.dumps(value, allow_nan=False)))
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: Path, cure: str = "") -> Any:
    """Read a JSON file, without its checksum and format version.

    Args:
        cure: the end of the message on a damaged file (default: by the file's name).

    Raises:
        DamagedFile: the file is empty, not JSON, not an ordinary file, or its checksum does not fit.
        UnknownFormat: the file has another format version than this Dianoia writes.
    """
    content = read_bytes(path, cure)
    try:
        value = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        damage = _damage(content) or f"is not JSON ({type(error).__name__}: {error})"
        raise DamagedFile(f"{path}: the file {damage}; {cure or cure_of(path)}") from None
    # A file without a checksum was written unchecked, or by an early version.
    if isinstance(value, dict) and CHECKSUM in value:
        written = value.pop(CHECKSUM)
        if written != _checksum(value):
            raise DamagedFile(
                f"{path}: the file is not what was written there, as its checksum shows: it was changed, or damaged by "
                f"the disk; {cure or cure_of(path)}"
            )
    if isinstance(value, dict) and path.name in FORMAT_VERSIONS:
        # After the checksum, which covers the version too. Without the key: version 1 (`base.run_files`).
        _check_version(path, value.pop(FORMAT_VERSION, 1))
    return value


def _check_version(path: Path, version: object) -> None:
    """Raise UnknownFormat unless this Dianoia reads the version."""
    readable = FORMAT_VERSIONS[path.name]
    if version != readable:
        raise UnknownFormat(
            f"{path}: {FORMAT_VERSION} = {version!r}, and this Dianoia reads version {readable}; use the Dianoia that wrote "
            "the run (its version is in run.json), or give another --out"
        )


def read_bytes(path: Path, cure: str = "") -> bytes:
    """Return the content of an ordinary file. Raises DamagedFile for a pipe or device, which would never end."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise DamagedFile(
            f"{path}: it is a pipe or a device, not an ordinary file; {cure or cure_of(path)}"
        )
    with error_path(path):
        return path.read_bytes()


def read_table(path: Path, cure: str = "") -> dict[str, Any]:
    """Read a JSON file that holds an object, see `read_json`. Raises DamagedFile also for another value."""
    value = read_json(path, cure)
    if not isinstance(value, dict):
        damage = f"holds {type(value).__name__} where an object was written"
        raise DamagedFile(f"{path}: the file {damage}; {cure or cure_of(path)}")
    return value


def _damage(content: bytes) -> str:
    """Return a clause on the damage of an empty file or one with zero bytes; empty for any other damage."""
    # After a power failure some file systems keep a file's length or name without its content.
    if not content:
        return "is empty, as after the machine lost power"
    if b"\0" in content:
        zeros = content.count(b"\0")
        return f"holds {zeros:,} zero bytes, as after the machine lost power"
    return ""


def _checksum(value: Any) -> str:
    # Sorted keys, and no times: the checksum does not depend on the order or the clock of a run.
    text = json.dumps(without_times(value), sort_keys=True, ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def without_times(value: Any) -> Any:
    """Return a JSON value without the keys whose values are times."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if not k.endswith(_TIMES)}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value
