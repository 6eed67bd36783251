"""The process of the tests: their code runs here, where no program of the model has ever run.

In: units of the tests' code, run one after another in one namespace, and the names that belong to the program. Out: one line
per unit: passed, failed, error or gone. If the code uses a name of the program, the program's own process is asked over the
channel: arguments go there as copies, and what comes back is data, made here of Python's own classes. An object that is no
data stays there and is represented here by a `Remote`, which can be called and looked into and which equals nothing. So
the program controls neither a comparison nor an expected value.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, MethodType, ModuleType
from typing import Any, NoReturn

from dianoia.sandbox.guest.channel import Channel, Closed, described, rebuilt
from dianoia.sandbox.guest.values import decode, encode

RESULTS_FD = 3
PASSED, FAILED, ERROR, GONE = "passed", "failed", "error", "gone"
_PROGRAM = "solution"
"""Name of the program as a module, so that `from solution import f` works in tests."""
_FUNCTIONS = (BuiltinFunctionType, FunctionType, MethodDescriptorType, MethodType, partial)
_MAX_ITEMS = 100_000
"""Items of an iterator that tests pass as an argument; it is read to its end first."""


def run_tests(request: dict[str, Any]) -> int:
    """Run the units of a request and write a line of results for each; return the exit code."""
    program = _Program()
    names = _Names(program, frozenset(request["names"]))
    for module in request["modules"]:
        names[module] = importlib.import_module(module)
    # From here on `import solution` and `from solution import f` reach the program.
    sys.modules[_PROGRAM] = _Solution(program)
    for number, source in enumerate(request["units"]):
        outcome, message = _run(source, names)
        if program.gone:  # even if the tests caught the exception
            outcome, message = GONE, "the program ended before its tests"
        line = json.dumps([number, outcome, message]).encode() + b"\n"
        os.write(RESULTS_FD, line)
        if program.gone:
            break
    return 0


def _run(source: str, names: dict[str, Any]) -> tuple[str, str]:
    """Run one unit; return its outcome and a message."""
    try:
        exec(compile(source, "tests", "exec"), names)  # noqa: S102 (the tests' own code)
    except MemoryError:
        raise
    except AssertionError as error:
        return FAILED, str(error)[:200]
    except BaseException as error:  # noqa: BLE001 (the tests may raise anything)
        return ERROR, f"{type(error).__name__}: {error}"[:300]
    return PASSED, ""


_DECIDING_METHODS = frozenset(
    name
    for cls in (str, bytes, float, set, frozenset)
    for name in dir(cls)
    if name.startswith("is") or name in ("startswith", "endswith", "find", "rfind", "rindex")
)
"""Methods by which a plain value answers yes or no. An object of the program could answer yes to everything, so that they are
not available on a `Remote`."""
_TRUTHY_CLASSES = ("re.Match",)
"""Classes whose objects are always true, so that a program gains nothing by them. For others, the program's own methods would
decide."""


class _Program:
    """Client of the program's process."""

    def __init__(self) -> None:
        self._channel = Channel()
        self._callbacks: list[Callable[..., Any]] = []
        self.gone = False
        """Whether the process ended, or sent something that is no answer."""

    def ask(self, message: list[Any]) -> Any:
        """Send a message and return the value that comes back.

        Raises:
            Closed: the program is gone.
            Exception: whatever the program raised, as one of Python's own classes.
        """
        try:
            self._channel.send(message)
            reply = self._channel.receive()
            # While the operation runs, the program may call functions of the tests that it was given.
            while reply[0] == "callback":
                self._channel.send(self._called_back(*reply[1:]))
                reply = self._channel.receive()
            if reply[0] == "error":
                _, classes, error_text = reply
            else:
                _, text = reply
        # A reply of the wrong form counts as an end too: the program has written into the channel itself.
        except (Closed, ValueError, TypeError):
            self.gone = True
            raise Closed("the program ended before its tests") from None
        if reply[0] == "error":
            error = rebuilt(classes, error_text)
            if isinstance(error, StopIteration) and message[:2] != ["do", "next"]:
                error = RuntimeError(
                    "the program raised StopIteration, which would end a loop of the tests"
                )
            raise error
        return self._decoded(text)

    def do(self, operation: str, target: int, /, *arguments: Any, **keywords: Any) -> Any:
        """Perform an operation on an object of the program and return the result."""
        texts = [encode(list(arguments), self._reference), encode(keywords, self._reference)]
        return self.ask(["do", operation, target, *texts])

    def _called_back(self, number: int, arguments: str, keywords: str) -> list[Any]:
        """Call a function of the tests for the program; return the reply."""
        try:
            function = self._callbacks[number]
            value = function(*self._decoded(arguments), **self._decoded(keywords))
            return ["value", encode(value, self._reference)]
        except (MemoryError, Closed):
            raise
        except Exception as error:  # noqa: BLE001 (goes back to where it was called)
            return described(error)

    def _decoded(self, text: str) -> Any:
        return decode(text, self._remote)

    def _remote(self, tag: str, content: Any) -> Any:
        """Return the `Remote` that a tag of the program stands for. Raises ValueError for any other tag."""
        if tag != "object":
            raise ValueError(f"not an encoded value: {tag!r}")
        number, class_name = content
        if type(number) is not int or not isinstance(class_name, str):
            raise ValueError("not an encoded object")
        return Remote(self, number, class_name)

    def _reference(self, value: Any) -> dict[str, Any]:
        """Return the tag that stands for an argument that is no plain value. Raises TypeError if nothing can."""
        if type(value) is Remote:
            return {"object": object.__getattribute__(value, "_number")}
        if isinstance(value, Iterator):
            # One item more than allowed, to tell whether there are more.
            items = list(islice(value, _MAX_ITEMS + 1))
            if len(items) > _MAX_ITEMS:
                raise TypeError(f"the tests pass an iterator of more than {_MAX_ITEMS} items")
            return {"iterator": encode(items, self._reference)}
        if isinstance(value, _FUNCTIONS):
            self._callbacks.append(value)
            return {"callback": len(self._callbacks) - 1}
        raise TypeError(
            f"the tests pass a {type(value).__name__}; only plain values and functions reach a program"
        )


