"""`dianoia simulate`: predicts how long a rollout with its updates takes on one or many devices."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dianoia.base.errors import ConfigError
from dianoia.cli.number_options import whole_number
from dianoia.cli.output import print_json
from dianoia.cli.result_tables import make_console, print_columns, say

if TYPE_CHECKING:
    from rich.console import Console

    from dianoia.cli.run import Commands
    from dianoia.config import RLStage
    from dianoia.hardware.machine import Machine
    from dianoia.recipe import Recipe
    from dianoia.simulation.lengths import Lengths
    from dianoia.simulation.measured import FinishedStage
    from dianoia.simulation.rates import Rates
    from dianoia.simulation.sweep import Point

FORMAT = 1
"""Version of the JSON form."""
_BITS = 8
_whole = whole_number(0, "is not a whole number; write for example 1")


def add_parser(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "simulate", help="predict the time of an rl stage on one or many devices"
    )
    add = parser.add_argument
    add("recipe", type=Path, help="a TOML file, or the name of a recipe that ships")
    add("--set", action="append", default=[], metavar="STAGE.KEY=VALUE", help="as for `run`")
    add("--stage", metavar="NAME", help="the rl stage (default: the recipe's first one)")
    add(
        "--gpus",
        "--ranks",
        dest="counts",
        type=_counts,
        default=(1,),
        metavar="N[,N]",
        help="numbers of devices, such as 8,64,1024; on a CPU, of ranks that share its cores (default: 1)",
    )
    add("--for", dest="gpu", metavar="GPU", help="devices of this kind, such as H100, not of this machine")  # fmt: skip
    add("--per-node", type=_positive, default=8, metavar="N", help="devices of a node (default: 8)")
    add(
        "--lengths",
        metavar="RUN[:STAGE]",
        help="draw lengths of responses from those of an rl stage that has run",
    )
    add(
        "--mean-length",
        type=_positive,
        metavar="TOKENS",
        help="mean tokens of a response, log-normal with the spreads of --lengths (default: 0.3 of the limit, or that of --lengths)",
    )
    add(
        "--measured",
        metavar="RUN[:STAGE]",
        help="correct this machine's rates by the times of an rl stage that has run on it",
    )
    add(
        "--staleness",
        type=_whole,
        default=0,
        metavar="K",
        help="a second table: rollouts with weights that are K rollouts old, drawn while others learn (default: none)",
    )
    add(
        "--samplers",
        type=_positive,
        metavar="N",
        help="with --staleness: devices that only sample (default: the fastest of some splits)",
    )
    add(
        "--overlap",
        action="store_true",
        help="with --staleness: samplers begin the next rollout while responses of the last one go on",
    )
    add("--network", type=_positive, default=400, metavar="GBIT", help="network between nodes, per device (default: 400)")  # fmt: skip
    add("--disk", type=_positive, default=2, metavar="GB", help="GB/s of shared storage, over which samplers get weights (default: 2)")  # fmt: skip
    add("--seed", type=_whole, default=0, help="of the drawn lengths (default: 0)")
    add("--json", action="store_true", help="print the prediction as JSON")
    parser.set_defaults(command=simulate)


def _positive(text: str) -> int:
    number = _whole(text)
    if not number:
        raise argparse.ArgumentTypeError("0 is too small; write 1 or more")
    return number


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_positive(word.strip()) for word in text.split(","))


def simulate(arguments: argparse.Namespace) -> None:
    """Print a table with a line per number of devices, and with staleness a second one."""
    if not arguments.staleness:
        for option, value in (("--samplers", arguments.samplers), ("--overlap", arguments.overlap)):
            if value:
                raise ConfigError(
                    f"{option} needs --staleness: without it every device samples and then learns; add --staleness 1"
                )
    elif max(arguments.counts) < 2:
        raise ConfigError(
            f"--staleness {arguments.staleness}: one device cannot sample while it learns; give --gpus 2 or more"
        )
    table = predictions(arguments)
    if arguments.json:
        print_json(table)
        return
    _print(table, make_console())


def predictions(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the predictions as plain values.

    Raises:
        ConfigError: the recipe has no such stage, an option cannot be used, or no GPU of the name is known.
    """
    from dianoia.hardware.gpus import gpu_named
    from dianoia.hardware.machine import other_machine, this_machine
    from dianoia.recipe import load_recipe
    from dianoia.recipe.plan.model_sizes import reward_model_sizes, size_of
    from dianoia.recipe.templates import inherit_templates
    from dianoia.simulation.prediction import workload_of
    from dianoia.simulation.rates import rates_of
    from dianoia.simulation.sweep import Cluster, sweep

    recipe = inherit_templates(load_recipe(arguments.recipe, tuple(arguments.set)))
    name, stage = _rl_stage(recipe, arguments.stage)
    size = size_of(name, recipe)
    gpu = None if arguments.gpu is None else gpu_named(arguments.gpu)
    machine = this_machine(recipe.threads) if gpu is None else other_machine(arguments.gpu)
    if machine.cpu:
        _require_cores(arguments.counts, machine)
    rates = rates_of(
        machine,
        size.hidden,
        stage.autocast == "bfloat16",
        stage.sampling.dtype == "bfloat16",
        gpu,
        network=arguments.network * 1e9 / _BITS,
        disk=arguments.disk * 1e9,
    )
    rates = _corrected(rates, arguments)
    lengths, described = _lengths(arguments, stage)
    prompt = _prompt_tokens(stage, recipe)
    work = workload_of(stage, size, lengths, prompt, machine.cpu)
    cluster = Cluster(machine, rates, arguments.per_node)
    scorers = list(reward_model_sizes(name, recipe).values())
    common = (stage, work, cluster, arguments.counts, scorers)
    points = sweep(*common, seed=arguments.seed)
    stale: list[Point] = []
    if arguments.staleness:
        options = arguments.staleness, arguments.overlap, arguments.samplers, arguments.seed
        base = points[0].times.tokens_per_device
        stale = sweep(*common, *options, per_device=base)
    return {
        "format": FORMAT,
        "recipe": recipe.name,
        "stage": name,
        "machine": machine.name,
        "memory": machine.memory,
        "problems": work.problems,
        "group_size": work.group_size,
        "steps_per_rollout": stage.minibatches,
        "rollouts": stage.steps // stage.minibatches,
        "lengths": described,
        "synchronous": [_as_json(point) for point in points],
        "staleness": arguments.staleness,
        "overlap": arguments.overlap,
        "asynchronous": [_as_json(point) for point in stale],
    }


