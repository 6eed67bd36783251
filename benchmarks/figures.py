"""Draws what `benchmarks.learning` and `benchmarks.growth` have kept; needs matplotlib, which the peers' environment has.

    .venv-peers/bin/python -m benchmarks.figures learning runs/benchmark/learning.json docs/learning.svg

Both commands call it by themselves; a name that ends in .png gives a picture of pixels.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams.update(
    {
        "svg.hashsalt": "dianoia",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)
import matplotlib.pyplot as plt  # noqa: E402 - after the choice of what it draws with
from matplotlib.ticker import LogLocator, StrMethodFormatter  # noqa: E402 - the same

COLOURS = {"dianoia": "#1f6f8b", "trl": "#c8553d"}


def learning(kept: Any) -> Any:
    """Held-out accuracy against seconds and against steps."""
    figure, panels = plt.subplots(1, 2, figsize=(7.5, 2.8), sharey=True, layout="constrained")
    for panel, key in zip(panels, ("seconds", "step"), strict=True):
        for name, points in kept["points"].items():
            across = [point[key] for point in points]
            up = [100 * point["accuracy"] for point in points]
            panel.plot(across, up, marker="o", markersize=3, label=name, color=COLOURS[name])
        panel.set(xlabel="seconds" if key == "seconds" else "steps", ylim=(0, 100))
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("held-out accuracy, %")
    panels[1].legend(frameon=False)
    return figure


def growth(kept: Any) -> Any:
    """Seconds and memory of each sweep, with the line of what grows as the work does."""
    figure, panels = plt.subplots(
        2,
        len(kept),
        figsize=(2.4 * len(kept) + 0.6, 4.4),
        layout="constrained",
        squeeze=False,
        sharey="row",
    )
    for column, (name, points) in enumerate(kept.items()):
        sizes, first = [point["size"] for point in points], points[0]
        for panel, key, unit in zip(
            panels[:, column], ("seconds", "memory"), ("s", "MB"), strict=True
        ):
            panel.plot(
                sizes,
                [point[key] for point in points],
                marker="o",
                markersize=3,
                color=COLOURS["dianoia"],
            )
            work = [first[key] * point["work"] / first["work"] for point in points]
            panel.plot(sizes, work, "--", color="grey", linewidth=1, label="as the work")
            panel.set(xscale="log", yscale="log", xlabel=name)
            panel.set_xticks(sizes, [_short(size) for size in sizes])
            panel.minorticks_off()
            panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            panel.grid(alpha=0.3)
            if column == 0:
                panel.set_ylabel(f"{'step' if key == 'seconds' else 'memory of a step'}, {unit}")
    panels[0, 0].legend(frameon=False)
    return figure


def _short(size: int) -> str:
    """As a tick: 256, 16k (of 1,024)."""
    return f"{size / 1024:.0f}k" if size >= 4096 else str(size)


def main() -> None:
    """Draw one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("learning", "growth"))
    parser.add_argument("kept", type=Path, help="the JSON file")
    parser.add_argument("out", type=Path, help="the figure, SVG or PNG")
    asked = parser.parse_args()
    kept = json.loads(asked.kept.read_text(encoding="utf-8"))
    drawn = {"learning": learning, "growth": growth}[asked.kind](kept)
    drawn.savefig(
        asked.out, dpi=150, metadata={"Date": None} if asked.out.suffix == ".svg" else None
    )
    print(asked.out)


if __name__ == "__main__":
    main()
