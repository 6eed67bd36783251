"""`dianoia new`: writes a commented recipe for a model, a problem file and a goal."""

import argparse
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from dianoia.base.errors import ConfigError
from dianoia.base.thread_variables import let_idle_threads_sleep
from dianoia.cli.output import print_json, print_wrapped

if TYPE_CHECKING:
    from dianoia.cli.run import Commands
    from dianoia.inference.loaded_model import Trial
    from dianoia.recipe.new import NewRecipe, Request
    from dianoia.text.template import Template

_MOST_PARAMETERS = 300e6
"""Largest model that is tried on a CPU: larger ones take minutes."""
_TRIED, _SAMPLES, _TOKENS = 8, 4, 256
"""Problems, samples of each, and most tokens of a response, of a trial."""


def add_parser(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "new", help="write a commented recipe for a model, a problem file and a goal"
    )
    parser.description = (
        "Writes a recipe in which every number has its reason, fitted to this machine or to --for GPU, and checks it as a dry run "
        "does. Goals: zero (reinforcement learning alone), lora (the same with low-rank adapters), r1 (the whole of DeepSeek-R1), "
        "distill (learn a teacher's samples). A small model on this machine is first asked a few of the problems: one that "
        "never keeps the form of its template would learn nothing."
    )
    parser.add_argument("goal", metavar="GOAL", help="zero, lora, r1 or distill")
    parser.add_argument(
        "--model", required=True, help="a folder, a hub name, a shipped model, or RUN:CHECKPOINT"
    )
    parser.add_argument(
        "--problems",
        required=True,
        metavar="FILE",
        help="problems with answers: a file, a hub name or a built-in set",
    )
    parser.add_argument(
        "--test", metavar="FILE", help="problems to evaluate on (default: a held-out tenth)"
    )
    parser.add_argument("--reward", metavar="FILE.py:FUNCTION", help="a reward function of yours")
    parser.add_argument("--teacher", metavar="MODEL|FILE", help="distill: whose samples are learnt")
    parser.add_argument(
        "--template", metavar="NAME", help="the prompt around a question (default: by the model)"
    )
    parser.add_argument("--name", help="the recipe's name (default: of model and goal)")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the file to write (default: NAME.toml)"
    )
    parser.add_argument(
        "--for", dest="gpu", metavar="GPU", help="fit it to a machine with this GPU, e.g. H100"
    )
    parser.add_argument("--force", action="store_true", help="overwrite the file")
    parser.add_argument("--no-trial", action="store_true", help="do not ask the model anything")
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")
    parser.set_defaults(command=new)


def new(arguments: argparse.Namespace) -> None:
    """Write a recipe, and say what it is, what it costs and what to type next.

    Raises:
        ConfigError: the file exists, or the recipe cannot work.
    """
    let_idle_threads_sleep()  # before torch is imported
    from dianoia.base.files import write_text
    from dianoia.recipe.new import Request, compose

    request = Request(
        goal=arguments.goal,
        model=_model(arguments.model),
        problems=arguments.problems,
        reward=arguments.reward,
        test=arguments.test,
        teacher=arguments.teacher and _model(arguments.teacher),
        template=arguments.template,
        name=arguments.name,
        gpu=arguments.gpu,
    )
    composed = compose(request)
    out = arguments.out or Path(f"{composed.name}.toml")
    # Checked before the trial, which takes a while.
    if out.exists() and not arguments.force:
        raise ConfigError(
            f"{out} exists and stays as it is; give another --out, or --force to overwrite it"
        )
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.absolute().parent}; make it first")
    trial = None if arguments.no_trial else _trial(request, composed, quiet=arguments.json)
    write_text(out, composed.text)
    if arguments.json:
        print_json(_as_table(composed, out, trial))
        return
    _print(composed, out, trial)


def _model(model: str) -> str:
    """Return a model as a recipe names it: of RUN:CHECKPOINT and of a run, the folder of the checkpoint."""
    from dianoia.bases import SHIPPED
    from dianoia.inference.checkpoints import find_checkpoint

    path = Path(model).expanduser()
    head = model.rpartition(":")[0]
    # A recipe must not name a run: the run's main checkpoint may be another one tomorrow.
    is_run = path.is_dir() and not (path / "config.json").is_file()
    if model not in SHIPPED and (is_run or (head and Path(head).expanduser().is_dir())):
        return find_checkpoint(model).source
    return model


# The trial -----------------------------------------------------------------------------------------


