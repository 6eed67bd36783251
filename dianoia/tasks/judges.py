"""Judges that are rules, by name: they stand for people and for a large model where answers are simple enough."""

from importlib import import_module
from importlib.util import find_spec

from dianoia.base.errors import ConfigError
from dianoia.base.preferences import Judge

RULES = {"miniature": ("dianoia.tasks.miniature.people", "MiniatureJudge")}
"""Module and class of each; loaded when asked for."""


def rule_judge(name: str) -> Judge:
    """The judge of that name. Raises ConfigError where this version has none."""
    module, maker = RULES[name]
    if find_spec(module) is None:
        raise ConfigError(
            f"judge = {name!r}: this version of Dianoia has no such rules; name a model behind an endpoint, "
            'judge = { url = "http://localhost:8000/v1", model = "..." }'
        )
    found: Judge = getattr(import_module(module), maker)()
    return found
