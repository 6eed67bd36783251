"""`dianoia run --cluster ray`: the same command once per rank, on the nodes of a Ray cluster; this process only drives it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dianoia.base.errors import ConfigError
from dianoia.cluster.bundles import Layout, Node, gpu_count, lay_out, passed_on
from dianoia.cluster.driver import address_of, run_ranks

if TYPE_CHECKING:
    from dianoia.cli.run import RunOptions


def run_on_cluster(options: "RunOptions") -> int:
    """Run the command on a cluster and return its exit status.

    Raises:
        ConfigError: there is no such cluster, it has no room for the ranks, or a node does not see the run directory.
        MachineFault: others use the room.
        RankError: a node is lost, or a rank was killed.
    """
    from dianoia.cli.run import TYPED_COMMAND, command_line
    from dianoia.cluster.shipment import shipment
    from dianoia.recipe import load_recipe
    from dianoia.recipe.shipped import recipe_path
    from dianoia.storage.run_directory import SHIPPED_VERSION, code_version

    _check_options(options)
    if isinstance(options.recipe, dict):
        raise ConfigError("--cluster: the recipe has to be a file")
    path = recipe_path(options.recipe)  # type: ignore[arg-type]
    recipe = load_recipe(path, options.overrides)
    out = (options.out or Path("runs") / recipe.name).absolute()
    # Ranks run from a copy of the code without its repository, and under another command line.
    provenance = {SHIPPED_VERSION: code_version(), TYPED_COMMAND: command_line()}
    return run_ranks(
        str(options.cluster),
        shipment(recipe, path),
        passed_on(os.environ) | provenance,
        lambda nodes: _layout(options, nodes, recipe.threads),
        out,
        _rank_arguments(options, path.name, out),
    )


def _check_options(options: "RunOptions") -> None:
    """Raise ConfigError for options that mean nothing beside `--cluster`."""
    cluster = f"--cluster {options.cluster}"
    address_of(str(options.cluster))
    if options.dry_run:
        raise ConfigError(
            f"--dry-run with {cluster}: a plan needs no cluster; name what it has with --gpus N --for GPU, or --ranks N"
        )
    if options.gpu is not None:
        raise ConfigError(f"--for {options.gpu} with {cluster}: it belongs to --dry-run; leave it out")  # fmt: skip
    if options.jobs > 1:
        raise ConfigError(
            f"--jobs {options.jobs} with {cluster}: all ranks run one stage after the other; leave --jobs out"
        )
    if options.gpus is not None and options.ranks > 1:
        raise ConfigError(
            f"--ranks {options.ranks} and --gpus {options.gpus}: a GPU has one process; give --gpus alone, or --ranks alone for "
            "the CPU"
        )


def _layout(options: "RunOptions", present: Sequence[Node], threads: int) -> Layout:
    """Return how many ranks run on how many nodes: on all GPUs of the cluster unless the options say otherwise."""
    gpus = gpu_count(present)
    if options.gpus is None and (options.ranks > 1 or not gpus):
        if options.ranks == 1:
            raise ConfigError(
                f"--cluster {options.cluster}: this cluster has no GPUs, so say how many processes share each stage; add for "
                f"example --ranks {max(2, len(present))}"
            )
        # As on one machine, a recipe's threads are those of all ranks together.
        cpus = max(1, threads // options.ranks) if threads else 0
        return lay_out(present, options.ranks, cpus, 0)
    if not gpus:
        raise ConfigError(
            f"--gpus {options.gpus} with --cluster {options.cluster}: this cluster has no GPUs; give --ranks N for N processes on "
            "CPUs"
        )
    return lay_out(present, options.gpus if isinstance(options.gpus, int) else gpus, 1, 1)


def _rank_arguments(options: "RunOptions", recipe: str, out: Path) -> list[str]:
    """Return module and arguments of each rank: the same command without its cluster."""
    words = ["dianoia", "run", recipe, "--out", str(out)]
    for override in options.overrides:
        words += ["--set", override]
    if options.seeds:
        words += ["--seeds", ",".join(map(str, options.seeds))]
    if options.only:
        words += ["--only", ",".join(options.only)]
    if options.start is not None:
        words += ["--from", options.start]
    flags = {"--force": options.force, "--json": options.json, "--verbose": options.verbose}
    return [*words, *(flag for flag, is_given in flags.items() if is_given)]
