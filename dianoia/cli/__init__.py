"""The command line: one module per command. Prints; computes nothing itself. Imports late, so that `--help` is quick."""

from dianoia.cli.commands import main

__all__ = ["main"]
