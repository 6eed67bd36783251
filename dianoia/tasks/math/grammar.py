r"""Expressions: the grammar that reads tokens into a tree, and refuses what it cannot read.

In: tokens (`lexer`). Out: a `Node`, and where it ended. Every token is consumed by a rule; what no rule takes raises
`Unreadable` with the reason. Nothing is computed.

Decisions where notation is ambiguous:
1. Letters side by side are factors; `i` and `e` are the imaginary unit and Euler's number, `\gamma` and `\phi` names.
2. A number behind a factor is no factor: `x5`, `\frac{1}{2}3`, `2 3` are unreadable. `6\frac15` is a mixed number.
3. `1/2x` is half of x, as people type it; `a/bc` and `\sin\pi/6` are read in two ways by people, and so by nobody here.
4. `x^10`, `\sqrt12` and `\log_10` take all the digits, as people type them; `\frac12` takes one and one, as TeX does.
5. `\sin(x)y` is a product, `\sin 2x` takes the whole product, `\sin^{-1}x` is the inverse function.
"""

from dataclasses import replace
from fractions import Fraction

from dianoia.tasks.math.lexer import Token
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
    Product,
    Quotient,
    SetOf,
    Signed,
    Sum,
)
from dianoia.tasks.math.verdict import Reason, TooLarge, Unreadable

MAX_DEPTH = 40
_CLOSERS = {"(": (")", "]"), "[": ("]", ")"), "langle": ("rangle",), "{": ("}",)}
_INVERSES = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot", "sec": "arcsec", "csc": "arccsc",
             "sinh": "arcsinh", "cosh": "arccosh", "tanh": "arctanh"}  # fmt: skip
_SEVERAL = frozenset(("max", "min", "gcd", "lcm"))
_APPLIED = frozenset("fgh")
_DECORATIONS = frozenset(
    ("overline", "vec", "hat", "tilde", "overrightarrow", "angle", "triangle", "mathcal")
)
_BEGINS_PRIMARY = (
    frozenset(
        (
            "(",
            "[",
            "{",
            "|",
            r"\{",
            "langle",
            "lfloor",
            "lceil",
            "frac",
            "sqrt",
            "cbrt",
            "root",
            "binom",
            "mathbb",
            "emptyset",
        )
    )
    | _DECORATIONS
)
_RELATIONS = frozenset(("=", "<", ">", "le", "ge", "ne", "approx", "in", "equiv"))
LONGEST_PRODUCT = 3
"""Letters side by side that are factors; more are a word."""


