"""How the values of claims are written for people, in the terminal, in Markdown and on the page."""

from collections.abc import Sequence

UNITS = ("times", "points", "share", "tokens", "steps", "plain")


def say(value: float | None, unit: str) -> str:
    """A value with its unit, e.g. `5.1 times`, `+3.2 points`, `97.8 %`."""
    if value is None:
        return "never"
    match unit:
        case "times":
            return f"{_digits(value)} times"
        case "points":
            return f"{100 * value:+.1f} points"
        case "share":
            return f"{100 * value:.1f} %"
        case "tokens":
            return f"{value:+.1f} tokens"
        case "steps":
            return f"{value:+g} steps"
        case _:
            return _digits(value)


def _digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def say_interval(low: float | None, high: float | None, unit: str) -> str:
    """The interval in the unit of its value; empty where there is none."""
    if low is None:
        return ""
    if high is None:
        return f"{_bare(low, unit)} or more"
    return f"{_bare(low, unit)} to {_bare(high, unit)}"


def _bare(value: float, unit: str) -> str:
    return say(value, unit).split(" ")[0]


VERDICTS = {True: "holds", False: "does not hold", None: "not measured"}
"""A verdict in words."""


def tally(verdicts: Sequence[bool | None]) -> str:
    """How many claims hold, in a sentence without its full stop."""
    held, failed, rest = (sum(v is kind for v in verdicts) for kind in (True, False, None))
    judged = held + failed
    if not judged:
        return f"None of the paper's {rest} claims was measured"
    told = f"{held} of {judged} claims of the paper hold"
    return told + (f", {rest} {'was' if rest == 1 else 'were'} not measured" if rest else "")
