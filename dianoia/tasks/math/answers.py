r"""Whole answers: lists, named values, relations, sets, quantities and words, made of the expressions of `grammar`.

In: a bare answer. Out: its readings as trees, the ordinary one first. A token that no rule reads makes the answer
unreadable. What may be left out of an answer is left out here, each by a rule with a name:

- `full stop`: a full stop, comma, semicolon or colon at the very end.
- `name`: names before an equals sign, kept in the tree, so that another name for a named value can be told.
- `unit`, `scale`, `percent`: words behind a value, kept in a `Quantity`; whether they may stand there, `compare` decides.

Decisions:
1. "and", "or", commas and semicolons separate answers that stand side by side. A list has an order only where an
   ellipsis leaves members out.
2. Words are an answer only if nothing but words stands there. A word behind a value is a unit or a noun; words that
   change a number ("5 or so", "half of 5") make the answer unreadable.
3. `5 m` is five metres as well as 5m, and `200,100` a list as well as a number: such answers have two readings.
"""

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from dianoia.tasks.math.alphabet import Token
from dianoia.tasks.math.lexer import tokens
from dianoia.tasks.math.nodes import (
    Apply,
    Boxed,
    Bracketed,
    Cases,
    Listing,
    Matrix,
    Negative,
    Node,
    Number,
    Quantity,
    Ratio,
    Relation,
    SetOf,
    SetOperation,
    Words,
)
from dianoia.tasks.math.quantities import RELATIONS, QuantityParser, normal_words
from dianoia.tasks.math.verdict import Reason, TooLarge, Unreadable

MAX_CHARS = 2000
MAX_ITEMS = 64
_SET_SIGNS = ("cup", "cap", "minus")
_SENTENCE_END = re.compile(r"(?<!\.)[.,;:。，；：]\Z")


class Reading(NamedTuple):
    """One way to read an answer, and the rule that allows it."""

    rule: Literal["ordinary", "unit letters", "commas separate", "spelled"]
    node: Node


@lru_cache(maxsize=1024)
def readings(text: str) -> tuple[Reading, ...]:
    """Every reading of a bare answer, the ordinary one first.

    Raises:
        Unreadable: no rule reads it.
        TooLarge: it is longer, deeper or larger than the bounds.
    """
    if len(text) > MAX_CHARS:
        raise TooLarge("characters")
    if not text.isprintable():
        raise Unreadable(Reason.CHARACTER)
    bare = _without_end(text)
    reads: list[Reading] = []
    refusal: Unreadable | None = None
    for rule in _rules(bare):
        if (
            rule == "commas separate"
            and reads
            and not isinstance(reads[0].node, Number | Quantity | Negative)
        ):
            continue  # its commas separate already
        try:
            node = _read(bare, rule == "unit letters", rule == "commas separate")
        except Unreadable as error:
            refusal = refusal or error
        else:
            if all(node != reading.node for reading in reads):
                reads.append(Reading(rule, node))
    if not reads and refusal is not None:
        raise refusal
    if (spelled := _spelled(bare)) is not None and not isinstance(reads[0].node, Words):
        reads.append(Reading("spelled", spelled))
    return tuple(reads)


def _rules(text: str) -> tuple[Literal["ordinary", "unit letters", "commas separate"], ...]:
    """The rules that may read a text: letters are units only without LaTeX, commas matter only where there are some."""
    latex = "\\" in text.replace("\\$", "").replace("\\%", "")
    return (
        "ordinary",
        *(() if latex else ("unit letters",)),
        *(("commas separate",) if "," in text else ()),
    )


def _read(text: str, letters_are_units: bool, commas_separate: bool) -> Node:
    try:
        parser = AnswerParser(_unbraced(tokens(text, commas_separate)), letters_are_units)
        return parser.whole()
    except RecursionError:
        raise TooLarge("depth") from None


def _unbraced(read: list[Token]) -> list[Token]:
    """Without braces around the whole, which group and say nothing."""
    if any(token.text in ("over", "choose") for token in read):
        return read
    while (
        len(read) > 2
        and read[0].text == "{"
        and read[-1].text == "}"
        and read[0].kind == read[-1].kind == "sign"
    ):
        depth = 0
        for token in read[:-1]:
            depth += (token.text == "{") - (token.text == "}")
            if not depth:
                return read
        read = read[1:-1]
    return read