class Parser:
    """Reads one list of tokens from left to right."""

    def __init__(self, read: list[Token], letters_are_units: bool = False) -> None:
        self.tokens = read
        self.position = 0
        self.depth = 0
        self.letters_are_units = letters_are_units
        self.bars = 0
        """Absolute values that are open."""

    # Looking ---------------------------------------------------------------------------------------

    def peek(self, ahead: int = 0) -> Token | None:
        """The next token; None at the end."""
        position = self.position + ahead
        return self.tokens[position] if position < len(self.tokens) else None

    def at(self, *texts: str, ahead: int = 0) -> bool:
        """Whether the next token is one of these signs."""
        token = self.peek(ahead)
        return (
            token is not None
            and token.kind in ("sign", "font", "end", "begin")
            and token.text in texts
        )

    def take(self) -> Token:
        """The next token, consumed."""
        token = self.peek()
        if token is None:
            raise Unreadable(Reason.INCOMPLETE)
        self.position += 1
        return token

    def expect(self, *texts: str) -> Token:
        """One of these signs, consumed."""
        if not self.at(*texts):
            raise Unreadable(Reason.BRACKETS)
        return self.take()

    # Sums and products -----------------------------------------------------------------------------

    def expression(self) -> Node:
        """A sum of terms."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooLarge("depth")
        terms = [self._signed_term()] if self.at("+", "-", "pm", "mp") else [self._term()]
        while self.at("+", "-", "pm", "mp"):
            terms.append(self._signed_term())
        self.depth -= 1
        return terms[0] if len(terms) == 1 else Sum(tuple(terms))

    def _signed_term(self) -> Node:
        sign = self.take().text
        if self.at("+", "-", "pm", "mp"):
            raise Unreadable(Reason.INCOMPLETE)
        term = self._term()
        if sign == "+":
            return term
        return Negative(term) if sign == "-" else Signed(term, 1 if sign == "pm" else -1)

    def _term(self) -> Node:
        """Factors with signs between them, or side by side."""
        node = self._factor()
        over: Node | None = None
        """The number under the last division sign, while only numbers stand on both sides of it."""
        divided = False
        while True:
            if self.at("*", "/"):
                sign = self.take().text
                negative = self.at("-") and bool(self.take())
                self._no_sign()
                factor = self._factor()
                factor = Negative(factor) if negative else factor
                divided = sign == "/"
                over = (
                    factor
                    if divided and isinstance(node, Number) and isinstance(factor, Number)
                    else None
                )
                node = _divided(node, factor) if divided else _times(node, factor)
            elif self._scientific_cross():
                self.take()
                node = _times(node, self._factor())
            elif self.factor_follows():
                if (divided and over is None) or node == Number(Fraction(0)):
                    raise Unreadable(Reason.AMBIGUOUS)
                node = _times(node, self._factor())
            else:
                return node

    def _no_sign(self) -> None:
        if self.at("+", "-", "pm", "mp"):
            raise Unreadable(Reason.INCOMPLETE)

    def _scientific_cross(self) -> bool:
        """`2.5x10^3`: an x between a number and a power of ten is a multiplication sign."""
        token, ten = self.peek(), self.peek(1)
        before = self.tokens[self.position - 1] if self.position else None
        return (
            token is not None and token.kind == "letters" and token.text == "x" and not token.upright
            and before is not None and before.kind == "number"
            and ten is not None and ten.kind == "number" and ten.text == "10" and self.at("^", ahead=2)
        )  # fmt: skip

    def factor_follows(self) -> bool:
        """Whether the next token is a factor without a sign before it."""
        token = self.peek()
        if token is None or token.shifted:
            return False
        if token.kind in ("number", "based"):
            if token.kind == "number" and self.tokens[self.position - 1].text == "!":
                return True  # 2!4! in a quotient of factorials
            raise Unreadable(Reason.NUMBERS)
        if token.kind == "letters":
            return not self.is_word(token)
        if token.kind in ("name", "constant", "function"):
            return True
        if token.kind == "begin":
            return True
        if token.kind == "font":
            raise Unreadable(Reason.NUMBERS)
        if token.text == "|" and self.bars:
            return False
        return token.kind == "sign" and token.text in _BEGINS_PRIMARY

    def is_word(self, token: Token) -> bool:
        """Whether letters are a word or a unit here, and no factors."""
        if token.upright:
            return token.text not in ("i", "e", "d")
        if token.text.lower() in ("and", "or", "mod") or len(token.text) > LONGEST_PRODUCT:
            return True
        return token.spaced and self._ends_as_unit(token)

    def _ends_as_unit(self, token: Token) -> bool:
        """Whether a short word behind a space is a unit: a known one, and nothing but its power and words behind it."""
        from dianoia.tasks.math.units import unit  # noqa: PLC0415

        if len(token.text) == 1 and not self.letters_are_units:
            return False
        before = self.tokens[self.position - 1] if self.position else None
        behind_value = before is not None and (
            before.kind in ("number", "constant") or before.text in ("}", ")")
        )
        return behind_value and unit(token.text) is not None

    def _factor(self) -> Node:
        """A primary with what stands behind it: factorial, degree, exponent."""
        start = self.peek()
        node = self._primary()
        mixed = self._mixed(start, node)
        node = mixed or node
        while True:
            following = self.peek()
            if following is not None and following.shifted and self.at("!", "^", "_", "'", "''"):
                raise Unreadable(Reason.DOLLARS)
            if self.at("!"):
                self.take()
                if self.at("!"):
                    raise Unreadable(Reason.AMBIGUOUS)
                node = Call("factorial", (node,))
            elif self.at("degree") or self._circle_exponent():
                self._take_degree()
                node = Call("degree", (node,))
            elif self.at("^"):
                self.take()
                node = self._power(node)
            elif self.at("_", "'", "''"):
                raise Unreadable(Reason.SCRIPT)
            else:
                return node

    def _power(self, base: Node) -> Node:
        if isinstance(base, Matrix) and (transposed := self._transposition()):
            return Call(transposed, (base,))
        exponent = self._exponent()
        if self.at("^"):
            raise TooLarge("a power of a power")
        return Power(base, exponent)

    def _transposition(self) -> str | None:
        token = self.peek(1) if self.at("{") else self.peek()
        if token is None or token.text not in ("T", "top", "intercal", "t"):
            return None
        braces = self.at("{")
        self.position += 3 if braces else 1
        return "transpose"

    def _circle_exponent(self) -> bool:
        """`^\\circ` or `^{\\circ}`."""
        return self.at("^") and (
            self.at("circ", ahead=1)
            or (self.at("{", ahead=1) and self.at("circ", ahead=2) and self.at("}", ahead=3))
        )

    def _take_degree(self) -> None:
        if self.at("degree"):
            self.take()
        else:
            self.position += 2 if self.at("circ", ahead=1) else 4

    def _exponent(self) -> Node:
        """Braces, a bracket, or one token with its sign."""
        negative = False
        if self.at("-", "+"):
            negative = self.take().text == "-"
        token = self.peek()
        if token is None:
            raise Unreadable(Reason.INCOMPLETE)
        if token.kind == "letters":
            node = self._first_letter()
        elif token.kind in ("number", "name", "constant") or self.at("{", "(", "frac", "sqrt"):
            node = self._primary()
        else:
            raise Unreadable(
                Reason.SCRIPT if token.text in ("'", "prime", "*") else Reason.INCOMPLETE
            )
        return Negative(node) if negative else node

    def _mixed(self, start: Token | None, node: Node) -> Node | None:
        """`6\\frac15` and `1 1/2`: a whole number and a proper fraction."""
        if (
            start is None
            or start.kind != "number"
            or not isinstance(node, Number)
            or node.notation != "integer"
        ):
            return None
        following = self.peek()
        if following is None or following.shifted:
            return None
        mark = self.position
        if self.at("frac"):
            fraction = self._primary()
            top, bottom = (
                (fraction.top, fraction.bottom) if isinstance(fraction, Quotient) else (None, None)
            )
        elif following.kind == "number" and not following.text[0].isascii():
            self.take()
            return Number(node.value + (following.value or 0), "fraction")
        elif following.kind == "number" and following.spaced and self.at("/", ahead=1):
            top_token, _, bottom_token = self.take(), self.take(), self.peek()
            if bottom_token is None or bottom_token.kind != "number":
                self.position = mark
                return None
            self.take()
            top, bottom = _number(top_token), _number(bottom_token)
        else:
            return None
        whole = (
            isinstance(top, Number)
            and isinstance(bottom, Number)
            and top.notation == bottom.notation == "integer"
        )
        if not (whole and isinstance(top, Number) and isinstance(bottom, Number)):
            self.position = mark
            return None
        if not 0 < top.value < bottom.value:
            raise Unreadable(Reason.AMBIGUOUS)
        return Number(node.value + top.value / bottom.value, "fraction")

    # Primaries -------------------------------------------------------------------------------------

    def _primary(self) -> Node:
        token = self.take()
        if token.kind == "number":
            return _number(token)
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
        if text in ("(", "[", "langle", "{"):
            return self._group(text, token)
        if text == r"\{":
            return self._set()
        if text == "|":
            return self._bars()
        if text in ("lfloor", "lceil"):
            inner = self.expression()
            self.expect("rfloor" if text == "lfloor" else "rceil")
            return Call("floor" if text == "lfloor" else "ceil", (inner,))
        if text == "frac":
            return _divided(self._argument(), self._argument())
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
        if text in _DECORATIONS:
            return self._decorated(text)
        if text in (",", ";"):
            raise Unreadable(Reason.SEPARATOR)
        raise Unreadable(
            Reason.INCOMPLETE if text in "+-*/^=<>)]}" or text in _RELATIONS else Reason.TEXT
        )

    def _argument(self) -> Node:
        """What a command takes: braces, or one digit, letter or command."""
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
        if token.kind == "sign" and token.text not in _BEGINS_PRIMARY:
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
        applied = (
            token.text in _APPLIED or (script and isinstance(node, Name) and last in _APPLIED)
        ) and self.at("(")
        if applied and isinstance(node, Name) and (bracket := self.peek()) and not bracket.spaced:
            self.take()
            node = Apply(node.text, tuple(self._items(")")))
            self.expect(")")
        for letter in reversed(letters):
            node = _times(_letter(letter), node)
        return node

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

    def _bars(self) -> Node:
        self.bars += 1
        inner = self.expression()
        self.bars -= 1
        self.expect("|")
        return Call("abs", (inner,))

    # Brackets --------------------------------------------------------------------------------------

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
            items = [_divided(items[0], bottom) if fraction else Call("binom", (items[0], bottom))]
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
            node = _times(node, self._factor())
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


def _number(token: Token) -> Number:
    value = token.value if token.value is not None else Fraction(0)
    if not token.text.isascii():
        return Number(value, "fraction")
    if any(sign in token.text for sign in "eE"):
        return Number(value, "power", _places(token.text))
    return Number(value, "decimal" if "." in token.text else "integer", _places(token.text))


def _places(text: str) -> int:
    """Digits behind the point; repeating decimals are exact, so they have none."""
    return len(text.partition(".")[2]) if text.replace(".", "").isdigit() else 0


def _times(left: Node, right: Node) -> Node:
    factors = (*left.factors, right) if isinstance(left, Product) else (left, right)
    return Product(factors)


def _divided(top: Node, bottom: Node) -> Node:
    return Quotient(top, bottom)
