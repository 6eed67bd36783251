"""Types of arguments of the command line; each raises ArgumentTypeError for what it cannot be."""

import argparse
from pathlib import Path


def folder(text: str) -> Path:
    """A folder; raises ArgumentTypeError for none, and for a name that JSON and TOML cannot hold."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; write a folder, such as runs/first")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not text in UTF-8, so that no file could name it; give a folder with another name"
        ) from None
    return Path(text)


def seeds(text: str) -> tuple[int, ...]:
    """`1,2,3` as numbers; raises ArgumentTypeError for anything else."""
    words = [word.strip() for word in text.split(",")]
    seeds = tuple(int(word) for word in words if word.isascii() and word.isdigit())
    if len(seeds) < len(words) or len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of different whole numbers; write for example 1,2,3"
        )
    return seeds


def jobs(text: str) -> int:
    """A number of jobs; raises ArgumentTypeError for anything else."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of stages; write for example 2, or 0 for one a core"
        )
    return int(text)