def _without_end(text: str) -> str:
    """Without the mark that ends a sentence, inside or outside the dollar signs, and the wrappers of Markdown."""
    for _ in range(6):
        before = text
        text = text.strip()
        if text.endswith("\\") and not text.endswith("\\\\"):
            text = text[:-1].strip()  # of an escaped space
        text = (
            _SENTENCE_END.sub("", text) if not text.endswith(("\\,", "\\;", "\\:")) else text[:-2]
        )
        inner = re.fullmatch(
            r"(\$\$?|\\\(|\\\[)(.*?)[.,;:。，；：]\s*(\$\$?|\\\)|\\\])", text, re.DOTALL
        )
        if inner and not inner[2].endswith(("\\", ".")) and inner[1] not in inner[2]:
            text = inner[2]
        for wrapper in ("**", "__", "`", '"', "*"):
            inside = text[len(wrapper) : -len(wrapper)]
            if (
                len(text) > 2 * len(wrapper)
                and text == wrapper + inside + wrapper
                and wrapper not in inside
            ):
                text = inside
        if text == before:
            break
    return text


_PLAIN_TEXT = re.compile(r"[A-Za-z0-9 .,:;'’/()-]{1,60}")
_MATHEMATICS_AROUND = re.compile(r"(?:\$\$?|\\\(|\\\[)(.*?)(?:\$\$?|\\\)|\\\])", re.DOTALL)


def _spelled(text: str) -> Node | None:
    """Plain text as words, beside a gold answer in words: VW, 1:03 PM, June 20."""
    inner = _MATHEMATICS_AROUND.fullmatch(text)
    bare = (inner[1] if inner else text).strip()
    if not _PLAIN_TEXT.fullmatch(bare) or not any(char.isalpha() for char in bare):
        return None
    return Words(normal_words(bare))


