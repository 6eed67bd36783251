"""The command line: one module per command. It prints and computes nothing itself.

`main` holds the parser and the exit statuses. Each command's module has `add_parser`, which describes its arguments,
and the function that runs it. Commands import the rest of the package inside functions, so that `--help` answers at
once.
"""

from dianoia.cli.main import main

__all__ = ["main"]
