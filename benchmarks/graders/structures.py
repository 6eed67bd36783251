"""Generate gold answers with parts: tuples, lists, sets, intervals, unions, inequalities, vectors, matrices, equations,
named values, texts and options.

In: a `random.Random`. Out: `Gold`s, each with forms that say the same and forms that say something else.
"""

import random

from benchmarks.graders.golds import (
    INTRUDER,
    Generator,
    Gold,
    proper,
    signed,
    spelled_fraction,
    whole,
)
from benchmarks.graders.polynomials import joined


def _member(draw: random.Random) -> str:
    """Draw a number as a part of something: whole, a fraction or a root."""
    kind = draw.random()
    if kind < 0.65:
        return str(whole(draw, 1, 60))
    if kind < 0.85:
        value = proper(draw, 9)
        return spelled_fraction(value.numerator, value.denominator, draw)
    return rf"{draw.choice((2, 3, 4))}\sqrt{{{draw.choice((2, 3, 5, 7))}}}"


def _members(draw: random.Random, count: int) -> list[str]:
    members: list[str] = []
    while len(members) < count:
        member = _member(draw)
        if member not in members and INTRUDER not in member and not any(
            member.lstrip("-") == other.lstrip("-") or ("frac" in member and "frac" in other) for other in members
        ):  # fmt: skip
            members.append(member)
    return members


def pair(draw: random.Random) -> Gold:
    """Draw a point of two to four coordinates."""
    members = _members(draw, draw.choice((2, 2, 3, 4)))
    text = (
        f"({', '.join(members)})"
        if draw.random() < 0.5
        else rf"\left( {', '.join(members)} \right)"
    )
    names = ("x", "y", "z", "w")[: len(members)]
    same = {"tuple without spaces": f"({','.join(members)})", "tuple by left and right": rf"\left({', '.join(members)}\right)",
            "tuple by big": rf"\big({', '.join(members)}\big)", "tuple with thin spaces": "(" + r",\, ".join(members) + ")",
            "tuple named by its coordinates": f"({', '.join(names)}) = ({', '.join(members)})",
            "tuple named by a letter": f"P = ({', '.join(members)})"}  # fmt: skip
    different = {
        "coordinates exchanged": f"({', '.join([members[1], members[0], *members[2:]])})",
        "coordinate dropped": f"({', '.join(members[:-1])})",
        "coordinate added": f"({', '.join(members)}, {INTRUDER})",
        "coordinate repeated": f"({', '.join([*members, members[-1]])})",
        "tuple as a set": rf"\{{{', '.join(members)}\}}",
        "coordinate negated": f"({', '.join([f'-({members[0]})', *members[1:]])})",
        "coordinate changed": f"({', '.join([*members[:-1], INTRUDER])})",
        "tuple twice": f"({', '.join(members)}), ({', '.join(members[::-1])})",
        "tuple halved": f"({', '.join(members)})/2",
        "sum of coordinates": f"({' + '.join(members)})",
        "tuple opened": f"({', '.join(members)}",
        "length of a tuple": rf"|({', '.join(members)})|",
        "coordinates multiplied": f"({')('.join(members)})",
        "tuple plus a tuple": f"({', '.join(members)}) + (1, 1)",
        "coordinates by bars": f"({'|'.join(members)}|{INTRUDER})",
    }
    if len(members) == 2:
        different["half open interval"] = f"({', '.join(members)}]"
    return Gold(text, "pair", tuple(members), question="Find the point.", same=same, different=different)  # fmt: skip


