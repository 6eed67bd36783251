"""Several runs of one recipe side by side: each claim a seed, and the mean stage table.

In: run directories. Out: `Grid`s, which `print_grids` writes for a terminal or as Markdown. A claim that
holds with one seed may have been luck; the range over seeds says what the interval over problems cannot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dianoia.base.errors import ConfigError
from dianoia.base.files import read_table
from dianoia.claims import claims_of
from dianoia.claims.paper import NAMES
from dianoia.claims.value_text import say
from dianoia.storage.run_directory import RunDirectory

Results = Mapping[str, Any]
MARKS = {True: "✓", False: "✗", None: "–"}


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of texts."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    named: int = 1
    """Columns at the beginning that name a row; the last of them may take several lines."""


def load(runs: Sequence[RunDirectory]) -> list[Results]:
    """The results of runs that may be set side by side, in order of their seeds.

    Raises:
        ConfigError: one is no finished run with claims, recipes differ, or a seed comes twice.
    """
    found = [_results(run) for run in runs]
    for run in runs[1:]:
        _same_recipe(runs[0], run)
    seeds = [results["seed"] for results in found]
    twice = next((seed for seed in seeds if seeds.count(seed) > 1), None)
    if twice is not None:
        named = ", ".join(str(r.path) for r, s in zip(runs, seeds, strict=True) if s == twice)
        raise ConfigError(
            f"{named}: all are seed {twice}, and equal seeds are one result counted twice; give runs with "
            "different seeds (--set seed=2)"
        )
    return sorted(found, key=lambda results: int(results["seed"]))


def _results(run: RunDirectory) -> Results:
    if not run.results.is_file() or not run.recipe.is_file():
        raise ConfigError(
            f"{run.path}: there is no results.json with recipe.json beside it, so this is no finished run; "
            "give the folder that `dianoia run` wrote, once every stage is done"
        )
    results: Results = read_table(run.results) | claims_of(run)
    if not results["claims"]:
        raise ConfigError(
            f"{run.path}: its recipe names no part of the paper, so there is no claim to check; add a "
            "[claims] table to the recipe (docs/claims.md) and run it again"
        )
    return results


def _same_recipe(first: RunDirectory, other: RunDirectory) -> None:
    """One recipe, whatever the seed."""
    a, b = ({**read_table(run.recipe), "seed": 0} for run in (first, other))
    tables = [("stages.", a.pop("stages"), b.pop("stages")), ("", a, b)]
    differ = [
        f"{prefix}{key}"
        for prefix, one, two in tables
        for key in dict.fromkeys([*one, *two])
        if one.get(key) != two.get(key)
    ]
    if differ:
        raise ConfigError(
            f"{first.path} and {other.path} are runs of different recipes ({', '.join(differ[:6])} differ), "
            "and a mean over them would be a mean over nothing; give runs that differ in their seed alone"
        )


def claims_grid(runs: Sequence[Results]) -> Grid:
    """A row a claim; one a number below it where a claim has several."""
    rows = [
        row for claims in zip(*(r["claims"] for r in runs), strict=True) for row in _rows(claims)
    ]
    head = ("", "claim", *(f"seed {r['seed']}" for r in runs), "holds")
    return Grid("Claims", head, tuple(rows), named=2)


def _rows(claims: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    first, verdicts = claims[0], [claim["holds"] for claim in claims]
    several = max(len(claim["values"]) for claim in claims) > 1
    top = [MARKS[v] if several else _cell(claim) for v, claim in zip(verdicts, claims, strict=True)]
    rows = [(str(first["number"]), first["title"], *top, _count(verdicts))]
    for values in zip(*(claim["values"] for claim in claims), strict=True) if several else ():
        cells = (_value(value) for value in values)
        rows.append(("", f"· {values[0]['what']}", *cells, _count([v["holds"] for v in values])))
    return rows


def _cell(claim: Mapping[str, Any]) -> str:
    return _value(claim["values"][0]) if claim["values"] else MARKS[None]


def _value(value: Mapping[str, Any]) -> str:
    if value["holds"] is None:
        return MARKS[None]
    return f"{say(value['value'], value['unit'])} {MARKS[value['holds']]}"


def _count(verdicts: Sequence[bool | None]) -> str:
    measured = [verdict for verdict in verdicts if verdict is not None]
    return f"{sum(measured)} of {len(measured)}" if measured else "not measured"


def stages_grid(runs: Sequence[Results]) -> Grid:
    """pass@1 in per cent: the mean over seeds and its range; of one seed, its interval over problems.

    The last row is what one answer to everything would have, on the problems of the last checkpoint that says so.
    """
    tables = [{row["checkpoint"]: row for row in run["stage_table"]} for run in runs]
    domains = (
        list(dict.fromkeys(d for row in tables[0].values() for d in row["domains"]))
        if tables
        else []
    )
    rows = [
        (f"{_named(row)} ({name})", *(_mean(tables, name, domain) for domain in domains))
        for name, row in tables[0].items()
    ]
    rows += _baseline(tables, domains)
    over = f"mean of {len(runs)} seeds (range)" if len(runs) > 1 else "one seed (95 % interval)"
    return Grid(f"pass@1 in per cent, {over}", ("checkpoint", *domains), tuple(rows))


def _baseline(tables: Sequence[Mapping[str, Any]], domains: Sequence[str]) -> list[tuple[str, ...]]:
    """The row of the baselines; none for results from before they were measured."""
    cells = []
    for domain in domains:
        of_runs = [
            [
                row["domains"][domain]["baseline"]["value"]
                for row in table.values()
                if "baseline" in row["domains"].get(domain, {})
            ]
            for table in tables
        ]
        last = [values[-1] for values in of_runs if values]
        cells.append(f"{100 * fmean(last):.1f}" if last else MARKS[None])
    known = any(cell != MARKS[None] for cell in cells)
    return [("always the commonest gold answer", *cells)] if known else []


def _named(row: Mapping[str, Any]) -> str:
    return " = ".join(NAMES.get(part, part) for part in row["parts"])


def _mean(tables: Sequence[Mapping[str, Any]], name: str, domain: str) -> str:
    found = [
        table.get(name, {}).get("domains", {}).get(domain, {}).get("pass@1") for table in tables
    ]
    known = [estimate for estimate in found if estimate is not None]
    if not known:
        return MARKS[None]
    values = [100 * estimate["value"] for estimate in known]
    ends = values if len(values) > 1 else [100 * known[0]["low"], 100 * known[0]["high"]]
    return f"{fmean(values):.1f} ({min(ends):.1f}-{max(ends):.1f})"


def print_grids(grids: Sequence[Grid], console: Console, markdown: bool) -> None:
    """Tables for a terminal, or as Markdown to be copied."""
    for grid in grids:
        if markdown:
            console.print(as_markdown(grid), markup=False, highlight=False, soft_wrap=True)
            continue
        for piece in pieces(grid, console.width):
            console.print(_table(piece))


_NARROWEST = 16
"""Columns of the text that names a row, at least."""
_FRAME = 3
"""Columns that the lines of a table take beside each cell; and one at its end."""


def pieces(grid: Grid, width: int) -> list[Grid]:
    """The grid in as many tables as it takes for no number to be cut; each names its rows."""
    widths = [max(map(len, column)) for column in zip(grid.head, *grid.rows, strict=True)]
    named = [*widths[: grid.named - 1], min(widths[grid.named - 1], _NARROWEST)]
    room = width - 1 - sum(size + _FRAME for size in named)
    groups: list[list[int]] = []
    left = 0
    for column in range(grid.named, len(grid.head)):
        needed = widths[column] + _FRAME
        if not groups or needed > left:
            groups.append([])
            left = room
        groups[-1].append(column)
        left -= needed
    return [_columns(grid, [*range(grid.named), *group]) for group in groups] or [grid]


def _columns(grid: Grid, chosen: Sequence[int]) -> Grid:
    rows = tuple(tuple(row[column] for column in chosen) for row in grid.rows)
    return Grid(grid.title, tuple(grid.head[column] for column in chosen), rows, grid.named)


def _table(grid: Grid) -> Table:
    """A table in which nothing is cut: names take several lines, numbers have theirs."""
    table = Table(title=Text(grid.title), title_justify="left")
    for place, head in enumerate(grid.head):
        table.add_column(head, no_wrap=place != grid.named - 1, overflow="fold")
    for row in grid.rows:
        table.add_row(*map(Text, row))
    return table


def as_markdown(grid: Grid) -> str:
    """GitHub's tables; a bar in a text is escaped."""
    lines = [grid.head, ("---",) * len(grid.head), *grid.rows]
    told = ("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return f"**{grid.title}**\n\n" + "\n".join(told) + "\n"
