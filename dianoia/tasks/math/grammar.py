r"""Parser, second layer: primaries, that is numbers, names, function calls, and everything in brackets.

In: tokens (`lexer`). Out: a `Node`; `position` says where it ended. Every token is consumed by a production. A token that
no production takes raises `Unreadable` with the reason. Nothing is computed. Sums, products and powers are in the layer
below, `terms`; units, words, relations and lists in those above, `quantities` and `answer_parser`.

    primary = number | name | call | group | set | absolute value | root | fraction | environment | ...
    call    = function ["_" base] ["^" exponent] ( "(" items ")" | product )
    group   = "(" items ")" | "[" items "]" | "(" items "]" | "[" items ")" | "{" items "}"
    set     = "\{" items "\}" | "\{" name ("|" | ":") condition "\}"
    items   = member { ("," | ";") member }

Decisions for ambiguous notation:
1. Adjacent letters are factors. `i` and `e` are the imaginary unit and Euler's number, `\gamma` and `\phi` are names.
2. `\sqrt12` and `\log_10` take all the digits, as people type them; `\frac12` takes one and one, as TeX does.
3. `\sin(x)y` is a product, `\sin 2x` takes the whole product, `\sin^{-1}x` is the inverse function. `\sin\pi/6` is
   read in two ways by people, so it is unreadable.
4. One value in brackets is that value; several values, or brackets of two kinds, are a collection. What does not close is
   unreadable.
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
    Quotient,
    SetOf,
)
from dianoia.tasks.math.terms import (
    DECORATIONS,
    LONGEST_PRODUCT,
    MAX_DEPTH,
    PRIMARY_STARTS,
    TermParser,
    number,
    times,
)
from dianoia.tasks.math.verdict import Reason, TooLarge, Unreadable

_INVERSES = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot", "sec": "arcsec", "csc": "arccsc",
             "sinh": "arcsinh", "cosh": "arccosh", "tanh": "arctanh"}  # fmt: skip
_SEVERAL_ARGUMENTS = frozenset(("max", "min", "gcd", "lcm"))
_FUNCTION_LETTERS = frozenset("fgh")
"""Letters that are functions before a bracket: `f(x)` is a call, `a(x)` a product."""
_RELATIONS = frozenset(("=", "<", ">", "le", "ge", "ne", "approx", "in", "equiv"))
_CLOSERS = {"(": (")", "]"), "[": ("]", ")"), "langle": ("rangle",), "{": ("}",)}
"""Brackets that may close each opening one, its own partner first: half-open intervals mix two kinds."""


class ExpressionParser(TermParser):
    """Adds primaries to `TermParser`."""

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
            # Names need the whole token, to split its letters.
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
        return self._primary_of_sign(token)

    def _primary_of_sign(self, token: Token) -> Node:
        """Parse the primary that a sign begins, the sign being consumed already."""
        text = token.text
        if text in ("(", "[", "langle", "{", r"\{", "|"):
            return self._in_brackets(text, token)
        if text in ("lfloor", "lceil"):
            inner = self.expression()
            self.expect("rfloor" if text == "lfloor" else "rceil")
            return Call("floor" if text == "lfloor" else "ceil", (inner,))
        if text == "frac":
            return Quotient(self._argument(), self._argument())
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
        # A sign that begins nothing: either a term is missing before it, or it has no meaning here.
        raise Unreadable(
            Reason.INCOMPLETE if text in "+-*/^=<>)]}" or text in _RELATIONS else Reason.TEXT
        )

    def _in_brackets(self, text: str, token: Token) -> Node:
        if text == r"\{":
            return self._set()
        return self._absolute_value() if text == "|" else self._group(text, token)

    def _argument(self) -> Node:
        """Parse the argument of a LaTeX command: braces, or one digit, letter or command."""
        token = self.peek()
        if token is None:
            raise Unreadable(Reason.INCOMPLETE)
        if token.kind == "number" and token.text.isdigit() and len(token.text) > 1:
            # Take the first digit and leave the others as a number of their own: \frac12.
            self.tokens[self.position] = replace(
                token, text=token.text[1:], value=Fraction(token.text[1:]), spaced=False
            )
            return Number(Fraction(token.text[0]))
        if token.kind == "letters":
            return self._first_letter()
        if token.kind == "sign" and token.text not in PRIMARY_STARTS:
            raise Unreadable(Reason.INCOMPLETE)
        return self._primary()

    def _first_letter(self) -> Node:
        """Parse the first of adjacent letters and leave the others as a token of their own."""
        token = self.take()
        if len(token.text) > 1:
            self.position -= 1
            self.tokens[self.position] = replace(token, text=token.text[1:], spaced=False)
        return _letter(token.text[0], token.upright)

    def _names(self) -> Node:
        """Parse adjacent letters as a product. The last one may have a subscript and primes, or be a function of brackets.

        `ab_1` is a times b_1, `2f(x)` is twice f of x, `P(5,2)` is P of two arguments.
        """
        token = self.take()
        # Four letters or more are a word of prose, such as `sum`; \mathrm{ab} may be a name.
        if token.kind == "letters" and (
            self.is_word(token) and not (token.upright and len(token.text) <= LONGEST_PRODUCT)
        ):
            raise Unreadable(Reason.TEXT)
        letters = [token.text] if token.kind == "name" else list(token.text)
        if token.upright and len(letters) > 1:  # \mathrm{AB} is one name
            letters = [token.text]
        script = self._script()
        last = letters.pop()
        node = Name(last + script) if script else _letter(last, token.upright)
        is_applied = last in _FUNCTION_LETTERS or (
            isinstance(node, Name) and self._bracket_has_several()
        )
        if (
            is_applied
            and isinstance(node, Name)
            and (bracket := self.peek())
            and self.at("(")
            and not bracket.spaced
        ):
            self.take()
            node = Apply(node.text, tuple(self._items(")")))
            self.expect(")")
        # Right to left, so that the scripted or applied letter stays the last factor.
        for letter in reversed(letters):
            node = times(_letter(letter), node)
        return node

    def _bracket_has_several(self) -> bool:
        """Return True if a bracket with several members is next, as in P(5,2): then the name before it is no factor."""
        # Look for a comma at the first level of brackets, without parsing them.
        depth = 0
        for ahead in range(len(self.tokens) - self.position):
            depth += self.at("(", "{", "[", ahead=ahead) - self.at(")", "}", "]", ahead=ahead)
            if depth <= 0:
                return False
            if depth == 1 and self.at(",", ahead=ahead):
                return True
        return False

    def _script(self) -> str:
        """Consume subscripts and primes and return them as text: `_1`, `''`, `_{n+1}`; "" if there are none."""
        text = ""
        while self.at("_", "'", "''") or (
            self.at("^")
            and (self.at("'", ahead=1) or (self.at("{", ahead=1) and self.at("'", ahead=2)))
        ):
            sign = self.take().text
            if sign == "_":
                text += "_" + self._raw_group()
            elif sign == "^":  # x^{\prime}
                text += self._raw_group()
            else:
                text += sign
        return text

    def _raw_group(self) -> str:
        """Consume a group in braces, or one token, and return its text as it is written."""
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
        """Parse a decorated name: `\\overline{AB}`, `\\vec v`, `\\angle ABC`."""
        group = self.at("{")
        text = self._raw_group() if group or self.peek() is not None else ""
        if not text or not all(char.isalnum() or char in "\\_'" for char in text):
            raise Unreadable(Reason.TEXT)
        # \overline{12} may be a repeating decimal without its point, or a number of two digits.
        if decoration not in ("angle", "triangle") and text.isdigit():
            raise Unreadable(Reason.AMBIGUOUS)
        # \angle ABC without braces takes all letters; \vec v takes one token.
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
        name = self._raw_group()
        exponent = ""
        while self.at("^", "_"):
            exponent += self.take().text + self._raw_group()
        # \mathbb{P} and the like have no meaning here.
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
        # Decision 2: all digits of \sqrt12.
        radicand = (
            self._primary() if token is not None and token.kind == "number" else self._argument()
        )
        return Call("root", (degree, radicand))

    # Brackets --------------------------------------------------------------------------------------

    def _absolute_value(self) -> Node:
        """Parse the rest of an absolute value, after its first bar."""
        self.bars += 1
        inner = self.expression()
        self.bars -= 1
        self.expect("|")
        return Call("abs", (inner,))

    def _group(self, opening: str, token: Token) -> Node:
        """Parse the rest of a group, after its opening bracket: one value, or a tuple, a point or an interval."""
        bars, self.bars = self.bars, 0  # a bar inside the group does not close one outside it
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooLarge("depth")
        items = self._items(*_CLOSERS[opening])
        if self.at("over", "choose") and len(items) == 1 and opening == "{":
            # Plain TeX, {a \over b} and {n \choose k}: the command stands between its arguments.
            is_fraction = self.take().text == "over"
            bottom = self.expression()
            items = [
                Quotient(items[0], bottom) if is_fraction else Call("binom", (items[0], bottom))
            ]
        closing = self.expect(*_CLOSERS[opening]).text
        self.bars = bars
        self.depth -= 1
        if len(items) == 1 and closing == _CLOSERS[opening][0]:
            return items[0]
        if opening == "{":  # people forget the backslash of \{1,2\}
            return SetOf(tuple(items))
        if len(items) == 1 or (len(items) != 2 and closing != _CLOSERS[opening][0]):
            raise Unreadable(Reason.BRACKETS)
        return Bracketed(opening, tuple(items), closing)

    def _items(self, *closers: str) -> list[Node]:
        """Parse members between commas or semicolons, up to a closing bracket, which is not consumed."""
        if self.at(*closers):
            raise Unreadable(Reason.SEPARATOR)
        items = [self.member()]
        while self.at(",", ";"):
            self.take()
            items.append(self.member())
        return items

    def member(self) -> Node:
        """Parse a member of brackets; `answer_parser` also allows relations here."""
        return self.expression()

    def _set(self) -> Node:
        """Parse the rest of a set, after its opening brace: its members, or one name and a condition."""
        if self.at(r"\}"):
            self.take()
            return SetOf(())
        # As if a bar were open: that of {x | x > 2} begins no absolute value.
        bars, self.bars = self.bars, 1
        items = self._items(r"\}")
        self.bars = bars
        if self.at("|", ":") and len(items) == 1:
            self.take()
            condition = self.condition()
            self.expect(r"\}")
            variable = items[0]
            if not isinstance(variable, Name):
                raise Unreadable(Reason.TEXT)
            return Builder(variable.text, condition)
        self.expect(r"\}")
        return SetOf(tuple(items))

    def condition(self) -> Node:
        """Parse the condition of a set or a row of cases; defined in `answer_parser`."""
        raise Unreadable(Reason.TEXT)

    def _environment(self, environment: str) -> Node:
        """Parse the rest of a matrix, a determinant or cases, after `\\begin{...}`, up to and with its end."""
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
            row.append(self.condition() if environment == "cases" else self.expression())
            if self.at("&"):
                self.take()
            elif self.at("row"):
                self.take()
                rows.append(tuple(row))
                row = []
            elif environment == "cases" and self.at(",", ";"):
                self.take()
            elif not (self.peek() is not None and self.tokens[self.position].kind == "end"):
                raise Unreadable(Reason.BRACKETS)
        if self.take().text != environment:
            raise Unreadable(Reason.BRACKETS)
        self.depth -= 1
        if row:
            rows.append(tuple(row))
        if not rows or (environment != "cases" and len({len(entries) for entries in rows}) != 1):
            raise Unreadable(Reason.SEPARATOR)
        if environment == "cases":
            return Cases(tuple(rows))
        return (
            Matrix(tuple(rows)) if environment == "matrix" else Call("det", (Matrix(tuple(rows)),))
        )

    # Functions -------------------------------------------------------------------------------------

    def _call(self, function: str) -> Node:
        """Parse the rest of a call, after the name of the function: base, exponent, arguments.

        `\\sin^2 x` is the square of sin x, `\\log_2 8` has the base 2.
        """
        base: Node | None = None
        exponent: Node | None = None
        while self.at("_", "^"):
            # A base and an exponent may come in either order: \log_2^3 x, \log^3_2 x.
            if self.take().text == "_" and function == "log" and base is None:
                base = self._argument_digits()
            elif self.tokens[self.position - 1].text == "^" and exponent is None:
                exponent = self._exponent()
            else:
                raise Unreadable(Reason.SCRIPT)
        # \sin^{-1} x is the inverse function; \sin^{-2} x a power.
        if exponent == Negative(Number(Fraction(1))) and function in _INVERSES:
            function, exponent = _INVERSES[function], None
        arguments = self._call_arguments(function)
        call: Node = (
            Call("log", (base, *arguments))
            if base is not None
            else Call({"lg": "log10", "log": "log10"}.get(function, function), arguments)
        )
        # \det A of a matrix that has only a name is a name too.
        if function == "det" and isinstance(arguments[0], Name):
            call = Name(f"det {arguments[0].text}")
        return call if exponent is None else Power(call, exponent)

    def _argument_digits(self) -> Node:
        """Parse an argument as `_argument` does, but take all digits of a number (decision 2)."""
        token = self.peek()
        return self._primary() if token is not None and token.kind == "number" else self._argument()

    def _call_arguments(self, function: str) -> tuple[Node, ...]:
        if self.at("(", "{", "[", r"\{"):
            opening = self.take().text
            closing = {"(": ")", "{": "}", "[": "]", r"\{": r"\}"}[opening]
            arguments = tuple(self._items(closing))
            self.expect(closing)
            # \max{(1,2)}: the braces of LaTeX around the brackets of the call
            if len(arguments) == 1 and isinstance(arguments[0], Bracketed) and opening == "{":
                arguments = arguments[0].items
            # f(x, y) of a function of one argument.
            if len(arguments) > 1 and function not in _SEVERAL_ARGUMENTS:
                raise Unreadable(Reason.SEPARATOR)
            return arguments
        if function in _SEVERAL_ARGUMENTS:
            raise Unreadable(Reason.INCOMPLETE)
        # Without brackets: the whole product, up to the next function. \sin 2x \cos x has two factors.
        negative = self.at("-") and bool(self.take())
        node = self._factor()
        while self.factor_follows() and not self._is_at_function():
            node = times(node, self._factor())
        if self.at("/"):  # \sin\pi/6, by decision 3
            raise Unreadable(Reason.AMBIGUOUS)
        return (Negative(node) if negative else node,)

    def _is_at_function(self) -> bool:
        token = self.peek()
        return token is not None and token.kind == "function"


def _letter(letter: str, upright: bool = False) -> Node:
    if letter in ("i", "e"):
        return Constant(letter)
    return Name(letter)