def numbers(draw: random.Random) -> Gold:
    """Draw a list of numbers, as where all solutions are asked for."""
    members = _members(draw, draw.choice((2, 2, 3, 4)))
    joint = draw.choice((", ", ",", r"\text{ and }"))
    text = (
        ", ".join(members) if joint != r"\text{ and }" or len(members) > 2 else joint.join(members)
    )
    head = ", ".join(members[:-1])
    same = {"list turned": ", ".join(members[::-1]), "list as a set": rf"\{{{', '.join(members)}\}}",
            "list with and": rf"{head} \text{{ and }} {members[-1]}", "list with a comma and and": rf"{head}, \text{{ and }} {members[-1]}",
            "list in plain words": f"{head} and {members[-1]}", "list of boxes": ", ".join(rf"\boxed{{{m}}}" for m in members),
            "list of boxes with and": " and ".join(rf"\boxed{{{m}}}" for m in members),
            "list of boxes with quads": r" \quad \text{and} \quad ".join(rf"\boxed{{{m}}}" for m in members) if len(members) == 2 else ", ".join(members),
            "list of dollars": ", ".join(f"${m}$" for m in members), "list of names": ", ".join(f"x = {m}" for m in members)}  # fmt: skip
    different = {
        "member dropped": ", ".join(members[:-1]),
        "member repeated": ", ".join([*members, members[0]]),
        "member changed": ", ".join([*members[:-1], INTRUDER]),
        "member added": ", ".join([*members, INTRUDER]),
        "member replaced by another": ", ".join([members[0]] * len(members)),
        "members without commas": " ".join(members),
        "members summed": " + ".join(members),
        "range for a list": f"{members[0]}-{members[-1]}",
        "list to be continued": ", ".join(members) + r", \ldots",
        "list among others": ", ".join(members) + r" \text{ among others}",
        "member negated": ", ".join([f"-({members[0]})", *members[1:]]),
        "members multiplied": f"({')('.join(members)})",
        "list but one": rf"{', '.join(members)} \text{{ but not }} {members[0]}",
    }
    return Gold(text, "numbers", frozenset(members), same=same, different=different)


def sets(draw: random.Random) -> Gold:
    """Draw a set in braces."""
    members = _members(draw, draw.choice((2, 3, 4)))
    inside = ", ".join(members)
    text = rf"\{{{inside}\}}" if draw.random() < 0.6 else rf"\left\{{ {inside} \right\}}"
    same = {"set turned": rf"\{{{', '.join(members[::-1])}\}}", "set as a list": inside, "set by lbrace": rf"\lbrace {inside} \rbrace",
            "set with a name": rf"S = \{{{inside}\}}", "set by left and right": rf"\left\{{{inside}\right\}}"}  # fmt: skip
    different = {"set member dropped": rf"\{{{', '.join(members[1:])}\}}", "set member added": rf"\{{{inside}, {INTRUDER}\}}",
                 "set as a tuple": f"({inside})", "complement of a set": rf"\mathbb{{R}} \setminus \{{{inside}\}}",
                 "union with another set": rf"\{{{inside}\}} \cup \{{{INTRUDER}\}}", "set of a set": rf"\{{\{{{inside}\}}, {INTRUDER}\}}",
                 "not in the set": rf"x \notin \{{{inside}\}}", "set minus a member": rf"\{{{inside}\}} \setminus \{{{members[0]}\}}",
                 "set member changed": rf"\{{{', '.join([*members[:-1], INTRUDER])}\}}", "set as interval": f"[{members[0]}, {members[-1]}]"}  # fmt: skip
    return Gold(text, "sets", frozenset(members), same=same, different=different)


def plus_minus(draw: random.Random) -> Gold:
    """Draw a pair of conjugates."""
    a, b = whole(draw, 1, 20), draw.choice((2, 3, 5, 7, 10, 19))
    if a * a - b == 97:
        a += 1  # 97 over either conjugate would be the other: the mutators' 97 has to change the answer
    text = rf"{a} \pm \sqrt{{{b}}}"
    same = {
        "both written out": rf"{a} + \sqrt{{{b}}}, {a} - \sqrt{{{b}}}",
        "both turned": rf"{a} - \sqrt{{{b}}}, {a} + \sqrt{{{b}}}",
    }
    different = {"only plus": rf"{a} + \sqrt{{{b}}}", "only minus": rf"{a} - \sqrt{{{b}}}", "sign on the other": rf"\pm {a} + \sqrt{{{b}}}",
                 "three": rf"{a} \pm \sqrt{{{b}}}, {a}", "other number": rf"{a} \pm {b}"}  # fmt: skip
    return Gold(text, "plus_minus", (a, b), same=same, different=different)