class AnswerParser(QuantityParser):
    """Reads the tokens of a whole answer."""

    def whole(self) -> Node:
        """The answer; raises Unreadable if a token is left."""
        if not self.tokens:
            raise Unreadable(Reason.NOTHING)
        node = self._listing()
        if self.peek() is not None:
            raise Unreadable(self._why_left())
        return node

    def _why_left(self) -> Reason:
        token = self.take()
        if token.kind in ("letters", "words"):
            return Reason.TEXT_BEHIND
        if token.text in (")", "]", "}", r"\}", "rangle", "|"):
            return Reason.BRACKETS
        if token.text in ("_", "'", "''"):
            return Reason.SCRIPT
        return Reason.NUMBERS if token.kind in ("number", "based") or token.shifted else Reason.TEXT

    # Lists -----------------------------------------------------------------------------------------

    def _listing(self) -> Node:
        items = [self._item()]
        joints = set()
        while (joint := self._separator()) is not None:
            joints.add(joint)
            items.append(self._item())
            if len(items) > MAX_ITEMS:
                raise TooLarge("items")
        if (
            len(items) == 1
            and self.tokens[0].text == "["
            and self.tokens[-1].text == "]"
            and not isinstance(items[0], Bracketed | SetOperation | Listing | Matrix | Cases)
        ):
            raise Unreadable(Reason.AMBIGUOUS)  # [5] is a list, a floor, or a habit
        if len(items) == 1:
            only = items[0]
            return only.content if isinstance(only, Boxed) else only
        boxed = all(isinstance(item, Boxed) for item in items)
        bare = tuple(item.content if isinstance(item, Boxed) else item for item in items)
        return Listing(bare, "or" if "or" in joints else "and" if "and" in joints else ",", boxed)

    def _separator(self) -> str | None:
        """Consume what separates two answers and name it; None where the list ends."""
        joint = None
        if self.at(",", ";"):
            self.take()
            joint = ","
        word = self._joining_word()
        if word is not None:
            self.take()
            if self.peek() is not None and self.at(",", ";"):
                raise Unreadable(Reason.SEPARATOR)
            return word
        if joint and self.peek() is None:
            raise Unreadable(Reason.SEPARATOR)
        return joint

    # Items -----------------------------------------------------------------------------------------

    def _item(self) -> Node:
        """A relation, or one side of none."""
        parts, signs = [self._side()], []
        modulus = None
        while self.at(*RELATIONS):
            sign = self.take().text
            if sign in ("subset", "to"):
                raise Unreadable(Reason.TEXT)
            if self.at("-", "+") and sign == "=" and self.peek(1) is None:
                raise Unreadable(Reason.INCOMPLETE)
            signs.append(sign)
            parts.append(self._side())
            if sign == "equiv":
                modulus = self._modulus()
            if len(parts) > 8:
                raise TooLarge("relations")
        if not signs:
            return parts[0]
        parts = [part.content if isinstance(part, Boxed) else part for part in parts]
        return Relation(tuple(parts), tuple(signs), modulus)

    def _modulus(self) -> Node:
        if self.at("("):
            self.take()
            if self.at("mod", "bmod", "pmod"):
                self.take()
            elif not self._word_is("mod"):
                raise Unreadable(Reason.TEXT)
            node = self.expression()
            self.expect(")")
            return node
        if self.at("pmod", "bmod", "mod"):
            self.take()
            return self._argument()
        if self._word_is("mod"):
            return self.expression()
        raise Unreadable(Reason.TEXT)

    def _word_is(self, word: str) -> bool:
        token = self.peek()
        if token is not None and token.kind == "letters" and token.text == word:
            self.take()
            return True
        return False

    def _side(self) -> Node:
        """Words, a set of sets, a ratio, or a quantity."""
        if (words := self._words()) is not None:
            return words
        node = self._function_name() or self._operand()
        while self.at(*_SET_SIGNS) or self._union_letter(node):
            sign = self.take().text
            operation = "cup" if sign == "U" else sign
            node = SetOperation(operation, node, self._operand())  # type: ignore[arg-type]
        if self.at(":") and self.peek(1) is not None:
            parts = [node]
            while self.at(":"):
                self.take()
                parts.append(self._operand())
            return Ratio(tuple(parts))
        return node

    def _function_name(self) -> Apply | None:
        """`P(x)` before an equals sign: a name, and no product."""
        start = self.position
        inverse = [token.text for token in self.tokens[start + 1 : start + 6]] == [
            "^",
            "{",
            "-",
            "1",
            "}",
        ]
        begin = start + (7 if inverse else 2)
        token, bracket = self.peek(), self._at(begin - 1)
        if (
            token is None
            or bracket is None
            or token.kind not in ("letters", "name")
            or bracket.text != "("
            or bracket.spaced
        ):
            return None
        if token.kind == "letters" and (len(token.text) > 1 or token.text in ("i", "e")):
            return None
        end = begin
        while (inner := self._at(end)) is not None and inner.text != ")":
            if not (
                inner.kind in ("letters", "number", "name", "constant") or inner.text in (",", "-")
            ):
                return None
            end += 1
        following = self._at(end + 1)
        if (
            following is None
            or following.kind != "sign"
            or following.text not in ("=", "approx")
            or end == begin
        ):
            return None
        self.position = begin
        arguments = tuple(self._items(")"))
        self.expect(")")
        return Apply(token.text + ("^-1" if inverse else ""), arguments)

    def _union_letter(self, left: Node) -> bool:
        """`(1,2) U (3,4)`."""
        token = self.peek()
        return (
            token is not None and token.kind == "letters" and token.text == "U" and isinstance(left, Bracketed | SetOf | SetOperation)
            and self.at("(", "[", r"\{", ahead=1)
        )  # fmt: skip

    def factor_follows(self) -> bool:
        """Look for a factor as `Parser` does; the U of a union is none."""
        token = self.peek()
        if (
            token is not None
            and token.kind == "letters"
            and token.text == "U"
            and self.at("(", "[", r"\{", ahead=1)
        ):
            before = self.tokens[self.position - 1].text if self.position else ""
            if before in (")", "]", r"\}"):
                return False
        return super().factor_follows()

    def member(self) -> Node:
        """In brackets stand expressions, and relations where a set is meant."""
        node = self.expression()
        if self.at(*RELATIONS):
            parts, signs = [node], []
            while self.at(*RELATIONS):
                signs.append(self.take().text)
                parts.append(self.expression())
            return Relation(tuple(parts), tuple(signs))
        return node

    def condition(self) -> Node:
        """Read what a member of a set fulfils, or a row of cases."""
        if (words := self._words()) is not None:
            return words
        token = self.peek()
        if (
            token is not None
            and token.kind == "letters"
            and token.upright
            and token.text in ("if", "for", "when", "where")
        ):
            self.take()
        items = [self._item()]
        while (
            self.at(",")
            and not self.at("row", "&", ahead=1)
            and not (self.peek(1) is None or self.tokens[self.position + 1].kind == "end")
        ):
            self.take()
            items.append(self._item())
        return items[0] if len(items) == 1 else Listing(tuple(items), "and")
