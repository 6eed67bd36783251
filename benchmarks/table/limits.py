"""Rows of the limits: the rate of the machine's matrix product at the model's shapes, and each phase's share of it."""

import statistics
from collections.abc import Iterator
from dataclasses import asdict

from benchmarks.table.cases import Case
from benchmarks.table.grpo import Setting
from benchmarks.table.rows import Row
from benchmarks.table.turns import alternate

DECODE_ROWS = 256
"""Input rows of a product while 256 slots decode."""
UPDATE_ROWS = 3072
"""Input rows of a product of the learner's micro-batches on a CPU (`base.limits.CPU_TOKENS`)."""
DTYPES = ("float32", "bfloat16")
CASE = Case(256, 128)


def limit_rows(setting: Setting) -> Iterator[Row]:
    """Yield the machine's rates, and the shares that decoding and the update reach, in float32 and bfloat16."""
    with setting.ours() as ours:
        case = asdict(CASE)
        sides = {"machine": lambda: ours.ask("machine", case=case, rows=[DECODE_ROWS, UPDATE_ROWS])}
        for dtype in DTYPES:
            sides[f"decode {dtype}"] = lambda dtype=dtype: ours.ask(
                "decoding", case=case, dtype=dtype
            )
            sides[f"update {dtype}"] = lambda dtype=dtype: ours.ask(
                "updating", case=case, dtype=dtype
            )
        runs = alternate(sides, setting.runs)
    machine = runs["machine"]
    rates = {key: statistics.median(run[key] for run in machine) for key in machine[0]}
    yield Row("machine_copy", "", 0, rates.pop("copy") / 1e9, "GB/s", "alone")
    for key, rate in rates.items():
        yield Row(f"machine_{key}", "", 0, rate / 1e9, "GFLOP/s", "alone")
    for dtype in DTYPES:
        for phase, rows in (("decode", DECODE_ROWS), ("update", UPDATE_ROWS)):
            rate = statistics.median(run["rate"] for run in runs[f"{phase} {dtype}"])
            top = rates[f"{dtype}_{rows}"] / 1e9
            yield Row(f"{phase}_share_{dtype}", "machine", top, rate / 1e9, "GFLOP/s", "share",
                      {"runs": runs[f"{phase} {dtype}"]})  # fmt: skip
