"""`dianoia completion`: completion in a shell, by argcomplete, and what completes each argument.

The shell's script calls the command itself with `_ARGCOMPLETE` set; `complete` then answers from the parser and ends the
process. Arguments are completed by their names in the parser, so that a new command needs nothing here.
"""

import argparse
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dianoia.cli.run import Commands

Completer = Callable[..., Iterable[str]]
_SHELLS = ("bash", "zsh", "fish")
_HOW = """
bash:  echo 'eval "$(dianoia completion bash)"' >> ~/.bashrc
zsh:   echo 'eval "$(dianoia completion zsh)"' >> ~/.zshrc      (after compinit)
fish:  dianoia completion fish > ~/.config/fish/completions/dianoia.fish
"""


def add_parser(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "completion",
        help="print the script that completes commands, recipes, stages and keys in a shell",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"Prints the script that completes `dianoia` in a shell. To install it:\n{_HOW}",
    )
    parser.add_argument("shell", choices=_SHELLS)
    parser.set_defaults(command=lambda arguments: print_script(arguments.shell))


def print_script(shell: str) -> None:
    """Print the script for a shell."""
    from argcomplete.shell_integration import shellcode

    # The script for bash serves zsh too, and asks which of the two it runs in.
    name = "bash" if shell == "zsh" else shell
    print(shellcode(["dianoia"], shell=name))


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks for completions, and end the process; return at once for any other caller."""
    if "_ARGCOMPLETE" not in os.environ:
        return
    import argcomplete

    _add_completers(parser)
    argcomplete.autocomplete(parser, always_complete_options="long")


def _add_completers(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                _add_completers(subparser)
        elif action.dest in _COMPLETERS:
            action.completer = _COMPLETERS[action.dest]  # type: ignore[attr-defined]


# What completes an argument ------------------------------------------------------------------------


def _recipes(prefix: str, **_: Any) -> list[str]:
    from dianoia.recipe.shipped import shipped_recipes

    return [*shipped_recipes(), *_files(prefix, ".toml")]


def _files(prefix: str, ending: str) -> list[str]:
    """Return the files with an ending, and the folders, that a path begins."""
    from argcomplete.completers import FilesCompleter

    return list(FilesCompleter(allowednames=(ending,))(prefix))


def _stages(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Return the stages of the recipe that stands before in the line; none without one."""
    return list(_recipe_table(parsed_args).get("stages", {}))


def _stages_of_run(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Return the stages of the run that stands before in the line; none without one."""
    import json

    try:
        recipe = json.loads((Path(parsed_args.run) / "recipe.json").read_text(encoding="utf-8"))
        return list(recipe["stages"])
    except (OSError, ValueError, TypeError, KeyError):  # no run yet, or none that can be read
        return []


def _overrides(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Return `stage.key=` for every key of every stage of the recipe, and the keys of its top."""
    from dianoia.recipe.keys import key_tables

    keys = {table.name: [key.name for key in table.keys] for table in key_tables()}
    stages = _recipe_table(parsed_args).get("stages", {})
    return [f"{key}=" for key in keys["recipe"] if "." not in key] + [
        f"{name}.{key}=" for name, stage in stages.items() for key in keys.get(stage["kind"], ())
    ]


def _recipe_table(parsed_args: argparse.Namespace) -> dict[str, Any]:
    import tomllib

    from dianoia.base.errors import ConfigError
    from dianoia.recipe.shipped import recipe_path

    try:
        return tomllib.loads(recipe_path(parsed_args.recipe).read_text(encoding="utf-8"))
    except (ConfigError, OSError, ValueError, TypeError):  # no recipe yet, or none that can be read
        return {}


def _runs(prefix: str, **_: Any) -> list[str]:
    """Return the run directories in runs/, then folders."""
    runs = [path.parent.as_posix() for path in Path("runs").glob("*/recipe.json")]
    return [*runs, *_files(prefix, "/")]


def _models(prefix: str, **_: Any) -> list[str]:
    """Return shipped models, checkpoints of runs in runs/, then folders."""
    from dianoia.bases import SHIPPED

    checkpoints = [
        f"{path.parents[2].as_posix()}:{path.parent.name}"
        for path in Path("runs").glob("*/stages/*/checkpoint")
    ]
    return [*SHIPPED, *checkpoints, *_runs(prefix)]


def _trackers(**_: Any) -> list[str]:
    from dianoia.track.trackers import TRACKERS

    return list(TRACKERS)


def _problem_sets(prefix: str, **_: Any) -> list[str]:
    from dianoia.tasks.plugins import PROBLEM_SETS

    return [*PROBLEM_SETS, *_recipes(prefix), *_files(prefix, ".jsonl")]


def _topics(**_: Any) -> list[str]:
    from dianoia.recipe.topics import topic_names

    return ["recipes", "docs", *topic_names()]


def _gpus(**_: Any) -> list[str]:
    from dianoia.hardware.gpus import GPUS

    return [gpu.name for gpu in GPUS]


_COMPLETERS: dict[str, Completer] = {
    "recipe": _recipes,
    "set": _overrides,
    "only": _stages,
    "start": _stages,
    "stage": _stages_of_run,
    "gpu": _gpus,
    "to": _trackers,
    "run": _runs,
    "runs": _runs,
    "model": _models,
    "problem": _problem_sets,
    "models": _models,
    "names": _problem_sets,
    "word": _topics,
}
"""By the name of an argument in the parser."""
