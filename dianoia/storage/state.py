"""What an interrupted stage continues from: one folder, written whole, and checked when it is read.

`SHA256SUMS` in the folder names its files; `at.json` says the step, and how far the journals beside the folder had
come, so that a row that was lost or changed since is noticed.
"""

import shlex
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
"""The room for the next state is larger than this one by this part of it."""


def save_state(folder: Path, state: dict[str, Any], step: int) -> None:
    """Replace the state in `folder`; `step` stands beside it for those who do not import torch.

    Raises:
        MachineFault: the disk has too little space; the state that was there is still there.
    """
    size, what = tensor_bytes(state), f"the state of {folder.parent.name} after step {step:,}"
    space.release_space()
    folder.parent.mkdir(parents=True, exist_ok=True)
    space.require_space(folder.parent, size + space.SMALL_FILES_BYTES, what)
    journals = journal_positions(folder.parent)
    with whole_folder(folder) as temporary:
        with (temporary / _FILE).open("wb") as file:  # whose errors say what went wrong
            torch.save({"format": FORMAT, "state": state}, file)
        write_json(temporary / STEP_FILE, {"step": step, "journals": journals}, checked=True)
    space.try_reserve_space(folder.parent, size + size // _SLACK + 2 * space.SMALL_FILES_BYTES)


def load_state(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """The state in `folder`; None where there is none. Only tensors and plain values are read.

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
        content: dict[str, Any] = torch.load(folder / _FILE, map_location=device, weights_only=True)
    except (RuntimeError, ValueError, EOFError, KeyError) as error:
        said = str(error).partition("\n")[0]
        raise DamagedFile(f"{folder / _FILE}: the state cannot be read ({said}); {cure}") from error
    written = content.get("format", 1)
    if written != FORMAT:
        raise ConfigError(
            f"{folder / _FILE}: the state has format {written}, which another version of Dianoia wrote, and this version "
            f"reads format {FORMAT}; finish the stage with the version that began it, or {cure}"
        )
    state: dict[str, Any] = content["state"]
    return state


def tensor_bytes(value: object) -> int:
    """Bytes of all tensors in a nested value; one that stands there twice counts once."""
    seen: dict[int, int] = {}
    todo: list[object] = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, Tensor):
            storage = one.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
        elif isinstance(one, dict):
            todo += one.values()
        elif isinstance(one, list | tuple):
            todo += one
    return sum(seen.values())


def changed_journals(folder: Path) -> list[str]:
    """A sentence for each journal that is not what it was when the state in `folder` was written."""
    if not (folder / STEP_FILE).is_file() or not (folder / _FILE).is_file():
        return []
    reached = read_table(folder / STEP_FILE, _cure(folder)).get("journals", {})
    return [
        f"{folder.parent / name}: a row before the state was lost, changed or damaged; the stage goes on, as no training "
        "depends on it, and its curves show what is there"
        for name, at in reached.items()
        if not (folder.parent / name).is_file()
        or digest(folder.parent / name, at["bytes"]) != at["sha256"]
    ]


def _cure(folder: Path) -> str:
    return (
        f"remove the folder (rm -r {shlex.quote(str(folder))}) and type the same command again: the stage then begins "
        "from nothing; or restore the folder from a copy"
    )
