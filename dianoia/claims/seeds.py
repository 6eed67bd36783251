"""Several runs of one recipe compared: each claim per seed, and the mean stage table.

In: run directories. Out: `Grid`s, which `print_grids` writes for a terminal or as Markdown. A claim that holds with one
seed may be luck: the interval over problems does not include the variation over seeds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dianoia.base.errors import ConfigError
from dianoia.base.files import read_table
from dianoia.claims import claims_of
from dianoia.claims.evidence import is_vote
from dianoia.claims.paper import NAMES
from dianoia.claims.value_format import format_value
from dianoia.storage.run_directory import RunDirectory, no_run_directory

Results = Mapping[str, Any]
"""The content of `results.json`, with `stage_table` and `claims`."""
MARKS = {True: "✓", False: "✗", None: "–"}


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of texts."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    label_columns: int = 1
    """Columns at the beginning that label a row; the last of them may wrap."""


# Results -----------------------------------------------------------------------------------------


def load_results(runs: Sequence[RunDirectory]) -> list[Results]:
    """Return the results of runs that can be compared, ordered by seed.

    Raises:
        ConfigError: a run is unfinished or has no claims, recipes differ, or a seed is repeated.
    """
    results = [_read_results(run) for run in runs]
    check_seeds(runs, [table["seed"] for table in results])
    return sorted(results, key=lambda table: int(table["seed"]))


def check_seeds(runs: Sequence[RunDirectory], seeds: Sequence[Any]) -> None:
    """Raise ConfigError unless the recipes of runs are equal apart from the seed, and no seed of theirs is repeated."""
    for run in runs:
        if not run.recipe.is_file():
            raise no_run_directory(run.path, "it holds no recipe.json")
    for run in runs[1:]:
        _check_same_recipe(runs[0], run)
    # The runs may be copies of one another, which would make luck look like evidence.
    repeated = next((seed for seed in seeds if seeds.count(seed) > 1), None)
    if repeated is not None:
        paths = ", ".join(
            str(run.path) for run, seed in zip(runs, seeds, strict=True) if seed == repeated
        )
        raise ConfigError(
            f"{paths}: all have seed {repeated}, and runs with equal seeds are one result counted twice; give runs with "
            "different seeds (--set seed=2)"
        )


def _read_results(run: RunDirectory) -> Results:
    if not run.results.is_file() or not run.recipe.is_file():
        raise ConfigError(
            f"{run.path}: results.json or recipe.json is missing, so this is not a finished run; "
            "give the folder that `dianoia run` wrote, once all stages are done"
        )
    results: Results = read_table(run.results) | claims_of(run)
    if not results["claims"]:
        raise ConfigError(
            f"{run.path}: its recipe names no part of the paper, so there is no claim to check; add a "
            "[claims] table to the recipe (docs/claims.md) and run it again"
        )
    return results


def _check_same_recipe(first: RunDirectory, other: RunDirectory) -> None:
    """Raise ConfigError unless the recipes are equal apart from the seed."""
    # The seed must differ, so it is left out of the comparison.
    first_recipe, other_recipe = ({**read_table(run.recipe), "seed": 0} for run in (first, other))
    tables = [
        ("stages.", first_recipe.pop("stages"), other_recipe.pop("stages")),
        ("", first_recipe, other_recipe),
    ]
    different = [
        f"{prefix}{key}"
        for prefix, table, other_table in tables
        for key in dict.fromkeys([*table, *other_table])
        if table.get(key) != other_table.get(key)
    ]
    if different:
        raise ConfigError(
            f"{first.path} and {other.path} are runs of different recipes ({', '.join(different[:6])} differ), "
            "so their mean would mean nothing; give runs that differ only in their seed"
        )


# Claims ------------------------------------------------------------------------------------------


def claims_grid(runs: Sequence[Results]) -> Grid:
    """Return a grid with one row per claim, and one per value if the claim has several."""
    rows = [
        row
        for claims in zip(*(run["claims"] for run in runs), strict=True)
        for row in _claim_rows(claims)
    ]
    head = ("", "claim", *(f"seed {run['seed']}" for run in runs), "holds")
    return Grid("Claims", head, tuple(rows), label_columns=2)


def _claim_rows(claims: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the rows of one claim; `claims` has its verdict of each run."""
    first, verdicts = claims[0], [claim["holds"] for claim in claims]
    # A claim with a single value has it in its own row; one with several gets a row per value.
    several = max(len(claim["values"]) for claim in claims) > 1
    cells = [
        MARKS[verdict] if several else _single_value(claim)
        for verdict, claim in zip(verdicts, claims, strict=True)
    ]
    rows = [(str(first["number"]), first["title"], *cells, _count(verdicts))]
    for values in zip(*(claim["values"] for claim in claims), strict=True) if several else ():
        holds = [value["holds"] for value in values]
        rows.append(("", f"· {values[0]['what']}", *map(_value, values), _count(holds)))
    return rows


