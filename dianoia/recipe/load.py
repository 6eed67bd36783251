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
from dianoia.base.config import (
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
from dianoia.base.errors import ConfigError, nearest
from dianoia.recipe.model import Recipe

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


def load_recipe(path: Path | str, overrides: Sequence[str] = ()) -> Recipe:
    """The validated recipe.

    Raises:
        ConfigError: the file is missing or no TOML, or a key, type, value or combination is wrong.
    """
    path = Path(path)
    table = _read(path)
    for override in overrides:
        _lay_over(table, override)
    typed = {override.partition("=")[0].strip(): override for override in overrides}
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        raise ConfigError(_explain(path, table, typed, error)) from None


def _read(path: Path) -> dict[str, Any]:
    _check_file(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        instead = other_encoding(path.read_bytes()[:4])
        raise ConfigError(f"{path}: this is not TOML in UTF-8: {instead or error}") from None
    except OSError as error:
        raise ConfigError(
            f"{path}: the recipe cannot be read ({error.strerror}); check its permissions"
        ) from None


def _check_file(path: Path) -> None:
    """Raise ConfigError that says what a path is instead of a recipe."""
    if path.is_file():
        return
    if path.is_dir():
        names = sorted(p.name for p in path.glob("*.toml"))
        held = f"; it holds {', '.join(names[:5])}" if names else ""
        raise ConfigError(f"{path}: this is a folder, not a recipe; name a file in it{held}")
    if path.is_symlink():
        raise ConfigError(
            f"{path}: this link leads nowhere, {str(path.readlink())!r} is not there; mend the link or name the "
            "recipe itself"
        )
    if path.exists():
        raise ConfigError(f"{path}: this is no file, so it cannot be read as a recipe; name a file")
    near = nearest(path.name, [p.name for p in path.parent.glob("*.toml")])
    raise ConfigError(f"{path}: there is no such recipe{near}")


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
        where = [str(part) for part in problem["loc"]]
        # pydantic names the member of a discriminated union (stages.zero.rl.steps); people do not.
        if len(where) > 2 and where[0] == "stages" and where[2] in KINDS:
            del where[2]
        where = [part for part in where if not part.startswith("@")]  # nor that of another union
        key = ".".join(where)
        option = typed.get(key.removeprefix("stages."))
        shown = f"--set {_without_secret(where, option)}" if option else key or "recipe"
        lines.append(f"  {shown}: {_reason(problem, where, table)}")
    return "\n".join(lines)


def _reason(problem: Any, where: list[str], table: dict[str, Any]) -> str:
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
            return f"value {value!r}: {problem['msg'].lower()}"


_SECRET = re.compile(
    r"(?i)(?:^|_)(?:api_?key|key|token|secret|password|passwd|auth|authorization|bearer)$"
)
_USER = re.compile(r"//[^/\s]*@")


def _is_secret(name: str) -> bool:
    """Whether the name of a key says that its value is for nobody's eyes."""
    return _SECRET.search(name) is not None


def _without_secret(where: list[str], option: str) -> str:
    """An override as it was typed, without the value of a secret, a user in an address or what follows its `?`."""
    name, equals, value = option.partition("=")
    if _is_secret(where[-1]):
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
