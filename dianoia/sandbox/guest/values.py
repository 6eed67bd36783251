"""A value's way between processes: plain types, exactly, as JSON.

In: what a program returned, or an argument for it. Out: text, and on the other side an equal value of plain types
and of a few of the standard library's, made there of that side's own classes. A subclass is refused, since it
could bring an `__eq__` of its own; a named tuple goes over as a tuple, a `defaultdict` as a dictionary. JSON,
since its reader survives anything and makes nothing but data.

What is bounded: how deep a value is nested, how deep members of sets and keys of dictionaries are, how many of
them share a hash, how long a whole number inside a fraction is. So reading takes time in proportion to the text.
"""

import builtins
import json
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

MAX_DEPTH = 200
"""Lists inside lists; Python's own reader ends at about 1000."""
_MAX_HASHED_DEPTH = 8
"""Sets and tuples inside the members of sets and keys: each of them is hashed and compared again at every level."""
_MOST_COLLISIONS = 32
"""Members of a set with one hash. Numbers can be chosen so that all have the same one, and a set of n of
them takes n squared steps to build."""
_PLAIN_INT = 2**62
_NO_TYPE = "a value of type"
NOT_PLAIN = f"TypeError: {_NO_TYPE}"
"""How the error begins that a step reports for a value that stays inside."""
_MAX_RANGE = 2**20
_MAX_BITS, _MAX_FRACTION_BITS = 2**20, 20_000
"""Of a whole number, and of the two of a fraction: arithmetic on them takes the square of their length."""

Foreign = Callable[[Any], dict[str, Any]]
"""Gives the tag of a value that is not plain, or raises TypeError."""


def encode(value: object, foreign: Foreign | None = None) -> str:
    """Plain values as text; TypeError for any other (unless `foreign` knows it), RecursionError for one inside
    itself or nested deeper than MAX_DEPTH."""
    return json.dumps(_tagged(value, foreign, MAX_DEPTH))


def _tagged(value: Any, foreign: Foreign | None, depth: int) -> object:
    kind = type(value)
    if kind is int:
        # Long numbers in hexadecimal, which is read and written in proportion to their length.
        return value if -_PLAIN_INT < value < _PLAIN_INT else {"int": hex(value)}
    if kind in (str, bool, float, type(None)):
        return value
    if depth == 0:
        raise RecursionError(f"a value that is nested deeper than {MAX_DEPTH} levels")
    if kind is list:
        return [_tagged(item, foreign, depth - 1) for item in value]
    if kind in _SEQUENCES:
        return {_SEQUENCES[kind]: [_tagged(item, foreign, depth - 1) for item in value]}
    if kind in _TABLES:
        pairs = [
            [_tagged(key, foreign, depth - 1), _tagged(item, foreign, depth - 1)]
            for key, item in value.items()
        ]
        return {_TABLES[kind]: pairs}
    if kind in _WRITERS and not (kind is type and value not in _TYPES.values()):
        return _WRITERS[kind](value)
    if isinstance(value, tuple) and isinstance(getattr(kind, "_fields", None), tuple):
        return {"tuple": [_tagged(item, foreign, depth - 1) for item in tuple.__iter__(value)]}
    if foreign is not None:
        return foreign(value)
    raise TypeError(f"{_NO_TYPE} {kind.__name__!r}, which is no plain type")


_SEQUENCES: dict[type, str] = {
    kind: kind.__name__ for kind in (tuple, set, frozenset, deque)
} | {type({}.keys()): "set", type({}.values()): "list", type({}.items()): "set"}  # fmt: skip
_TABLES: dict[type, str] = {
    dict: "dict", defaultdict: "dict", OrderedDict: "OrderedDict", Counter: "Counter",
}  # fmt: skip
_WRITERS: dict[type, Callable[[Any], object]] = {
    bytes: lambda value: {"bytes": value.hex()},
    bytearray: lambda value: {"bytearray": value.hex()},
    complex: lambda value: {"complex": [value.real, value.imag]},
    Decimal: lambda value: {"Decimal": str(value)},
    Fraction: lambda value: {"Fraction": [hex(value.numerator), hex(value.denominator)]},
    range: lambda value: {"range": [hex(part) for part in (value.start, value.stop, value.step)]},
    date: lambda value: {"date": value.isoformat()},
    datetime: lambda value: {"datetime": value.isoformat()},
    time: lambda value: {"time": value.isoformat()},
    timedelta: lambda value: {"timedelta": [value.days, value.seconds, value.microseconds]},
    type: lambda value: {"type": value.__name__},  # one of _TYPES
}
_TYPES = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and kind.__name__ == name
}


