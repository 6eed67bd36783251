"""The base models that ship with the package, as Hugging Face folders."""

from pathlib import Path

SHIPPED = ("miniature-base", "miniature-base-small")
"""Names that a recipe may use as a `start`; `recipes/miniature-bases.toml` trains them from scratch."""


def shipped_model(name: str) -> Path | None:
    """Return the folder of a shipped model; None if there is none of that name."""
    folder = Path(__file__).parent / name
    return folder if name in SHIPPED and (folder / "config.json").is_file() else None


def model_folder(source: str) -> Path:
    """Return the folder that a model's name means on this machine; of a hub name it is one that does not exist."""
    return shipped_model(source) or Path(source).expanduser()
