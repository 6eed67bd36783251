"""Measures decoding, training and a GRPO step on one GPU, with random weights of Qwen3 0.6B and 1.7B.

    python -m benchmarks.gpu --out results          every part, about a minute each
    python -m benchmarks.gpu --part decode --sizes 0.6B
    python -m benchmarks.gpu --part long --sizes 1.7B --limit 1800

Needs only PyTorch and transformers. Decoding is compared with the least time that reading its weights and cache takes
at the bandwidth of a copy; `long` shows the slots that fit and their speed with pages, and with the longest response
reserved for each slot; training with the rate of a large matrix product and of the data sheet; the step with the
same step by transformers' `generate`. If a part fails or takes too long, it says so and the next one begins. Every
row is written to `gpu.json` at once.
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
LENGTHS = (1_024, 8_192, 32_768)
"""Limits on the tokens of long responses."""
BUDGETS = {"0.6B": 16_384, "1.7B": 8_192, "tiny": 512}
"""Tokens per micro-batch, by model size."""


class Report:
    """Collects rows: prints each one and writes all to a file."""

    def __init__(self, folder: Path | None) -> None:
        self.rows: list[dict[str, Any]] = []
        self._file = None if folder is None else folder / "gpu.json"
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def add(self, row: dict[str, Any]) -> None:
        """Add a row."""
        self.rows.append(row)
        print("  ".join(f"{key} {_shown(value)}" for key, value in row.items()), flush=True)
        if self._file is not None:
            # Written after every row: a run that is cut off keeps what it has measured.
            self._file.write_text(json.dumps(self.rows, indent=1), encoding="utf-8")

    def value(self, measure: str, key: str, default: float) -> float:
        """Return a number from the last row of a measure."""
        values = [row[key] for row in self.rows if row.get("measure") == measure and key in row]
        return float(values[-1]) if values else default


def _shown(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3e}" if value >= 1e9 else f"{value:,.4g}" if value < 1e4 else f"{value:,.0f}"


def part(report: Report, name: str, limit: int, work: Callable[[], Iterable[Any]]) -> None:
    """Run one part within `limit` seconds; print any error and return."""
    start = time.perf_counter()

    def on_alarm(*_: object) -> None:
        raise TimeoutError(f"{name} took more than {limit} s")

    # An alarm, since a part that hangs in a kernel does not look at a clock.
    signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(limit)
    try:
        for row in work():
            report.add(row)
    except Exception:  # noqa: BLE001 - the other parts are still worth measuring
        report.add({"measure": name, "failed": traceback.format_exc(limit=-6)})
        traceback.print_exc(file=sys.stdout)
    finally:
        signal.alarm(0)
    _free_memory()
    print(f"-- {name}: {time.perf_counter() - start:.1f} s", flush=True)


def _free_memory() -> None:
    """Release cached GPU memory and reset its peak."""
    gc.collect()
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def run(report: Report, options: argparse.Namespace) -> None:
    """Run the parts in the options, one after another."""
    prompt, response = options.prompt, options.response
    if DEVICE.type == "cuda":
        part(report, "machine", 30, lambda: [_machine()])
    part(report, "limits", 60, measures.limits)
    # Without a measurement: figures of an H100.
    bandwidth = report.value("copy", "bytes_per_second", 3e12)
    product = report.value("product bfloat16", "flop_per_second", 8e14)
    for size in options.sizes:
        torch._dynamo.reset()  # else torch.compile would treat sizes that differ between models as dynamic
        budget, limit = options.budget or BUDGETS[size], options.limit
        training_samples = samples(size, options.prompts * 16, prompt, response)
        parts: dict[str, Callable[[], Iterable[Any]]] = {
            "decode": lambda size=size: (
                measures.decode(size, batch, bandwidth, prompt, response)
                for batch in options.batches
            ),
            "long": lambda size=size: (
                row
                for length in options.lengths
                for row in measures.long(size, length, max(options.batches), prompt)
            ),
            "training": lambda size=size, budget=budget, training_samples=training_samples: [
                measures.training(size, budget, training_samples, product)
            ],
            "step": lambda size=size, budget=budget: measures.step(
                size, requests(size, options.prompts, 16, prompt), response, budget
            ),
            "profile": lambda size=size, budget=budget, training_samples=training_samples: (
                measures.profile(size, max(options.batches), training_samples, budget) or []
            ),
        }
        for name in options.part:
            part(report, f"{name} {size}", limit, parts[name])


def _machine() -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(DEVICE)
    return {
        "measure": "machine",
        "gpu": properties.name,
        "gib": properties.total_memory / 2**30,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "transformers": transformers.__version__,
    }


def main() -> None:
    """Read the options, run the parts, and print all rows again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for gpu.json")
    parts = ["decode", "training", "step", "long", "profile"]
    parser.add_argument("--part", choices=parts, nargs="+", default=parts[:3])
    parser.add_argument("--sizes", choices=SIZES, nargs="+", default=["0.6B", "1.7B"])
    parser.add_argument(
        "--batches", type=int, nargs="+", default=BATCHES, help="samples decoded at once"
    )
    parser.add_argument(
        "--prompts", type=int, default=16, help="prompts per update and step, with 16 samples each"
    )
    parser.add_argument("--prompt", type=int, default=128, help="tokens per prompt")
    parser.add_argument("--response", type=int, default=256, help="tokens per response")
    parser.add_argument(
        "--lengths",
        type=int,
        nargs="+",
        default=LENGTHS,
        help="limits of the responses of `long`; 32k takes minutes: raise --limit",
    )
    parser.add_argument("--budget", type=int, help="tokens per micro-batch")
    parser.add_argument("--limit", type=int, default=150, help="seconds per part")
    options = parser.parse_args()
    use_deterministic_kernels(DEVICE)
    report = Report(options.out)
    run(report, options)
    print("\nall rows")
    for row in report.rows:
        print("  ".join(f"{key} {_shown(value)}" for key, value in row.items() if key != "failed"))


if __name__ == "__main__":
    main()