class _Names(dict[str, Any]):
    """Namespace of the tests. Names of the program are looked up in its process at each use, as they may change."""

    def __init__(self, program: _Program, names: frozenset[str]) -> None:
        super().__init__(__name__="__main__")
        self._program, self._names = program, names

    def __missing__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        return self._program.ask(["name", name])


class _Solution(ModuleType):
    """The program as a module, for `import solution`."""

    def __init__(self, program: _Program) -> None:
        super().__init__(_PROGRAM)
        self.__dict__["__path__"] = []
        # In the module's own dictionary, which is searched first: `__getattr__` sends all other names to the program.
        self.__dict__["_ask"] = program.ask

    def __getattr__(self, name: str) -> Any:
        # Python's import system asks for special names, which the program need not answer.
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self.__dict__["_ask"](["name", name])
        except NameError as error:
            raise AttributeError(str(error)) from None


class Remote:
    """Stands for an object in the program's process that is no plain value.

    Its own attributes are read by `object.__getattribute__`, since every other access is one to the program's object.
    """

    __slots__ = ("_class_name", "_number", "_program")

    def __init__(self, program: _Program, number: int, class_name: str) -> None:
        object.__setattr__(self, "_program", program)
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_class_name", class_name)

    def __call__(self, /, *arguments: Any, **keywords: Any) -> Any:
        """Call the object in the program's process, with copies of the arguments."""
        return _do(self, "call", *arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in _DECIDING_METHODS:
            raise AttributeError(f"{name} of an object of the program is not looked at")
        return _do(self, "getattr", name)

    def __setattr__(self, name: str, value: Any) -> None:
        _do(self, "setattr", name, value)

    def __delattr__(self, name: str) -> None:
        _do(self, "delattr", name)

    def __getitem__(self, key: Any) -> Any:
        return _do(self, "getitem", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        _do(self, "setitem", key, value)

    def __delitem__(self, key: Any) -> None:
        _do(self, "delitem", key)

    def __len__(self) -> int:
        return int(_plain(_do(self, "len"), int))

    def __iter__(self) -> Iterator[Any]:
        iterator = _do(self, "iter")
        return iter(iterator) if type(iterator) is not Remote else _items(iterator)

    def __next__(self) -> Any:
        return _do(self, "next")

    def __str__(self) -> str:
        return str(_plain(_do(self, "str"), str))

    def __repr__(self) -> str:
        return str(_plain(_do(self, "repr"), str))

    def _refuse(self, *_others: object) -> NoReturn:
        class_name = object.__getattribute__(self, "_class_name")
        name = class_name.removeprefix("solution.").removeprefix("builtins.")
        raise TypeError(f"the program's {name} is no plain value, so that it equals nothing")

    # Of these the program's own methods would decide, so that an object could equal everything that a test expects.
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __contains__ = __hash__ = _refuse

    def __bool__(self) -> bool:
        class_name = object.__getattribute__(self, "_class_name")
        return class_name in _TRUTHY_CLASSES or self._refuse()


def _do(remote: Remote, operation: str, /, *arguments: Any, **keywords: Any) -> Any:
    program = object.__getattribute__(remote, "_program")
    return program.do(operation, object.__getattribute__(remote, "_number"), *arguments, **keywords)


def _items(iterator: Remote) -> Iterator[Any]:
    while True:
        try:
            item = _do(iterator, "next")
        except StopIteration:
            return
        yield item


def _plain(value: Any, cls: type) -> Any:
    """Return a value of exactly this class; a subclass could bring methods of its own. Raises TypeError for others."""
    if type(value) is not cls:
        raise TypeError(
            f"the program returned a {type(value).__name__} where a {cls.__name__} is expected"
        )
    return value
