"""What an interrupted stage continues from: one folder, written whole."""

from pathlib import Path
from typing import Any

import torch

from dianoia.base.files import whole_folder, write_json
from dianoia.base.run import STEP_FILE

_FILE = "state.pt"


def save_state(folder: Path, state: dict[str, Any], step: int) -> None:
    """Replace the state in `folder`; `step` stands beside it for those who do not import torch."""
    with whole_folder(folder) as temporary:
        torch.save(state, temporary / _FILE)
        write_json(temporary / STEP_FILE, {"step": step})


def load_state(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """The state in `folder`; None where there is none. Only tensors and plain values are read."""
    if not (folder / _FILE).exists():
        return None
    state: dict[str, Any] = torch.load(folder / _FILE, map_location=device, weights_only=True)
    return state
