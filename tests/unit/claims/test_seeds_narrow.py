"""Tables of claims in a narrow terminal: split into several, and no number is cut."""

from io import StringIO

import pytest
from rich.console import Console

from dianoia.claims.seeds import Grid, print_grids, split_columns

DOMAINS = ("math", "logic", "code", "stem", "language", "general", "reasoning")
STAGES = Grid(
    "pass@1",
    ("checkpoint", *DOMAINS),
    tuple(
        (f"R1-Zero = Dev{row} (zero-{row})", *(f"{10 * row + i}.5 (58.1-62.9)" for i in range(7)))
        for row in range(3)
    ),
)
CLAIMS = Grid(
    "Claims",
    ("", "claim", "seed 1", "seed 2", "seed 3", "holds"),
    (("1", "Reinforcement learning alone makes a base much better", "+3.2 points ✓", "-12.3 points ✗", "–", "1 of 2"),),
    label_columns=2,
)  # fmt: skip


@pytest.mark.parametrize("width", [50, 60, 80, 100, 200])
@pytest.mark.parametrize("grid", [STAGES, CLAIMS], ids=["stages", "claims"])
def test_no_number_is_cut(grid: Grid, width: int) -> None:
    file = StringIO()
    print_grids([grid], Console(file=file, width=width), markdown=False)
    text = file.getvalue()
    assert max(map(len, text.splitlines())) <= width and "…" not in text
    for row in grid.rows:
        for cell in row[grid.label_columns :]:
            assert cell in text


def test_columns_keep_their_order_and_names_stand_in_every_piece() -> None:
    grids = split_columns(STAGES, 80)
    assert [head for piece in grids for head in piece.head[1:]] == list(DOMAINS)
    assert all(piece.head[0] == "checkpoint" and len(piece.rows) == 3 for piece in grids)
    assert split_columns(STAGES, 500) == [STAGES]
