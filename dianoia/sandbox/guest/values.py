"""Encode values of plain types exactly, as JSON, to carry them between processes; decode them without trust.

In: what a program returned, or an argument for it. Out: text, and on the other side an equal value of built-in types and of
a few standard-library types, made there of that side's own classes. A subclass is refused, since it could bring an `__eq__`
of its own; a named tuple is sent as a tuple, a `defaultdict` as a dictionary. JSON and not pickle: its reader survives any
text and makes nothing but data.

The nesting of a value is bounded, and that of members of sets and of keys of dictionaries, how many of them share a hash,
and how long whole numbers are. So reading takes time in proportion to the text, whatever the program wrote.
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
"""Levels of lists inside lists; Python's own JSON reader ends at about 1000."""
_MAX_HASHED_DEPTH = 8
"""Levels of sets and tuples inside the members of sets and keys: each is hashed and compared again at every level."""
_MAX_COLLISIONS = 32
"""Members of a set with the same hash. Numbers can be chosen so that all have the same one, and a set of n of them takes n
squared steps to build."""
_PLAIN_INT = 2**62
"""Smaller whole numbers are written in decimal digits, as JSON has them."""
_NO_TYPE = "a value of type"
NOT_PLAIN = f"TypeError: {_NO_TYPE}"
"""First words of the error that a step reports for a value that cannot be encoded."""
_MAX_RANGE = 2**20
_MAX_BITS, _MAX_FRACTION_BITS = 2**20, 20_000
"""Bits of a whole number, and of the two numbers of a fraction: arithmetic on them takes the square of their length."""

Foreign = Callable[[Any], dict[str, Any]]
"""Returns the tag that stands for a value that is not plain, or raises TypeError."""


def encode(value: object, foreign: Foreign | None = None) -> str:
    """Return a plain value as text.

    Args:
        foreign: returns the tag of a value that is not plain.

    Raises:
        TypeError: a value is not plain, and `foreign` is missing or refuses it.
        RecursionError: a value contains itself, or is nested deeper than MAX_DEPTH.
    """
    return json.dumps(_tagged(value, foreign, MAX_DEPTH))


def _tagged(value: Any, foreign: Foreign | None, depth: int) -> object:
    """Return a value as JSON has it: numbers, texts and lists as they are, others as {tag: content}."""
    # The exact type: `isinstance` asks the value's own `__class__`, which a program can set.
    cls = type(value)
    if cls is int:
        # Long numbers in hexadecimal, which takes time in proportion to their length; decimal digits take its square.
        return value if -_PLAIN_INT < value < _PLAIN_INT else {"int": hex(value)}
    # A float stays a JSON number: its repr is exact, and NaN and infinity are written as Python's reader knows them.
    if cls in (str, bool, float, type(None)):
        return value
    if depth == 0:
        raise RecursionError(f"a value that is nested deeper than {MAX_DEPTH} levels")
    if cls is list:
        return [_tagged(item, foreign, depth - 1) for item in value]
    if cls in _SEQUENCES:
        return {_SEQUENCES[cls]: [_tagged(item, foreign, depth - 1) for item in value]}
    if cls in _TABLES:
        pairs = [
            [_tagged(key, foreign, depth - 1), _tagged(item, foreign, depth - 1)]
            for key, item in value.items()
        ]
        return {_TABLES[cls]: pairs}
    if cls in _WRITERS and not (cls is type and value not in _TYPES.values()):
        return _WRITERS[cls](value)
    # A named tuple. Its items are read by tuple's own iterator, as the class may have overridden it.
    if isinstance(value, tuple) and isinstance(getattr(cls, "_fields", None), tuple):
        return {"tuple": [_tagged(item, foreign, depth - 1) for item in tuple.__iter__(value)]}
    if foreign is not None:
        return foreign(value)
    raise TypeError(f"{_NO_TYPE} {cls.__name__!r}, which is no plain type")


_SEQUENCES: dict[type, str] = {
    cls: cls.__name__ for cls in (tuple, set, frozenset, deque)
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
    name: cls
    for name, cls in vars(builtins).items()
    if isinstance(cls, type) and cls.__name__ == name
}


def decode(text: str, foreign: Callable[[str, Any], Any] | None = None) -> Any:
    """Return the value that `encode` wrote.

    Args:
        foreign: returns the value of a tag and its content that the other side's `foreign` wrote.

    Raises:
        ValueError: `encode` does not write such a text, or the value is made to be slow.
    """
    try:
        # Whatever a hostile text provokes becomes a ValueError. MemoryError is not caught: it is reported as such.
        return _Reader(foreign).value(json.loads(text), MAX_DEPTH, _MAX_HASHED_DEPTH)
    except (TypeError, RecursionError, AttributeError, ArithmeticError, LookupError) as error:
        raise ValueError(f"not an encoded value: {error}") from error


class _Reader:
    """Turns parsed JSON into values."""

    def __init__(self, foreign: Callable[[str, Any], Any] | None) -> None:
        self.foreign = foreign

    def value(self, node: Any, depth: int, hashed: int) -> Any:
        """Return the value of a node, which may be nested `depth` levels deep, and `hashed` levels inside sets and keys."""
        if not isinstance(node, (list, dict)):
            return node
        if depth == 0 or hashed == 0:
            raise ValueError("nested deeper than a value that is read")
        if isinstance(node, list):
            return [self.value(item, depth - 1, hashed) for item in node]
        # Exactly one entry; anything else raises ValueError, as for any text that `encode` does not write.
        ((tag, content),) = node.items()
        if tag in ("tuple", "deque", "list"):
            members = (self.value(item, depth - 1, hashed) for item in content)
            return _IN_ORDER[tag](members)
        if tag in ("set", "frozenset"):
            unordered = [self.value(item, depth - 1, hashed - 1) for item in content]
            # Checked before the set is built, since building it is what would take long.
            return _UNORDERED[tag](spread(unordered))
        # Keys are hashed as members of sets are; values are not.
        if tag in _MAPPINGS:
            keys = spread([self.value(key, depth - 1, hashed - 1) for key, _ in content])
            values = [self.value(item, depth - 1, hashed) for _, item in content]
            return _MAPPINGS[tag](zip(keys, values, strict=True))
        if tag in _READERS:
            return _READERS[tag](content)
        if self.foreign is not None:
            return self.foreign(tag, content)
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
        raise ValueError(f"a range of more than {_MAX_RANGE} numbers")
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
    """Return the members if a set of them is not slow to build.

    Raises:
        ValueError: too many different members share one hash.
        TypeError: a member is not hashable.
    """
    # So few cannot collide too often, whatever they are.
    if len(members) <= _MAX_COLLISIONS:
        return members
    distinct: dict[int, list[Hashable]] = {}  # by hash
    for member in members:
        same_hash = distinct.setdefault(hash(member), [])
        if not any(member is other or member == other for other in same_hash):
            same_hash.append(member)
        if len(same_hash) > _MAX_COLLISIONS:
            raise ValueError(f"more than {_MAX_COLLISIONS} members of a set have the same hash")
    return members