def interval(draw: random.Random) -> Gold:
    """Draw an interval, closed, open or infinite."""
    low = whole(draw, 1, 40)
    high = low + draw.randint(1, 40)
    if INTRUDER in f"{low} {high}":
        return interval(draw)
    kind = draw.choice(("both", "left", "right"))
    opening = "(" if kind == "left" else draw.choice("([")
    closing = ")" if kind == "right" else draw.choice(")]")
    start = r"-\infty" if kind == "left" else str(low)
    end = r"\infty" if kind == "right" else str(high)
    other = {"(": "[", "[": "(", ")": "]", "]": ")"}
    below, above = {"(": "<", "[": r"\le"}[opening], {")": "<", "]": r"\le"}[closing]
    larger = {"(": ">", "[": r"\ge"}[opening]
    text = draw.choice(
        (
            f"{opening}{start},{end}{closing}",
            f"{opening}{start}, {end}{closing}",
            rf"\left{opening}{start}, {end}\right{closing}",
        )
    )
    same = {"interval with membership": rf"x \in {opening}{start}, {end}{closing}", "interval by left and right": rf"\left{opening} {start}, {end} \right{closing}",
            "infinity with plus": f"{opening}{start},{end}{closing}".replace(r",\infty", r",+\infty"), "infinity sign": f"{opening}{start},{end}{closing}".replace(r"\infty", "∞")}  # fmt: skip
    outside = low - 3 if kind != "left" else high + 3
    inside = {"both": f"{(low + high) / 2:g}", "left": str(high - 3), "right": str(low + 3)}[kind]
    inequality = {
        "both": f"{start} {below} x {above} {end}",
        "left": f"x {above} {end}",
        "right": f"x {larger} {start}",
    }[kind]
    same["interval as inequality"] = inequality
    if kind == "left":
        same["interval as inequality with infinity"] = rf"-\infty < x {above} {end}"
    different = {
        "interval as a set": rf"\{{{start}, {end}\}}",
        "left end moved": f"{opening}{low - 1 if kind != 'left' else INTRUDER},{end}{closing}",
        "right end moved": f"{opening}{start},{high + 1 if kind != 'right' else INTRUDER}{closing}",
        "interval turned": f"{opening}{end},{start}{closing}",
        "complement of an interval": rf"\mathbb{{R}} \setminus {opening}{start},{end}{closing}",
        "interval and larger": rf"{opening}{start},{end}{closing} \cup \{{{outside}\}}",
        "interval without a point": rf"{opening}{start},{end}{closing} \setminus \{{{inside}\}}",
        "inequality turned": f"x {'>' if kind == 'left' else '<'} {end if kind == 'left' else start}",
        "ends as a list": f"{start}, {end}",
        "not in the interval": rf"x \notin {opening}{start},{end}{closing}",
        "infinity signed otherwise": f"{opening}{start},{end}{closing}".replace(r"-\infty", "INF")
        .replace(r"\infty", r"-\infty")
        .replace("INF", r"\infty")
        if kind != "both"
        else rf"(-\infty, {end}{closing}",
        "interval of whole numbers": rf"{opening}{start},{end}{closing} \cap \mathbb{{Z}}",
    }
    if kind != "left":
        different["left bracket changed"] = f"{other[opening]}{start},{end}{closing}"
    if kind != "right":
        different["right bracket changed"] = f"{opening}{start},{end}{other[closing]}"
    question = "For which x? Answer with an interval."
    return Gold(
        text,
        "interval",
        (opening, start, end, closing),
        question=question,
        same=same,
        different=different,
    )


