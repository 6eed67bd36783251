"""The base models that ship with the package, as Hugging Face folders, and where they are."""

from pathlib import Path

SHIPPED = ("miniature-base", "miniature-base-small")
"""Names a recipe may start from; `recipes/miniature-bases.toml` makes them from nothing."""


def shipped_model(name: str) -> Path | None:
    """The folder of a shipped model, or None if there is none of that name."""
    folder = Path(__file__).parent / name
    return folder if name in SHIPPED and (folder / "config.json").is_file() else None
