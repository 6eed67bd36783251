"""Print accuracy by level, of all responses and of those that keep the form, for every checkpoint that a run evaluated.

    python examples/smollm2/by_level.py runs/smollm2-sums

The second column of a level divides form from arithmetic: what is right among the responses whose form is kept.
"""

import sys

import pandas as pd

import dianoia


def table(run: str) -> pd.DataFrame:
    """Return one row per checkpoint; per cent."""
    rows = pd.DataFrame(dianoia.load_run(run).rollouts("evaluation"))
    groups = rows.groupby(["checkpoint", "difficulty"], sort=False)
    levels = pd.DataFrame(
        {
            "right": 100 * groups["accuracy"].mean(),
            "of form": 100 * groups["accuracy"].sum() / groups["format"].sum(),
        }
    )
    return levels.unstack().swaplevel(axis=1).sort_index(axis=1).round(1)


def main() -> None:
    """Print a table per run that the command names."""
    for run in sys.argv[1:]:
        print(run, table(run).to_string(), sep="\n")


if __name__ == "__main__":
    main()
