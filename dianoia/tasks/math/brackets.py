r"""Brackets: tuples, intervals, sets, absolute values, matrices, cases.

In: tokens (`lexer`). Out: a `Node`. One value in brackets is that value; several, or brackets of two kinds, are a
collection. What does not close makes the answer unreadable.
"""

from dianoia.tasks.math.alphabet import Token
from dianoia.tasks.math.nodes import (
    Bracketed,
    Builder,
    Call,
    Cases,
    Matrix,
    Name,
    Node,
    SetOf,
)
from dianoia.tasks.math.terms import (
    MAX_DEPTH,
    Terms,
    divided_by,
)
from dianoia.tasks.math.verdict import Reason, TooLarge, Unreadable

_CLOSERS = {"(": (")", "]"), "[": ("]", ")"), "langle": ("rangle",), "{": ("}",)}


class Brackets(Terms):
    """Reads what stands in brackets."""

    def _bars(self) -> Node:
        self.bars += 1
        inner = self.expression()
        self.bars -= 1
        self.expect("|")
        return Call("abs", (inner,))

    def _group(self, opening: str, token: Token) -> Node:
        """One value in brackets, or several: a tuple, a point, an interval."""
        bars, self.bars = self.bars, 0
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooLarge("depth")
        items = self._items(*_CLOSERS[opening])
        if self.at("over", "choose") and len(items) == 1 and opening == "{":
            fraction = self.take().text == "over"
            bottom = self.expression()
            items = [
                divided_by(items[0], bottom) if fraction else Call("binom", (items[0], bottom))
            ]
        closing = self.expect(*_CLOSERS[opening]).text
        self.bars = bars
        self.depth -= 1
        if len(items) == 1 and closing == _CLOSERS[opening][0]:
            return items[0]
        if opening == "{":
            return SetOf(tuple(items))
        if len(items) == 1 or (len(items) != 2 and closing != _CLOSERS[opening][0]):
            raise Unreadable(Reason.BRACKETS)
        return Bracketed(opening, tuple(items), closing)

    def _items(self, *closers: str) -> list[Node]:
        """Values between commas or semicolons, up to a closing sign."""
        if self.at(*closers):
            raise Unreadable(Reason.SEPARATOR)
        items = [self.member()]
        while self.at(",", ";"):
            self.take()
            items.append(self.member())
        return items

    def member(self) -> Node:
        """A member of brackets; `answers` also reads relations here."""
        return self.expression()

    def _set(self) -> Node:
        if self.at(r"\}"):
            self.take()
            return SetOf(())
        bars, self.bars = self.bars, 1
        items = self._items(r"\}")
        self.bars = bars
        if self.at("|", ":") and len(items) == 1:
            self.take()
            condition = self.condition()
            self.expect(r"\}")
            variable = items[0]
            return Builder(
                variable.text if isinstance(variable, Name) else _member_name(variable), condition
            )
        self.expect(r"\}")
        return SetOf(tuple(items))

    def condition(self) -> Node:
        """The condition of a set; `answers` reads it."""
        raise Unreadable(Reason.TEXT)

    def _environment(self, kind: str) -> Node:
        rows: list[tuple[Node, ...]] = []
        row: list[Node] = []
        self.depth += 1
        while True:
            if self.at("hline"):
                raise Unreadable(Reason.TEXT)
            if (
                self.at("matrix", "det", "cases")
                and self.peek() is not None
                and self.tokens[self.position].kind == "end"
            ):
                break
            row.append(self.condition() if kind == "cases" else self.expression())
            if self.at("&"):
                self.take()
            elif self.at("row"):
                self.take()
                rows.append(tuple(row))
                row = []
            elif kind == "cases" and self.at(",", ";"):
                self.take()
            elif not (self.peek() is not None and self.tokens[self.position].kind == "end"):
                raise Unreadable(Reason.BRACKETS)
        if self.take().text != kind:
            raise Unreadable(Reason.BRACKETS)
        self.depth -= 1
        if row:
            rows.append(tuple(row))
        if not rows or (kind != "cases" and len({len(entries) for entries in rows}) != 1):
            raise Unreadable(Reason.SEPARATOR)
        if kind == "cases":
            return Cases(tuple(rows))
        return Matrix(tuple(rows)) if kind == "matrix" else Call("det", (Matrix(tuple(rows)),))


def _member_name(node: Node) -> str:
    raise Unreadable(Reason.TEXT)
