"""Finds the model that a person has typed, and the checkpoints of a run by name. No torch, and nothing is loaded.

In: one of these forms. Out: `Checkpoint`s, whose `source` is a folder or a hub name.

    miniature-base              a model that ships with the package
    path/to/folder              a Hugging Face folder, such as RUN/stages/zero/checkpoint
    path/to/stage               the folder of a stage, RUN/stages/zero: its checkpoint
    runs/miniature-r1           a run: the model that it was made for, see `main_checkpoint`
    runs/miniature-r1:zero      one checkpoint of a run, by the name of its stage, of its base, or of its part in the paper
    Qwen/Qwen3-0.6B             a model of the Hugging Face hub

What exists on this machine comes before the hub.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dianoia.base.errors import ConfigError, ModelError, nearest
from dianoia.base.files import read_table
from dianoia.bases import SHIPPED, shipped_model
from dianoia.config import TemplateSettings
from dianoia.storage.run_directory import RunDirectory, no_run_directory
from dianoia.text.template import Template, template_of

_MODEL_KINDS = ("pretrain", "sft", "rl")
"""Kinds of stages whose checkpoint answers questions; that of a reward model scores them."""
_MAIN_PARTS = ("r1", "dev3", "dev2", "dev1", "zero")
"""Parts of the paper, the best model first."""
_BASE = "base"
"""Name that the first base of every run has too."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A language model that can be loaded."""

    name: str
    """Its name in its run: of its stage, or of a base as the recipe names it; else the last part of what was typed."""
    source: str
    """A folder, or a hub name."""
    aliases: tuple[str, ...] = ()
    """Its parts in the paper, such as `r1`, and `base` for the first base of a run."""
    run: Path | None = None
    """The run directory that it is a checkpoint of."""
    stage: str | None = None
    """The stage that wrote it; None for a base."""
    template: Template | None = None
    """The template that its run asks it under, for a base, which records none itself."""
    templates: Mapping[str, TemplateSettings] = field(default_factory=dict, compare=False)
    """The templates of the run's own by name."""


def find_checkpoint(model: str | Path) -> Checkpoint:
    """Return the model that a person has typed.

    Raises:
        ModelError: there is none of that name; the message has the names that there are.
        ConfigError: a run has no checkpoint, or none of that name.
    """
    text = str(model)
    # Before the folder of the same name, which only a Path means: recipes name shipped models so too.
    if isinstance(model, str) and (folder := shipped_model(text)) is not None:
        return Checkpoint(text, str(folder))
    path = Path(model).expanduser()
    if path.exists():
        return _in_folder(path, text)
    # The last colon: a folder's name may hold others.
    head, colon, name = text.rpartition(":")
    if colon and Path(head).expanduser().is_dir():
        return _named(Path(head).expanduser(), name)
    if _is_hub_name(text):
        return Checkpoint(text.rpartition("/")[2], text)
    raise ModelError(_no_such_model(text))


def checkpoints_of(run: str | Path) -> list[Checkpoint]:
    """Return the language models of a run that can be asked: its bases, then its finished stages in the recipe's order.

    Raises ConfigError if the folder is no run directory, DamagedFile if its recipe.json cannot be read.
    """
    directory = RunDirectory(Path(run).expanduser())
    recipe = _recipe(directory)
    stages = _tables(recipe.get("stages"))
    tables = dict(_templates(recipe))
    parts = {
        part: name for part, name in _table(recipe.get("claims")).items() if isinstance(name, str)
    }
    checkpoints: list[Checkpoint] = []
    for name in _bases(stages):
        source = _base_source(name)
        if source is not None:
            template = _template_of_base(name, stages, tables)
            # A recipe may begin with several bases; `base` means the first of them.
            is_first = not checkpoints
            aliases = _aliases(name, parts, _BASE if is_first else None)
            checkpoints.append(
                Checkpoint(_short(name), source, aliases, directory.path, None, template, tables)
            )
    for name, table in stages.items():
        folder = directory.stage(name).checkpoint
        # The folder appears under its name only when it is complete.
        if table.get("kind") in _MODEL_KINDS and (folder / "config.json").is_file():
            aliases = _aliases(name, parts)
            checkpoints.append(
                Checkpoint(name, str(folder), aliases, directory.path, name, None, tables)
            )
    return checkpoints


