"""Compares Dianoia with TRL, transformers and the limits of the machine: the table of `make benchmark`.

    python -m benchmarks.table                          every row; half an hour or more
    python -m benchmarks.table --runs 1 --sizes 64x64   a quick look
    python -m benchmarks.table --only loss sampler      some parts
    make benchmark BENCHMARK="--only grpo_step --sizes 256x128 256x128~32"

The sides alternate, with the same number of threads, and never run at the same time. Figures are medians after a run to
warm up. Every row is printed at once; the table goes to DIR/benchmark.md, and with the single runs to
DIR/benchmark.json. A size `256x128` is 256 completions of 128 tokens; `256x128~32` has lengths of at most 128 from a
geometric distribution with mean 32. TRL has an environment of its own, `.venv-peers`, which is created on first use.
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
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.table", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=list(_PARTS), default=list(_PARTS), help="parts of the table")
    add("--sizes", nargs="+", type=case, default=[case(size) for size in SIZES],
        help=f"sizes of GRPO steps (default: {' '.join(SIZES)})")  # fmt: skip
    add("--kl", nargs="+", type=float, default=[0.0, KL], help="weights of the KL term")
    add("--runs", type=int, default=5, help="measured runs, after one to warm up")
    add("--threads", type=int, default=2)
    add("--dtype", choices=DTYPES, default="float32", help="dtype of Dianoia's matrix products")
    add(
        "--trl-dtype",
        choices=DTYPES,
        default="float32",
        help="the same for TRL; bfloat16: its own bf16",
    )
    add("--trl-batch", type=int, default=0,
        help="completions per micro-batch of TRL (0: all)")  # fmt: skip
    add("--prompts", type=int, default=128, help="prompts of the sampler's rows, 16 samples each")
    add("--out", type=Path, default=ROOT / "runs" / "benchmark")
    add("--peers", type=Path, default=FOLDER, help="TRL's environment")
    return parser.parse_args(arguments)


def _steps(arguments: argparse.Namespace, setting: Setting) -> Iterator[Row]:
    for size in arguments.sizes:
        for kl in arguments.kl:
            yield from step_rows(Case(size.completions, size.limit, size.mean, kl), setting)


def _losses(arguments: argparse.Namespace, setting: Setting) -> Iterator[Row]:
    for size in arguments.sizes:
        yield from loss_rows(size, setting)


_PARTS: dict[str, Callable[[argparse.Namespace, Setting], Iterator[Row]]] = {
    "loss": _losses,
    "grpo_step": _steps,
    "sampler": lambda arguments, setting: sampler_rows(setting, arguments.prompts),
    "shares": lambda arguments, setting: share_rows(setting, arguments.runs),
    "limit": lambda arguments, setting: limit_rows(setting),
}


def machine() -> str:
    """Return processor, cores, memory and system, as far as they are known."""
    cpu_info = Path("/proc/cpuinfo")
    has_pages = {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= set(os.sysconf_names)
    lines = cpu_info.read_text(encoding="utf-8").splitlines() if cpu_info.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if has_pages else 0
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}"


def about(arguments: argparse.Namespace, peer: Path) -> dict[str, object]:
    """Return the machine, settings and versions of the measurement."""
    return {
        "machine": machine(),
        "threads": arguments.threads,
        "runs": arguments.runs,
        "versions": ", ".join(f"{name} {number}" for name, number in versions(peer).items()),
        "command": "python -m benchmarks.table " + " ".join(sys.argv[1:]),
    }


def main() -> None:
    """Measure, print and save the rows."""
    arguments = options(sys.argv[1:])
    python = peers(arguments.peers)
    arguments.out.mkdir(parents=True, exist_ok=True)
    setting = Setting(
        sys.executable, str(python), arguments.out.resolve(), arguments.threads, arguments.runs, arguments.dtype,
        arguments.trl_dtype, arguments.trl_batch,
    )  # fmt: skip
    conditions, rows = about(arguments, python), []
    print("\n".join(f"{key}: {value}" for key, value in conditions.items()), flush=True)
    for part in arguments.only:
        for row in _PARTS[part](arguments, setting):
            rows.append(row)
            print("   ".join(filter(None, row.cells())), flush=True)
            (arguments.out / "benchmark.json").write_text(
                document(rows, conditions), encoding="utf-8"
            )
            (arguments.out / "benchmark.md").write_text(
                markdown(rows, conditions), encoding="utf-8"
            )
    print(f"\n{table(rows)}\n\n{arguments.out / 'benchmark.md'}")


if __name__ == "__main__":
    main()
