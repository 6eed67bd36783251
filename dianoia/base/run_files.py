"""The JSON files of a run directory by name: the version of each format, and what to do when a file is damaged.

`base.files.write_json` puts the version into a file under the key `format_version`, and `base.files.read_json` takes it
out again. A file without the key was written before formats had versions and is read as version 1. A file of any other
version than the one below is refused.

Raise a version when an older Dianoia would misread the file, and convert older versions where they are read.
"""

from pathlib import Path

FORMAT_VERSION = "format_version"
"""Key of the version in a file."""
FORMAT_VERSIONS = {
    "run.json": 1,
    "recipe.json": 1,
    "results.json": 1,
    "begun.json": 1,
    "manifest.json": 1,
    "failure.json": 1,
    "evaluation.json": 1,
    "sampling.json": 1,
    "preferences.json": 1,
    "demonstrations.json": 1,
    "fed.json": 1,
}

# For files that a stage writes at its end: without its manifest the stage counts as not done.
_RERUN_STAGE = "restore it from a copy; or remove it and the manifest.json next to it, and the same command runs that stage again"
_CURES = {
    "run.json": "remove it and run the same command again: it only records who ran what, and nothing depends on it",
    "recipe.json": "remove it, and the next `dianoia run` writes it again",
    "results.json": "remove it, and the next `dianoia run` writes it again from what the stages have written",
    "begun.json": "restore it from a copy; or remove the folder it is in, and the same command runs that stage from scratch",
    "failure.json": "remove it: nothing depends on it",
    "manifest.json": "restore it from a copy; or remove it, and the same command runs that stage again",
    "evaluation.json": "restore it from a copy; or remove it and the manifest.json next to it, and the same command "
    "evaluates again what is not in parts/",
    "at.json": "remove the folder it is in, and the same command runs the stage from scratch; or restore it from a copy",
    "sampling.json": _RERUN_STAGE,
    "preferences.json": _RERUN_STAGE,
    "demonstrations.json": _RERUN_STAGE,
    "fed.json": "remove the folder it is in, and `dianoia track` sends the run from its beginning",
    "data.parquet": _RERUN_STAGE,
    "rejected.parquet": _RERUN_STAGE,
    "SHA256SUMS": "restore it and the folder it is in from a copy; or remove the manifest.json next to that folder, and the "
    "same command runs that stage again",
}


def cure_of(path: Path) -> str:
    """Return the end of a message on a damaged file: what to restore or to remove."""
    # These are named after checkpoints, requests and batches, so the folder says what they are.
    if path.parent.name == "parts":
        return "remove it, and the same command evaluates that checkpoint again"
    if path.parent.name == "answers":
        return "remove it, and the same command asks for that answer again"
    if path.parent.name == "state" and path.suffix == ".parquet":
        return "remove it, and the same command makes that batch again"
    if path.parent.name == "problems":
        return "restore it from a copy; or remove it, and differences of its checkpoint have intervals as if independent"
    return _CURES.get(path.name, "restore it from a copy, or remove it")
