"""What to do about a damaged file of a run directory, by its name."""

from pathlib import Path

_AGAIN = "restore it from a copy; or remove it and manifest.json beside it, and the same command runs that stage again"
_CURES = {
    "run.json": "remove it, and type the same command again: it says who ran what, and nothing depends on it",
    "recipe.json": "remove it, and the next `dianoia run` writes it again",
    "results.json": "remove it, and the next `dianoia run` writes it again from what the stages have written",
    "begun.json": "restore it from a copy; or remove the folder it is in, and the same command runs that stage from nothing",
    "manifest.json": "restore it from a copy; or remove it, and the same command runs that stage again",
    "evaluation.json": "restore it from a copy; or remove it and manifest.json beside it, and the same command measures "
    "again what is not in parts/",
    "at.json": "remove the folder it is in, and the same command begins the stage from nothing; or restore it from a copy",
    "sampling.json": _AGAIN,
    "preferences.json": _AGAIN,
    "demonstrations.json": _AGAIN,
    "data.parquet": _AGAIN,
    "rejected.parquet": _AGAIN,
    "SHA256SUMS": "restore it and the folder it is in from a copy; or remove manifest.json beside that folder, and the same "
    "command runs that stage again",
}


def cure_of(path: Path) -> str:
    """The end of a message: what to restore or to remove."""
    if path.parent.name == "parts":
        return "remove it, and the same command evaluates that checkpoint again"
    if path.parent.name == "answers":
        return "remove it, and the same command asks for that answer again"
    if path.parent.name == "state" and path.suffix == ".parquet":
        return "remove it, and the same command makes that batch again"
    return _CURES.get(path.name, "restore it from a copy, or remove it")