def _single_value(claim: Mapping[str, Any]) -> str:
    return _value(claim["values"][0]) if claim["values"] else MARKS[None]


def _value(value: Mapping[str, Any]) -> str:
    if value["holds"] is None:
        return MARKS[None]
    return f"{format_value(value['value'], value['unit'])} {MARKS[value['holds']]}"


def _count(verdicts: Sequence[bool | None]) -> str:
    """Return in how many of the runs that decided a claim it holds."""
    decided = [verdict for verdict in verdicts if verdict is not None]
    return f"{sum(decided)} of {len(decided)}" if decided else "not measured"


# Stage table -------------------------------------------------------------------------------------


def stages_grid(runs: Sequence[Results]) -> Grid:
    """Return pass@1 in per cent: the mean over seeds with its range; for one seed, with its interval over problems.

    The last row is the baseline, one answer given to every problem, on the problems of the last checkpoint that has it.
    """
    tables = _tables(runs)
    domains = _table_domains(tables)
    rows = _accuracy_rows(tables, domains, lambda metric: metric == "pass@1")
    rows += _baseline_row(tables, domains)
    return Grid(f"pass@1 in per cent, {_scope(runs)}", ("checkpoint", *domains), tuple(rows))


def votes_grid(runs: Sequence[Results]) -> Grid | None:
    """Return cons@k, the accuracy of a majority of k samples, as `stages_grid` has pass@1; None where nothing has several."""
    tables = _tables(runs)
    names = {
        metric
        for table in tables
        for row in table.values()
        for metrics in row["domains"].values()
        for metric in metrics
        if is_vote(metric)
    }
    if not names:
        return None
    domains = [
        domain
        for domain in _table_domains(tables)
        if any(names & row["domains"].get(domain, {}).keys() for row in tables[0].values())
    ]
    # One k for all stands in the title, several in the cells.
    title = next(iter(names)) if len(names) == 1 else "cons@k, k after the value,"
    rows = _accuracy_rows(tables, domains, is_vote, with_name=len(names) > 1)
    return Grid(f"{title} in per cent, {_scope(runs)}", ("checkpoint", *domains), tuple(rows))


def _tables(runs: Sequence[Results]) -> list[dict[str, Any]]:
    """Return the rows of each run's stage table by checkpoint."""
    return [{row["checkpoint"]: row for row in run["stage_table"]} for run in runs]