def _trial(request: "Request", composed: "NewRecipe", quiet: bool) -> "Trial | None":
    """Ask the model whose samples are rewarded or learnt; None if it is too large or elsewhere.

    Raises:
        ConfigError: it never keeps the form of a template with tags.
    """
    from dianoia.bases import model_folder

    facts = composed.facts
    trial_model = facts.teacher if request.goal == "distill" else facts.model
    is_here = (
        trial_model is not None
        and model_folder(trial_model.source).is_dir()
        and request.gpu is None
    )
    if trial_model is None or not is_here or not facts.problems.sample:
        return None
    if facts.machine.cpu and trial_model.parameters > _MOST_PARAMETERS:
        return None
    problems = facts.problems.sample[:_TRIED]
    if not quiet:
        print_wrapped(
            f"asking {trial_model.source} {len(problems)} problems, {_SAMPLES} times each ..."
        )
    trial = _try(composed, trial_model.source)
    template = _first_template(composed)
    if template.tags is not None and not trial.finished:
        option = "--teacher" if request.goal == "distill" else "--model"
        raise ConfigError(
            _never_keeps_the_form(f"{option} {trial_model.source}", template.name, trial)
        )
    return trial


def _first_template(composed: "NewRecipe") -> "Template":
    from dianoia.config import RLStage, SampleStage
    from dianoia.text.template import template_of

    # The first stage samples; only distilling a file has none, and there nothing is tried.
    first = next(iter(composed.recipe.stages.values()))
    assert isinstance(first, RLStage | SampleStage), (
        "no other stage is first where a model is tried"
    )
    return template_of(first.template, composed.recipe.templates)


def _try(composed: "NewRecipe", source: str) -> "Trial":
    from dianoia.inference.loaded_model import load, try_problems

    problems = composed.facts.problems.sample[:_TRIED]
    template = _first_template(composed)
    return try_problems(
        load(source, template=template), problems, template, samples=_SAMPLES, max_tokens=_TOKENS
    )


def _never_keeps_the_form(model: str, template: str, trial: "Trial") -> str:
    example = " ".join(trial.example.split())[:160]
    return (
        f"{model}: none of {trial.responses} responses kept the form of the template {template!r}, so that every reward would "
        f"be 0 and nothing would be learnt. One of them: {example!r}. A base learns a form from worked examples in its prompt: "
        "a [templates] table of yours, as in `dianoia help docs` recipes.md and the recipe smollm2-sums; an instruct model knows its own: --template chat. "
        "With --no-trial the recipe is written all the same"
    )


# What is said ----------------------------------------------------------------------------------------


def _as_table(composed: "NewRecipe", out: Path, trial: "Trial | None") -> dict[str, object]:
    return {
        "recipe": str(out),
        "name": composed.name,
        "savings": list(composed.savings),
        "warnings": _warnings(composed, trial),
        "trial": None if trial is None else asdict(trial),
        "plan": composed.plan.as_json(),
        "next": f"dianoia run {shlex.quote(str(out))} --dry-run",
    }


def _warnings(composed: "NewRecipe", trial: "Trial | None") -> list[str]:
    """Return what may keep the recipe from working, in sentences."""
    facts, plan = composed.facts, composed.plan
    warnings = [facts.problems.warning] if facts.problems.warning else []
    if facts.model.unavailable:
        warnings.append(
            f"{facts.model.source} is not on this machine ({facts.model.unavailable}); a run fetches it from the hub"
        )
    if plan.slow_stages:
        gpu = f"; a machine with one {plan.suggested_gpu} would do" if plan.suggested_gpu else ""
        warnings.append(f"{', '.join(plan.slow_stages)}: more than a month on {plan.machine}{gpu}")
    if trial is not None and not trial.right:
        warnings.append(
            f"none of {trial.responses} responses was right before training: groups whose rewards are all equal teach nothing, so "
            "begin with easier problems, or with a model that is right now and then"
        )
    if trial is not None and trial.right == trial.responses:
        warnings.append(
            "all responses were right before training: harder problems would leave something to learn"
        )
    return warnings


def _print(composed: "NewRecipe", out: Path, trial: "Trial | None") -> None:
    from dianoia.recipe.plan.number_format import format_bytes, format_seconds

    plan = composed.plan
    print_wrapped(f"wrote {out}: {composed.recipe.description}")
    time = f"{format_seconds(plan.total_seconds)}, " if plan.total_seconds else ""
    print_wrapped(
        f"{len(plan.stages)} stages, {time}at most {format_bytes(plan.largest)} of memory on {plan.machine}"
    )
    if composed.savings:
        print_wrapped(f"set to fit the memory: {'; '.join(composed.savings)}", indent=4)
    if trial is not None:
        print_wrapped(
            f"before training {trial.finished} of {trial.responses} responses kept the form, {trial.right} were right, "
            f"{trial.truncated} were cut at {_TOKENS} tokens"
        )
    for warning in _warnings(composed, trial):
        print_wrapped(f"WARNING: {warning}", indent=4)
    path = shlex.quote(str(out))
    print(f"next: dianoia run {path} --dry-run\n      dianoia run {path}")
