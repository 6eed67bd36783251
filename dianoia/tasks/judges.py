"""Judges that are rules, by name: they stand for people and for a large model where answers are simple enough."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from dianoia.base.errors import ConfigError
from dianoia.base.preferences import Judge


@dataclass(frozen=True, slots=True)
class Rules:
    """Where a judge is, loaded when asked for, and what it can judge."""

    module: str
    maker: str
    domains: Mapping[str, frozenset[str]]
    """Domains of problems by the objective of a `preferences` stage."""


RULES = {
    "miniature": Rules(
        "dianoia.tasks.miniature.people",
        "MiniatureJudge",
        {
            "pairwise": frozenset({"general", "near-miss"}),
            "pointwise": frozenset({"general", "near-miss", "safety"}),
        },
    )
}


def rule_judge(name: str) -> Judge:
    """The judge of that name. Raises ConfigError where this version has none."""
    rules = RULES[name]
    if find_spec(rules.module) is None:
        raise ConfigError(
            f"judge = {name!r}: this version of Dianoia has no such rules; name a model behind an endpoint, "
            'judge = { url = "http://localhost:8000/v1", model = "..." }'
        )
    found: Judge = getattr(import_module(rules.module), rules.maker)()
    return found
