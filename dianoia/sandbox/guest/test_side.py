"""The process of the tests: their code runs here, where no program of the model ever ran.

In: units of the tests' code, run one after another in one set of names, and the names that are the program's. Out:
one line a unit: passed, failed or error. Where the code uses a name of the program, the program's own process is
asked, over the channel: arguments go there as copies, and what comes back is data, made here of Python's own
classes. What is no data stays there; here stands a `Remote` for it, which can be called and looked into, and which
equals nothing. So neither a comparison nor an expected value is ever in the program's hands.
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
"""Name of the program as a module: `from solution import f` works in tests."""
_FUNCTIONS = (BuiltinFunctionType, FunctionType, MethodDescriptorType, MethodType, partial)
_MOST_ITEMS = 100_000
"""Of an iterator that tests hand over; it is read to its end first."""


def run_tests(request: dict[str, Any]) -> int:
    """Run the units; the exit code."""
    program = _Program()
    names = _Names(program, frozenset(request["names"]))
    for module in request["modules"]:
        names[module] = importlib.import_module(module)
    sys.modules[_PROGRAM] = _Solution(program)
    for number, source in enumerate(request["units"]):
        kind, words = _run(source, names)
        if program.gone:  # whatever the tests made of it
            kind, words = GONE, "the program ended before its tests"
        line = json.dumps([number, kind, words]).encode() + b"\n"
        os.write(RESULTS_FD, line)
        if program.gone:
            break
    return 0


def _run(source: str, names: dict[str, Any]) -> tuple[str, str]:
    try:
        exec(compile(source, "tests", "exec"), names)  # noqa: S102 (the tests' own code)
    except MemoryError:
        raise
    except AssertionError as error:
        return FAILED, str(error)[:200]
    except BaseException as error:  # noqa: BLE001 (the tests may raise anything)
        return ERROR, f"{type(error).__name__}: {error}"[:300]
    return PASSED, ""


_DECIDING = frozenset(
    name
    for kind in (str, bytes, float, set, frozenset)
    for name in dir(kind)
    if name.startswith("is") or name in ("startswith", "endswith", "find", "rfind", "rindex")
)
"""Methods by which a plain value says yes or no: an object of the program could say yes to everything."""


_TRUE_KINDS = ("re.Match",)
"""Objects that are true whatever they hold, which no program gains by; of others their own methods would decide."""


class _Program:
    """The other process, as one asks it."""

    def __init__(self) -> None:
        self._channel = Channel()
        self._callbacks: list[Callable[..., Any]] = []
        self.gone = False
        """Whether it ended, or sent something that is no answer."""

    def ask(self, message: list[Any]) -> Any:
        """Send a message and wait for the value. Raises what the program raised; Closed once it is gone."""
        try:
            self._channel.send(message)
            reply = self._channel.receive()
            while reply[0] == "callback":
                self._channel.send(self._called_back(*reply[1:]))
                reply = self._channel.receive()
            if reply[0] == "error":
                _, classes, words = reply
            else:
                _, text = reply
        except (Closed, ValueError, TypeError):
            self.gone = True
            raise Closed("the program ended before its tests") from None
        if reply[0] == "error":
            error = rebuilt(classes, words)
            if isinstance(error, StopIteration) and message[:2] != ["do", "next"]:
                error = RuntimeError(
                    "the program raised StopIteration, which would end a loop of the tests"
                )
            raise error
        return self._decoded(text)

    def do(self, operation: str, target: int, /, *arguments: Any, **named: Any) -> Any:
        """An operation on an object of the program."""
        texts = [encode(list(arguments), self._foreign), encode(named, self._foreign)]
        return self.ask(["do", operation, target, *texts])

    def _called_back(self, number: int, arguments: str, named: str) -> list[Any]:
        """Run a function of the tests for the program."""
        try:
            function = self._callbacks[number]
            value = function(*self._decoded(arguments), **self._decoded(named))
            return ["value", encode(value, self._foreign)]
        except (MemoryError, Closed):
            raise
        except Exception as error:  # noqa: BLE001 (goes back to where it was called)
            return described(error)

    def _decoded(self, text: str) -> Any:
        return decode(text, self._known)

    def _known(self, tag: str, inside: Any) -> Any:
        if tag != "object":
            raise ValueError(f"not an encoded value: {tag!r}")
        number, kind = inside
        if type(number) is not int or not isinstance(kind, str):
            raise ValueError("not an encoded object")
        return Remote(self, number, kind)

    def _foreign(self, value: Any) -> dict[str, Any]:
        """The tag of an argument that is no plain value."""
        if type(value) is Remote:
            return {"object": object.__getattribute__(value, "_number")}
        if isinstance(value, Iterator):
            items = list(islice(value, _MOST_ITEMS + 1))
            if len(items) > _MOST_ITEMS:
                raise TypeError(f"the tests hand over an iterator of more than {_MOST_ITEMS} items")
            return {"iterator": encode(items, self._foreign)}
        if isinstance(value, _FUNCTIONS):
            self._callbacks.append(value)
            return {"callback": len(self._callbacks) - 1}
        raise TypeError(
            f"the tests hand over a {type(value).__name__}; only plain values and functions reach a program"
        )


class _Names(dict[str, Any]):
    """The names of the tests; those of the program are looked up there, each time anew."""

    def __init__(self, program: _Program, names: frozenset[str]) -> None:
        super().__init__(__name__="__main__")
        self._program, self._names = program, names

    def __missing__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        return self._program.ask(["name", name])


class _Solution(ModuleType):
    """The program as a module."""

    def __init__(self, program: _Program) -> None:
        super().__init__(_PROGRAM)
        self.__dict__["__path__"] = []
        self.__dict__["_ask"] = program.ask

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self.__dict__["_ask"](["name", name])
        except NameError as error:
            raise AttributeError(str(error)) from None


class Remote:
    """An object that is no plain value, and lies in the program's process."""

    __slots__ = ("_kind", "_number", "_program")

    def __init__(self, program: _Program, number: int, kind: str) -> None:
        object.__setattr__(self, "_program", program)
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_kind", kind)

    def __call__(self, /, *arguments: Any, **named: Any) -> Any:
        """Call it in the program's process, with copies of the arguments."""
        return _do(self, "call", *arguments, **named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in _DECIDING:
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
        kind = object.__getattribute__(self, "_kind")
        name = kind.removeprefix("solution.").removeprefix("builtins.")
        raise TypeError(f"the program's {name} is no plain value, so that it equals nothing")

    # The program's own methods would decide these.
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __contains__ = __hash__ = _refuse

    def __bool__(self) -> bool:
        kind = object.__getattribute__(self, "_kind")
        return kind in _TRUE_KINDS or self._refuse()


def _do(remote: Remote, operation: str, /, *arguments: Any, **named: Any) -> Any:
    program = object.__getattribute__(remote, "_program")
    return program.do(operation, object.__getattribute__(remote, "_number"), *arguments, **named)


def _items(iterator: Remote) -> Iterator[Any]:
    while True:
        try:
            item = _do(iterator, "next")
        except StopIteration:
            return
        yield item


def _plain(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(
            f"the program gives a {type(value).__name__} where a {kind.__name__} belongs"
        )
    return value
