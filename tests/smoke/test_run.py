"""The real commands on a tiny model, in a temporary folder."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import pyarrow.parquet as pq
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from dianoia.cli import main
from dianoia.metrics.recorder import Recorder
from dianoia.storage.problem_table import read_problem_means

METRICS = {"pass@1", "cons@2", "pass@2", "format", "truncated"}
Read = Callable[[Path], list[dict[str, object]]]


def run(recipe: Path, out: Path, *options: str) -> int:
    return main(["run", str(recipe), "--out", str(out), *options])


def test_a_run_explains_itself(whole_zero: tuple[Path, Path], tiny_base: Path) -> None:
    _, out = whole_zero
    results = json.loads((out / "results.json").read_text())
    assert set(results) >= {"recipe", "seed", "seconds", "evaluations"}
    assert list(results["evaluations"]) == [tiny_base.as_posix(), "zero"]
    card = (out / "stages/zero/checkpoint/README.md").read_text()
    assert ModelCard(card).data.tags == ["dianoia", "reasoning", "grpo", "rl"]
    estimate = results["evaluations"]["zero"]["math"]["pass@1"]
    row = "| math | pass@1 | {value:.4g} | {low:.4g} to {high:.4g} | {n} |"
    assert row.format(**estimate) in card
    for domains in results["evaluations"].values():
        assert set(domains["math"]) >= METRICS
        for estimate in domains["math"].values():
            assert estimate["low"] <= estimate["value"] <= estimate["high"]
            assert estimate["n"] <= 6
    about = json.loads((out / "run.json").read_text())
    assert about["seed"] == 1 and about["libraries"]["torch"] and about["dianoia"]
    assert json.loads((out / "recipe.json").read_text())["stages"]["zero"]["steps"] == 4
    rollouts = pq.read_table(out / "stages/zero/rollouts/step-00000.parquet").to_pylist()
    assert len(rollouts) == 16
    assert {row["status"] for row in rollouts} <= {"finished", "malformed", "truncated"}
    (file,) = out.glob("stages/*/problems/zero.parquet")
    checkpoint, means = read_problem_means(file)
    accuracy = results["evaluations"]["zero"]["math"]["pass@1"]
    assert (checkpoint, len(means)) == ("zero", accuracy["n"])
    assert fmean(row.accuracy for row in means) == pytest.approx(accuracy["value"])
    manifest = json.loads((file.parents[1] / "manifest.json").read_text())
    assert "problems/zero.parquet" in manifest["outputs"]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_files_and_folders_have_the_mode_that_the_umask_allows(
    umask: int, tiny_zero: Path, tmp_path: Path
) -> None:
    before = os.umask(umask)
    try:
        assert run(tiny_zero, tmp_path / "run") == main(["report", str(tmp_path / "run")]) == 0
    finally:
        os.umask(before)
    paths = [tmp_path / "run", *(tmp_path / "run").rglob("*")]
    assert {"model.safetensors", "report.html", "results.json"} <= {path.name for path in paths}
    for path in paths:
        allowed = (0o777 if path.is_dir() else 0o666) & ~umask
        assert stat.S_IMODE(path.stat().st_mode) == allowed, path


def test_the_rows_of_metrics_are_the_optimizer_steps(
    whole_zero: tuple[Path, Path], metrics: Read
) -> None:
    rows = metrics(whole_zero[1])
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row.get("rollout") for row in rows] == [None, 0, 0, 1, 1]
    assert [("heldout/pass@1" in row) for row in rows] == [True, False, True, False, True]
    first_of_rollout = [("reward" in row) for row in rows]
    assert first_of_rollout == [False, True, False, True, False]
    assert rows[1]["sampling/sampling_logp_difference/max"] < 1e-4  # type: ignore[operator]


def test_one_seed_is_one_result(
    whole_zero: tuple[Path, Path], tiny_zero: Path, tmp_path: Path, metrics: Read
) -> None:
    assert run(tiny_zero, tmp_path / "same") == 0
    assert metrics(tmp_path / "same") == metrics(whole_zero[1])
    assert run(tiny_zero, tmp_path / "other", "--set", "seed=2") == 0
    assert metrics(tmp_path / "other") != metrics(whole_zero[1])


def test_seeds_are_runs_beside_one_another_with_their_claims_together(
    tiny_zero: Path,
    tmp_path: Path,
    tiny_base: Path,
    metrics: Read,
    capsys: pytest.CaptureFixture[str],
) -> None:
    parts = f'[claims]\nbase = "{tiny_base.as_posix()}"\nzero = "zero"\n'
    tiny_zero.write_text(f"{tiny_zero.read_text()}\n{parts}")
    assert run(tiny_zero, tmp_path / "runs", "--seeds", "2, 1") == 0
    stdout = capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["seed-1", "seed-2"]
    for seed in (1, 2):
        results = json.loads((tmp_path / f"runs/seed-{seed}/results.json").read_text())
        assert results["seed"] == seed
    together = stdout[stdout.rindex("talk to it") :]
    assert "RL alone multiplies" in together and "seed 1" in together and "seed 2" in together, (
        together
    )
    # each is what it would have been alone
    assert run(tiny_zero, tmp_path / "alone", "--set", "seed=2") == 0
    assert metrics(tmp_path / "alone") == metrics(tmp_path / "runs/seed-2")
    # and done already when it is asked for again
    before = (tmp_path / "runs/seed-1/stages/zero/manifest.json").stat().st_mtime_ns
    assert run(tiny_zero, tmp_path / "runs", "--seeds", "1") == 0
    assert (tmp_path / "runs/seed-1/stages/zero/manifest.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("text", ["1,1", "1,", "one", "-1", ""])
def test_seeds_are_different_whole_numbers(
    text: str, tiny_zero: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(tiny_zero, tmp_path / "run", f"--seeds={text}")
    assert f"{text!r} is not a list of different whole numbers" in capsys.readouterr().err


@pytest.mark.parametrize("last_step", [0, 1, 2, 3])
def test_going_on_is_as_if_never_stopped(
    last_step: int,
    whole_zero: tuple[Path, Path],
    tiny_zero: Path,
    tmp_path: Path,
    metrics: Read,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, cut, write = whole_zero[1], tmp_path / "cut", Recorder.write

    def write_then_die(self: Recorder, step: int, row: object) -> None:
        write(self, step, row)  # type: ignore[arg-type]
        if step == last_step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "write", write_then_die)
        assert run(tiny_zero, cut) == 130
    assert not (cut / "stages/zero/manifest.json").exists()
    assert run(tiny_zero, cut) == 0
    assert metrics(cut) == metrics(whole)
    weights = [
        load_file(path / "stages/zero/checkpoint/model.safetensors") for path in (whole, cut)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    results = [json.loads((path / "results.json").read_text()) for path in (whole, cut)]
    assert results[0]["evaluations"] == results[1]["evaluations"]


def test_seconds_are_those_of_all_commands(
    tiny_zero: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, write = tmp_path / "run/stages/zero", Recorder.write

    def write_then_die(self: Recorder, step: int, row: object) -> None:
        write(self, step, row)  # type: ignore[arg-type]
        if step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "write", write_then_die)
        assert run(tiny_zero, tmp_path / "run") == 130
    assert float((folder / ".seconds").read_text()) > 0
    (folder / ".seconds").write_text("5000\n")
    assert run(tiny_zero, tmp_path / "run") == 0
    assert not (folder / ".seconds").exists()
    seconds = [
        json.loads((tmp_path / "run" / name).read_text())["seconds"]
        for name in ("stages/zero/manifest.json", "stages/evaluation/manifest.json", "results.json")
    ]
    assert 5000 < seconds[0] < 6000 and seconds[1] < 1000
    assert seconds[2] == seconds[0] + seconds[1]


def test_checkpoints_of_nearly_one_name_are_evaluated_each(
    tiny_zero: Path, tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("zero").symlink_to(tiny_base)  # beside the stage `zero`
    names = ["./zero", "zero", str(tiny_base)]
    # a decay changes weights even where no sample earns a reward
    changes = [f"evaluation.checkpoints={names}", "zero.optimizer.weight_decay=10"]
    overrides = [part for change in changes for part in ("--set", change)]
    assert run(tiny_zero, tmp_path / "run", *overrides) == 0
    document = json.loads((tmp_path / "run/results.json").read_text())["evaluations"]
    assert document["./zero"] == document[str(tiny_base)]
    folder = tmp_path / "run/stages/evaluation/rollouts"
    rows = {path.stem: pq.read_table(path).to_pylist() for path in folder.iterdir()}
    assert {row["checkpoint"] for row in rows["zero"]} == {"./zero"}
    assert {row["checkpoint"] for row in rows["zero-2"]} == {"zero"}
    base, trained = ([row["text"] for row in rows[name]] for name in ("zero", "zero-2"))
    assert base != trained
    assert len(rows) == 3


def test_a_finished_run_is_not_run_again(
    tiny_zero: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tiny_zero, tmp_path / "run") == 0
    before = (tmp_path / "run/results.json").read_bytes()
    capsys.readouterr()
    assert run(tiny_zero, tmp_path / "run") == 0
    assert capsys.readouterr().out.count("done, skipped") == 2
    assert (tmp_path / "run/results.json").read_bytes() == before
    assert not (tmp_path / "run/stages/.old").exists()


def test_the_checkpoint_is_an_ordinary_folder(whole_zero: tuple[Path, Path]) -> None:
    folder = whole_zero[1] / "stages/zero/checkpoint"
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    ids = tokenizer("User: 2+3?\nAssistant:", return_tensors="pt")["input_ids"]
    assert model(ids).logits.shape[:2] == ids.shape
    assert (
        tokenizer.decode(tokenizer("<think>")["input_ids"], skip_special_tokens=True) == "<think>"
    )


@pytest.mark.parametrize("name", ["dr_grpo", "dapo", "gspo", "cispo"])
def test_every_algorithm_runs(name: str, tiny_zero: Path, tmp_path: Path, metrics: Read) -> None:
    options = [
        f"zero.algorithm.name={name}",
        "zero.algorithm.dynamic_sampling=true",
        "zero.algorithm.mask_truncated=true",
        "zero.algorithm.importance_cap=2.0",
        "zero.rewards.overlong_cache=8",
        "zero.split=sample",
        "zero.sampling.longer=[{from_step=2, max_tokens=32}]",
        "evaluation.limit=1",
    ]
    assert run(tiny_zero, tmp_path / "run", *[p for o in options for p in ("--set", o)]) == 0
    rows = metrics(tmp_path / "run")
    assert rows[-1]["step"] == 4
    assert max(row.get("completions/max_length", 0) for row in rows) == 32  # type: ignore[type-var]


def test_a_language_reward_is_earned_and_written_down(
    tiny_zero: Path, tmp_path: Path, metrics: Read
) -> None:
    assert run(tiny_zero, tmp_path / "run", "--set", "zero.rewards.language=1") == 0
    rows = [row for row in metrics(tmp_path / "run") if "reward" in row]
    assert len(rows) == 2
    for row in rows:
        share = row["rewards/language/mean"]
        assert isinstance(share, float) and 0.0 <= share <= 1.0


def test_a_broken_gradient_stops_and_leaves_its_rollouts(
    tiny_zero: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "zero.optimizer.max_grad_norm=1e-9",
        "zero.optimizer.stop_grad_norm=1e-8",
        "zero.rewards.random=1.0",  # so that there is a gradient
    ]
    code = run(tiny_zero, tmp_path / "run", *[p for o in options for p in ("--set", o)])
    assert code == 2
    stderr = capsys.readouterr().err
    assert "stop_grad_norm" in stderr and "stopped-00000.parquet" in stderr
    assert (tmp_path / "run/stages/zero/rollouts/stopped-00000.parquet").exists()
