"""What the paper reports, asked of a run: the stage table, and twelve claims with fixed rules.

In: estimates and curves that stages have written, and the recipe's `[claims]` table. Out: rows of
`results.json`, each with its number, its interval, its rule and the paper's number. No torch. A rule and its
threshold stand in code before any run and depend on no result.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from dianoia.claims.decide import judge
from dianoia.claims.evidence import gather
from dianoia.claims.stage_table import stage_table
from dianoia.recipe.graph import Recipe
from dianoia.storage.run_directory import RunDirectory


def claims_of(
    recipe: Recipe, run: RunDirectory, done: Collection[str], results: Mapping[str, Any]
) -> dict[str, Any]:
    """`stage_table` and `claims` of `results.json`; both empty where the recipe names no part.

    `done`: the stages whose curves count; `results`: what the evaluate stages among them have found.
    """
    if not recipe.claims.parts:
        return {"stage_table": [], "claims": []}
    evidence = gather(recipe, run, done, results)
    verdicts = [asdict(verdict) for verdict in judge(evidence)]
    return {"stage_table": stage_table(evidence), "claims": verdicts}
