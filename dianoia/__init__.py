"""Dianoia trains reasoning models the way DeepSeek-R1 was trained.

    import dianoia

    run = dianoia.run("miniature-zero", {"zero.steps": 4}, out="runs/short")
    run.evaluations["zero"]["math"]["pass@1"]                # value, low, high, n
    model = dianoia.load("runs/short:zero")
    model.ask("Tom has 12 apples ...", samples=4)            # thought, answer, text, status of each
    dianoia.grade("math", gold=r"\\frac12", answer="0.5")

Everything in `__all__` is public: it changes only with a line in the changelog. Importing the package takes milliseconds; what a
name stands for is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dianoia.api import run
    from dianoia.base.errors import UserError
    from dianoia.base.records import Problem, Rollout, RolloutStatus, Turn
    from dianoia.inference.checkpoints import Checkpoint
    from dianoia.inference.loaded_model import Model, load
    from dianoia.inference.response import Response
    from dianoia.judge.function_files import RewardFunction
    from dianoia.results.run_results import Run, load_run
    from dianoia.storage.estimate import Estimate
    from dianoia.tasks.catalog import grade
    from dianoia.tasks.math import Judgement

__version__ = "0.1.0"
__all__ = [
    "Checkpoint",
    "Estimate",
    "Judgement",
    "Model",
    "Problem",
    "Response",
    "RewardFunction",
    "Rollout",
    "RolloutStatus",
    "Run",
    "Turn",
    "UserError",
    "__version__",
    "grade",
    "load",
    "load_run",
    "run",
]

_MODULES = {
    "Checkpoint": "dianoia.inference.checkpoints",
    "Estimate": "dianoia.storage.estimate",
    "Judgement": "dianoia.tasks.math",
    "Model": "dianoia.inference.loaded_model",
    "Problem": "dianoia.base.records",
    "Response": "dianoia.inference.response",
    "RewardFunction": "dianoia.judge.function_files",
    "Rollout": "dianoia.base.records",
    "RolloutStatus": "dianoia.base.records",
    "Run": "dianoia.results.run_results",
    "Turn": "dianoia.base.records",
    "UserError": "dianoia.base.errors",
    "grade": "dianoia.tasks.catalog",
    "load": "dianoia.inference.loaded_model",
    "load_run": "dianoia.results.run_results",
    "run": "dianoia.api",
}
"""Module of each public name."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'dianoia' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value  # the next use finds it without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
