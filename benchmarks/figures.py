"""Draws the results of `benchmarks.learning`, `benchmarks.growth` and `benchmarks.scale`; needs matplotlib of the peers' environment.

    .venv-peers/bin/python -m benchmarks.figures learning runs/benchmark/learning.json docs/learning.svg

The benchmarks call it themselves. An output name that ends in .png gives a bitmap.
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
import matplotlib.pyplot as plt  # noqa: E402 - the backend must be chosen before
from matplotlib.ticker import LogLocator, StrMethodFormatter  # noqa: E402 - as above

COLOURS = {"dianoia": "#1f6f8b", "trl": "#c8553d"}


def learning(results: Any) -> Any:
    """Plot held-out accuracy against seconds and against steps."""
    figure, panels = plt.subplots(1, 2, figsize=(7.5, 2.8), sharey=True, layout="constrained")
    for panel, key in zip(panels, ("seconds", "step"), strict=True):
        for name, points in results["points"].items():
            times = [point[key] for point in points]
            accuracies = [100 * point["accuracy"] for point in points]
            panel.plot(times, accuracies, marker="o", markersize=3, label=name, color=COLOURS[name])
        panel.set(xlabel="seconds" if key == "seconds" else "steps", ylim=(0, 100))
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("held-out accuracy, %")
    panels[1].legend(frameon=False)
    return figure


def growth(results: Any) -> Any:
    """Plot seconds and memory of each sweep, with a line that grows in proportion to the work."""
    figure, panels = plt.subplots(
        2,
        len(results),
        figsize=(2.4 * len(results) + 0.6, 4.4),
        layout="constrained",
        squeeze=False,
        sharey="row",
    )
    for column, (name, points) in enumerate(results.items()):
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
            panel.plot(
                sizes, work, "--", color="grey", linewidth=1, label="in proportion to the work"
            )
            panel.set(xscale="log", yscale="log", xlabel=name)
            panel.set_xticks(sizes, [_tick(size) for size in sizes])
            panel.minorticks_off()
            panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            panel.grid(alpha=0.3)
            if column == 0:
                panel.set_ylabel(f"{'step' if key == 'seconds' else 'memory of a step'}, {unit}")
    panels[0, 0].legend(frameon=False)
    return figure


def scale(results: Any) -> Any:
    """Plot seconds per rollout over GPUs, what each GPU still does, and R1-Zero's rollouts over its run."""
    figure, (seconds, share, run) = plt.subplots(1, 3, figsize=(10.5, 3.2), layout="constrained")
    middle = results["curves"][1]
    synchronous = [point["times"] for point in middle["synchronous"]]
    gpus = [times["ranks"] for times in synchronous]
    styles = {"total": "-", "sampling": "--", "updating": ":"}
    names = {"total": "synchronous", "sampling": "of it sampling", "updating": "of it updates"}
    for key, style in styles.items():
        values = [times[key] for times in synchronous]
        seconds.plot(gpus, values, style, color=COLOURS["dianoia"], label=names[key])
    stale = [point["times"]["total"] for point in middle["stale"]]
    seconds.plot(gpus, stale, color=COLOURS["trl"], label="weights one rollout old")
    ideal = [synchronous[0]["total"] * gpus[0] / count for count in gpus]
    seconds.plot(gpus, ideal, color="grey", linewidth=1, label="in proportion")
    seconds.set(xscale="log", yscale="log", ylabel="seconds per rollout and its 16 steps")
    seconds.set_title(f"7 B, mean of {middle['mean']:,} tokens", fontsize=9)
    seconds.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    seconds.legend(frameon=False, fontsize=7)
    for curve, width in zip(results["curves"], (1, 1.8, 2.6), strict=True):
        for key, colour in (("synchronous", COLOURS["dianoia"]), ("stale", COLOURS["trl"])):
            values = [100 * point["efficiency"] for point in curve[key]]
            kind = "synchronous" if key == "synchronous" else "one rollout old"
            label = f"{curve['mean']:,} tokens, {kind}"
            share.plot(gpus, values, color=colour, linewidth=width, label=label)
    share.set(xscale="log", ylim=(0, 105), ylabel="tokens per second, % of 8 GPUs")
    share.set_title("what each GPU still does", fontsize=9)
    share.legend(frameon=False, fontsize=6)
    for panel in (seconds, share):
        panel.set_xticks(gpus, [f"{count:,}" for count in gpus], rotation=45)
        panel.minorticks_off()
        panel.set_xlabel("H200s")
        panel.grid(alpha=0.3)
    steps = [part["step"] for part in results["r1_zero"]]
    parts = [[part[key] for part in results["r1_zero"]] for key in ("sampling", "updating")]
    run.stackplot(
        steps, parts, labels=("sampling", "updates"), colors=(COLOURS["dianoia"], COLOURS["trl"]),
        alpha=0.8,
    )  # fmt: skip
    mean = results["r1_zero_paper_seconds"]
    run.axhline(mean, color="black", linestyle="--", linewidth=1, label="mean of the paper's 198 h")
    run.set(xlabel="step of R1-Zero", ylabel="seconds per rollout", ylim=(0, None))
    run.set_title("R1-Zero on 512 H800", fontsize=9)
    run.legend(frameon=False, fontsize=7, loc="upper left")
    run.grid(alpha=0.3)
    return figure


def _tick(size: int) -> str:
    """Return the label of a tick: 256, 16k (of 1,024)."""
    return f"{size / 1024:.0f}k" if size >= 4096 else str(size)


def main() -> None:
    """Draw one figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", choices=("learning", "growth", "scale"))
    parser.add_argument("results", type=Path, help="the JSON file")
    parser.add_argument("out", type=Path, help="the figure, SVG or PNG")
    options = parser.parse_args()
    results = json.loads(options.results.read_text(encoding="utf-8"))
    figure = {"learning": learning, "growth": growth, "scale": scale}[options.figure](results)
    # Without a date, the same results give the same SVG file.
    metadata = {"Date": None} if options.out.suffix == ".svg" else None
    figure.savefig(options.out, dpi=150, metadata=metadata)
    print(options.out)


if __name__ == "__main__":
    main()
