"""Decoding, training and a step of GRPO on one GPU, with random weights of Qwen3's 0.6B and 1.7B.

    python -m benchmarks.gpu --out results          every part, a minute or so each
    python -m benchmarks.gpu --part decode --sizes 0.6B

Needs PyTorch and transformers and nothing else. Decoding stands beside the least time that reading its weights
and cache takes at the bandwidth of a copy, training beside the rate of a large product and of the data sheet;
the step stands beside the same step with transformers' `generate`. A part that fails or takes too long says so
and the next one begins; every row goes to `gpu.json` at once.
"""

import argparse
import gc
import json
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks.gpu import measures
from benchmarks.gpu.shapes import DEVICE, SIZES, requests, samples
from dianoia.hardware.devices import use_deterministic_kernels

BATCHES = (1, 16, 64, 256)
BUDGETS = {"0.6B": 16_384, "1.7B": 8_192, "tiny": 512}
"""Tokens of a micro-batch."""


class Report:
    """Rows as they come: printed, and kept in a file."""

    def __init__(self, folder: Path | None) -> None:
        self.rows: list[dict[str, Any]] = []
        self._file = None if folder is None else folder / "gpu.json"
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def add(self, row: dict[str, Any]) -> None:
        """One more row."""
        self.rows.append(row)
        print("  ".join(f"{key} {_shown(value)}" for key, value in row.items()), flush=True)
        if self._file is not None:
            self._file.write_text(json.dumps(self.rows, indent=1), encoding="utf-8")

    def known(self, measure: str, key: str, otherwise: float) -> float:
        """A number of an earlier row."""
        found = [row[key] for row in self.rows if row.get("measure") == measure and key in row]
        return float(found[-1]) if found else otherwise


def _shown(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3e}" if value >= 1e9 else f"{value:,.4g}" if value < 1e4 else f"{value:,.0f}"


def part(report: Report, name: str, limit: int, work: Callable[[], Iterable[Any]]) -> None:
    """Run one part; whatever goes wrong in it is printed and ends there."""
    start = time.perf_counter()

    def late(*_: object) -> None:
        raise TimeoutError(f"{name} took more than {limit} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(limit)
    try:
        for row in work():
            report.add(row)
    except Exception:  # noqa: BLE001 - whatever it is, the other parts are worth having
        report.add({"measure": name, "failed": traceback.format_exc(limit=-6)})
        traceback.print_exc(file=sys.stdout)
    finally:
        signal.alarm(0)
    _forget()
    print(f"-- {name}: {time.perf_counter() - start:.1f} s", flush=True)


def _forget() -> None:
    """Give memory back."""
    gc.collect()
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def run(report: Report, options: argparse.Namespace) -> None:
    """The parts that were asked for, one after another."""
    prompt, response = options.prompt, options.response
    if DEVICE.type == "cuda":
        part(report, "machine", 30, lambda: [_machine()])
    part(report, "limits", 60, measures.limits)
    bandwidth = report.known("copy", "bytes_per_second", 3e12)
    product = report.known("product bfloat16", "flop_per_second", 8e14)
    for size in options.sizes:
        torch._dynamo.reset()  # what was compiled for another size would make this one's sizes vary
        budget, limit = options.budget or BUDGETS[size], options.limit
        drawn = samples(size, options.prompts * 16, prompt, response)
        parts: dict[str, Callable[[], Iterable[Any]]] = {
            "decode": lambda size=size: (
                measures.decode(size, batch, bandwidth, prompt, response)
                for batch in options.batches
            ),
            "training": lambda size=size, budget=budget, drawn=drawn: [
                measures.training(size, budget, drawn, product)
            ],
            "step": lambda size=size, budget=budget: measures.step(
                size, requests(size, options.prompts, 16, prompt), response, budget
            ),
            "profile": lambda size=size, budget=budget, drawn=drawn: (
                measures.profile(size, max(options.batches), drawn, budget) or []
            ),
        }
        for name in options.part:
            part(report, f"{name} {size}", limit, parts[name])


def _machine() -> dict[str, Any]:
    found = torch.cuda.get_device_properties(DEVICE)
    return {
        "measure": "machine",
        "gpu": found.name,
        "gib": found.total_memory / 2**30,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "transformers": transformers.__version__,
    }


def main() -> None:
    """Read the options, run the parts, print the table once more."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for gpu.json")
    known = ["decode", "training", "step", "profile"]
    parser.add_argument("--part", choices=known, nargs="+", default=known[:3])
    parser.add_argument("--sizes", choices=SIZES, nargs="+", default=["0.6B", "1.7B"])
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="of decoding")
    parser.add_argument(
        "--prompts", type=int, default=16, help="of an update and a step, with 16 samples each"
    )
    parser.add_argument("--prompt", type=int, default=128, help="tokens")
    parser.add_argument("--response", type=int, default=256, help="tokens")
    parser.add_argument("--budget", type=int, help="tokens of a micro-batch")
    parser.add_argument("--limit", type=int, default=150, help="seconds of a part")
    options = parser.parse_args()
    use_deterministic_kernels(DEVICE)
    report = Report(options.out)
    run(report, options)
    print("\nall rows")
    for row in report.rows:
        print("  ".join(f"{key} {_shown(value)}" for key, value in row.items() if key != "failed"))


if __name__ == "__main__":
    main()
