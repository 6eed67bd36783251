"""Rows of the limit: what the machine's own matrix product gives at the model's shapes, and each phase's share of it."""

import statistics
from collections.abc import Iterator
from dataclasses import asdict

from benchmarks.table.cases import Case
from benchmarks.table.grpo import Setting
from benchmarks.table.rows import Row
from benchmarks.table.turns import in_turns

DECODED = 256
"""Rows of a product while 256 slots decode."""
LEARNT = 3072
"""Rows of a product of the learner's micro-batches on a CPU (`base.limits.CPU_TOKENS`)."""
KINDS = ("float32", "bfloat16")
CASE = Case(256, 128)


def limit_rows(setting: Setting) -> Iterator[Row]:
    """The machine's rates, and the share that decoding and the update reach, float32 and bfloat16."""
    with setting.ours() as ours:
        case = asdict(CASE)
        sides = {"machine": lambda: ours.ask("machine", case=case, rows=[DECODED, LEARNT])}
        for kind in KINDS:
            sides[f"decode {kind}"] = lambda kind=kind: ours.ask("decoding", case=case, dtype=kind)
            sides[f"update {kind}"] = lambda kind=kind: ours.ask("updating", case=case, dtype=kind)
        found = in_turns(sides, setting.runs)
    machine = found["machine"]
    rates = {key: statistics.median(run[key] for run in machine) for key in machine[0]}
    yield Row("machine_copy", "", 0, rates.pop("copy") / 1e9, "GB/s", "alone")
    for key, rate in rates.items():
        yield Row(f"machine_{key}", "", 0, rate / 1e9, "GFLOP/s", "alone")
    for kind in KINDS:
        for phase, rows in (("decode", DECODED), ("update", LEARNT)):
            rate = statistics.median(run["rate"] for run in found[f"{phase} {kind}"])
            top = rates[f"{kind}_{rows}"] / 1e9
            yield Row(f"{phase}_share_{kind}", "machine", top, rate / 1e9, "GFLOP/s", "share",
                      {"runs": found[f"{phase} {kind}"]})  # fmt: skip