def main_checkpoint(run: str | Path) -> Checkpoint:
    """Return the model that a run was made for: its R1, or the nearest to it in the paper's chain, or its last one.

    Raises ConfigError if no stage of the run has written a checkpoint yet.
    """
    trained = [checkpoint for checkpoint in checkpoints_of(run) if checkpoint.stage is not None]
    if not trained:
        raise ConfigError(
            f"{run}: no stage of this run has written a checkpoint of a language model yet; run the recipe to its end, or "
            f"ask the base as {run}:{_BASE}"
        )
    # A later stage overwrites an earlier one of the same name or alias.
    by_part = {part: item for item in trained for part in (item.name, *item.aliases)}
    return next((by_part[part] for part in _MAIN_PARTS if part in by_part), trained[-1])


def is_run(path: Path) -> bool:
    """Return True if a folder is a run directory."""
    return (path / "recipe.json").is_file() and (path / "stages").is_dir()


# What was typed ------------------------------------------------------------------------------------


def _in_folder(path: Path, text: str) -> Checkpoint:
    """Return the model in an existing folder: of Hugging Face, of a stage, or of a run."""
    if is_run(path):
        return main_checkpoint(path)
    if (path / "config.json").is_file():
        return _of_its_run(path) or Checkpoint(path.resolve().name, str(path))
    checkpoint = path / "checkpoint"
    if (checkpoint / "config.json").is_file():
        return _of_its_run(checkpoint) or Checkpoint(path.resolve().name, str(checkpoint))
    if (path / "begun.json").is_file():
        raise ModelError(
            f"{text}: this stage has written no checkpoint; a stage that trains writes one at its end, so run its recipe to "
            "the end, or give another stage"
        )
    inside = sorted(str(folder) for folder in path.glob("*") if is_run(folder))
    hint = f"; it holds the runs {', '.join(inside)}: give one of them" if inside else ""
    raise ModelError(
        f"{text}: this folder is neither a model (it has no config.json) nor a run (it has no recipe.json and stages)"
        f"{hint or '; give the folder that holds config.json and model.safetensors, or a run directory'}"
    )


def _of_its_run(folder: Path) -> Checkpoint | None:
    """Return the checkpoint of a run whose folder this is: RUN/stages/NAME/checkpoint; None for any other folder.

    Raises ModelError for a reward model.
    """
    # Resolved: the folder may be typed as a link, or as `.` from inside.
    stage = folder.resolve().parent
    run = stage.parent.parent
    if folder.resolve().name != "checkpoint" or stage.parent.name != "stages" or not is_run(run):
        return None
    stage_kind = _tables(_recipe(RunDirectory(run)).get("stages")).get(stage.name, {}).get("kind")
    if stage_kind == "reward_model":
        raise ModelError(
            f"{folder}: this is a reward model, which scores answers and writes none; give the checkpoint of another stage"
        )
    return next((item for item in checkpoints_of(run) if item.stage == stage.name), None)


def _named(run: Path, name: str) -> Checkpoint:
    """Return a checkpoint of a run by its name or an alias."""
    checkpoints = checkpoints_of(run)
    for checkpoint in checkpoints:
        if checkpoint.name == name:
            return checkpoint
    # Names come first: a stage may be called as another one's part in the paper.
    for checkpoint in checkpoints:
        if name in checkpoint.aliases:
            return checkpoint
    names = [checkpoint.name for checkpoint in checkpoints]
    names_and_aliases = [
        *names,
        *(alias for checkpoint in checkpoints for alias in checkpoint.aliases),
    ]
    raise ConfigError(
        f"{run}:{name}: this run has no checkpoint {name!r}{nearest(name, names_and_aliases)}; it has {', '.join(names) or 'none yet'}"
    )


