"""Find a user's reward functions by file or dotted path.

In: `FILE.py:NAME`, `package.module.name` or `package.module:name`. Out: the callable, and the files whose content
decides its behaviour. Not here: calling it (`judge.functions`).

Decisions:
1. A file is run once per process, under a module name of its own. Its imports are looked up in its folder and in the
   working directory, after everything that is installed.
2. These files decide its behaviour: the file and its imports from its own folder; for a dotted path the module, and all
   files of a package whose `__init__` has the function. Looking them up runs none of them.
3. `examples/...` is a file of the working directory if there is one, else the example that ships (`base.shipped_files`).
4. User code is trusted: it runs in the training process, as TRL runs it.
"""

import ast
import importlib
import importlib.util
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from dianoia.base.errors import ConfigError, nearest
from dianoia.base.shipped_files import local_or_shipped, portable_name

Function = Callable[..., Any]
RewardFunction = Callable[..., Sequence[float | None] | Coroutine[Any, Any, Sequence[float | None]]]
"""A reward function, for type checkers: keywords with lists of the batch in, a number or None per rollout out (`judge.functions`)."""


def is_file(path: str) -> bool:
    """Return True if a path names a function of a file, and not one of an importable module."""
    return path.rpartition(":")[0].endswith(".py")


def _split(path: str) -> tuple[str, str]:
    """Return the module or file, and the name in it."""
    source, colon, name = path.rpartition(":")
    if colon:
        return source, name
    module, _, name = path.rpartition(".")
    return module, name


# Loading -----------------------------------------------------------------------------------------


def find(path: str) -> Function:
    """Return the function that a path names.

    Raises ConfigError if it cannot be imported, does not exist or cannot be called.
    """
    source, name = _split(path)
    value: Any = _from_file(local_or_shipped(source)) if is_file(path) else _import(source)
    # A name may be dotted: a method or an attribute of an object in the module.
    for part in name.split("."):
        if not hasattr(value, part):
            raise ConfigError(f"{source} has no {name!r}{nearest(part, _public_names(value))}")
        value = getattr(value, part)
    if not callable(value):
        raise ConfigError(f"{name!r} in {source} is a {type(value).__name__}, not a function")
    return value  # type: ignore[no-any-return]


def make_function(path: str, arguments: Mapping[str, Any] | None) -> Function:
    """Return the function that a path names, or with `arguments` the function that the factory of that path returns.

    It is the same object for the same file and arguments. Raises ConfigError as `find`, and for a factory that fails or
    returns no function.
    """
    # JSON, since a dictionary is no key of a cache.
    json_arguments = None if arguments is None else json.dumps(arguments, sort_keys=True)
    return _make_function(path, json_arguments, _version(path))


@lru_cache(maxsize=64)
def _make_function(path: str, arguments: str | None, _version: int) -> Function:
    # The same object for the same arguments: a factory may load a model, which is loaded once.
    function = find(path)
    if arguments is None:
        return function
    try:
        result = function(**json.loads(arguments))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise ConfigError(
            f"the factory {path}, called with {arguments}, {format_error(error)}"
        ) from error
    if not callable(result):
        raise ConfigError(
            f"the factory {path}, called with {arguments}, returned a {type(result).__name__} and no function"
        )
    return result  # type: ignore[no-any-return]


def check_arguments(path: str, arguments: Mapping[str, Any]) -> None:
    """Raise ConfigError where a factory does not take these arguments; it is not called."""
    try:
        inspect.signature(find(path)).bind(**arguments)
    except TypeError as error:
        names = ", ".join(arguments) or "none"
        raise ConfigError(
            f"the factory {path} does not take these arguments ({names}): {error}"
        ) from None
    except ValueError:  # a builtin without a signature: only the call shows
        return


def _public_names(value: object) -> list[str]:
    return [name for name in dir(value) if not name.startswith("_")]


def _from_file(file: Path) -> ModuleType:
    if not file.is_file():
        suggestion = nearest(file.name, [path.name for path in file.parent.glob("*.py")])
        raise ConfigError(f"there is no file {file}{suggestion}")
    return _run(file.resolve(), file.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _run(file: Path, modified_ns: int) -> ModuleType:
    _add_to_path(file.parent)
    # The time of the change is part of the name, so that a changed file is a new module.
    spec = importlib.util.spec_from_file_location(
        f"_rewards_of_user_{file.stem}_{modified_ns}", file
    )
    assert spec is not None and spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look their module up
    try:
        spec.loader.exec_module(module)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        # A half-imported module must not be found by the next attempt.
        del sys.modules[spec.name]
        raise ConfigError(f"running {file} {format_error(error, file)}") from error
    return module


def _import(module: str) -> ModuleType:
    _add_to_path(Path.cwd())
    try:
        return importlib.import_module(module)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise ConfigError(
            f"importing {module} {format_error(error)}; it is looked for among installed packages and in {Path.cwd()}"
        ) from error


def _add_to_path(folder: Path) -> None:
    """Append a folder to the search path: last, so that a user's file hides no installed package."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def format_error(error: BaseException, file: Path | None = None) -> str:
    """Return `raised ...` with file and line: the last line in `file`, else the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    # Its frames are those of the importer; the position is in the error itself.
    if isinstance(error, SyntaxError) and error.filename:
        return f"raised SyntaxError: {error.msg} ({error.filename}, line {error.lineno})"
    in_file = [frame for frame in frames if file is None or Path(frame.filename) == file] or frames
    last = in_file[-1] if in_file else None
    line = f" ({last.filename}, line {last.lineno}: {last.line})" if last else ""
    text = f": {error}" if str(error) else ""
    return f"raised {type(error).__name__}{text}{line}"


# Files -------------------------------------------------------------------------------------------


def source_files(path: str) -> dict[str, Path]:
    """Return the files that decide the function's behaviour, by a name for each; empty if there are none."""
    source, _ = _split(path)
    if is_file(path):
        files = _with_imports(local_or_shipped(source))
        return {portable_name(file): file for file in files}
    spec = _spec(source)
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return {}
    origin = Path(spec.origin)
    files = sorted(origin.parent.glob("*.py")) if origin.name == "__init__.py" else [origin]
    return {f"{source} ({file.name})": file for file in files}


def _version(path: str) -> int:
    """Return a number that differs when one of the files has changed."""
    return hash(tuple((n, f.stat().st_mtime_ns) for n, f in source_files(path).items()))


def _spec(module: str) -> ModuleSpec | None:
    """Return the spec of a module, found without running the packages above it."""
    search_path: list[str] | None = [*sys.path, str(Path.cwd())]
    spec: ModuleSpec | None = None
    parts = module.split(".")
    # From the top package down; `find_spec` of a dotted name would import the packages above it.
    for depth in range(len(parts)):
        spec = PathFinder.find_spec(".".join(parts[: depth + 1]), search_path)
        if spec is None:
            return None
        search_path = list(spec.submodule_search_locations or ())
    return spec


def _with_imports(file: Path) -> list[Path]:
    """Return a file and those that it imports from its own folder, directly or through one another."""
    files: dict[Path, None] = {}  # a set that keeps the order
    queue = [file]
    while queue:
        path = queue.pop(0)
        if path.is_file() and path not in files:
            files[path] = None
            queue += [file.parent / name for name in _imports_of(path)]
    return list(files)


def _imports_of(file: Path) -> Iterator[str]:
    """Yield the files that an import of this file may mean, relative to the folder."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # running it reports the error
        return
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            # An import may mean a module or a package; `is_file` decides which of them exists.
            base = name.replace(".", "/")
            yield from (f"{base}.py", f"{base}/__init__.py")
