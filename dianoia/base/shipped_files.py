"""Files that ship beside the code: the recipes and the examples.

In a wheel they lie in the package (`dianoia/recipes`, `dianoia/examples`), in a clone at the repository's root. A path that
begins with the name of one of these folders means the file in the working directory if there is one, else the shipped one.
So the same recipe works in a clone and from a wheel in an empty folder.
"""

from pathlib import Path

FOLDERS = ("recipes", "examples")
"""Folders that ship; `pyproject.toml` puts them into the wheel."""

_PACKAGE = Path(__file__).resolve().parent.parent


def shipped_root() -> Path:
    """Return the folder that holds the shipped folders."""
    return _PACKAGE if (_PACKAGE / "recipes").is_dir() else _PACKAGE.parent


def local_or_shipped(path: str | Path) -> Path:
    """Return a path as it is if it exists, or if nothing of that name ships; else the shipped file."""
    local = Path(path).expanduser()
    parts = local.parts
    if local.exists() or ".." in parts or len(parts) < 2 or parts[0] not in FOLDERS:
        return local
    shipped = shipped_root() / local
    return shipped if shipped.is_file() else local


def portable_name(path: Path) -> str:
    """Return the path of a shipped file from the folder that holds them all, and any other path as it is.

    The same text in a clone and from a wheel, so that a run may go on under another installation.
    """
    root = shipped_root()
    if path.is_relative_to(root) and path.relative_to(root).parts[0] in FOLDERS:
        return path.relative_to(root).as_posix()
    return str(path)
