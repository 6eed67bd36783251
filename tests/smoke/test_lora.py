"""Adapters by the real command on a tiny model: what it writes, going on, and a target that does not exist."""

import json
from pathlib import Path

import pytest
import torch

from dianoia.cli import main
from dianoia.metrics.recorder import Recorder
from dianoia.models.loading import load_model

LORA = (
    "zero.lora.rank=4",
    "zero.lora.dtype=bfloat16",
    "zero.algorithm.reference_every=2",
    "zero.rewards.random=1.0",  # so that there is something to learn
    "zero.checkpoint_every=1",
    "evaluation.limit=1",
)


def run(recipe: Path, out: Path, *more: str) -> int:
    options = [part for option in (*LORA, *more) for part in ("--set", option)]
    return main(["run", str(recipe), "--out", str(out), *options])


def files(run: Path) -> dict[str, bytes]:
    """Weights and adapter of the trained stage, and its metrics without times."""
    stage = run / "stages/zero"
    checkpoint = stage / "checkpoint"
    rows = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    metrics = [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in rows]
    names = (
        "model.safetensors",
        "adapter/adapter_model.safetensors",
        "adapter/adapter_config.json",
    )
    return {name: (checkpoint / name).read_bytes() for name in names} | {
        "metrics": json.dumps(metrics).encode()
    }


def test_going_on_is_as_if_never_stopped(
    tiny_zero: Path, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tiny_zero, tmp_path / "whole") == 0
    write, states = Recorder.write, []

    def write_then_die(self: Recorder, step: int, row: object) -> None:
        write(self, step, row)  # type: ignore[arg-type]
        if step == 3:
            file = tmp_path / "cut/stages/zero/state/state.pt"
            states.append(torch.load(file, weights_only=True)["state"]["learner"])
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "write", write_then_die)
        assert run(tiny_zero, tmp_path / "cut") == 130
    assert run(tiny_zero, tmp_path / "cut") == 0
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    # The state has no frozen weight: adapters, AdamW, and the adapters of the reference, refreshed after step 2.
    (state,) = states
    assert state["model"] and all(".parametrizations." in name for name in state["model"])
    assert state["reference"]
    # The merged folder is an ordinary model, and differs from the base where adapters are.
    merged, base = (
        load_model(folder).state_dict()
        for folder in (tmp_path / "whole/stages/zero/checkpoint", tiny_base)
    )
    changed = {
        name for name in base if not torch.equal(merged[name], base[name].bfloat16().float())
    }
    assert changed and all(name.endswith("_proj.weight") for name in changed - _vectors(base))


def _vectors(weights: dict[str, torch.Tensor]) -> set[str]:
    """Names of norms, which are rounded when the folder is read in bfloat16, and float32 from then on."""
    return {name for name, weight in weights.items() if weight.ndim < 2}


def test_a_target_that_does_not_exist_is_refused(
    tiny_zero: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tiny_zero, tmp_path / "run", 'zero.lora.targets=["W_pack"]') == 2
    output = capsys.readouterr()
    said = " ".join((output.out + output.err).split())
    assert "stages.zero.lora.targets names 'W_pack'" in said
    assert '"down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"' in said
    assert not (tmp_path / "run/stages").exists()
