"""What an interrupted stage continues from: one folder, written whole."""

from pathlib import Path
from typing import Any

import torch

from dianoia.base.files import whole_folder

_FILE = "state.pt"


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Replace the state in `folder`."""
    with whole_folder(folder) as temporary:
        torch.save(state, temporary / _FILE)


def load_state(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """The state in `folder`; None where there is none. Only tensors and plain values are read."""
    if not (folder / _FILE).exists():
        return None
    state: dict[str, Any] = torch.load(folder / _FILE, map_location=device, weights_only=True)
    return state
