"""Finds vLLM in an environment of Python that is not this one. Nothing of it is imported."""

from pathlib import Path

from dianoia.base.errors import ConfigError


def vllm_program(environment: str) -> Path:
    """Return vLLM's command in an environment: a folder, or its Python. Raises ConfigError."""
    path = Path(environment).expanduser().absolute()
    python = path / "bin" / "python" if path.is_dir() else path
    if not python.is_file():
        raise ConfigError(
            f"python = {environment!r}: there is no environment of Python here; make one with `python3 -m venv {environment}` and "
            "install vLLM in it"
        )
    program = python.parent / "vllm"
    if not program.is_file():
        raise ConfigError(
            f"python = {environment!r}: there is no {program}; install vLLM there with `{python} -m pip install vllm`"
        )
    return program
