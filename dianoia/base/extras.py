"""The name under which the package is installed, and the command that adds an extra.

The package is imported as `dianoia`; on the package index that name belongs to another project.
"""

DISTRIBUTION = "dianoia-r1"
"""Name on the package index; `name` in pyproject.toml."""


def pip_install(extra: str) -> str:
    """Return the command that adds the packages of an extra, for the end of a message, such as `pip install 'NAME[data]'`."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"
