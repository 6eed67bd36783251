"""The state that an interrupted stage resumes from: one folder, written atomically, and checked when it is read.

In: tensors and plain values of a learner and its stage. Out: the same, after a restart. `SHA256SUMS` in the folder names its
files; `at.json` has the step, and the positions of the journals next to the folder, so that a row that was lost or changed
since is noticed.
"""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dianoia.base import disk_space as space
from dianoia.base.errors import ConfigError, DamagedFile
from dianoia.base.files import (
    SUMS,
    check_folder,
    digest,
    read_table,
    whole_folder,
    write_json,
)
from dianoia.storage.journal import journal_positions
from dianoia.storage.run_directory import STEP_FILE

FORMAT = 2
"""Version of what learners write; a state of another version is refused."""

_FILE = "state.pt"
_SLACK = 8
"""The space reserved for the next state is larger than this one by this fraction of it: 1/8."""


def save_state(
    folder: Path,
    state: dict[str, Any],
    step: int,
    write_further: Callable[[Path], object] | None = None,
    further_bytes: int = 0,
) -> None:
    """Replace the state in `folder`; `step` is written next to it, to be read without torch.

    `write_further` writes further files of the state, `further_bytes` in all, into a folder that it is given, before the state
    gets its name.

    Raises:
        MachineFault: the disk has too little space; the earlier state is still there.
    """
    size = tensor_bytes(state) + further_bytes
    subject = f"the state of {folder.parent.name} after step {step:,}"
    # The space that was reserved for this state is freed right before it is written.
    space.release_space()
    folder.parent.mkdir(parents=True, exist_ok=True)
    space.require_space(folder.parent, size + space.SMALL_FILES_BYTES, subject)
    # Before the state has its name: rows that are written from here on belong to the steps behind it.
    journals = journal_positions(folder.parent)
    with whole_folder(folder) as temporary:
        with (temporary / _FILE).open("wb") as file:  # torch's own errors do not name the reason
            torch.save({"format": FORMAT, "state": state}, file)
        if write_further is not None:
            write_further(temporary)
        # In the same folder, so that step and tensors get their names by one rename and never disagree.
        write_json(temporary / STEP_FILE, {"step": step, "journals": journals}, checked=True)
    # Only tried: this state is written, and a disk that is full by now is reported by the next one.
    space.try_reserve_space(folder.parent, size + size // _SLACK + 2 * space.SMALL_FILES_BYTES)


def load_state(
    folder: Path, device: torch.device, *, mapped: bool = False
) -> dict[str, Any] | None:
    """Return the state in `folder`; None where there is none. Only tensors and plain values are read.

    `mapped`: tensors lie in the file, and only what is used of them is read. It is for a CPU, and until the state is written
    again.

    Raises:
        DamagedFile: a file of the state is not what was written; the message says what to do.
        ConfigError: another version of Dianoia wrote the state.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        return None
    cure = _cure(folder)
    if not (folder / SUMS).is_file() or not (folder / _FILE).is_file():
        lacks = SUMS if (folder / _FILE).is_file() else _FILE
        raise DamagedFile(f"{folder}: the state has no {lacks}, so it is not whole; {cure}")
    check_folder(folder, cure, required=(_FILE, STEP_FILE))
    try:
        content: dict[str, Any] = torch.load(
            # weights_only: a pickle can run any code, and states are handed from one person to another.
            folder / _FILE,
            map_location=device,
            weights_only=True,
            mmap=mapped,
        )
    except (RuntimeError, ValueError, EOFError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise DamagedFile(
            f"{folder / _FILE}: the state cannot be read ({reason}); {cure}"
        ) from error
    # States of format 1 had no number.
    version = content.get("format", 1)
    if version != FORMAT:
        raise ConfigError(
            f"{folder / _FILE}: the state has format {version}, which another version of Dianoia wrote, and this version "
            f"reads format {FORMAT}; finish the stage with the version that began it, or {cure}"
        )
    state: dict[str, Any] = content["state"]
    return state


def tensor_bytes(value: object) -> int:
    """Return the bytes of all tensors in a nested value; tensors that share memory count once."""
    sizes: dict[int, int] = {}  # by address: tied weights are one storage
    stack: list[object] = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, Tensor):
            storage = item.untyped_storage()
            # The storage and not the view: torch.save writes it whole, however little of it a tensor shows.
            sizes[storage.data_ptr()] = storage.nbytes()
        elif isinstance(item, dict):
            stack += item.values()
        elif isinstance(item, list | tuple):
            stack += item
    return sum(sizes.values())


def changed_journals(folder: Path) -> list[str]:
    """Return a sentence for each journal that has changed since the state in `folder` was written."""
    if not (folder / STEP_FILE).is_file() or not (folder / _FILE).is_file():
        return []
    reached = read_table(folder / STEP_FILE, _cure(folder)).get("journals", {})
    return [
        f"{folder.parent / name}: a row before the state was lost, changed or damaged; the stage resumes, as no training "
        "depends on it, and its curves show what is there"
        for name, at in reached.items()
        if not (folder.parent / name).is_file()
        or digest(folder.parent / name, at["bytes"]) != at["sha256"]
    ]


def _cure(folder: Path) -> str:
    """Return what to do about a state that cannot be read."""
    return (
        f"remove the folder (rm -r {shlex.quote(str(folder))}) and run the same command again: the stage then starts "
        "from scratch; or restore the folder from a copy"
    )
