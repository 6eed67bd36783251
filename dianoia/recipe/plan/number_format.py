"""Numbers as a person reads them in a plan."""


def in_bytes(size: float) -> str:
    """Such as `1.5 GB`; a kB has 1000 bytes."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB" if size < 100 else f"{size:,.0f} GB"


def count(number: float) -> str:
    """Such as `12,345` or `3 M`."""
    return f"{number / 1e6:,.0f} M" if number >= 1e6 else f"{number:,.0f}"


def about(seconds: float) -> str:
    """Such as `about 5 min`."""
    for limit, divisor, unit in ((90, 1, "s"), (5400, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"about {max(1, round(seconds / divisor))} {unit}"
    return f"about {seconds / 86_400:,.0f} days"
