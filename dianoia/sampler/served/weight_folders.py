"""Folders of weights that servers load: one per version, whole before it is named to a server, removed once no server needs it.

In: weights under their Hugging Face names. Out: a folder in vLLM's reading: config.json, safetensors with an index, and where a server is
to be started from it the tokenizer. The output head is always a tensor of its own (`tie_word_embeddings` false): a server that has
packed a tied head keeps the old one at a reload. A new path for each version: caches by path would answer from an old one.
"""

import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from dianoia.base.disk_space import free_bytes
from dianoia.base.errors import MachineFault, ModelError
from dianoia.base.faults import error_path
from dianoia.base.files import clear
from dianoia.learner.checkpoint_folder import finish_config, save_tokenizer
from dianoia.learner.lora import Adapters, save_adapter_folder
from dianoia.sampler.served.streamed_model import EMBEDDING, HEAD

SHARED_MEMORY = Path("/dev/shm")
_FILE_BYTES = 4 * 2**30
"""Size of a weight file: so much is copied to the CPU at a time."""
_VERSIONS = 3
"""Room that is asked for: a version, the one before until it is proved, and changed weights for servers that join."""


class WeightFolders:
    """The versions of one sampler, in a folder of their own. Close it to remove them."""

    def __init__(
        self,
        config: PretrainedConfig,
        shapes: Mapping[str, tuple[int, ...]],
        tokenizer: PreTrainedTokenizerBase,
        root: Path | None,
        fallback: Path,
        dtype: torch.dtype,
    ) -> None:
        """Choose the folder.

        Args:
            shapes: of every parameter, the output head's too.
            root: where versions are written; None: shared memory if it has room, else `fallback`.
            dtype: of the weights in the files.

        Raises:
            MachineFault: there is too little room.
        """
        self._config, self._shapes, self._tokenizer, self._dtype = config, shapes, tokenizer, dtype
        numbers = sum(torch.Size(shape).numel() for shape in shapes.values())
        needed = float(_VERSIONS * numbers * dtype.itemsize)
        if root is None:
            room = free_bytes(SHARED_MEMORY) if SHARED_MEMORY.is_dir() else None
            # Files there are main memory: a version per step is written at its speed, and wears out no disk.
            root = SHARED_MEMORY if room is not None and room > needed else fallback
        self._check_room(root, needed)
        # By user and process, so that two runs of one machine have nothing in common, and a killed one leaves no more than this.
        parent = root / f"dianoia-weights-{os.getuid()}"
        _remove_orphans(parent)
        self.folder = parent / f"{_owner()}{os.getpid()}-{os.urandom(4).hex()}"
        with error_path(self.folder):
            self.folder.mkdir(parents=True, mode=0o755)

    def _check_room(self, root: Path, needed: float) -> None:
        with error_path(root):
            root.mkdir(parents=True, exist_ok=True)
        room = free_bytes(root)
        if room is not None and room < needed:
            raise MachineFault(
                f"{root}: {room / 1e9:.1f} GB are free, and {_VERSIONS} versions of the weights take {needed / 1e9:.1f} GB; free "
                "some, or name another folder in rollouts.weights"
            )

    def write(
        self, name: str, weights: Mapping[str, Tensor], *, with_tokenizer: bool = False
    ) -> Path:
        """Write a version, and return its folder once it is whole. Raises ModelError for weights that lack a tensor."""
        folder = self.folder / name
        temporary = folder.with_name(f"{name}.tmp")
        clear(temporary)
        with error_path(temporary):
            temporary.mkdir()
            self._write_weights(temporary, weights)
            config = self._config.to_dict()
            # Also for a tied model: `_parts` writes the head as a tensor of its own.
            config["tie_word_embeddings"] = False
            config["dtype"] = str(self._dtype).removeprefix("torch.")
            (temporary / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
            finish_config(temporary, {})
            if with_tokenizer:
                save_tokenizer(temporary, self._tokenizer)
            temporary.rename(folder)
        # Read back from the files: a file that was cut short would show only here, and a server would keep the
        # tensors that it misses.
        self.check(folder)
        return folder

    def write_adapter(self, name: str, adapters: Adapters, base_name: str) -> Path:
        """Write a version of adapters in PEFT's format, and return its folder once it is whole."""
        folder = self.folder / name
        temporary = folder.with_name(f"{name}.tmp")
        clear(temporary)
        with error_path(temporary):
            save_adapter_folder(temporary, adapters, base_name)
            temporary.rename(folder)
        return folder

    def _write_weights(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        files: dict[str, str] = {}
        total = 0
        for number, part in enumerate(self._parts(weights), 1):
            name = f"model-{number:05d}.safetensors"
            save_file(part, folder / name, metadata={"format": "pt"})
            # Its own mode is the owner's alone, and a server may run as somebody else.
            (folder / name).chmod(0o644)
            files |= dict.fromkeys(part, name)
            total += sum(tensor.nbytes for tensor in part.values())
        index = {"metadata": {"total_size": total}, "weight_map": files}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")

    def _parts(self, weights: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
        """Yield all parameters on the CPU, in the dtype of the files, so many at a time as one file holds."""
        part: dict[str, Tensor] = {}
        size = 0
        for name in self._shapes:
            source = EMBEDDING if name == HEAD and HEAD not in weights else name
            if source not in weights:
                raise ModelError(
                    f"The weights have no parameter {name!r}, which the model's config asks for."
                )
            # A copy: safetensors refuses tensors that share memory, as a tied head does.
            tensor = weights[source].detach().to("cpu", self._dtype, copy=True).contiguous()
            # `size and`: a tensor that is larger than a file is written alone, never an empty file before it.
            if size and size + tensor.nbytes > _FILE_BYTES:
                yield part
                part, size = {}, 0
            part[name], size = tensor, size + tensor.nbytes
        yield part

    def check(self, folder: Path) -> None:
        """Raise ModelError unless a version has every tensor in its shape: a server would keep the old one of a missing one.

        A folder that is not there would end a server of vLLM altogether.
        """
        present: dict[str, tuple[int, ...]] = {}
        try:
            for file in sorted(folder.glob("*.safetensors")):
                with safe_open(file, framework="pt") as tensors:
                    for name in tensors.keys():  # noqa: SIM118 - no mapping
                        present[name] = tuple(tensors.get_slice(name).get_shape())
            json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, SafetensorError) as error:
            raise ModelError(
                f"{folder}: the weights for the servers cannot be read back ({error}); a server that is given this folder would "
                "end, or keep older weights; free disk space or memory, and run the same command again"
            ) from None
        wrong = [name for name, shape in self._shapes.items() if present.get(name) != tuple(shape)]
        if wrong:
            raise ModelError(
                f"{folder}: {len(wrong)} of {len(self._shapes)} tensors are missing or have another shape, such as {wrong[0]!r}; "
                "a server would keep the older ones without a word, so the folder is not named to one; run the same command "
                "again"
            )

    def read(self, folder: Path) -> Mapping[str, Tensor]:
        """Return the tensors of a version, each read when it is asked for."""
        return _FolderTensors(folder)

    def remove_others(self, kept: Path) -> None:
        """Remove all versions but one."""
        for folder in self.folder.iterdir():
            if folder != kept:
                clear(folder)

    def close(self) -> None:
        """Remove all versions, and the folder of this user if no other process has some."""
        clear(self.folder)
        with suppress(OSError):
            self.folder.parent.rmdir()


class _FolderTensors(Mapping[str, Tensor]):
    """The tensors of a folder by name."""

    def __init__(self, folder: Path) -> None:
        index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
        self._files: dict[str, Path] = {
            name: folder / file for name, file in index["weight_map"].items()
        }

    def __getitem__(self, name: str) -> Tensor:
        with safe_open(self._files[name], framework="pt") as tensors:
            tensor: Tensor = tensors.get_tensor(name)
            return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def _remove_orphans(parent: Path) -> None:
    """Remove versions of processes that were killed: in shared memory nothing else would free them."""
    for folder in parent.glob(f"{_owner()}*"):
        number = folder.name.removeprefix(_owner()).partition("-")[0]
        # A number that another process has by now keeps a folder for longer, which is harmless; the reverse would not be.
        if number.isdecimal() and not _is_alive(int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def _owner() -> str:
    """Return the beginning of the names of this machine's folders; a shared disk may hold those of others."""
    return f"{socket.gethostname()}-"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # The process exists, and belongs to somebody else.
    except PermissionError:
        return True
    return True
