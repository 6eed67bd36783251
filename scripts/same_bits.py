"""Runs a short R1 in miniature and prints a checksum per result, to compare two versions of the code.

    python scripts/same_bits.py OUT                     writes OUT/run and OUT/checksums.json (about two minutes)
    python scripts/same_bits.py OUT --against FILE      also compares with the checksums of another version
    python scripts/same_bits.py OUT --of RUN            checksums of a run that exists, such as one of `make demo`

Results are weights, tokenizers, metrics without times, data sets, rollouts and evaluations: what a change that only
moves or renames code must leave as it is, to the last bit. States, manifests and the plan are left out.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
_ABOUT_RESULTS = ("format_version", "checksum", "claims", "stage_table")
"""Keys of results.json that are no results; older versions wrote the claims there too."""
STAGES = [
    "zero",
    "cold-start",
    "dev1",
    "dev2",
    "reasoning-data",
    "general-data",
    "dev3",
    "pairs",
    "labels",
    "helpful",
    "safety",
    "r1",
    "small-zero",
    "ppo",
    "evaluation-zero",
    "evaluation",
]
OVERRIDES = [
    "zero.steps=4",
    "zero.progress.problems=24",
    "cold-start.prompts=200",
    "dev1.epochs=1",
    "dev2.steps=1",
    "dev2.progress.problems=24",
    "reasoning-data.prompts=200",
    "general-data.rows=200",
    "dev3.epochs=1",
    "pairs.prompts=200",
    "pairs.samples=4",
    "pairs.pairs_per_problem=20",
    "labels.prompts=200",
    "labels.samples=2",
    "helpful.epochs=1",
    "safety.epochs=1",
    "r1.steps=3",
    "r1.preferences.from_step=1",
    "r1.progress.every=2",
    "r1.progress.problems=24",
    "small-zero.steps=1",
    "small-zero.progress.problems=24",
    "ppo.steps=1",
    "ppo.progress.problems=24",
    "evaluation-zero.limit=20",
    "evaluation.limit=20",
    'evaluation-zero.checkpoints=["miniature-base","zero"]',
    'evaluation.checkpoints=["dev1","dev3"]',
]


def run(out: Path) -> Path:
    """Run the short recipe into `out/run`; returns the run directory. Raises CalledProcessError."""
    command = [sys.executable, "-m", "dianoia", "run", str(_recipe(out)), "--out", str(out / "run")]
    command += [word for override in OVERRIDES for word in ("--set", override)]
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    return out / "run"


def _recipe(out: Path) -> Path:
    """Write the recipe of the demo with the stages named above alone and without claims."""
    text = (ROOT / "recipes/miniature-r1.toml").read_text(encoding="utf-8").split("[claims]")[0]
    head, *tables = text.split("\n[")
    kept = [
        table
        for table in tables
        if _stage_of(table) in STAGES and "cold-start-general" not in table
    ]
    path = out / "short.toml"
    path.write_text("\n[".join([head, *kept]) + "\n", encoding="utf-8")
    return path


def _stage_of(table: str) -> str:
    """Return the stage that a table belongs to: `stages.NAME]`, `stages.NAME.KEY]` or `[stages.NAME.KEY]]`."""
    return table.lstrip("[").split("]")[0].split(".")[1]


def checksums(folder: Path) -> dict[str, str]:
    """Return the checksum of every result of a run by its path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    contents = {path.relative_to(folder).as_posix(): _content(path) for path in files}
    return {
        name: hashlib.sha256(content).hexdigest()
        for name, content in contents.items()
        if content is not None
    }


def _content(path: Path) -> bytes | None:
    """Return what counts of a file; None for a file that is no result."""
    match path.suffix, path.name:
        case ".parquet", _ if path.parent.name == "problems":
            return None  # the means of these are estimates in results.json
        case ".safetensors", _:
            return path.read_bytes()
        case _, "tokenizer.json":
            return path.read_bytes()
        case ".parquet", _:
            return _canonical(pq.read_table(path).to_pylist())
        case _, "metrics.jsonl":
            lines = path.read_text(encoding="utf-8").splitlines()
            return _canonical([json.loads(line) for line in lines])
        case _, "results.json":
            results = json.loads(path.read_text(encoding="utf-8"))
            return _canonical({k: v for k, v in results.items() if k not in _ABOUT_RESULTS})
    return None


def _canonical(value: Any) -> bytes:
    """Return a JSON value as bytes, without the keys under which times and this machine stand."""
    return json.dumps(_without_times(value), sort_keys=True, default=repr).encode()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_times(inner)
            for key, inner in value.items()
            if not key.endswith(("seconds", "_per_second", "bytes"))
        }
    return [_without_times(inner) for inner in value] if isinstance(value, list) else value


def compare(sums: dict[str, str], others: dict[str, str]) -> list[str]:
    """Return one line per result that differs or that only one side has."""
    names = sorted(sums.keys() | others.keys())
    return [
        f"{name}: {'differs' if name in sums and name in others else 'only on one side'}"
        for name in names
        if sums.get(name) != others.get(name)
    ]


def main() -> int:
    """Run the command line; returns its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--against", type=Path, help="checksums.json of another version")
    parser.add_argument("--of", type=Path, help="take the checksums of this run; run nothing")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    sums = checksums(arguments.of or run(arguments.out))
    (arguments.out / "checksums.json").write_text(json.dumps(sums, indent=1), encoding="utf-8")
    if arguments.against is None:
        print(f"{len(sums)} results: {arguments.out / 'checksums.json'}")
        return 0
    differences = compare(sums, json.loads(arguments.against.read_text(encoding="utf-8")))
    print("\n".join(differences) or f"all {len(sums)} results are the same")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
