"""Charts of the parts of a reward beside the paper's, whose names the recipe chooses.

In: a stage with its metrics. Out: plans of charts. What reward functions logged is drawn too.
"""

from collections.abc import Sequence
from itertools import cycle

from dianoia.report.figures import BLUE, GREY, ORANGE, PURPLE, RED, TEAL
from dianoia.report.run_reader import Stage
from dianoia.report.sections.curves import Plan, Series

_COLOURS = (BLUE, ORANGE, TEAL, PURPLE, RED, GREY)
_GENERAL = ("helpful", "safety")
"""Reward models on general prompts have charts of their own."""


def plans(stage: Stage) -> list[Plan]:
    """The charts; those without numbers are left out when they are drawn."""
    keys = sorted({key for row in stage.rows for key in row})
    named = [name for key in keys if (name := _part(key)) is not None]
    logged = [key.removeprefix("logged/") for key in keys if key.startswith("logged/")]
    return [
        Plan(
            "Further rewards",
            "Mean of each part of the reward beside the paper's, unweighted, over the samples it applies to.",
            _series("rewards/{}/mean", named),
        ),
        Plan("Logged", "What reward functions logged.", _series("logged/{}", logged)),
    ]


def _part(key: str) -> str | None:
    """The part that a key is about, where it is one with a scale of its own."""
    name = key.removeprefix("rewards/").removesuffix("/std")
    return name if key == f"rewards/{name}/std" and name not in _GENERAL else None


def _series(key: str, names: Sequence[str]) -> tuple[Series, ...]:
    """Names are escaped where they are drawn; braces in them are no fields."""
    pairs = zip(names, cycle(_COLOURS), strict=False)
    return tuple(
        Series(key.format(name), name.replace("{", "{{").replace("}", "}}"), colour)
        for name, colour in pairs
    )