def union(draw: random.Random) -> Gold:
    """Draw a union of two intervals, as where a point or a stretch is left out."""
    low = whole(draw, 1, 30)
    high = low + draw.choice((0, 2, 7, 9))
    low_bracket, high_bracket = (
        (")", "(") if high == low else (draw.choice(")]"), draw.choice("(["))
    )
    first, second = rf"(-\infty, {low}{low_bracket}", rf"{high_bracket}{high}, \infty)"
    text = draw.choice((rf"{first} \cup {second}", rf"{first}\cup {second}".replace(", ", ",")))
    below, above = {")": "<", "]": r"\le"}[low_bracket], {"(": ">", "[": r"\ge"}[high_bracket]
    same = {"union turned": rf"{second} \cup {first}", "union with a letter": f"{first} U {second}", "union sign": f"{first} ∪ {second}".replace(r"\infty", "∞"),
            "union as inequalities": rf"x {below} {low} \text{{ or }} x {above} {high}", "union with membership": rf"x \in {first} \cup {second}",
            "inequalities in plain words": f"x {below} {low} or x {above} {high}"}  # fmt: skip
    if high == low:
        same["reals without a point"] = rf"\mathbb{{R}} \setminus \{{{low}\}}"
        same["all but one"] = rf"x \ne {low}"
    different = {"intersection": rf"{first} \cap {second}", "first alone": first, "second alone": second,
                 "inequalities with and": rf"x {below} {low} \text{{ and }} x {above} {high}", "union of more": rf"{first} \cup {second} \cup \{{{INTRUDER}\}}" if INTRUDER == "" else rf"{first} \cup {second} \cup [{low}, {high}]",
                 "union closed": rf"(-\infty, {low}{']' if low_bracket == ')' else ')'} \cup {second}", "union moved": rf"(-\infty, {low - 1}{low_bracket} \cup {second}",
                 "union as a difference": rf"{first} \setminus {second}", "union without infinity": rf"(-{INTRUDER}, {low}{low_bracket} \cup {second}"}  # fmt: skip
    return Gold(
        text, "union", (low, high, low_bracket, high_bracket), same=same, different=different
    )


def inequality(draw: random.Random) -> Gold:
    """Draw an inequality of a name."""
    value, name = whole(draw, 1, 60), draw.choice("xyn")
    sign, command, turned, other, strict = draw.choice((("<", "<", ">", ">", r"\le"), (">", ">", "<", "<", r"\ge"), ("≤", r"\le", r"\ge", r"\ge", "<"), ("≥", r"\geq", r"\leq", r"\leq", ">")))  # fmt: skip
    interval_ = {
        "<": rf"(-\infty, {value})",
        ">": rf"({value}, \infty)",
        "≤": rf"(-\infty, {value}]",
        "≥": rf"[{value}, \infty)",
    }[sign]
    same = {"inequality from the right": f"{value} {turned} {name}", "inequality sign": f"{name} {sign} {value}", "inequality as interval": interval_,
            "inequality with another command": f"{name} {command} {value}".replace(r"\leq", r"\leqslant").replace(r"\geq", r"\geqslant").replace(r"\le ", r"\leqslant ")}  # fmt: skip
    different = {"inequality flipped": f"{name} {other} {value}", "strictness changed": f"{name} {strict} {value}", "equality": f"{name} = {value}",
                 "inequality of another name": f"w {command} {value}", "inequality with another end": f"{name} {command} {value + 1}",
                 "inequality negated": rf"{name} \not{command} {value}", "bound alone": str(value), "unequal": rf"{name} \ne {value}",
                 "inequality doubled": f"{name} {command} {value}, {name} {command} {INTRUDER}"}  # fmt: skip
    return Gold(
        f"{name} {command} {value}",
        "inequality",
        (name, sign, value),
        same=same,
        different=different,
    )


