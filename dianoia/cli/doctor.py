"""`dianoia doctor`: what this machine has, and what a recipe would need of it."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from dianoia.cli.output import print_json, print_wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dianoia.cli.run import Commands
    from dianoia.doctor import Finding


def add_parser(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "doctor", help="say what this machine has and lacks, and what a recipe would need"
    )
    parser.description = (
        "Looks at Python, PyTorch, packages, cores, memory, disk, compiler, GPU and sandbox; with a recipe, also at what the "
        "recipe needs. Problems come first, with what to do. Exit status 1 if something is broken. Nothing is changed."
    )
    parser.add_argument("recipe", nargs="?", help="a TOML file, or the name of a recipe that ships")
    parser.add_argument("--json", action="store_true", help="print the same as JSON")
    parser.set_defaults(command=doctor)


def doctor(arguments: argparse.Namespace) -> int:
    """Print problems, then what is in order; return 1 if something is broken, else 0."""
    from dianoia.doctor import Status
    from dianoia.doctor.machine_checks import check_machine
    from dianoia.doctor.recipe_checks import check_recipe

    # The recipe first: one that cannot be read is refused before the seconds that the machine takes.
    recipe = list(check_recipe(arguments.recipe)) if arguments.recipe else []
    machine = list(check_machine())
    is_broken = any(finding.status is Status.BROKEN for finding in (*recipe, *machine))
    if arguments.json:
        rows = {"machine": machine, "recipe": recipe}
        table = {name: [asdict(finding) for finding in findings] for name, findings in rows.items()}
        print_json({"broken": is_broken, **table})
        return int(is_broken)
    _print_problems([*recipe, *machine])
    _print_facts("This machine", machine)
    if recipe:
        _print_facts(f"The recipe {arguments.recipe}", recipe)
    return int(is_broken)


def _print_problems(findings: "Sequence[Finding]") -> None:
    """Print what is broken, then warnings, each with what to do."""
    from dianoia.doctor import Status

    problems = [finding for finding in findings if finding.status is not Status.OK]
    if not problems:
        print("Everything is in order.")
    for finding in sorted(problems, key=lambda problem: problem.status is not Status.BROKEN):
        print_wrapped(f"{finding.status.upper()} {finding.topic}: {finding.value}", indent=4)
        print_wrapped(f"    to do: {finding.advice}", indent=4)


def _print_facts(title: str, findings: "Sequence[Finding]") -> None:
    from dianoia.doctor import Status

    facts = [finding for finding in findings if finding.status is Status.OK]
    width = max((len(finding.topic) for finding in facts), default=0)
    print(f"\n{title}")
    for finding in facts:
        print_wrapped(f"  {finding.topic.ljust(width)}  {finding.value}", indent=width + 4)
