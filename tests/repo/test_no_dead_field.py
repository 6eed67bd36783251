"""Every key of a recipe changes something: a configuration field that nobody reads is a lie.

A field counts as read where its name is loaded as an attribute outside of `dianoia/config`, or
in a method or property there that is itself read outside. Validators do not count, nor does getattr.
A field with a common name can pass by another object's attribute; so far goes a test by names.
"""

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

import dianoia.config as config


def _models() -> Iterator[type[BaseModel]]:
    for module in pkgutil.iter_modules(config.__path__, config.__name__ + "."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, BaseModel):
                yield value


def _trees(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(folder.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"), str(path))


def _loaded(tree: ast.AST) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


def _is_validator(method: ast.FunctionDef) -> bool:
    return any("validator" in ast.unparse(mark) for mark in method.decorator_list)


def read_names(outside: list[ast.Module], inside: list[ast.Module]) -> set[str]:
    """Names that are read outside, and those that methods read which are read outside themselves."""
    methods = [
        node
        for tree in inside
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and not _is_validator(node)
    ]
    read = set().union(*map(_loaded, outside))
    while True:
        extra = set().union(*(_loaded(m) for m in methods if m.name in read))
        if extra <= read:
            return read
        read |= extra


def test_every_configuration_field_is_read(root: Path) -> None:
    folder = root / "dianoia" / "config"
    trees = list(_trees(root / "dianoia"))
    read = read_names(
        [tree for path, tree in trees if not path.is_relative_to(folder)],
        [tree for path, tree in trees if path.is_relative_to(folder)],
    )
    models = set(_models())
    assert any(model.model_fields for model in models)
    dead = sorted(
        f"{model.__name__}.{name}"
        for model in models
        for name in model.model_fields
        if name not in read
    )
    assert not dead, f"nothing reads {', '.join(dead)}: use or remove"


def test_the_law_sees_a_dead_field() -> None:
    inside = ast.parse(
        "class A:\n"
        "    @property\n"
        "    def used(self): return self.behind\n"
        "    def idle(self): return self.hidden\n"
        "    @model_validator(mode='after')\n"
        "    def check(self): return self.only_checked\n"
    )
    outside = ast.parse("a.used; a.check; a.assigned = 1; getattr(a, 'by_name')")
    assert read_names([outside], [inside]) == {"used", "check", "behind"}
