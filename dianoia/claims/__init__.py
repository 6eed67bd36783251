"""The paper's stage table and twelve claims of the paper, decided for a run by fixed rules.

In: a run directory: estimates and curves that stages have written, and the recipe's `[claims]` table. Out: tables, each
claim with its numbers, intervals, rule and the paper's number. No torch. Nothing is written. A rule and its threshold
stand in code before any run and depend on no result.
"""

from dataclasses import asdict
from typing import Any

from dianoia.base.files import read_table
from dianoia.claims.decide import judge
from dianoia.claims.evidence import gather
from dianoia.claims.stage_table import stage_table
from dianoia.storage.run_directory import RunDirectory


def claims_of(run: RunDirectory) -> dict[str, Any]:
    """Return `stage_table` and `claims` of a run; both are empty if its recipe names no part of the paper.

    Estimates and curves count of the stages that results.json calls done.

    Raises:
        DamagedFile, FileNotFoundError: recipe.json, results.json or a curve cannot be read.
    """
    recipe = read_table(run.recipe)
    # Not as a `Recipe`: a run of an earlier version may have a key that this version refuses.
    parts = {part: name for part, name in recipe.get("claims", {}).items() if name is not None}
    if not parts:
        return {"stage_table": [], "claims": []}
    results = read_table(run.results)
    done = [name for name, state in results.get("states", {}).items() if state == "done"]
    evidence = gather(parts, recipe["stages"], run, done, results)
    verdicts = [asdict(verdict) for verdict in judge(evidence)]
    return {"stage_table": stage_table(evidence), "claims": verdicts}
