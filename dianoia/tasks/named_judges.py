"""Judges that are rules, by name: they stand for people and for a large model where answers are simple enough."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dianoia.base.preference_records import Judge
from dianoia.tasks.miniature.people import MiniatureJudge


@dataclass(frozen=True, slots=True)
class Rules:
    """A judge and what it can judge."""

    make: Callable[[], Judge]
    domains: Mapping[str, frozenset[str]]
    """Domains of problems by the objective of a `preferences` stage."""


RULES = {
    "miniature": Rules(
        MiniatureJudge,
        {
            "pairwise": frozenset({"general", "near-miss"}),
            "pointwise": frozenset({"general", "near-miss", "safety"}),
        },
    )
}