def decode(text: str, foreign: Callable[[str, Any], Any] | None = None) -> Any:
    """The value again. `foreign` is asked, with tag and content, for what its counterpart wrote.

    Raises ValueError for any text that `encode` does not write, and for values made to be slow.
    """
    try:
        return _Reader(foreign).value(json.loads(text), MAX_DEPTH, _MAX_HASHED_DEPTH)
    except (TypeError, RecursionError, AttributeError, ArithmeticError, LookupError) as error:
        raise ValueError(f"not an encoded value: {error}") from error


class _Reader:
    """Makes values of what JSON read."""

    def __init__(self, foreign: Callable[[str, Any], Any] | None) -> None:
        self.foreign = foreign

    def value(self, node: Any, depth: int, hashed: int) -> Any:
        """The value of a node, which may be nested `depth` deep, and `hashed` deep inside sets."""
        if not isinstance(node, (list, dict)):
            return node
        if depth == 0 or hashed == 0:
            raise ValueError("nested deeper than a value that is read")
        if isinstance(node, list):
            return [self.value(item, depth - 1, hashed) for item in node]
        ((tag, inside),) = node.items()
        if tag in ("tuple", "deque", "list"):
            members = (self.value(item, depth - 1, hashed) for item in inside)
            return _IN_ORDER[tag](members)
        if tag in ("set", "frozenset"):
            unordered = [self.value(item, depth - 1, hashed - 1) for item in inside]
            return _UNORDERED[tag](spread(unordered))
        if tag in _MAPPINGS:
            keys = spread([self.value(key, depth - 1, hashed - 1) for key, _ in inside])
            values = [self.value(item, depth - 1, hashed) for _, item in inside]
            return _MAPPINGS[tag](zip(keys, values, strict=True))
        if tag in _READERS:
            return _READERS[tag](inside)
        if self.foreign is not None:
            return self.foreign(tag, inside)
        raise ValueError(f"not an encoded value: {tag!r}")


def _hexadecimal(text: str) -> int:
    number = int(text, 16)
    if number.bit_length() > _MAX_BITS:
        raise ValueError(f"a whole number of more than {_MAX_BITS} bits")
    return number


def _fraction(parts: Sequence[str]) -> Fraction:
    numerator, denominator = map(_hexadecimal, parts)
    if max(numerator.bit_length(), denominator.bit_length()) > _MAX_FRACTION_BITS:
        raise ValueError("a fraction of numbers that are too long")
    return Fraction(numerator, denominator)


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError("no decimal") from error


def _range(parts: Sequence[str]) -> range:
    numbers = range(*map(_hexadecimal, parts))
    if len(numbers) > _MAX_RANGE:
        raise ValueError("a range of more numbers than anybody counts through")
    return numbers


_IN_ORDER: dict[str, Callable[[Iterable[Any]], Any]] = {
    "tuple": tuple,
    "deque": deque,
    "list": list,
}
_UNORDERED: dict[str, Callable[[Iterable[Any]], Any]] = {"set": set, "frozenset": frozenset}
_MAPPINGS: dict[str, Callable[[Iterable[tuple[Any, Any]]], Any]] = {
    "dict": dict,
    "OrderedDict": OrderedDict,
    "Counter": lambda pairs: Counter(dict(pairs)),
}
_READERS: dict[str, Callable[[Any], Any]] = {
    "int": _hexadecimal,
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "complex": lambda parts: complex(*map(float, parts)),
    "Decimal": _decimal,
    "Fraction": _fraction,
    "range": _range,
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda parts: timedelta(*map(int, parts)),
    "type": lambda name: _TYPES[name],
}


def spread(members: Sequence[Hashable]) -> Sequence[Hashable]:
    """The members, when a set of them is no slower than usual. Raises ValueError when it is, TypeError for
    one that no set can hold."""
    if len(members) <= _MOST_COLLISIONS:
        return members
    different: dict[int, list[Hashable]] = {}
    for member in members:
        alike = different.setdefault(hash(member), [])
        if not any(member is other or member == other for other in alike):
            alike.append(member)
        if len(alike) > _MOST_COLLISIONS:
            raise ValueError(f"more than {_MOST_COLLISIONS} members of a set have the same hash")
    return members
