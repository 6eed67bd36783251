r"""Expressions: the grammar that reads tokens into a tree, and refuses what it cannot read.

In: tokens (`lexer`). Out: a `Node`, and where it ended. Every token is consumed by a rule; what no rule takes raises
`Unreadable` with the reason. Nothing is computed.

The upper half, sums and products, is in `terms`. Decisions where notation is ambiguous:
1. Letters side by side are factors; `i` and `e` are the imaginary unit and Euler's number, `\gamma` and `\phi` names.
2. `\sqrt12` and `\log_10` take all the digits, as people type them; `\frac12` takes one and one, as TeX does.
3. `\sin(x)y` is a product, `\sin 2x` takes the whole product, `\sin^{-1}x` is the inverse function; `\sin\pi/6` is
   read in two ways by people, and so by nobody here.
"""

from dataclasses import replace
from fractions import Fraction

from dianoia.tasks.math.alphabet import Token
from dianoia.tasks.math.nodes import (
    Apply,
    Based,
    Boxed,
    Bracketed,
    Builder,
    Call,
    Cases,
    Constant,
    Ellipsis,
    Matrix,
    Name,
    Negative,
    Node,
    Number,
    NumberSet,
    Power,
    SetOf,
)
from dianoia.tasks.math.terms import (
    BEGINS_PRIMARY,
    DECORATIONS,
    LONGEST_PRODUCT,
    MAX_DEPTH,
    Terms,
    divided_by,
    number,
    times,
)
from dianoia.tasks.math.verdict import Reason, TooLarge, Unreadable

_INVERSES = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot", "sec": "arcsec", "csc": "arccsc",
             "sinh": "arcsinh", "cosh": "arccosh", "tanh": "arctanh"}  # fmt: skip
_SEVERAL = frozenset(("max", "min", "gcd", "lcm"))
_APPLIED = frozenset("fgh")
_RELATIONS = frozenset(("=", "<", ">", "le", "ge", "ne", "approx", "in", "equiv"))
_CLOSERS = {"(": (")", "]"), "[": ("]", ")"), "langle": ("rangle",), "{": ("}",)}


