"""The paper's stage table and twelve claims of the paper, decided for a run by fixed rules.

In: a run directory, with the estimates and curves that stages have written and the recipe's `[claims]` table. Out: tables;
each claim has its values, intervals, rule and the paper's number. No torch. Nothing is written. Rules and thresholds are
fixed in `claims.claim_rules` and do not depend on any result.
"""

from dataclasses import asdict
from typing import Any

from dianoia.base.files import read_table
from dianoia.claims.claim_rules import RULES
from dianoia.claims.evidence import gather, stage_table
from dianoia.claims.verdicts import verdict_on
from dianoia.storage.run_directory import RunDirectory


def claims_of(run: RunDirectory) -> dict[str, Any]:
    """Return `stage_table` and `claims` of a run; both are empty if its recipe names no part of the paper.

    Only estimates and curves of stages that are done by results.json count.

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
    verdicts = [asdict(verdict_on(rule, evidence)) for rule in RULES]
    return {"stage_table": stage_table(evidence), "claims": verdicts}
