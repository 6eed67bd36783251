"""`dianoia evaluate`: models on public benchmarks, files and problem sets, side by side."""

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dianoia.base.thread_variables import let_idle_threads_sleep
from dianoia.cli.number_options import whole_number
from dianoia.cli.output import print_json, print_wrapped
from dianoia.cli.rank_options import add_rank_options

if TYPE_CHECKING:
    from dianoia.cli.run import Commands
    from dianoia.evaluation.evaluation_recipe import Evaluation, Options
    from dianoia.evaluation.score_table import Result
    from dianoia.storage.run_directory import RunDirectory

_RECIPE = "evaluate.toml"


def add_parser(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "evaluate",
        help="measure models on public benchmarks, files or problem sets, side by side",
        description="Samples and grades answers of models, and prints accuracies with 95 % intervals and the paired "
        "difference to the first model. The same command resumes what was stopped. docs/benchmarks.md has the protocols.",
    )
    parser.add_argument(
        "models", nargs="+", metavar="MODEL",
        help="a folder, a run, one checkpoint of a run as runs/x:zero, a hub name, or a model that ships",
    )  # fmt: skip
    parser.add_argument(
        "--on", action="append", required=True, metavar="TARGET[,TARGET]",
        help="benchmarks (aime24, aime25, math-500, gpqa-diamond, mmlu-pro, gsm8k, livecodebench, humaneval; each also as "
        "NAME=FILE), files, or problem sets such as miniature/math; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--protocol", choices=("paper", "open-r1"), default="paper",
        help="whose wording and number of samples a benchmark has (default: paper)",
    )  # fmt: skip
    parser.add_argument(
        "--samples",
        type=_whole(1),
        metavar="K",
        help="samples per problem (default: the protocol's)",
    )
    parser.add_argument(
        "--limit", type=_whole(1), metavar="N", help="at most N problems of each target"
    )
    parser.add_argument(
        "--heldout", action="store_true", help="of files only the tenth that training holds out"
    )
    _add_sampling(parser)
    parser.add_argument(
        "--out", type=Path, help="the run directory (default: one in runs/, by models and targets)"
    )
    add_rank_options(parser)
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.set_defaults(command=evaluate)


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how responses are sampled."""
    parser.add_argument(
        "--temperature", type=_number, help="default: 0.6; 0 is greedy, with one sample"
    )
    parser.add_argument("--top-p", type=_number, help="default: 0.95")
    parser.add_argument(
        "--max-tokens", type=_whole(1), metavar="N",
        help="response tokens (default: 32,768, or what the model has room for)",
    )  # fmt: skip
    parser.add_argument(
        "--template",
        help="the prompt's template (default: the one that the model was trained under)",
    )
    parser.add_argument("--seed", type=_whole(0), default=1, help="decides every draw (default: 1)")
    parser.add_argument(
        "--slots",
        type=_whole(1),
        default=256,
        metavar="N",
        help="samples decoded at the same time (default: 256)",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of weights and KV cache (default: float32)",
    )


def evaluate(arguments: argparse.Namespace) -> None:
    """Measure the models, and print a table per target, or all results as JSON."""
    let_idle_threads_sleep()  # before torch is imported
    from dianoia.cli.run import RunOptions, execute
    from dianoia.evaluation.evaluation_recipe import default_folder, find_subjects, make_evaluation
    from dianoia.evaluation.score_table import as_json, table_lines
    from dianoia.evaluation.targets import find_targets
    from dianoia.storage.run_directory import RunDirectory

    targets = find_targets(arguments.on, arguments.protocol, arguments.limit, arguments.heldout)
    subjects = find_subjects(arguments.models, arguments.template)
    evaluation = make_evaluation(subjects, targets, _options(arguments))
    out = arguments.out or default_folder(subjects, targets)
    # Plan and progress go to standard error, so that the table can be piped.
    execute(
        RunOptions(
            _write_recipe(evaluation, out),
            out=out,
            ranks=arguments.ranks,
            gpus=arguments.gpus,
            json=True,
        )
    )
    results = _results(evaluation, RunDirectory(out))
    if arguments.json:
        print_json(as_json(results, str(out), arguments.seed, evaluation.notes))
        return
    for line in table_lines(results):
        print(line)
    for note in evaluation.notes:
        print_wrapped(note)
    print(f"\nrollouts and results: {out}")
    print(f"to read them: dianoia report {shlex.quote(str(out))}")


def _options(arguments: argparse.Namespace) -> "Options":
    from dianoia.evaluation.evaluation_recipe import Options

    return Options(
        samples=arguments.samples,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        max_tokens=arguments.max_tokens,
        template=arguments.template,
        slots=arguments.slots,
        dtype=arguments.dtype,
        seed=arguments.seed,
    )


def _write_recipe(evaluation: "Evaluation", out: Path) -> Path:
    """Write the recipe into the run directory, and return its path. Raises ConfigError for a path through a file."""
    from dianoia.base.errors import ConfigError
    from dianoia.base.files import whole_file

    for path in (out, *out.parents):
        if path.is_file():
            raise ConfigError(
                f"--out {out}: {path} is a file, and a run directory is a folder; give another --out, or move the file away"
            )
    out.mkdir(parents=True, exist_ok=True)
    with whole_file(out / _RECIPE) as temporary:
        temporary.write_text(evaluation.recipe, encoding="utf-8")
    return out / _RECIPE


def _results(evaluation: "Evaluation", run: "RunDirectory") -> "list[Result]":
    from dianoia.evaluation.score_table import Result
    from dianoia.evaluation.scores import read_scores

    results = []
    for measurement in evaluation.measurements:
        # A stage of one checkpoint writes one file.
        (rollouts,) = run.stage(measurement.stage).rollout_files()
        results.append(Result(measurement, read_scores(rollouts), str(rollouts)))
    return results


def _whole(least: int) -> Callable[[str], int]:
    return whole_number(least, f"is not a whole number from {least} on")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number; write for example 0.6"
        ) from None