def _rl_stage(recipe: "Recipe", name: str | None) -> "tuple[str, RLStage]":
    """Return the rl stage of that name, or the first one."""
    from dianoia.config import RLStage

    stages = {key: stage for key, stage in recipe.stages.items() if isinstance(stage, RLStage)}
    if name is None and stages:
        return next(iter(stages.items()))
    if name is None or name not in stages:
        where = "" if name is None else f"--stage {name}: "
        names = ", ".join(stages) or "none"
        raise ConfigError(
            f"{where}{recipe.name} has no such rl stage, and only those are simulated; it has: {names}"
        )
    return name, stages[name]


def _require_cores(counts: tuple[int, ...], machine: "Machine") -> None:
    """Raise ConfigError for more ranks than the cores of this CPU, which they would share."""
    if max(counts) > machine.workers:
        raise ConfigError(
            f"--gpus {max(counts)}: this machine has no GPU, and {machine.workers} CPU threads; name the devices to predict for, "
            "such as --for H100, or give fewer"
        )


def _corrected(rates: "Rates", arguments: argparse.Namespace) -> "Rates":
    """Return the rates as measured in a run on this machine, if one is named."""
    from dianoia.simulation.measured import finished_stage, measured_factors

    if arguments.measured is None:
        return rates
    if arguments.gpu is not None:
        raise ConfigError(
            f"--measured {arguments.measured} has times of this machine, and --for {arguments.gpu} asks for another one; "
            "leave one of the two out"
        )
    factors = measured_factors(finished_stage("--measured", arguments.measured))
    return rates.scaled(factors.sampling, factors.judging, factors.updating)


