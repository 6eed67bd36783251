"""`dianoia claims`: the paper's claims in one run, or over several seeds."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dianoia.cli.output import print_json

if TYPE_CHECKING:
    from dianoia.cli.run import Commands


def add_parser(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "claims", help="check the paper's claims in one run, or over several seeds"
    )
    parser.add_argument(
        "runs",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="run directories of one recipe, one per seed",
    )
    parser.add_argument("--markdown", action="store_true", help="print tables in Markdown")
    parser.add_argument(
        "--json", action="store_true", help="print claims and stage tables of each seed as JSON"
    )
    parser.set_defaults(
        command=lambda arguments: claims(arguments.runs, arguments.markdown, arguments.json)
    )


def claims(runs: Sequence[Path], markdown: bool = False, json: bool = False) -> None:
    """Print the claims and the stage table of runs that differ in their seed alone."""
    from rich.console import Console

    from dianoia.claims import seeds
    from dianoia.storage.run_directory import RunDirectory

    # Refuses runs of different recipes: a mean over them would mean nothing.
    results = seeds.load_results([RunDirectory(path) for path in runs])
    if json:
        keys = ("seed", "claims", "stage_table")
        print_json({"runs": [{key: table[key] for key in keys} for table in results]})
        return
    grids = [seeds.claims_grid(results), seeds.stages_grid(results), seeds.votes_grid(results)]
    seeds.print_grids([grid for grid in grids if grid is not None], Console(), markdown)
