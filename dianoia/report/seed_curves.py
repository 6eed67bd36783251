"""Curves of several seeds in one figure, as figure 1 of the paper draws those of one run.

In: runs of one recipe that differ in their seed. Out: a page and a picture of one rl stage over its steps: accuracy of a
single sample and of a majority, thought length, and reflection words. Lines are means over seeds, bands go from the lowest
seed to the highest. Only steps that every run has are drawn, so that no line jumps where a run ends.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from dianoia.base.errors import ConfigError, nearest
from dianoia.base.files import write_text
from dianoia.claims.seeds import check_seeds
from dianoia.report.figures import BLUE, GREY, ORANGE, Chart, Point, band, figure, grid, line
from dianoia.report.html_values import amount, code, escape, paragraph
from dianoia.report.page import document
from dianoia.report.run_reader import Run, load, metric_order, number
from dianoia.report.svg_figure import svg_picture
from dianoia.storage.run_directory import RunDirectory

_ACCURACY = "heldout/pass@1"


@dataclass(frozen=True, slots=True)
class Seed:
    """The held-out curve of one run."""

    seed: Any
    path: Path
    points: Mapping[float, Mapping[str, float]]
    """Metrics by optimizer step."""


@dataclass(frozen=True, slots=True)
class Curves:
    """The held-out curves of one stage in several runs."""

    recipe: str
    stage: str
    seeds: tuple[Seed, ...]

    @property
    def steps(self) -> list[float]:
        """Steps that every run has."""
        first, *others = (seed.points for seed in self.seeds)
        return sorted(step for step in first if all(step in points for points in others))

    def values(self, metric: str) -> dict[float, list[float]]:
        """Return the value of each seed at the steps where all have the metric."""
        by_step = {
            step: [seed.points[step].get(metric) for seed in self.seeds] for step in self.steps
        }
        return {
            step: [value for value in values if value is not None]
            for step, values in by_step.items()
            if None not in values
        }

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics that any step has."""
        rows = (row for seed in self.seeds for row in seed.points.values())
        return list(dict.fromkeys(name for row in rows for name in row))


@dataclass(frozen=True, slots=True)
class Written:
    """The files of a figure of several seeds, and what could not be read."""

    page: Path
    picture: Path
    damaged: tuple[str, ...]


def write_seed_curves(
    runs: Sequence[RunDirectory], stage: str | None = None, out: Path | None = None
) -> Written:
    """Write `seeds.html` and `seeds.svg` into `out`, or into the folder that holds the first run.

    `stage`: an rl stage of the recipe; None: R1-Zero, by the recipe's claims, or else the first one.

    Raises:
        ConfigError: a folder is no run directory, recipes differ, a seed is repeated, or the stage has no held-out curve.
        DamagedFile: a recipe cannot be read.
    """
    loaded = [load(run) for run in runs]
    check_seeds(runs, [run.recipe.get("seed") for run in loaded])
    curves = _curves(loaded, stage)
    charts = seed_charts(curves)
    folder = runs[0].path.resolve().parent if out is None else out
    title = f"{curves.recipe}: {curves.stage}, {len(runs)} seeds"
    page, picture = folder / "seeds.html", folder / "seeds.svg"
    write_text(picture, svg_picture(charts, title, f"{title}. {_legend(curves)}"))
    write_text(page, _page(curves, charts, title))
    return Written(page, picture, tuple(line for run in loaded for line in run.damaged))


def _curves(runs: Sequence[Run], name: str | None) -> Curves:
    """Return the curves of a stage, ordered by seed."""
    first = runs[0]
    names = [stage.name for stage in first.of_kind("rl")]
    chosen = name or first.recipe.get("claims", {}).get("zero")
    if chosen not in names and name is None:
        chosen = names[0] if names else None
    if chosen not in names:
        options = f"its rl stages are {', '.join(names)}" if names else "it has no rl stage"
        raise ConfigError(
            f"--stage {name or '(not given)'}: the recipe has no rl stage of that name"
            f"{nearest(name or '', names)}; {options}"
        )
    seeds = sorted(
        (
            Seed(run.recipe.get("seed"), run.path, _points(stage.rows))
            for run in runs
            for stage in run.stages
            if stage.name == chosen
        ),
        key=lambda seed: int(seed.seed),
    )
    curves = Curves(str(first.recipe.get("name", "")), str(chosen), tuple(seeds))
    if not curves.steps:
        without = next((seed.path for seed in seeds if not seed.points), first.path)
        raise ConfigError(
            f"{without}: stage {chosen!r} has no point of its held-out curve in common with the other runs, so there is "
            "nothing to draw; run it, with progress.problems above 0"
        )
    return curves


def _points(rows: Sequence[Mapping[str, Any]]) -> dict[float, dict[str, float]]:
    """Return the held-out metrics of the rows that have an accuracy, by step."""
    points = {}
    for row in rows:
        step = number(row.get("step"))
        if step is not None and number(row.get(_ACCURACY)) is not None:
            points[step] = {
                key: value
                for key, entry in row.items()
                if key.startswith("heldout/") and (value := number(entry)) is not None
            }
    return points


