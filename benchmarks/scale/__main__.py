"""Writes the tables of docs/scale.md and draws its figure.

    python -m benchmarks.scale                              prints the tables
    python -m benchmarks.scale --write docs/scale.md        puts them into the page, between their marks
    python -m benchmarks.scale --only "what fits" --write docs/scale.md     one of them, which takes no time
    python -m benchmarks.scale --figure docs/scale.svg      draws the figure too (needs matplotlib)

Tables stand between `<!-- NAME -->` and `<!-- end of NAME -->`. Everything is computed from data sheets and the model of a
rollout; nothing is measured, and the numbers are the same on every machine.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path

from benchmarks.scale import fits, r1_zero
from benchmarks.scale.curves import GPU, LENGTHS, PAYS, SHOWN, Curve, curve
from benchmarks.table.link import ROOT

_PARTS = 12
"""Points of R1-Zero's run."""


def main() -> None:
    """Compute the tables; print or write them, and draw the figure."""
    parser = argparse.ArgumentParser("python -m benchmarks.scale", description=__doc__.splitlines()[0])  # fmt: skip
    parser.add_argument("--write", type=Path, metavar="PAGE", help="the page with the marks")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="SVG or PNG")
    makers: dict[str, Callable[[], str]] = {
        "what fits": lambda: markdown(fits.table()),
        "predictions": lambda: predictions(_curves()),
        "r1-zero": r1_zero_table,
    }
    parser.add_argument("--only", choices=makers, help="the one table to make (default: all)")
    options = parser.parse_args()
    tables = {name: make() for name, make in makers.items() if options.only in (None, name)}
    if options.write is None:
        for name, table in tables.items():
            print(f"{name}\n\n{table}\n")
    else:
        page = options.write.read_text(encoding="utf-8")
        for name, table in tables.items():
            page = replaced(page, name, table)
        options.write.write_text(page, encoding="utf-8")
    if options.figure is not None:
        draw(_curves(), options.figure)


@cache
def _curves() -> tuple[Curve, ...]:
    """Return the curves of all lengths."""
    return tuple(curve(*lengths) for lengths in LENGTHS)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return a table, its first row the header."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def replaced(page: str, name: str, table: str) -> str:
    """Return a page with a table between its marks.

    Raises:
        SystemExit: the page has no such marks.
    """
    marks = f"<!-- {name} -->", f"<!-- end of {name} -->"
    pattern = rf"{re.escape(marks[0])}.*?{re.escape(marks[1])}"
    if len(re.findall(pattern, page, re.DOTALL)) != 1:
        raise SystemExit(
            f"the page has no place for {name!r}: {marks[0]} and {marks[1]}, once each"
        )
    return re.sub(pattern, lambda _: f"{marks[0]}\n{table}\n{marks[1]}", page, flags=re.DOTALL)


def predictions(curves: Sequence[Curve]) -> str:
    """Return the table of seconds per rollout, and from where old weights pay."""
    rows = [
        [
            "mean length",
            f"{GPU}s",
            "sample",
            "of it tail",
            "update",
            "wait",
            "all",
            "per GPU",
            "weights one rollout old",
            "and overlap",
        ]
    ]
    for line in curves:
        overlapped = {point.times.ranks: point.times.total for point in line.overlapping}
        for sync, stale in zip(line.synchronous, line.stale, strict=True):
            times = sync.times
            if times.ranks not in SHOWN:
                continue
            assert sync.fits and stale.fits, "the page has no time of what does not fit"
            split = f"{stale.times.total:,.0f} s ({stale.times.samplers} sample)"
            rows.append(
                [
                    f"{line.mean:,}",
                    f"{times.ranks:,}",
                    f"{times.sampling:,.0f} s",
                    f"{times.tail:,.0f} s",
                    f"{times.updating:,.0f} s",
                    f"{times.communication:,.0f} s",
                    f"{times.total:,.0f} s",
                    f"{sync.efficiency:.0%}",
                    split,
                    f"{overlapped[times.ranks]:,.0f} s",
                ]
            )
    sentences = [
        f"At a mean of {line.mean:,} tokens weights that are one rollout old save more than {1 - PAYS:.0%} "
        + ("on none of these." if line.pays_from is None else f"from {line.pays_from:,} GPUs on.")
        for line in curves
    ]
    return "\n\n".join([markdown(rows), " ".join(sentences)])


def r1_zero_table() -> str:
    """Return the table of R1-Zero's run, its hours, and how far they are from the paper's."""
    steps = r1_zero.steps(_PARTS)
    parts = [r1_zero.part(step) for step in steps]
    rows = [["step", "mean tokens", "longest", "sample", "update", "rollout and 16 steps"]]
    for part in parts[:: _PARTS // 6]:
        rows.append(
            [
                f"{part.step:,}",
                f"{part.mean:,.0f}",
                f"{part.longest:,.0f}",
                f"{part.sampling:,.0f} s",
                f"{part.updating:,.0f} s",
                f"{part.total:,.0f} s",
            ]
        )
    hours = r1_zero.hours(parts)
    single = r1_zero.hours([r1_zero.part(step, tokens_per_step=1.0) for step in steps])
    split = {
        samplers: r1_zero.hours(
            [r1_zero.part(step, samplers=samplers, staleness=1) for step in steps]
        )
        for samplers in (256, 384)
    }
    samplers, stale = min(split.items(), key=lambda item: item[1])
    off = hours / r1_zero.HOURS - 1
    lines = [
        f"Predicted: **{hours:.0f} hours** on {r1_zero.GPUS} H800. The paper: {r1_zero.HOURS:.0f} hours, so the prediction is "
        f"{abs(off):.0%} too {'high' if off > 0 else 'low'}. Without speculative decoding it would be {single:.0f} hours; with "
        f"weights one rollout old, and {samplers} of the GPUs sampling all the time, {stale:.0f}."
    ]
    return "\n\n".join([markdown(rows), *lines])


def draw(curves: Sequence[Curve], file: Path) -> None:
    """Draw the figure with matplotlib, in a process of its own."""
    steps = r1_zero.steps(2 * _PARTS)
    results = {
        "curves": [line.as_json() for line in curves],
        "r1_zero": [asdict(r1_zero.part(step)) for step in steps],
        "r1_zero_paper_seconds": r1_zero.HOURS * 3600 / (r1_zero.STEPS / r1_zero.MINIBATCHES),
    }
    folder = ROOT / "runs" / "benchmark"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scale.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.figures", "scale", folder / "scale.json", file]
    subprocess.run(command, check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