def _is_hub_name(text: str) -> bool:
    """Return True for OWNER/NAME, unless OWNER is `runs` or a folder here: then a folder in it was meant."""
    owner, slash, name = text.partition("/")
    if not (slash and owner and name) or "/" in name or text.startswith((".", "~")):
        return False
    # A mistyped run must be an error of this machine, and not a question to the hub.
    return ":" not in text and owner != "runs" and not Path(owner).is_dir()


def _no_such_model(text: str) -> str:
    path = Path(text.partition(":")[0]).expanduser()
    sibling_folders = [str(folder) for folder in _folders(path.parent)]
    hint = nearest(str(path), [*sibling_folders, *SHIPPED])
    return (
        f"{text}: there is no such model{hint}; give a folder with config.json and model.safetensors, a run such as "
        f"runs/miniature-r1 or runs/miniature-r1:zero, a hub name such as Qwen/Qwen3-0.6B, or one of {', '.join(SHIPPED)}"
    )


def _folders(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(folder for folder in path.iterdir() if folder.is_dir())


# What a run holds ----------------------------------------------------------------------------------


def _recipe(directory: RunDirectory) -> dict[str, Any]:
    if not directory.recipe.is_file():
        raise no_run_directory(directory.path, "it holds no recipe.json")
    return read_table(directory.recipe)


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _tables(value: object) -> dict[str, dict[str, Any]]:
    return {name: _table(table) for name, table in _table(value).items()}


def _templates(recipe: Mapping[str, Any]) -> Iterator[tuple[str, TemplateSettings]]:
    """Yield the templates of a recipe's own that can be read."""
    for name, table in _table(recipe.get("templates")).items():
        try:
            yield name, TemplateSettings.model_validate(table)
        except ValidationError:
            continue  # of another version; a stage that needs it names it again


def _bases(stages: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the language models that stages begin with or evaluate, and that no stage has made, in order."""
    names: dict[str, None] = {}
    for table in stages.values():
        if table.get("kind") == "reward_model":
            continue
        sources = [table.get("start"), *(table.get("checkpoints") or ())]
        names |= {name: None for name in sources if isinstance(name, str) and name not in stages}
    return list(names)


def _base_source(name: str) -> str | None:
    """Return the folder or hub name of a base; None for a folder that is no longer there."""
    shipped = shipped_model(name)
    if shipped is not None:
        return str(shipped)
    path = Path(name).expanduser()
    if path.exists():
        return str(path)
    return name if _is_hub_name(name) else None


def _short(name: str) -> str:
    """Return the last part of a path or hub name; of the folder of a checkpoint the name of its stage."""
    parts = [part for part in name.split("/") if part not in ("", ".", "..", "~")]
    if parts[-1:] == ["checkpoint"] and len(parts) > 1:
        return parts[-2]
    return parts[-1] if parts else name


def _aliases(name: str, parts: Mapping[str, str], *others: str | None) -> tuple[str, ...]:
    mine = [part for part, checkpoint in parts.items() if checkpoint == name]
    return tuple(dict.fromkeys(alias for alias in [*mine, *others] if alias and alias != name))


def _template_of_base(
    name: str, stages: Mapping[str, Mapping[str, Any]], tables: Mapping[str, TemplateSettings]
) -> Template | None:
    """Return the template that the first stage which samples or trains a base asks it under; None if none says so."""
    for table in stages.values():
        template = table.get("template")
        if name == table.get("start") or name in (table.get("checkpoints") or ()):
            template = template.get(name) if isinstance(template, dict) else template
            if isinstance(template, str):
                try:
                    return template_of(template, tables)
                except ConfigError:
                    continue  # a template of another version
    return None
