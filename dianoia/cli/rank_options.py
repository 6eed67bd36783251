"""How many processes run a stage together: `--ranks`, `--gpus`, or the environment of a launcher such as torchrun."""

import argparse
from typing import TYPE_CHECKING

from dianoia.base.errors import ConfigError
from dianoia.cli.number_options import whole_number

if TYPE_CHECKING:
    from dianoia.cli.run import RunOptions
    from dianoia.distributed.placement import Placement, RankCount

_ranks = whole_number(1, "is not a number of processes; write for example 2")
_gpu_count = whole_number(1, "is not a number of GPUs; write 8, or all")


def add_rank_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how many processes run a stage together."""
    parser.add_argument(
        "--ranks",
        type=_ranks,
        default=1,
        metavar="N",
        help="on a CPU: N processes run each stage together and share its threads; the results are the same",
    )
    parser.add_argument(
        "--gpus",
        type=_gpus,
        metavar="N|all",
        help="N GPUs of this machine run each stage together, a process each (default: 1)",
    )


def _gpus(text: str) -> int | str:
    return text if text == "all" else _gpu_count(text)


def launched(options: "RunOptions") -> "Placement | None":
    """Return which rank this process is among those that a launcher has started; None without a launcher.

    Raises:
        ConfigError: the launcher's variables do not fit together, or the options ask for something else.
    """
    from dianoia.distributed.placement import placement_by_environment

    placement = placement_by_environment()
    if placement is None:
        return None
    given = {"--ranks": options.ranks > 1, "--gpus": options.gpus is not None, "--jobs": options.jobs > 1}  # fmt: skip
    for name, is_given in given.items():
        if is_given:
            raise ConfigError(
                f"{name} in a command that a launcher has started (WORLD_SIZE={placement.size}): it has started the processes "
                f"already, and they run one stage after the other; leave {name} out, or start one process without the launcher"
            )
    return placement


def rank_count(options: "RunOptions", placement: "Placement | None" = None) -> "RankCount":
    """Return how many processes run a stage together. Raises ConfigError for a number that this machine cannot have."""
    from dianoia.distributed.placement import RankCount

    if placement is not None:
        return RankCount(placement.size, placement.local_size)
    count = _local_count(options)
    return RankCount(count, count)


def _local_count(options: "RunOptions") -> int:
    """Return how many processes of this machine run a stage together."""
    from dianoia.hardware.machine import gpu_count

    if options.gpus is None and options.ranks == 1:
        return 1
    if options.gpus is not None and options.ranks > 1:
        raise ConfigError(
            f"--ranks {options.ranks} and --gpus {options.gpus}: a GPU has one process; give --gpus alone, or --ranks alone for "
            "the CPU"
        )
    if options.gpu is not None:  # a plan for another machine
        return options.gpus if isinstance(options.gpus, int) else options.ranks
    present = gpu_count()
    if options.gpus is None:
        if present:
            raise ConfigError(
                f"--ranks {options.ranks}: processes on a CPU, and this machine has {present} GPUs, which stages run on; give "
                f"--gpus {present}, or hide the GPUs with CUDA_VISIBLE_DEVICES="
            )
        return options.ranks
    if not present:
        raise ConfigError(
            f"--gpus {options.gpus}: PyTorch sees no CUDA GPU on this machine (dianoia doctor says why); leave --gpus out, or "
            "give --ranks N for N processes on the CPU"
        )
    wanted = present if options.gpus == "all" else int(options.gpus)
    if wanted > present:
        raise ConfigError(
            f"--gpus {wanted}: this machine has {present} that a run may use (CUDA_VISIBLE_DEVICES counts); give --gpus "
            f"{present}, or all"
        )
    return wanted