# Charts --------------------------------------------------------------------------------------------


def seed_charts(curves: Curves) -> list[Chart]:
    """Return the charts for which the stage has numbers: accuracy, thought length, reflection."""
    votes = [metric for metric in curves.metrics if re.fullmatch(r"heldout/cons@\d+", metric)]
    accuracy = [
        (_ACCURACY, "pass@1", BLUE, "dots"),
        # A majority of one is the sample itself.
        *((v, v.removeprefix("heldout/"), ORANGE, "dots") for v in votes if not v.endswith("@1")),
        ("heldout/baseline", "baseline", GREY, "dashed"),
    ]
    plans = [
        ("Accuracy", True, accuracy, "Share of correct answers to held-out problems: of single samples (pass@1) and of the "
         "majority of a problem's samples (cons). Baseline: always giving the most common gold answer. Paper, figure 1: AIME 2024 from 15.6 % to 77.9 %, with voting 86.7 %."),
        ("Thought length", False, [("heldout/thought_tokens", "tokens per thought", BLUE, "dots")],
         "Tokens per thought on held-out problems; nothing rewards length. Paper, figure 1: responses in training from about "
         "500 to 14,000 tokens."),
        ("Reflection words", False, [("heldout/reflection", "words per thought", BLUE, "dots")],
         "Words such as “wait” or “check” per thought on held-out problems. Paper, appendix C: 5 to 7 times as frequent."),
    ]  # fmt: skip
    charts = []
    for title, share, series, caption in plans:
        traces = [trace for plan in series for trace in _traces(curves, *plan, share=share)]
        if traces:
            plot = figure(traces, "optimizer step", share=share)
            plot["layout"]["showlegend"] = len(series) > 1
            charts.append(Chart(title, f"{caption} {_legend(curves)}", plot))
    return charts


def _legend(curves: Curves) -> str:
    count = len(curves.seeds)
    return (
        f"Lines: mean of {count} seeds; bands: from the lowest seed to the highest."
        if count > 1
        else "One seed."
    )


def _traces(
    curves: Curves, metric: str, name: str, colour: str, style: str, *, share: bool
) -> list[dict[str, Any]]:
    """Return the band and the mean of a metric; nothing where it was not recorded."""
    values = curves.values(metric)
    if not values:
        return []

    def points(summary: Any) -> list[Point]:
        return [(step, summary(of_seeds)) for step, of_seeds in values.items()]

    mean = line(name, points(fmean), colour, style, share)
    # A constant such as the baseline has no band worth its ink.
    if len(curves.seeds) == 1 or style == "dashed":
        return [mean]
    return [band(f"{name}, range", points(min), points(max), colour), mean]


# The page ------------------------------------------------------------------------------------------


def _page(curves: Curves, charts: Sequence[Chart], title: str) -> str:
    steps = curves.steps
    header = (
        f"<h1>{escape(title)}</h1>"
        f'<p class="lede">{escape(_legend(curves))} Steps {steps[0]:g} to {steps[-1]:g}.</p>'
    )
    sections = [
        ("curves", "Curves", "Curves", grid(charts, 3)),
        ("seeds", "Seeds", "Each seed", _table(curves)),
    ]
    return document(title, header, sections, ("charts",))


def _table(curves: Curves) -> str:
    """Return a table of the first and the last point of each seed."""
    metrics = sorted(
        (
            metric
            for metric in curves.metrics
            if re.fullmatch(r"heldout/(pass@1|cons@\d+|thought_tokens|reflection)", metric)
        ),
        key=lambda metric: metric_order(metric.removeprefix("heldout/")),
    )
    steps = curves.steps
    head = "".join(
        f'<th scope="col">{escape(metric.removeprefix("heldout/"))}</th>' for metric in metrics
    )
    rows = "".join(
        f'<tr><th scope="row">{escape(seed.seed)}</th><td>{code(seed.path)}</td>'
        + "".join(f"<td>{_change(seed, metric, steps)}</td>" for metric in metrics)
        + "</tr>"
        for seed in curves.seeds
    )
    about = paragraph(
        f"Stage {code(curves.stage)} on held-out problems, at step {steps[0]:g} and at step {steps[-1]:g}. "
        f"<code>dianoia claims</code> with the same folders has the paper's claims."
    )
    return (
        f'{about}<div class="wide" tabindex="0" role="region" aria-label="Each seed"><table><thead><tr>'
        f'<th scope="col">seed</th><th scope="col">run</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _change(seed: Seed, metric: str, steps: Sequence[float]) -> str:
    name = metric.removeprefix("heldout/")
    ends = [seed.points[step].get(metric) for step in (steps[0], steps[-1])]
    texts = ["–" if value is None else amount(name, value) for value in ends]
    return " → ".join(texts)
