"""What a stage leaves for later ones, and whether it is still what the stage wrote. No torch.

A manifest names the files that others read, with their digests; the checkpoint's stand in its own `SHA256SUMS`.
Before a stage begins the outputs of the stages that it reads are compared with them.
"""

import shlex
from pathlib import Path

from dianoia.base.files import SUMS, check_folder, digest, read_table, write_json
from dianoia.recipe.graph import Recipe, upstream
from dianoia.storage.run_directory import RunDirectory, StageDirectory, check_output

_WEIGHTS = "*.safetensors"


def write_manifest(directory: StageDirectory, seconds: float) -> None:
    """Say that the stage is done, from what, and what it leaves; no later stage reads it before."""
    outputs = {file.name: digest(file) for file in directory.outputs()}
    about = read_table(directory.begun)
    about |= {"seconds": seconds, "outputs": outputs}
    write_json(directory.manifest, about, checked=True)


def check_sources(name: str, recipe: Recipe, run: RunDirectory) -> None:
    """Compare what a stage reads of earlier stages with what those have written.

    Raises:
        DamagedFile: a file is missing or another one; the message says which stage to run again.
    """
    for source in upstream(name, recipe):
        directory = run.stage(source)
        sums = directory.checkpoint / SUMS
        for file in (directory.dataset, sums):
            check_output(directory, file)
        if sums.is_file():
            cure = (
                f"restore it from a copy, or remove {shlex.quote(str(directory.manifest))}, and the same command runs "
                f"the stage {source!r} again"
            )
            check_folder(directory.checkpoint, cure)


def check_model(folder: Path) -> None:
    """Compare the weights of a model folder with its `SHA256SUMS`, where there is one."""
    if (folder / SUMS).is_file():
        cure = f"restore it from a copy; or, if you changed it yourself, remove {folder / SUMS}"
        check_folder(folder, cure, _WEIGHTS)
