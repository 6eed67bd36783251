"""Dianoia beside TRL and transformers, and beside what the machine can do: the table of `make benchmark`.

    python -m benchmarks.table                          every row; half an hour and more
    python -m benchmarks.table --runs 1 --sizes 64x64   a first look
    python -m benchmarks.table --only loss sampler      some parts
    make benchmark BENCHMARK="--only grpo_step --sizes 256x128 256x128~32"

Sides take turns, with the same number of threads, never at one time; figures are medians after a run to warm up. Every
row is printed as it comes; the table goes to DIR/benchmark.md, with the single runs to DIR/benchmark.json. A size
`256x128` is 256 completions of 128 tokens; `256x128~32` draws lengths of at most 128 from a geometric law of mean 32.
TRL lives in an environment of its own, `.venv-peers`, which is made on first use.
"""

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.table.cases import Case, case
from benchmarks.table.grpo import Setting, loss_rows, step_rows
from benchmarks.table.limits import limit_rows
from benchmarks.table.link import ROOT
from benchmarks.table.peers import FOLDER, peers, versions
from benchmarks.table.rows import Row, document, markdown, table
from benchmarks.table.sampling import sampler_rows
from benchmarks.table.shares import share_rows

SIZES = ("64x64", "256x128", "512x256", "256x128~32")
KL = 0.001
DTYPES = ("float32", "bfloat16")


def options(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.table", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=list(_PARTS), default=list(_PARTS), help="parts of the table")
    add("--sizes", nargs="+", type=case, default=[case(size) for size in SIZES],
        help=f"of GRPO steps (default: {' '.join(SIZES)})")  # fmt: skip
    add("--kl", nargs="+", type=float, default=[0.0, KL], help="weights of the divergence term")
    add("--runs", type=int, default=5, help="that count, after one to warm up")
    add("--threads", type=int, default=2)
    add("--dtype", choices=DTYPES, default="float32", help="of Dianoia's products")
    add("--trl-dtype", choices=DTYPES, default="float32", help="of TRL's; bfloat16: its own bf16")
    add("--trl-batch", type=int, default=0,
        help="completions that TRL takes forward and backward at a time (0: all)")  # fmt: skip
    add("--prompts", type=int, default=128, help="of the sampler's rows, 16 samples each")
    add("--out", type=Path, default=ROOT / "runs" / "benchmark")
    add("--peers", type=Path, default=FOLDER, help="TRL's environment")
    return parser.parse_args(arguments)


def _steps(asked: argparse.Namespace, setting: Setting) -> Iterator[Row]:
    for size in asked.sizes:
        for kl in asked.kl:
            yield from step_rows(Case(size.completions, size.limit, size.mean, kl), setting)


def _losses(asked: argparse.Namespace, setting: Setting) -> Iterator[Row]:
    for size in asked.sizes:
        yield from loss_rows(size, setting)


_PARTS: dict[str, Callable[[argparse.Namespace, Setting], Iterator[Row]]] = {
    "loss": _losses,
    "grpo_step": _steps,
    "sampler": lambda asked, setting: sampler_rows(setting, asked.prompts),
    "shares": lambda asked, setting: share_rows(setting, asked.runs),
    "limit": lambda asked, setting: limit_rows(setting),
}


def machine() -> str:
    """Processor, cores, memory and system, as far as they are told."""
    told, pages = Path("/proc/cpuinfo"), {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= set(os.sysconf_names)
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if pages else 0
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}"


def about(asked: argparse.Namespace, peer: Path) -> dict[str, object]:
    """What the figures hold for."""
    return {
        "machine": machine(),
        "threads": asked.threads,
        "runs": asked.runs,
        "versions": ", ".join(f"{name} {number}" for name, number in versions(peer).items()),
        "command": "python -m benchmarks.table " + " ".join(sys.argv[1:]),
    }


def main() -> None:
    """Measure, print, keep."""
    asked = options(sys.argv[1:])
    python = peers(asked.peers)
    asked.out.mkdir(parents=True, exist_ok=True)
    setting = Setting(
        sys.executable, str(python), asked.out.resolve(), asked.threads, asked.runs, asked.dtype,
        asked.trl_dtype, asked.trl_batch,
    )  # fmt: skip
    known, rows = about(asked, python), []
    print("\n".join(f"{key}: {value}" for key, value in known.items()), flush=True)
    for part in asked.only:
        for row in _PARTS[part](asked, setting):
            rows.append(row)
            print("   ".join(filter(None, row.cells())), flush=True)
            (asked.out / "benchmark.json").write_text(document(rows, known), encoding="utf-8")
            (asked.out / "benchmark.md").write_text(markdown(rows, known), encoding="utf-8")
    print(f"\n{table(rows)}\n\n{asked.out / 'benchmark.md'}")


if __name__ == "__main__":
    main()