def _table_domains(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = tables[0].values() if tables else ()
    return list(dict.fromkeys(domain for row in rows for domain in row["domains"]))


def _scope(runs: Sequence[Results]) -> str:
    return f"mean of {len(runs)} seeds (range)" if len(runs) > 1 else "one seed (95 % interval)"


def _accuracy_rows(
    tables: Sequence[Mapping[str, Any]],
    domains: Sequence[str],
    is_shown: Callable[[str], bool],
    with_name: bool = False,
) -> list[tuple[str, ...]]:
    """Return a row per checkpoint with the metric of each domain that is shown."""
    return [
        (
            f"{_part_names(row)} ({name})",
            *(_accuracy(tables, name, domain, is_shown, with_name) for domain in domains),
        )
        for name, row in tables[0].items()
    ]


def _baseline_row(
    tables: Sequence[Mapping[str, Any]], domains: Sequence[str]
) -> list[tuple[str, ...]]:
    """Return the row of the baselines; nothing for results of older versions, which did not measure them."""
    cells = []
    for domain in domains:
        baselines_per_run = [
            [
                row["domains"][domain]["baseline"]["value"]
                for row in table.values()
                if "baseline" in row["domains"].get(domain, {})
            ]
            for table in tables
        ]
        # Checkpoints are evaluated on the same problems unless a stage says otherwise, so one baseline represents them.
        last = [baselines[-1] for baselines in baselines_per_run if baselines]
        cells.append(f"{100 * fmean(last):.1f}" if last else MARKS[None])
    measured = any(cell != MARKS[None] for cell in cells)
    return [("always the most common gold answer", *cells)] if measured else []


def _part_names(row: Mapping[str, Any]) -> str:
    return " = ".join(NAMES.get(part, part) for part in row["parts"])


def _accuracy(
    tables: Sequence[Mapping[str, Any]],
    checkpoint: str,
    domain: str,
    is_shown: Callable[[str], bool],
    with_name: bool,
) -> str:
    """Return a metric in per cent: its mean and range over seeds, or the interval of a single one."""
    estimates = [
        (metric, estimate)
        for table in tables
        for metric, estimate in table.get(checkpoint, {}).get("domains", {}).get(domain, {}).items()
        if is_shown(metric)
    ]
    if not estimates:
        return MARKS[None]
    values = [100 * estimate["value"] for _, estimate in estimates]
    # Several seeds show their range; a single seed can only show its interval over problems.
    if len(values) > 1:
        low, high = min(values), max(values)
    else:
        low, high = (100 * estimates[0][1][bound] for bound in ("low", "high"))
    # Runs of one recipe have one k in a cell.
    name = f" @{estimates[0][0].partition('@')[2]}" if with_name else ""
    return f"{fmean(values):.1f} ({low:.1f}-{high:.1f}){name}"


# Printing ----------------------------------------------------------------------------------------

_MIN_LABEL_WIDTH = 16
"""Columns of the text that labels a row, at least."""
_FRAME = 3
"""Columns that the lines of a table take per cell; one more at the end."""


def print_grids(grids: Sequence[Grid], console: Console, markdown: bool) -> None:
    """Print grids as tables for a terminal, or as Markdown."""
    for grid in grids:
        if markdown:
            console.print(as_markdown(grid), markup=False, highlight=False, soft_wrap=True)
            continue
        for part in split_columns(grid, console.width):
            console.print(_table(part))


def split_columns(grid: Grid, width: int) -> list[Grid]:
    """Split a grid into as many as fit into `width` columns without cutting a value; each repeats the labels."""
    # Each column needs the width of its longest cell.
    widths = [max(map(len, column)) for column in zip(grid.head, *grid.rows, strict=True)]
    last_label = grid.label_columns - 1
    labels = [*widths[:last_label], min(widths[last_label], _MIN_LABEL_WIDTH)]
    space = width - 1 - sum(size + _FRAME for size in labels)
    groups: list[list[int]] = []
    remaining = 0
    for column in range(grid.label_columns, len(grid.head)):
        needed = widths[column] + _FRAME
        # Start a new grid if the column does not fit; a column wider than the terminal gets one of its own.
        if not groups or needed > remaining:
            groups.append([])
            remaining = space
        groups[-1].append(column)
        remaining -= needed
    label_indices = range(grid.label_columns)
    return [_select_columns(grid, [*label_indices, *group]) for group in groups] or [grid]


def _select_columns(grid: Grid, columns: Sequence[int]) -> Grid:
    rows = tuple(tuple(row[column] for column in columns) for row in grid.rows)
    head = tuple(grid.head[column] for column in columns)
    return Grid(grid.title, head, rows, grid.label_columns)


def _table(grid: Grid) -> Table:
    """Return a table in which labels may wrap and values may not."""
    table = Table(title=Text(grid.title), title_justify="left")
    for column, head in enumerate(grid.head):
        table.add_column(head, no_wrap=column != grid.label_columns - 1, overflow="fold")
    for row in grid.rows:
        table.add_row(*map(Text, row))
    return table


def as_markdown(grid: Grid) -> str:
    """Return a GitHub table; a bar in a text is escaped."""
    rows = [grid.head, ("---",) * len(grid.head), *grid.rows]
    lines = ("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
    return f"**{grid.title}**\n\n" + "\n".join(lines) + "\n"
