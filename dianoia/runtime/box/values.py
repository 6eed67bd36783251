"""A value's way out of the sandbox: plain types, exactly, as JSON.

In: what a program returned. Out: text, and on the other side an equal value of plain types only. A
subclass is refused: it could bring an `__eq__` of its own. JSON, since its reader survives anything.
"""

import json
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

_SCALARS = (bool, int, float, str, type(None))
_MOST_COLLISIONS = 32
"""Members of a set with one hash. Numbers can be chosen so that all have the same one, and a set of n of
them takes n squared steps to build."""


def encode(value: object) -> str:
    """Plain values as text; TypeError for any other, RecursionError for one inside itself."""
    return json.dumps(_tagged(value))


def _tagged(value: Any) -> object:
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is list:
        return [_tagged(item) for item in value]
    if kind in (tuple, set, frozenset):
        return {kind.__name__: [_tagged(item) for item in value]}
    if kind is dict:
        return {"dict": [[_tagged(key), _tagged(item)] for key, item in value.items()]}
    if kind is bytes:
        return {"bytes": value.hex()}
    raise TypeError(f"a value of type {kind.__name__!r}, which is no plain type")


def decode(text: str) -> Any:
    """The value again. Raises ValueError for any text that `encode` does not write, and for sets and
    dictionaries made to be slow."""
    try:
        return _untagged(json.loads(text))
    except (TypeError, RecursionError, AttributeError) as error:
        raise ValueError(f"not an encoded value: {error}") from error


def _untagged(node: Any) -> Any:
    if isinstance(node, list):
        return [_untagged(item) for item in node]
    if not isinstance(node, dict):
        return node
    ((tag, inside),) = node.items()
    if tag == "bytes":
        return bytes.fromhex(inside)
    if tag == "dict":
        return _dictionary([(_untagged(key), _untagged(item)) for key, item in inside])
    kinds: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset}
    if tag not in kinds:
        raise ValueError(f"not an encoded value: {tag!r}")
    members = [_untagged(item) for item in inside]
    return tuple(members) if tag == "tuple" else kinds[tag](spread(members))


def _dictionary(items: list[tuple[Any, Any]]) -> dict[Any, Any]:
    spread([key for key, _ in items])
    return dict(items)


def spread(members: Sequence[Hashable]) -> Sequence[Hashable]:
    """The members, when a set of them is no slower than usual. Raises ValueError when it is, TypeError for
    one that no set can hold."""
    if len(members) <= _MOST_COLLISIONS:
        return members
    # The hash of a text cannot be foreseen, and a hash is its own hash: neither of these two is slow.
    different = {repr(member): member for member in members}.values()
    if max(Counter(map(hash, different)).values()) > _MOST_COLLISIONS:
        raise ValueError(f"more than {_MOST_COLLISIONS} members of a set have the same hash")
    return list(different)
