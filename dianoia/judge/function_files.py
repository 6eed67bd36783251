"""Reward functions of the user's, found by file or dotted path.

In: `FILE.py:NAME`, `package.module.name` or `package.module:name`. Out: the callable, and the files whose content
decides what it does. Left out: calling it (`judge.functions`).

Decisions:
1. A file is run once a process, under a name of its own; the folder it lies in and the working directory are
   searched for what it imports, after everything that is installed.
2. What decides: the file and what it imports from its own folder; of a dotted path the module, and all files of a
   package whose `__init__` offers the function. Looking that up runs none of them.
3. User code is trusted: it runs in the training process, as TRL runs it.
"""

import ast
import importlib
import importlib.util
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from dianoia.base.errors import ConfigError, nearest

Function = Callable[..., Any]


def is_file(path: str) -> bool:
    """Whether a path names a function of a file, and not one of an importable module."""
    return path.rpartition(":")[0].endswith(".py")


def _split(path: str) -> tuple[str, str]:
    """Module or file, and the name in it."""
    before, colon, after = path.rpartition(":")
    if colon:
        return before, after
    module, _, name = path.rpartition(".")
    return module, name


# Finding -----------------------------------------------------------------------------------------


def find(path: str) -> Function:
    """What the path names. Raises ConfigError for what cannot be imported, is not there or cannot be called."""
    place, name = _split(path)
    found: Any = _from_file(Path(place).expanduser()) if is_file(path) else _imported(place)
    for part in name.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{place} has no {name!r}{nearest(part, _offered(found))}")
        found = getattr(found, part)
    if not callable(found):
        raise ConfigError(f"{name!r} in {place} is a {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]


def make(path: str, arguments: Mapping[str, Any] | None) -> Function:
    """The function, of a factory's `arguments` where there are any; the same one for the same file and arguments.

    Raises ConfigError as `find`, and for a factory that fails or gives no function.
    """
    written = None if arguments is None else json.dumps(arguments, sort_keys=True)
    return _made(path, written, _changed(path))


@lru_cache(maxsize=64)
def _made(path: str, arguments: str | None, _changed: int) -> Function:
    found = find(path)
    if arguments is None:
        return found
    try:
        made = found(**json.loads(arguments))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise ConfigError(f"the factory {path}, called with {arguments}, {told(error)}") from error
    if not callable(made):
        raise ConfigError(
            f"the factory {path}, called with {arguments}, gave a {type(made).__name__} and no function"
        )
    return made  # type: ignore[no-any-return]


def check_arguments(path: str, arguments: Mapping[str, Any]) -> None:
    """Raise ConfigError where a factory does not take these arguments; it is not called."""
    try:
        inspect.signature(find(path)).bind(**arguments)
    except TypeError as error:
        given = ", ".join(arguments) or "none"
        raise ConfigError(
            f"the factory {path} does not take these arguments ({given}): {error}"
        ) from None
    except ValueError:  # a builtin without a signature: the call will tell
        return


def _offered(found: object) -> list[str]:
    return [name for name in dir(found) if not name.startswith("_")]


def _from_file(file: Path) -> ModuleType:
    if not file.is_file():
        near = nearest(file.name, [path.name for path in file.parent.glob("*.py")])
        raise ConfigError(f"there is no file {file}{near}")
    return _run(file.resolve(), file.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _run(file: Path, changed: int) -> ModuleType:
    _search(file.parent)
    spec = importlib.util.spec_from_file_location(f"_rewards_of_user_{file.stem}_{changed}", file)
    assert spec is not None and spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look their module up
    try:
        spec.loader.exec_module(module)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        del sys.modules[spec.name]
        raise ConfigError(f"running {file} {told(error, file)}") from error
    return module


def _imported(module: str) -> ModuleType:
    _search(Path.cwd())
    try:
        return importlib.import_module(module)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise ConfigError(
            f"importing {module} {told(error)}; it is looked for among installed packages and in {Path.cwd()}"
        ) from error


def _search(folder: Path) -> None:
    """After everything else, so that a file of the user's hides no installed package."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def told(error: BaseException, file: Path | None = None) -> str:
    """`raised ...` with file and line: the last place in `file`, else where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        return f"raised SyntaxError: {error.msg} ({error.filename}, line {error.lineno})"
    there = [frame for frame in frames if file is None or Path(frame.filename) == file] or frames
    where = f" ({there[-1].filename}, line {there[-1].lineno}: {there[-1].line})" if there else ""
    return f"raised {type(error).__name__}: {error}{where}"


# Files -------------------------------------------------------------------------------------------


def source_files(path: str) -> dict[str, Path]:
    """The files that decide what the function does, by a name for each; empty for what is not there."""
    place, _ = _split(path)
    if is_file(path):
        file = Path(place).expanduser()
        return {str(one): one for one in _with_imports(file)}
    spec = _spec(place)
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return {}
    origin = Path(spec.origin)
    found = sorted(origin.parent.glob("*.py")) if origin.name == "__init__.py" else [origin]
    return {f"{place} ({file.name})": file for file in found}


def _changed(path: str) -> int:
    """Differs when one of the files has changed."""
    return hash(tuple((n, f.stat().st_mtime_ns) for n, f in source_files(path).items()))


def _spec(module: str) -> ModuleSpec | None:
    """Where a module is, found without running the packages above it."""
    places: list[str] | None = [*sys.path, str(Path.cwd())]
    spec: ModuleSpec | None = None
    parts = module.split(".")
    for depth in range(len(parts)):
        spec = PathFinder.find_spec(".".join(parts[: depth + 1]), places)
        if spec is None:
            return None
        places = list(spec.submodule_search_locations or ())
    return spec


def _with_imports(file: Path) -> list[Path]:
    """A file and those that it imports from its own folder, directly or through one another."""
    found: dict[Path, None] = {}
    todo = [file]
    while todo:
        one = todo.pop(0)
        if one.is_file() and one not in found:
            found[one] = None
            todo += [file.parent / name for name in _beside(one)]
    return list(found)


def _beside(file: Path) -> Iterator[str]:
    """Files that an import of this file may mean, relative to the folder."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # running it says what is wrong
        return
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            base = name.replace(".", "/")
            yield from (f"{base}.py", f"{base}/__init__.py")