def matrix(draw: random.Random) -> Gold:
    """Draw a matrix of two or three rows, or a column vector."""
    height, width = draw.choice(((2, 2), (2, 2), (3, 3), (2, 1), (3, 1), (2, 3)))
    rows = [[str(whole(draw, 1, 40)) for _ in range(width)] for _ in range(height)]
    if height == width and rows == [list(column) for column in zip(*rows, strict=True)]:
        rows[0][1] = str(int(rows[0][1]) + 1)  # a symmetric matrix is its own transpose

    def written(entries: list[list[str]], kind: str = "pmatrix", end: str = r" \\ ") -> str:
        return rf"\begin{{{kind}}} {end.join(' & '.join(row) for row in entries)} \end{{{kind}}}"

    body = r" \\ ".join(" & ".join(row) for row in rows)
    columns = "c" * width
    flat = [entry for row in rows for entry in row]
    changed = [[*rows[0][:-1], str(int(rows[0][-1]) + 1)], *rows[1:]]
    same = {"matrix in brackets": written(rows, "bmatrix"), "matrix without spaces": written(rows).replace(" ", ""),
            "matrix by left and right": rf"\left( \begin{{matrix}} {body} \end{{matrix}} \right)",
            "matrix as an array": rf"\left( \begin{{array}}{{{columns}}} {body} \end{{array}} \right)",
            "matrix with a name": f"A = {written(rows)}"}  # fmt: skip
    different = {"entry changed": written(changed), "rows exchanged": written(rows[::-1]) if rows != rows[::-1] else written(changed),
                 "row dropped": written(rows[:-1]) if height > 1 else "0", "row added": written([*rows, rows[0]]), "determinant bars": written(rows, "vmatrix"),
                 "norm bars": written(rows, "Vmatrix"), "matrix negated": f"-{written(rows)}", "matrix doubled": f"2{written(rows)}",
                 "matrix transposed by a sign": f"{written(rows)}^T" if width == 1 or [list(r) for r in zip(*rows, strict=True)] != rows else written(changed),
                 "matrix inverted": f"{written(rows)}^{{-1}}", "entries as a list": ", ".join(flat), "entry negated": written([[f"-({rows[0][0]})", *rows[0][1:]], *rows[1:]]),
                 "matrix plus": f"{written(rows)} + I", "matrix times": rf"{written(rows)} \cdot 2"}  # fmt: skip
    transposed = [list(column) for column in zip(*rows, strict=True)]
    if transposed != rows and width > 1:
        different["matrix transposed"] = written(transposed)
    if width == 1:
        same["vector in brackets"] = written(rows, "bmatrix")
    return Gold(
        written(rows, draw.choice(("pmatrix", "pmatrix", "bmatrix"))),
        "matrix",
        tuple(map(tuple, rows)),
        same=same,
        different=different,
    )


def equation(draw: random.Random) -> Gold:
    """Draw the equation of a line or a parabola."""
    a, b = whole(draw, 2, 20), whole(draw, 1, 40)
    square = draw.random() < 0.4
    x = "x^2" if square else "x"
    right_side = f"{a}{x}{signed(b)}"
    same = {"equation turned": f"{right_side} = y", "equation to zero": f"y - ({right_side}) = 0", "right side turned": f"y = {b} + {a}{x}" if a > 0 else f"y = {b} - {-a}{x}",
            "equation without spaces": f"y={right_side}".replace(" ", ""), "equation doubled": joined([f"{2 * a}{x}", str(2 * b), "-2y"]) + " = 0"}  # fmt: skip
    different = {"slope changed": f"y = {a + 1 or 2}{x}{signed(b)}", "intercept changed": f"y = {a}{x}{signed(b + 1 or 2)}", "names exchanged": f"x = {right_side.replace('x', 'y')}",
                 "derivative of a name": f"y' = {right_side}", "equation as inequality": f"y > {right_side}", "sides negated": f"y = -({right_side})",
                 "another name": f"z = {right_side}", "equation with an index": f"y_1 = {right_side}", "equation and more": f"y = {right_side}, x = {INTRUDER}",
                 "equation continued": f"y = {right_side} = 0", "unequal sides": rf"y \ne {right_side}", "approximate equation": rf"y \approx {right_side}",
                 "sides squared": f"y^2 = {right_side}"}  # fmt: skip
    return Gold(f"y = {right_side}", "equation", (a, b, square), same=same, different=different)


