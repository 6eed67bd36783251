"""Every key of a recipe changes something: a configuration field that nobody reads is a lie.

A field counts as read where its name is loaded as an attribute outside of `dianoia/config`, or
in a method or property there that is itself read outside. Validators do not count, nor does getattr.
A field with a common name can pass by another object's attribute; so far goes a test by names.
"""

import ast
import importlib
import pkgutil
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from pydantic import BaseModel

import dianoia.config as config

_AFTER_A_DOT = re.compile(r"\.\s*([^\W\d]\w*)")


def _models() -> Iterator[type[BaseModel]]:
    for module in pkgutil.iter_modules(config.__path__, config.__name__ + "."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, BaseModel):
                yield value


def _loaded(tree: ast.AST) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


def _is_validator(method: ast.FunctionDef) -> bool:
    return any("validator" in ast.unparse(mark) for mark in method.decorator_list)


def read_names(outside: list[str], inside: list[str], fields: Collection[str] = ()) -> set[str]:
    """Names that are read in source outside, and those that methods read which are read outside themselves.

    Args:
        fields: where given, other names may be missing, and source that cannot read another of them is not parsed.
    """
    methods = [
        (node.name, _loaded(node))
        for source in inside
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and not _is_validator(node)
    ]
    asked = {*fields, *(name for name, _ in methods)} if fields else None
    read: set[str] = set()
    for source in sorted(outside, key=len, reverse=True):
        # After a dot stands every attribute, so that parsing can find no more than these.
        possible = set(_AFTER_A_DOT.findall(source)) - read
        if possible if asked is None else possible & asked:
            read |= _loaded(ast.parse(source))
    while True:
        extra = set().union(*(names for name, names in methods if name in read))
        if extra <= read:
            return read
        read |= extra


def test_every_configuration_field_is_read(root: Path) -> None:
    folder = root / "dianoia" / "config"
    sources = {path: path.read_text(encoding="utf-8") for path in (root / "dianoia").rglob("*.py")}
    models = set(_models())
    fields = {name for model in models for name in model.model_fields}
    assert fields
    read = read_names(
        [source for path, source in sources.items() if not path.is_relative_to(folder)],
        [source for path, source in sources.items() if path.is_relative_to(folder)],
        fields,
    )
    dead = sorted(
        f"{model.__name__}.{name}"
        for model in models
        for name in model.model_fields
        if name not in read
    )
    assert not dead, f"nothing reads {', '.join(dead)}: use or remove"


def test_the_law_sees_a_dead_field() -> None:
    inside = (
        "class A:\n"
        "    @property\n"
        "    def used(self): return self.behind\n"
        "    def idle(self): return self.hidden\n"
        "    @model_validator(mode='after')\n"
        "    def check(self): return self.only_checked\n"
    )
    outside = "a.used; a.check; a.assigned = 1; getattr(a, 'by_name')"
    assert read_names([outside], [inside]) == {"used", "check", "behind"}
    fields = {"behind", "assigned", "hidden"}
    assert read_names([outside, "a.other"], [inside], fields) & fields == {"behind"}
