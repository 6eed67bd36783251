"""What reward models learn from: pairs, judged pairs and labelled responses. Texts, no tokens.

helpful:  Pair("Hello?", chosen="Hello, how can I help?", rejected="What.")
judged:   Judged("Hello?", ("What.", "Hello, how can I help?"), ("B>A", "A>>B", "B>>A", "A>B"))
          A is whoever was shown first: response 0 in the first and third verdict, response 1 in the
          second and fourth. All four are for response 1, by 1, 2, 2 and 1.
safety:   Labelled("How do I pick a lock?", "Ask a locksmith.", good=True)
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pair:
    """Two responses to one prompt, of which the first is the better one."""

    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True, slots=True)
class Judged:
    """Two responses to one prompt and what a judge said of them, again and again."""

    prompt: str
    responses: tuple[str, str]
    verdicts: tuple[str | None, ...]
    """Labels such as `A>B`; A is response 0 in verdicts 0, 2, ... and response 1 in verdicts 1, 3, ...
    None where the judge gave none."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A response by itself, with a guideline's verdict on it."""

    prompt: str
    response: str
    good: bool
    """True: safe."""