def named(draw: random.Random) -> Gold:
    """Draw a value with its name."""
    name = draw.choice("xynk")
    member = _member(draw)
    joint = draw.choice(("=", " = "))
    other = "z" if name != "z" else "x"
    same = {
        "name left out": member,
        "value first": f"{member} = {name}",
        "name in dollars": f"${name} = {member}$",
    }
    different = {"other name": f"{other} = {member}", "name in another case": f"{name.upper()} = {member}", "name with an index": f"{name}_1 = {member}",
                 "name with a prime": f"{name}' = {member}", "name squared": f"{name}^2 = {member}", "name negated": f"-{name} = {member}",
                 "named unequal": rf"{name} \ne {member}", "named bound": rf"{name} \le {member}", "named about": rf"{name} \approx {member}",
                 "named twice": f"{name} = {member}, {name} = {INTRUDER}", "named chain": f"{name} = {INTRUDER} = {member}", "name alone": name,
                 "two names": f"{name} = {member}, {other} = {INTRUDER}", "defined as a sum": f"{name} + 1 = {member}"}  # fmt: skip
    return Gold(f"{name}{joint}{member}", "named", (name, member), same=same, different=different)


_WORDS = {
    "even": "odd", "odd": "even", "Evelyn": "Briana", "Friday": "Monday", "parabola": "ellipse", "neither": "both",
    "east": "west", "June 20": "June 21", "yes": "no", "increasing": "decreasing", "Dana": "Navin", "red": "blue",
}  # fmt: skip


def word(draw: random.Random) -> Gold:
    """Draw a word or a name as an answer."""
    word = draw.choice(list(_WORDS))
    text = rf"\text{{{word}}}"
    same = {"word in plain text": word, "word in bold": rf"\textbf{{{word}}}", "word in mathrm": rf"\mathrm{{{word}}}" if " " not in word else word,
            "word in small letters": word.lower(), "word in a box": rf"\boxed{{\text{{{word}}}}}", "word with a full stop": f"{word}."}  # fmt: skip
    different = {"other word": rf"\text{{{_WORDS[word]}}}", "not the word": rf"\text{{not {word}}}", "either word": rf"\text{{{word} or {_WORDS[word]}}}",
                 "word and another": rf"\text{{{word}, {_WORDS[word]}}}", "word cut": word[:-1], "word glued": word + "s", "word twice": rf"\text{{{word}}} \text{{{_WORDS[word]}}}",
                 "both words": rf"\text{{{word}}} and \text{{{_WORDS[word]}}}", "word as an equation": rf"\text{{{word}}} = \text{{{_WORDS[word]}}}"}  # fmt: skip
    return Gold(text, "word", word.lower(), same=same, different=different)


def option(draw: random.Random) -> Gold:
    """Draw the letter of an option."""
    letter = draw.choice("ABCDE")
    other = "ABCDE"[("ABCDE".index(letter) + 1) % 5]
    text = draw.choice(
        (
            letter,
            rf"\text{{{letter}}}",
            f"({letter})",
            rf"\text{{({letter})}}",
            rf"\textbf{{({letter})}}",
        )
    )
    same = {"letter": letter, "letter in parentheses": f"({letter})", "letter in text": rf"\text{{{letter}}}", "letter in bold": rf"\textbf{{({letter})}}",
            "letter in mathrm": rf"\mathrm{{{letter}}}", "letter with a full stop": f"{letter}."}  # fmt: skip
    different = {"other letter": other, "two letters": f"{letter}, {other}", "letter or another": f"{letter} or {other}", "letters glued": f"{letter}{other}",
                 "not the letter": rf"\text{{not }} {letter}", "letter with an index": f"{letter}_1", "letter with a prime": f"{letter}'", "options and": rf"\text{{{letter} and {other}}}"}  # fmt: skip
    return Gold(text, "option", letter, same=same, different=different)


STRUCTURES: tuple[Generator, ...] = (
    pair, pair, numbers, numbers, sets, plus_minus, interval, interval, union, inequality, matrix, matrix, equation, named, word, option,
)  # fmt: skip
