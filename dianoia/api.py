"""`dianoia.run`: runs a recipe from Python as `dianoia run` does on the command line.

The other functions of the public API are where they belong; `dianoia/__init__.py` names them all.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from dianoia.base.errors import ConfigError
from dianoia.base.thread_variables import let_idle_threads_sleep

if TYPE_CHECKING:
    from dianoia.cli.run import RunOptions
    from dianoia.recipe.load import RecipeSource
    from dianoia.results.run_results import Run


@overload
def run(
    recipe: "RecipeSource",
    overrides: Mapping[str, Any] | None = None,
    *,
    out: str | Path | None = None,
    jobs: int = 1,
    ranks: int = 1,
    gpus: int | str | None = None,
    seeds: None = None,
    only: Sequence[str] = (),
    start: str | None = None,
    force: bool = False,
    progress: bool = True,
) -> "Run": ...


@overload
def run(
    recipe: "RecipeSource",
    overrides: Mapping[str, Any] | None = None,
    *,
    out: str | Path | None = None,
    jobs: int = 1,
    ranks: int = 1,
    gpus: int | str | None = None,
    seeds: Sequence[int],
    only: Sequence[str] = (),
    start: str | None = None,
    force: bool = False,
    progress: bool = True,
) -> "list[Run]": ...


def run(
    recipe: "RecipeSource",
    overrides: Mapping[str, Any] | None = None,
    *,
    out: str | Path | None = None,
    jobs: int = 1,
    ranks: int = 1,
    gpus: int | str | None = None,
    seeds: Sequence[int] | None = None,
    only: Sequence[str] = (),
    start: str | None = None,
    force: bool = False,
    progress: bool = True,
) -> "Run | list[Run]":
    """Run a recipe, or resume it where it was interrupted, and return its results.

        run = dianoia.run("miniature-zero", {"zero.steps": 4}, out="runs/short")
        run.evaluations["zero"]["math"]["pass@1"]

    With one job stages run in this process; with several, each in a process of its own. These are fresh interpreters and no
    copies of this one, so that no `if __name__ == "__main__":` is needed. The caller's number of PyTorch threads is the same
    afterwards.

    Args:
        recipe: the name of a recipe that ships, a TOML file, or a table of that form.
        overrides: values by key, as `--set`: `{"zero.steps": 4, "seed": 2}`.
        out: the run directory; None: `runs/NAME` of the recipe. With seeds the folder of one run directory per seed.
        jobs: stages that may run at the same time; 0: one per core, at most 4.
        ranks: processes that run each stage together on a CPU, with the results of one process with as many threads.
        gpus: GPUs of this machine that run each stage together, a process each; "all" of them; None: one, or the CPU.
        seeds: one run per seed.
        only: names of the stages to run; empty: all.
        start: run this stage and its dependents again, from scratch (`--from`).
        force: run every stage again, from scratch.
        progress: print the plan, the progress and the results; False: print nothing.

    Returns:
        The run; with seeds, a list of them in the order of the seeds.

    Raises:
        UserError: anything that the user can fix, before or while it runs; its classes are in `dianoia.base.errors`. Finished
            steps are on disk, and the same call resumes.
    """
    let_idle_threads_sleep()
    from dianoia.cli.run import RunOptions

    options = RunOptions(
        recipe=recipe if isinstance(recipe, Mapping) else Path(recipe),
        overrides=_assignments(overrides or {}),
        out=None if out is None else Path(out),
        seeds=_distinct(seeds),
        jobs=jobs,
        ranks=ranks,
        gpus=gpus,
        only=tuple(only),
        start=start,
        force=force,
    )
    runs = _executed(options, progress)
    return runs if seeds is not None else runs[0]


def _executed(options: "RunOptions", progress: bool) -> "list[Run]":
    """Run what the options say, and return the finished runs."""
    from rich.console import Console

    from dianoia.cli.run import execute
    from dianoia.results.run_results import load_run

    with _same_threads():
        console = Console(soft_wrap=True, quiet=not progress)
        outcomes = execute(options, console, command=_call(options))
    return [load_run(outcome["run"]) for outcome in outcomes]


def _assignments(overrides: Mapping[str, Any]) -> tuple[str, ...]:
    """Return overrides as `--set` takes them: `zero.steps=4`."""
    return tuple(f"{key}={_toml(key, value)}" for key, value in overrides.items())


def _distinct(seeds: Sequence[int] | None) -> tuple[int, ...]:
    if seeds is None:
        return ()
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ConfigError(
            f"seeds = {list(seeds)}: one run per seed needs different whole numbers from 0 on, such as [1, 2, 3]"
        )
    return tuple(seeds)


def _toml(key: str, value: Any) -> str:
    """Return a value as TOML has it. Raises ConfigError for one that TOML has no form for."""
    if isinstance(value, str | Path):
        # JSON's escapes are TOML's, but for characters beyond 16 bits, which stay as they are.
        return json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, bool | int | float):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(key, v)}" for k, v in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(_toml(key, item) for item in value) + "]"
    raise ConfigError(
        f"overrides[{key!r}] = {value!r}: a recipe has no value of the type {type(value).__name__}; give a text, a number, "
        "True, False, a list or a table, and leave a key out to have its default"
    )


def _call(options: Any) -> str:
    """Return the call for `run.json`, with what differs from the defaults."""
    if isinstance(options.recipe, Mapping):
        options = replace(options, recipe=Path("<table>"))
    words = [repr(str(options.recipe)), *(repr(override) for override in options.overrides)]
    words += [f"out={str(options.out)!r}"] if options.out else []
    words += [f"jobs={options.jobs}"] if options.jobs != 1 else []
    words += [f"ranks={options.ranks}"] if options.ranks != 1 else []
    words += [f"gpus={options.gpus!r}"] if options.gpus is not None else []
    return f"dianoia.run({', '.join(words)})"


@contextmanager
def _same_threads() -> Iterator[None]:
    """Give this process its number of PyTorch threads back, which a stage sets."""
    torch = sys.modules.get("torch")
    threads = None if torch is None else torch.get_num_threads()
    try:
        yield
    finally:
        if torch is not None:
            torch.set_num_threads(threads)
