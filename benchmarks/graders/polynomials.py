"""Generate gold answers that are polynomials, products of linear factors and quotients.

In: a `random.Random`. Out: `Gold`s, each with forms that say the same and forms that say something else.
"""

import random

from benchmarks.graders.golds import INTRUDER, NAMES, Generator, Gold, signed, whole


def _terms(coefficients: list[int], name: str) -> list[str]:
    """Write the terms of a polynomial, highest power first."""
    terms = []
    degree = len(coefficients) - 1
    for index, coefficient in enumerate(coefficients):
        exponent = degree - index
        if not coefficient:
            continue
        power = "" if exponent == 0 else name if exponent == 1 else f"{name}^{exponent}" if exponent < 10 else f"{name}^{{{exponent}}}"  # fmt: skip
        number = str(coefficient) if not power or abs(coefficient) != 1 else "-" if coefficient < 0 else ""  # fmt: skip
        terms.append(number + power)
    return terms


def joined(terms: list[str]) -> str:
    """Write a sum of terms."""
    return terms[0] + "".join(map(signed, terms[1:]))


def polynomial(draw: random.Random) -> Gold:
    """Draw a polynomial of degree 1 to 5 in one name."""
    name = draw.choice(NAMES)
    degree = draw.randint(1, 5)
    coefficients = [whole(draw, 1, 12), *(draw.choice((0, whole(draw, 1, 30))) for _ in range(degree - 1)), whole(draw, 1, 30)]  # fmt: skip
    terms = _terms(coefficients, name)
    text = joined(terms) if draw.random() < 0.7 else joined(terms).replace(" ", "")
    changed = [*coefficients[:-1], coefficients[-1] + 1 or 2]
    lead = [coefficients[0] + 1 or 2, *coefficients[1:]]
    other = "w" if name != "w" else "v"
    same = {
        "terms turned": joined(terms[::-1]),
        "terms shuffled": joined(draw.sample(terms, len(terms))),
        "polynomial in parentheses": rf"\left({joined(terms)}\right)",
        "factors with dots": joined(
            [
                term.replace(name, rf" \cdot {name}") if term.lstrip("-")[0].isdigit() else term
                for term in terms
            ]
        ),
        "powers in braces": "".join(text)
        .replace("^2", "^{2}")
        .replace("^3", "^{3}")
        .replace("^4", "^{4}"),
        "powers with stars": joined(terms).replace("^", "**").replace("{", "").replace("}", ""),
        "polynomial negated twice": f"-({joined(_terms([-c for c in coefficients], name))})",
        "zero added": f"{joined(terms)} + 0",
        "polynomial as value of a function": f"f({name}) = {joined(terms)}",
    }
    different = {
        "constant changed": joined(_terms(changed, name)),
        "leading coefficient changed": joined(_terms(lead, name)),
        "variable renamed": joined(_terms(coefficients, other)),
        "variable in another case": joined(_terms(coefficients, name.upper())),
        "last sign changed": joined(_terms([*coefficients[:-1], -coefficients[-1]], name)),
        "one degree more": joined(_terms([*coefficients, 0], name)),
        "constant dropped": joined(_terms([*coefficients[:-1], 0], name)),
        "polynomial set to zero": f"{joined(terms)} = 0",
        "polynomial as inequality": f"{joined(terms)} > 0",
        "derivative": f"({joined(terms)})'",
        "terms as a list": ", ".join(terms),
        "terms without signs": " ".join(term.lstrip("-") for term in terms),
        "variable with an index": joined(_terms(coefficients, f"{name}_1")),
        "variable with a prime": joined(terms).replace(name, f"{name}'"),
        "variable replaced by a number": joined(_terms(coefficients, f"({INTRUDER})")),
        "constant of integration": f"{joined(terms)} + C",
        "polynomial in a root": rf"\sqrt{{{joined(terms)}}}",
        "all but the first negated": f"{terms[0]} - ({joined(terms[1:])})"
        if len(terms) > 1
        else f"-{terms[0]}",
    }
    return Gold(text, "polynomial", (name, tuple(coefficients)), same=same, different=different)


def factored(draw: random.Random) -> Gold:
    """Draw a product of linear factors with a leading coefficient."""
    name = draw.choice(NAMES)
    a = whole(draw, 2, 9, signed=False)
    p, q = whole(draw, 1, 20), whole(draw, 1, 20)
    while q in (p, -p):
        q = whole(draw, 1, 20)
    first, second = f"({name}{signed(p)})".replace(" ", ""), f"({name}{signed(q)})".replace(" ", "")
    expanded = joined(_terms([a, a * (p + q), a * p * q], name))
    same = {
        "factors turned": f"{a}{second}{first}",
        "factors with a dot": rf"{a} \cdot {first} \cdot {second}",
        "factors by left and right": rf"{a}\left({first[1:-1]}\right)\left({second[1:-1]}\right)",
        "factors with stars": f"{a}*{first}*{second}",
        "factor last": f"{first}{second} \\cdot {a}",
        "expanded": expanded,
    }
    different = {
        "factor changed": f"{a}{first}({name}{signed(q + 1 or 2)})",
        "factor dropped, product": f"{a}{first}",
        "sum of factors": f"{a}{first}+{second}",
        "parentheses dropped": f"{a}{first[1:-1]}{second}",
        "factor doubled": f"{a}{first}{second}^2",
        "roots for factors": f"{-p}, {-q}",
        "factors renamed": f"{a}{first}{second}".replace(name, "w"),
        "leading factor dropped": f"{first}{second}",
        "factors as a list": f"{a}, {first}, {second}",
    }
    return Gold(f"{a}{first}{second}", "factored", (name, a, frozenset((p, q))), same=same, different=different)  # fmt: skip


def rational(draw: random.Random) -> Gold:
    """Draw a quotient of two linear polynomials."""
    name = draw.choice("xyzn")
    a, b, c, d = whole(draw, 1, 9), whole(draw, 1, 9), whole(draw, 1, 9, signed=False), whole(draw, 10, 19)  # fmt: skip
    above, below = joined(_terms([a, b], name)), joined(_terms([c, d], name))
    text = rf"\frac{{{above}}}{{{below}}}"
    same = {
        "quotient by a solidus": f"({above})/({below})",
        "numerator turned": rf"\frac{{{joined(_terms([a, b], name)[::-1])}}}{{{below}}}",
        "quotient negated twice": rf"-\frac{{{joined(_terms([-a, -b], name))}}}{{{below}}}",
        "quotient expanded by 2": rf"\frac{{2({above})}}{{2({below})}}",
    }
    different = {
        "quotient turned": rf"\frac{{{below}}}{{{above}}}",
        "numerator alone, polynomial": above,
        "parentheses of a quotient dropped": f"{above}/{below}",
        "quotient as a product": f"({above})({below})",
        "quotient renamed": text.replace(name, "w"),
        "quotient with an excluded value": rf"{text}, {name} \ne {INTRUDER}",
        "quotient equals": f"{text} = 0",
    }
    return Gold(text, "rational", (name, a, b, c, d), same=same, different=different)


POLYNOMIALS: tuple[Generator, ...] = (polynomial, polynomial, factored, rational)
