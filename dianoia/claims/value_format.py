"""Values and verdicts of claims as text, for the terminal, Markdown and the report."""

from collections.abc import Sequence

UNITS = ("times", "points", "share", "tokens", "steps", "plain")
VERDICTS = {True: "holds", False: "does not hold", None: "not measured"}


def format_value(value: float | None, unit: str) -> str:
    """Return a value with its unit, such as `5.1 times`, `+3.2 points`, `97.8 %`; `never` for None."""
    if value is None:
        return "never"
    match unit:
        case "times":
            return f"{_digits(value)} times"
        # A difference of shares; the sign shows the direction.
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
    # Three significant digits.
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def format_interval(low: float | None, high: float | None, unit: str) -> str:
    """Return an interval in the unit of its value; empty if there is none."""
    if low is None:
        return ""
    if high is None:
        return f"{_without_unit(low, unit)} or more"
    return f"{_without_unit(low, unit)} to {_without_unit(high, unit)}"


def _without_unit(value: float, unit: str) -> str:
    return format_value(value, unit).split(" ")[0]


def summarize_verdicts(verdicts: Sequence[bool | None]) -> str:
    """Return how many claims hold, as a sentence without its full stop."""
    holding, failed, undecided = (
        sum(verdict is answer for verdict in verdicts) for answer in (True, False, None)
    )
    # A claim that was not measured counts neither for nor against.
    decided = holding + failed
    if not decided:
        return f"None of the paper's {undecided} claims was measured"
    sentence = f"{holding} of {decided} claims of the paper hold"
    if undecided:
        sentence += f", {undecided} {'was' if undecided == 1 else 'were'} not measured"
    return sentence
