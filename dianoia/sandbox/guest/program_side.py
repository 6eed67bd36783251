"""A program's side of its tests: it answers what the process of the tests asks of its functions.

In: messages over the channel: a name, or an operation on an object with arguments. Out: values as text; an object
that is no plain value stays here and goes over as a number. The program shares this process, so every answer is
the program's word; nothing that is expected ever comes here.

Messages in: ["name", NAME], ["do", OPERATION, OBJECT, POSITIONAL, KEYWORDS], and in reply to a callback
["value", TEXT] or ["error", CLASSES, WORDS]. Out: ["value", TEXT], ["error", ...], and while an operation runs
["callback", NUMBER, POSITIONAL, KEYWORDS] for a function of the tests that was handed over as an argument.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from dianoia.sandbox.guest.channel import Channel, Closed, described, rebuilt
from dianoia.sandbox.guest.values import decode, encode

_MOST_OBJECTS = 1_000_000


def _call(target: Any, /, *arguments: Any, **keywords: Any) -> Any:
    return target(*arguments, **keywords)


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "call": _call,
    "getattr": getattr,
    "setattr": setattr,
    "delattr": delattr,
    "getitem": operator.getitem,
    "setitem": operator.setitem,
    "delitem": operator.delitem,
    "len": len,
    "iter": iter,
    "next": next,
    "str": str,
    "repr": repr,
}
"""What tests may do with an object of the program. Comparisons are not among them: the program's own `__eq__`
decides nothing."""


class Server:
    """Answers until the tests have ended."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names, self._channel = names, Channel()
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}

    def serve(self) -> None:
        """Answer one message after another. Raises MemoryError where the program runs out of it."""
        while True:
            try:
                message = self._channel.receive()
                self._channel.send(self._answer(message))
            except Closed:
                return

    def _answer(self, message: list[Any]) -> list[Any]:
        try:
            return ["value", encode(self._result(message), self._foreign)]
        except (MemoryError, Closed):
            raise
        except BaseException as error:  # noqa: BLE001 (whatever a program raises is its result)
            return described(error)

    def _result(self, message: list[Any]) -> Any:
        if message[0] == "name":
            if message[1] not in self._names:
                raise NameError(f"the program has no {message[1]!r}")
            return self._names[message[1]]
        _, name, target, positional, keywords = message
        arguments, named = decode(positional, self._known), decode(keywords, self._known)
        return OPERATIONS[name](self._objects[target], *arguments, **named)

    def _foreign(self, value: Any) -> dict[str, Any]:
        if len(self._objects) >= _MOST_OBJECTS:
            raise TypeError("too many objects for one test")
        number = self._numbers.setdefault(id(value), len(self._objects))
        if number == len(self._objects):
            self._objects.append(value)  # kept alive, so that its id stays its own
        kind = type(value)
        return {"object": [number, f"{kind.__module__}.{kind.__name__}"[:80]]}

    def _known(self, tag: str, inside: Any) -> Any:
        if tag == "object":
            return self._objects[inside]
        if tag == "iterator":
            return iter(decode(inside, self._known))
        if tag == "callback":
            return lambda *arguments, **named: self._call_back(inside, arguments, named)
        raise ValueError(f"not an encoded value: {tag!r}")

    def _call_back(self, number: int, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call a function of the tests; it runs in their process."""
        texts = [encode(list(arguments), self._foreign), encode(named, self._foreign)]
        self._channel.send(["callback", number, *texts])
        while True:
            reply = self._channel.receive()
            if reply[0] == "value":
                return decode(reply[1], self._known)
            if reply[0] == "error":
                raise rebuilt(reply[1], reply[2])
            self._channel.send(
                self._answer(reply)
            )  # the function asks something of the program itself
