"""Numbers as text in a plan."""


def format_bytes(size: float) -> str:
    """Return bytes with their unit, such as `1.5 GB`; a kB has 1000 bytes."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB" if size < 100 else f"{size:,.0f} GB"


def format_count(number: float) -> str:
    """Return a count, such as `12,345` or `3 M`."""
    return f"{number / 1e6:,.0f} M" if number >= 1e6 else f"{number:,.0f}"


def format_seconds(seconds: float) -> str:
    """Return an estimated duration, such as `about 5 min`; beyond a year, figures would tell a person nothing."""
    if seconds >= 365 * 86_400:
        return "over a year"
    for limit, divisor, unit in ((90, 1, "s"), (5400, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"about {max(1, round(seconds / divisor))} {unit}"
    return f"about {seconds / 86_400:,.0f} days"


def plural(count: float, noun: str) -> str:
    """Return a count with its noun, such as `1 stage` or `2,000 stages`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