class Parser(Terms):
    """Reads one list of tokens from left to right."""

    # Primaries -------------------------------------------------------------------------------------

    def _primary(self) -> Node:
        token = self.take()
        if token.kind == "number":
            return number(token)
        if token.kind == "based":
            return Based(token.text, token.base)
        if token.kind == "constant":
            return Constant(token.text)
        if token.kind in ("letters", "name"):
            self.position -= 1
            return self._names()
        if token.kind == "function":
            return self._call(token.text)
        if token.kind == "begin":
            return self._environment(token.text)
        if token.kind == "font":
            return Boxed(self._group("{", self.expect("{")))
        if token.kind == "words":
            raise Unreadable(Reason.TEXT)
        return self._signed_primary(token)

    def _signed_primary(self, token: Token) -> Node:
        text = token.text
        if text in ("(", "[", "langle", "{", r"\{", "|"):
            return self._in_brackets(text, token)
        if text in ("lfloor", "lceil"):
            inner = self.expression()
            self.expect("rfloor" if text == "lfloor" else "rceil")
            return Call("floor" if text == "lfloor" else "ceil", (inner,))
        if text == "frac":
            return divided_by(self._argument(), self._argument())
        if text == "binom":
            return Call("binom", (self._argument(), self._argument()))
        if text in ("sqrt", "cbrt"):
            return self._root(text)
        if text == "mathbb":
            return self._number_set()
        if text == "emptyset":
            return SetOf(())
        if text == "ldots":
            return Ellipsis()
        if text in DECORATIONS:
            return self._decorated(text)
        if text in (",", ";"):
            raise Unreadable(Reason.SEPARATOR)
        raise Unreadable(
            Reason.INCOMPLETE if text in "+-*/^=<>)]}" or text in _RELATIONS else Reason.TEXT
        )

    def _in_brackets(self, text: str, token: Token) -> Node:
        if text == r"\{":
            return self._set()
        return self._bars() if text == "|" else self._group(text, token)

    def _argument(self) -> Node:
        """Read what a command takes: braces, or one digit, letter or command."""
        token = self.peek()
        if token is None:
            raise Unreadable(Reason.INCOMPLETE)
        if token.kind == "number" and token.text.isdigit() and len(token.text) > 1:
            self.tokens[self.position] = replace(
                token, text=token.text[1:], value=Fraction(token.text[1:]), spaced=False
            )
            return Number(Fraction(token.text[0]))
        if token.kind == "letters":
            return self._first_letter()
        if token.kind == "sign" and token.text not in BEGINS_PRIMARY:
            raise Unreadable(Reason.INCOMPLETE)
        return self._primary()

    def _first_letter(self) -> Node:
        """The first of letters side by side."""
        token = self.take()
        if len(token.text) > 1:
            self.position -= 1
            self.tokens[self.position] = replace(token, text=token.text[1:], spaced=False)
        return _letter(token.text[0], token.upright)

    def _names(self) -> Node:
        """Letters side by side, the last with its subscript and primes; a function of brackets."""
        token = self.take()
        if token.kind == "letters" and (
            self.is_word(token) and not (token.upright and len(token.text) <= LONGEST_PRODUCT)
        ):
            raise Unreadable(Reason.TEXT)
        letters = [token.text] if token.kind == "name" else list(token.text)
        if token.upright and len(letters) > 1:
            letters = [token.text]
        script = self._script()
        last = letters.pop()
        node = Name(last + script) if script else _letter(last, token.upright)
        applied = last in _APPLIED or (isinstance(node, Name) and self._several_in_brackets())
        if (
            applied
            and isinstance(node, Name)
            and (bracket := self.peek())
            and self.at("(")
            and not bracket.spaced
        ):
            self.take()
            node = Apply(node.text, tuple(self._items(")")))
            self.expect(")")
        for letter in reversed(letters):
            node = times(_letter(letter), node)
        return node

    def _several_in_brackets(self) -> bool:
        """Tell whether a bracket with several members follows, as in P(5,2): what it stands behind is no factor."""
        depth = 0
        for ahead in range(len(self.tokens) - self.position):
            depth += self.at("(", "{", "[", ahead=ahead) - self.at(")", "}", "]", ahead=ahead)
            if depth <= 0:
                return False
            if depth == 1 and self.at(",", ahead=ahead):
                return True
        return False

    def _script(self) -> str:
        """A subscript and primes, as text."""
        text = ""
        while self.at("_", "'", "''") or (
            self.at("^")
            and (self.at("'", ahead=1) or (self.at("{", ahead=1) and self.at("'", ahead=2)))
        ):
            sign = self.take().text
            if sign == "_":
                text += "_" + self._raw()
            elif sign == "^":
                text += self._raw()
            else:
                text += sign
        return text

    def _raw(self) -> str:
        """A group, or one token, as it is written."""
        if not self.at("{"):
            return self.take().text
        self.take()
        depth, text = 1, ""
        while depth:
            token = self.take()
            depth += (token.text == "{") - (token.text == "}")
            text += token.text if depth else ""
        return text

    def _decorated(self, decoration: str) -> Node:
        """`\\overline{AB}`, `\\angle ABC`: a name."""
        group = self.at("{")
        text = self._raw() if group or self.peek() is not None else ""
        if not text or not all(char.isalnum() or char in "\\_'" for char in text):
            raise Unreadable(Reason.TEXT)
        if decoration not in ("angle", "triangle") and text.isdigit():
            raise Unreadable(Reason.AMBIGUOUS)
        while (
            not group
            and (token := self.peek()) is not None
            and token.kind == "letters"
            and not token.upright
            and decoration in ("angle", "triangle")
        ):
            text += self.take().text
        return Name(f"{decoration} {text}{self._script()}")

    def _number_set(self) -> Node:
        name = self._raw()
        exponent = ""
        while self.at("^", "_"):
            exponent += self.take().text + self._raw()
        if name not in ("R", "Z", "N", "Q", "C"):
            raise Unreadable(Reason.TEXT)
        return NumberSet(name + exponent)

    def _root(self, text: str) -> Node:
        degree: Node = Number(Fraction(3 if text == "cbrt" else 2))
        if text == "sqrt" and self.at("["):
            self.take()
            degree = self.expression()
            self.expect("]")
        token = self.peek()
        radicand = (
            self._primary() if token is not None and token.kind == "number" else self._argument()
        )
        return Call("root", (degree, radicand))

    # Brackets --------------------------------------------------------------------------------------

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

    # Functions -------------------------------------------------------------------------------------

    def _call(self, function: str) -> Node:
        base: Node | None = None
        exponent: Node | None = None
        while self.at("_", "^"):
            if self.take().text == "_" and function == "log" and base is None:
                base = self._argument_digits()
            elif self.tokens[self.position - 1].text == "^" and exponent is None:
                exponent = self._exponent()
            else:
                raise Unreadable(Reason.SCRIPT)
        if exponent == Negative(Number(Fraction(1))) and function in _INVERSES:
            function, exponent = _INVERSES[function], None
        arguments = self._call_arguments(function)
        call: Node = (
            Call("log", (base, *arguments))
            if base is not None
            else Call(_named(function), arguments)
        )
        if function == "det" and isinstance(arguments[0], Name):
            call = Name(f"det {arguments[0].text}")
        return call if exponent is None else Power(call, exponent)

    def _argument_digits(self) -> Node:
        token = self.peek()
        return self._primary() if token is not None and token.kind == "number" else self._argument()

    def _call_arguments(self, function: str) -> tuple[Node, ...]:
        if self.at("(", "{", "[", r"\{"):
            opening = self.take().text
            closing = {"(": ")", "{": "}", "[": "]", r"\{": r"\}"}[opening]
            arguments = tuple(self._items(closing))
            self.expect(closing)
            if len(arguments) == 1 and isinstance(arguments[0], Bracketed) and opening == "{":
                arguments = arguments[0].items
            if len(arguments) > 1 and function not in _SEVERAL:
                raise Unreadable(Reason.SEPARATOR)
            return arguments
        if function in _SEVERAL:
            raise Unreadable(Reason.INCOMPLETE)
        negative = self.at("-") and bool(self.take())
        node = self._factor()
        while self.factor_follows() and not self._function_next():
            node = times(node, self._factor())
        if self.at("/"):
            raise Unreadable(Reason.AMBIGUOUS)
        return (Negative(node) if negative else node,)

    def _function_next(self) -> bool:
        token = self.peek()
        return token is not None and token.kind == "function"


def _named(function: str) -> str:
    return {"lg": "log10", "log": "log10"}.get(function, function)


def _letter(letter: str, upright: bool = False) -> Node:
    if letter in ("i", "e"):
        return Constant(letter)
    return Name(letter)


def _member_name(node: Node) -> str:
    raise Unreadable(Reason.TEXT)
