"""Recipes from TOML files and overrides, with every mistake named as the user typed it.

`load_recipe(path, ["zero.group_size=8"])` reads the file, lays the overrides over it, validates, and
raises `ConfigError` with file, key, value, reason and the nearest right name.
"""

import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from dianoia.base.bounded_json import other_encoding
from dianoia.base.errors import ConfigError, nearest
from dianoia.config import (
    DataSettings,
    DemonstrationsStage,
    EvaluateStage,
    PreferencesStage,
    PretrainStage,
    RewardModelStage,
    RLStage,
    SampleStage,
    SFTStage,
)
from dianoia.recipe.check.number_ranges import impossible_numbers
from dianoia.recipe.graph import Recipe
from dianoia.recipe.override_values import cure, meant

KINDS: dict[str, type[BaseModel]] = {
    "pretrain": PretrainStage,
    "rl": RLStage,
    "sample": SampleStage,
    "demonstrations": DemonstrationsStage,
    "preferences": PreferencesStage,
    "evaluate": EvaluateStage,
    "sft": SFTStage,
    "reward_model": RewardModelStage,
}


_LARGEST = 2**20
"""Bytes above which a file is no recipe."""


def load_recipe(path: Path | str, overrides: Sequence[str] = ()) -> Recipe:
    """The validated recipe.

    Raises:
        ConfigError: the file is missing or no TOML, or a key, type, value or combination is wrong.
    """
    path = Path(path)
    table = _read(path)
    for override in overrides:
        _lay_over(table, override)
    typed = {_key(override): override for override in overrides}
    recipe = _validated(path, table, typed)
    refused = [
        f"  {_named(key, typed)}: {sentence}" for key, sentence in impossible_numbers(recipe)
    ]
    if refused:
        raise ConfigError("\n".join([f"{path}: the recipe cannot run as written", *refused]))
    return recipe


def _validated(path: Path, table: dict[str, Any], typed: dict[str, str]) -> Recipe:
    """The recipe of a table; overrides whose type is another are read again where that leaves one meaning."""
    unread = set(typed)
    while True:
        try:
            return Recipe.model_validate(table)
        except ValidationError as error:
            again = [key for key in _read_again(table, typed, error) if key in unread]
            if not again:
                raise ConfigError(_explain(path, table, typed, error)) from None
            unread -= set(again)


def _read_again(table: dict[str, Any], typed: dict[str, str], error: ValidationError) -> list[str]:
    """Keys of overrides whose values were put into the table anew, as what their keys take."""
    changed = []
    for problem in error.errors():
        key = ".".join(_where(problem))
        plain = key.removeprefix("stages.")
        if plain not in typed:
            continue
        value = meant(typed[plain].partition("=")[2], problem["type"])
        if value is not None:
            _put(table, key.split("."), value[0])
            changed.append(plain)
    return changed


def _put(table: Any, parts: Sequence[str], value: Any) -> None:
    for part in parts[:-1]:
        table = table[int(part)] if isinstance(table, list) else table[part]
    table[parts[-1]] = value


def _key(override: str) -> str:
    """The key of an override as messages name it, without `stages.`."""
    return override.partition("=")[0].strip().removeprefix("stages.")


def _named(key: str, typed: dict[str, str]) -> str:
    """A key, or the override that has set it, without a secret in it."""
    option = typed.get(key.removeprefix("stages."))
    return f"--set {_without_secret(key, option)}" if option else key or "recipe"


def _where(problem: Any) -> list[str]:
    """The parts of a key, without the members of unions, which pydantic names and people do not."""
    where = [str(part) for part in problem["loc"]]
    if len(where) > 2 and where[0] == "stages" and where[2] in KINDS:
        del where[2]  # stages.zero.rl.steps
    return [part for part in where if not part.startswith("@")]


def _read(path: Path) -> dict[str, Any]:
    if path.is_dir():
        inside = sorted(p.name for p in path.glob("*.toml"))
        near = f", such as {path / inside[0]}" if inside else ""
        raise ConfigError(
            f"{path}: there is no such recipe: this is a folder, and a recipe is a TOML file; give the file{near}"
        )
    if path.is_symlink() and not path.exists():
        raise ConfigError(
            f"{path}: this is a link to {path.readlink()}, which is not there; give the recipe itself, or mend the link"
        )
    if not path.exists():
        near = nearest(path.name, [p.name for p in path.parent.glob("*.toml")])
        raise ConfigError(f"{path}: there is no such recipe{near}")
    if not path.is_file():
        raise ConfigError(
            f"{path}: this is a pipe or a device, and a recipe is a TOML file; give a file"
        )
    if path.stat().st_size > _LARGEST:
        raise ConfigError(
            f"{path}: the file has {path.stat().st_size:,} bytes, and a recipe has a few thousand; give the recipe"
        )
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        instead = other_encoding(path.read_bytes()[:4])
        raise ConfigError(f"{path}: this is not TOML in UTF-8: {instead or error}") from None
    except ValueError as error:  # a whole number of thousands of digits
        raise ConfigError(f"{path}: this is not TOML that can be read: {error}") from None