def _lengths(arguments: argparse.Namespace, stage: "RLStage") -> "tuple[Lengths, dict[str, Any]]":
    """Return the lengths of responses, and what JSON says of them."""
    from dianoia.simulation.lengths import BETWEEN, WITHIN, LogNormal
    from dianoia.simulation.measured import finished_stage, fitted_lengths, observed_lengths

    limit, mean = stage.sampling.largest_max_tokens, arguments.mean_length
    if mean is not None and mean >= limit:
        raise ConfigError(
            f"--mean-length {mean}: no mean can reach the limit of {limit:,} tokens (sampling.max_tokens); give a smaller one, or "
            f"raise the limit with --set"
        )
    if arguments.lengths is None:
        fitted = LogNormal(0.0, BETWEEN, WITHIN, limit)
        mean = _assumed_mean(limit) if mean is None else mean
    else:
        finished: FinishedStage = finished_stage("--lengths", arguments.lengths)
        if mean is None:
            observed = observed_lengths(finished.folder)
            return observed, {"source": arguments.lengths, "mean": observed.mean}
        fitted = fitted_lengths(finished.folder, limit)
    lengths = fitted.with_mean(mean)
    return lengths, {
        "source": arguments.lengths,
        "mean": lengths.mean,
        "between": lengths.between,
        "within": lengths.within,
        "limit": limit,
        "cut_share": lengths.cut_share,
    }


def _assumed_mean(limit: int) -> float:
    from dianoia.recipe.plan.work_time import FILLED

    return max(1.0, FILLED * limit)


def _prompt_tokens(stage: "RLStage", recipe: "Recipe") -> float:
    from dianoia.recipe.plan.drawn_problems import prompt_tokens

    return prompt_tokens(stage, recipe)


def _as_json(point: "Point") -> dict[str, Any]:
    return {**asdict(point.times), **{k: v for k, v in asdict(point).items() if k != "times"}}


# The table -----------------------------------------------------------------------------------------


def _print(table: dict[str, Any], console: "Console") -> None:
    """Print what was assumed and the tables."""
    from dianoia.recipe.plan.number_format import format_seconds, plural

    lengths = table["lengths"]
    source = "log-normal" if "limit" in lengths else f"those of {lengths['source']}"
    steps = plural(table["steps_per_rollout"], "step")
    many = (
        table["machine"].removeprefix("one ")
        if max(p["ranks"] for p in table["synchronous"]) > 1
        else table["machine"]
    )
    say(
        console,
        f"{table['recipe']}, {table['stage']}: rollouts of {table['problems']:,} problems x {table['group_size']} samples, "
        f"{steps} each; responses of {lengths['mean']:,.0f} tokens in the mean ({source}); on {many}",
    )
    say(console, "Seconds per rollout:")
    _print_points(table["synchronous"], console)
    if table["asynchronous"]:
        say(console)
        overlap = ", samplers begin the next one early" if table["overlap"] else ""
        say(
            console,
            f"Samplers + learners, with weights that are {plural(table['staleness'], 'rollout')} old{overlap}:",
        )
        _print_points(table["asynchronous"], console)
        _say_where_it_pays(table, console)
    total = table["synchronous"][-1]
    seconds = table["rollouts"] * total["total"]
    say(
        console,
        f"The stage's {plural(table['rollouts'], 'rollout')} on {total['ranks']:,}: {format_seconds(seconds)}.",
    )


def _print_points(points: list[dict[str, Any]], console: "Console") -> None:
    header = ["devices", "sample", "tail", "judge", "update", "wait", "weights", "all", "tok/s", "gain", "shard"]  # fmt: skip
    rows = []
    for point in points:
        devices = f"{point['ranks']:,}"
        if point["samplers"]:
            devices = f"{point['samplers']:,}+{point['ranks'] - point['samplers']:,}"
        parts = ("sampling", "tail", "judging", "updating", "communication", "weights", "total")
        rows.append(
            [
                devices,
                *(_seconds(point[part]) for part in parts),
                _rate(point["tokens"] / point["total"]),
                f"{point['efficiency']:.0%}",
                point["shard"] if point["fits"] else "too big",
            ]
        )
    print_columns(header, rows, console)


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f}" if seconds >= 99.5 else f"{seconds:.1f}" if seconds >= 0.95 else f"{seconds:.2f}"  # fmt: skip


def _rate(rate: float) -> str:
    return f"{rate / 1e6:.1f} M" if rate >= 1e6 else f"{rate:,.0f}"


def _say_where_it_pays(table: dict[str, Any], console: "Console") -> None:
    """Print from which number of devices old weights are faster."""
    synchronous = {point["ranks"]: point["total"] for point in table["synchronous"]}
    faster = [p["ranks"] for p in table["asynchronous"] if p["total"] < synchronous[p["ranks"]]]
    if faster:
        say(console, f"Old weights are faster on {', '.join(f'{ranks:,}' for ranks in faster)}.")
    else:
        say(console, "On each of these numbers the synchronous run is as fast or faster.")
