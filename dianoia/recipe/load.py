"""Loads recipes from TOML files and overrides; every mistake is named as the user typed it.

`load_recipe(path, ["zero.group_size=8"])` reads the file, applies the overrides, validates, and raises `ConfigError` with
file, key, value, reason and the nearest right name.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
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
    TemplateSettings,
)
from dianoia.recipe.check.number_ranges import impossible_numbers
from dianoia.recipe.graph import Recipe
from dianoia.recipe.overrides import apply_override, correction, reread_values, short_key
from dianoia.recipe.shipped import recipe_path, shipped_recipes

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
"""Tables of stages by their key `kind`."""

_MAX_BYTES = 2**20
"""Size above which a file is not read as a recipe."""


RecipeSource = Path | str | Mapping[str, Any]
"""A TOML file, the name of a recipe that ships (`recipe.shipped`), or the table itself."""


def load_recipe(source: RecipeSource, overrides: Sequence[str] = ()) -> Recipe:
    """Return the validated recipe.

    Raises:
        ConfigError: the file is missing or is not TOML, or a key, type, value or combination is wrong.
    """
    if isinstance(source, Mapping):
        path, table = Path("the recipe"), deepcopy(dict(source))
    else:
        path = recipe_path(source)
        table = _read_table(path)
    # Later overrides win over earlier ones and over the file.
    for override in overrides:
        apply_override(table, override)
    typed = {short_key(override): override for override in overrides}
    # Ranges come last: they need a recipe whose types are right.
    recipe = _validate(path, table, typed)
    refusals = [
        f"  {_name_key(key, typed)}: {sentence}" for key, sentence in impossible_numbers(recipe)
    ]
    if refusals:
        raise ConfigError("\n".join([f"{path}: the recipe cannot run as written", *refusals]))
    return recipe


def _read_table(path: Path) -> dict[str, Any]:
    """Return the table in a TOML file. Raises ConfigError if there is none."""
    _check_path(path)
    try:
        # `utf-8-sig` accepts the byte order mark that some editors write.
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        encoding = other_encoding(path.read_bytes()[:4])
        raise ConfigError(f"{path}: this is not TOML in UTF-8: {encoding or error}") from None
    except ValueError as error:  # a whole number of thousands of digits
        raise ConfigError(f"{path}: this is not TOML that can be read: {error}") from None


def _check_path(path: Path) -> None:
    if path.is_dir():
        inside = sorted(file.name for file in path.glob("*.toml"))
        example = f", such as {path / inside[0]}" if inside else ""
        raise ConfigError(
            f"{path}: there is no such recipe: this is a folder, and a recipe is a TOML file; give the file{example}"
        )
    if path.is_symlink() and not path.exists():
        raise ConfigError(
            f"{path}: this is a link to {path.readlink()}, which does not exist; give the recipe itself, or fix the link"
        )
    if not path.exists():
        files = [file.name for file in path.parent.glob("*.toml")]
        hint = nearest(path.name, [*files, *(f"{name}.toml" for name in shipped_recipes())])
        raise ConfigError(f"{path}: there is no such recipe{hint}")
    if not path.is_file():
        raise ConfigError(
            f"{path}: this is a pipe or a device, and a recipe is a TOML file; give a file"
        )
    if path.stat().st_size > _MAX_BYTES:
        raise ConfigError(
            f"{path}: the file has {path.stat().st_size:,} bytes, and a recipe has a few thousand; give the recipe"
        )


def _validate(path: Path, table: dict[str, Any], typed: Mapping[str, str]) -> Recipe:
    """Return the recipe of a table. Override values of the wrong type are read again, each at most once."""
    unread = set(typed)
    # Correcting one value may uncover another mistake, so this repeats until nothing more can be corrected.
    while True:
        try:
            return Recipe.model_validate(table)
        except ValidationError as error:
            errors = [
                (".".join(_key_parts(problem)), problem["type"]) for problem in error.errors()
            ]
            changed = unread.intersection(reread_values(table, typed, errors))
            if not changed:
                raise ConfigError(_explain(path, table, typed, error)) from None
            unread -= changed


# Messages ----------------------------------------------------------------------------------------


def _explain(
    path: Path, table: dict[str, Any], typed: Mapping[str, str], error: ValidationError
) -> str:
    """Return a message with one line per mistake."""
    lines = [f"{path}: the recipe cannot run as written"]
    for problem in error.errors():
        parts = _key_parts(problem)
        key = ".".join(parts)
        short = key.removeprefix("stages.")
        reason = _reason(problem, parts, table, short if short in typed else "")
        lines.append(f"  {_name_key(key, typed)}: {reason}")
    return "\n".join(lines)


def _key_parts(problem: Any) -> list[str]:
    """Return the parts of a key, without the members of unions that pydantic adds and people do not write."""
    parts = [str(part) for part in problem["loc"]]
    if len(parts) > 2 and parts[0] == "stages" and parts[2] in KINDS:
        del parts[2]  # stages.zero.rl.steps
    return [part for part in parts if not part.startswith("@")]


def _name_key(key: str, typed: Mapping[str, str]) -> str:
    """Return a key, or the override that has set it without a secret in it."""
    override = typed.get(key.removeprefix("stages."))
    return f"--set {_without_secret(key, override)}" if override else key or "recipe"


def _reason(problem: Any, parts: list[str], table: dict[str, Any], override_key: str) -> str:
    value = problem.get("input")
    match problem["type"]:
        case "extra_forbidden":
            names = _sibling_keys(parts, table)
            hint = nearest(parts[-1], names)
            # A secret pasted into a recipe must not end in a terminal or a log of CI.
            if _is_secret(parts[-1]):
                return (
                    "unknown key, and its value is not shown here, since it may be a secret; put it into an "
                    "environment variable and name that in key_env"
                )
            return (
                f"unknown key, value {value!r}{hint or '; keys of this table: ' + ', '.join(names)}"
            )
        case "missing":
            return "this key is required and has no default"
        # The union of stages is tagged by `kind`.
        case "union_tag_invalid" | "union_tag_not_found":
            name = value.get("kind") if isinstance(value, dict) else value
            hint = nearest(str(name), KINDS)
            return f"kind = {name!r} is no kind of stage{hint}; there are {', '.join(KINDS)}"
        case "value_error":
            return str(problem["ctx"]["error"])
        case error_type:
            message = problem["msg"].lower()
            return f"value {value!r}: {message}{correction(value, error_type, override_key)}"


def _sibling_keys(parts: list[str], table: dict[str, Any]) -> list[str]:
    """Return the keys of the table that contains a wrong key."""
    model: Any = Recipe
    rest_of_key = iter(parts[:-1])
    for part in rest_of_key:
        if model is Recipe and part == "stages":
            stage = next(rest_of_key, None)
            model = KINDS.get(table["stages"].get(stage, {}).get("kind"), Recipe)
        elif model is Recipe and part in ("data", "templates"):
            next(rest_of_key, None)  # the name that the recipe gives the table
            model = DataSettings if part == "data" else TemplateSettings
        elif not part.isdigit():  # a number is an index into a list
            model = next(_models_in(model.model_fields[part].annotation), model)
    return list(model.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the tables in the annotation of a field."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (list, Union, UnionType, Annotated):
        for argument in get_args(annotation):
            yield from _models_in(argument)


# Secrets -----------------------------------------------------------------------------------------

# Whole words at the end of a key: `max_tokens` is no secret, `hf_token` is one.
_SECRET_KEY = re.compile(
    r"(?i)(?:^|_)(?:api_?key|key|token|secret|password|passwd|auth|authorization|bearer)$"
)
_URL_USER = re.compile(r"//[^/\s]*@")


def _is_secret(name: str) -> bool:
    """Return True if a key is named like one whose value must not be printed."""
    return _SECRET_KEY.search(name) is not None


def _without_secret(key: str, override: str) -> str:
    """Return an override as typed, without the value of a secret, or the user and query of a URL."""
    name, equals, value = override.partition("=")
    if _is_secret(key.rpartition(".")[2]):
        return f"{name}{equals}***"
    if "://" in value:
        value = _URL_USER.sub("//***@", value)
        value = value.partition("?")[0] + ("?***" if "?" in value else "")
    return f"{name}{equals}{value}"