def _lay_over(table: dict[str, Any], override: str) -> None:
    """Put one `stage.key=value` into the table; top-level keys such as `seed` stand alone."""
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(
            f"--set {override}: expected stage.key=value, e.g. --set zero.group_size=8"
        )
    if len(parts) > 1 and parts[0] not in ("stages", "claims", "data"):
        parts = ["stages", *parts]
    stages = table.get("stages", {})
    if not isinstance(stages, dict):
        return  # the file itself is wrong, and validation will say how
    if parts[0] == "stages" and len(parts) > 1 and parts[1] not in stages:
        raise ConfigError(
            f"--set {override}: the recipe has no stage {parts[1]!r}{nearest(parts[1], stages)}; "
            f"its stages are {', '.join(stages)}"
        )
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {override}: {part!r} is a value, not a table")
    table[parts[-1]] = _value(text.strip())


def check_stage_names(option: str, names: Sequence[str], recipe: Recipe) -> None:
    """Raise ConfigError for a name, given to an option such as `--only`, that is no stage of the recipe."""
    for name in names:
        if name not in recipe.stages:
            raise ConfigError(
                f"{option} {','.join(names)}: the recipe has no stage {name!r}{nearest(name, recipe.stages)}; its "
                f"stages are {', '.join(recipe.stages)}"
            )


def _value(text: str) -> Any:
    """The value as TOML reads it (8, 0.5, true, [1, 2]); a bare word is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _explain(
    path: Path, table: dict[str, Any], typed: dict[str, str], error: ValidationError
) -> str:
    lines = [f"{path}: the recipe cannot run as written"]
    for problem in error.errors():
        where = _where(problem)
        key = ".".join(where)
        option = key.removeprefix("stages.")
        reason = _reason(problem, where, table, option if option in typed else "")
        lines.append(f"  {_named(key, typed)}: {reason}")
    return "\n".join(lines)


def _reason(problem: Any, where: list[str], table: dict[str, Any], option: str) -> str:
    value = problem.get("input")
    match problem["type"]:
        case "extra_forbidden":
            names = _names_beside(where, table)
            near = nearest(where[-1], names)
            if _is_secret(where[-1]):
                return (
                    "unknown key, and its value is not shown here, since it may be a secret; put it into an "
                    "environment variable and name that in key_env"
                )
            return f"unknown key (value {value!r}){near or '; known here: ' + ', '.join(names)}"
        case "missing":
            return "this key is required and has no default"
        case "union_tag_invalid" | "union_tag_not_found":
            kind = value.get("kind") if isinstance(value, dict) else value
            near = nearest(str(kind), KINDS)
            return f"kind = {kind!r} is no kind of stage{near}; there are {', '.join(KINDS)}"
        case "value_error":
            return str(problem["ctx"]["error"])
        case _:
            return (
                f"value {value!r}: {problem['msg'].lower()}{cure(value, problem['type'], option)}"
            )


_SECRET = re.compile(
    r"(?i)(?:^|_)(?:api_?key|key|token|secret|password|passwd|auth|authorization|bearer)$"
)
_USER = re.compile(r"//[^/\s]*@")


def _is_secret(name: str) -> bool:
    """Whether the name of a key says that its value is for nobody's eyes."""
    return _SECRET.search(name) is not None


def _without_secret(key: str, option: str) -> str:
    """An override as it was typed, without the value of a secret, a user in an address or what follows its `?`."""
    name, equals, value = option.partition("=")
    if _is_secret(key.rpartition(".")[2]):
        return f"{name}{equals}***"
    if "://" in value:
        value = _USER.sub("//***@", value)
        value = value.partition("?")[0] + ("?***" if "?" in value else "")
    return f"{name}{equals}{value}"


def _names_beside(where: list[str], table: dict[str, Any]) -> list[str]:
    """The keys that would be right where a wrong one stands."""
    model: Any = Recipe
    parts = iter(where[:-1])
    for part in parts:
        if model is Recipe and part == "stages":
            stage = next(parts, None)
            model = KINDS.get(table["stages"].get(stage, {}).get("kind"), Recipe)
        elif model is Recipe and part == "data":
            next(parts, None)  # the name that the recipe gives it
            model = DataSettings
        elif not part.isdigit():  # a number is a place in a list, not a key
            model = next(_models_in(model.model_fields[part].annotation), model)
    return list(model.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (list, Union, UnionType, Annotated):
        for argument in get_args(annotation):
            yield from _models_in(argument)
